"""How values look on the screen."""

import math
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from metatune.cli.boundary import legible
from metatune.redaction import redacted

_SQLITE = "sqlite:///"


def headline(text: str) -> Text:
    """What stands above a table."""
    return Text(legible(text, limit=200), style="bold")


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """An empty table; the columns named in ``right`` hold numbers."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def number(value: float | None, digits: int = 4) -> str:
    """``value`` with ``digits`` significant digits after the leading zeros; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.{max(digits - 3, 0)}f}"


def duration(seconds: float) -> str:
    """``seconds`` as a person says it."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def percent(share: float | None) -> str:
    """A share in [0, 1] in per cent."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.0f} %"


def value_text(value: object) -> str:
    """The value of a parameter."""
    return f"{value:.4g}" if isinstance(value, float) else legible(str(value), limit=200)


def settings(configuration: Mapping[str, object]) -> Text:
    """A configuration as ``name=value`` pairs that wrap between pairs only."""
    shown = Text()
    for i, (name, value) in enumerate(configuration.items()):
        shown.append(("  " if i else "") + f"{legible(name, limit=100)}=", style="dim")
        shown.append(value_text(value).replace(" ", "\N{NO-BREAK SPACE}"))
    return shown


def short_uri(uri: str, folder: Path) -> str:
    """``uri``, an SQLite file in ``folder`` without its path."""
    path = Path(unquote(uri.removeprefix(_SQLITE)))
    return f"{_SQLITE}{path.name}" if uri.startswith(_SQLITE) and path.parent == folder else uri


def mlflow_ui(uri: str, folder: Path) -> str:
    """What shows the history at ``uri`` in a browser, typed in ``folder``."""
    if uri.startswith("http"):
        return f"open {redacted(uri)}"
    return shlex.join(["mlflow", "ui", "--backend-store-uri", redacted(short_uri(uri, folder))])
