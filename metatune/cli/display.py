"""How values look on the screen."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from rich.text import Text

from metatune.redaction import redacted
from metatune.wording import legible, value_text

_SQLITE = "sqlite:///"


def headline(text: str) -> Text:
    """What stands above a table."""
    return Text(legible(text, limit=200), style="bold")


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
