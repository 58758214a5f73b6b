"""Numbers and tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, digits: int = 4) -> str:
    """``value`` without the zero before the point; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}".removeprefix("0")


def share(value: float | None) -> str:
    """A share in per cent."""
    return "–" if value is None else f"{100 * value:.1f}%"


def p_value(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}" if value < 0.001 else f"{value:.3f}"


def millis(seconds: float) -> str:
    """Seconds as milliseconds, three digits at least where it is long."""
    return f"{1e3 * seconds:.1f}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def tasks_told(found: Mapping[str, Any]) -> str:
    """On how many tasks and seeds a summary rests."""
    tables = ", ".join(f"`{name}` {t['tasks']} x {t['seeds']}" for name, t in found["tables"].items())
    return f"{found['overall']['tasks']} tasks (tasks x seeds: {tables}), seeds averaged per task."
