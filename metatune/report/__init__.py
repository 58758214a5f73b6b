"""Self-contained HTML pages about searches and backtests: no scripts, nothing fetched, readable offline."""

from metatune.report.backtest import backtest_page
from metatune.report.page import search_page

__all__ = ["backtest_page", "search_page"]
