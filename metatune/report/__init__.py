"""One self-contained HTML page about searches: no scripts, nothing fetched, readable offline."""

from metatune.report.page import search_page

__all__ = ["search_page"]
