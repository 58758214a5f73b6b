"""How numbers, and texts that others wrote, are said to a person."""

import math
import textwrap
from collections.abc import Iterable, Mapping

#: Printed results are as wide as this, which fits a notebook and most terminals.
_WIDTH = 100


def plural(count: int, one: str, many: str = "") -> str:
    """``count`` of something in words: ``1 trial``, ``2,000 trials``; ``many`` where the plural is not ``one`` + s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """``text`` with a capital at its beginning; ``str.capitalize`` would take all others away."""
    return text[:1].upper() + text[1:]


def number(value: float | None, digits: int = 4) -> str:
    """``value`` with at least ``digits`` significant digits, so many decimals below 100; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    if 0 < abs(value) < 0.1:
        return f"{value:.{digits - 1 - math.floor(math.log10(abs(value)))}f}"
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


def settings_text(configuration: Mapping[str, object]) -> str:
    """A configuration as ``name=value`` pairs; spaces in them are no place to break a line."""
    pairs = (f"{legible(name, limit=100)}={value_text(value)}" for name, value in configuration.items())
    return "  ".join(pair.replace(" ", "\N{NO-BREAK SPACE}") for pair in pairs)


def told(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    """``heading`` and below it the ``rows``, each a name and a text, which is wrapped."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0) + 2
    lines = [heading]
    for name, text in rows:
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=f"  {name:<{width}}",
            subsequent_indent=" " * (width + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def legible(text: str, *, limit: int = 2_000) -> str:
    """``text`` without what could steer a terminal, and cut to ``limit`` characters."""
    safe = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
