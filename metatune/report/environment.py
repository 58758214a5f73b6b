"""``ENVIRONMENT``: the templates of the pages, and how numbers are written in them."""

import math

from jinja2 import Environment, PackageLoader, StrictUndefined

from metatune.wording import number, plural


def _setting(value: object) -> str:
    """The value of a parameter; a dash where it is inactive."""
    if value is ...:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _seconds(value: float) -> str:
    return "–" if not math.isfinite(value) else f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def _milliseconds(value: float) -> str:
    """Seconds that are usually less than one."""
    if not math.isfinite(value):
        return "–"
    return f"{1e3 * value:.3g} ms" if value < 0.9995 else _seconds(value)


def _share(value: float | None) -> str:
    """A share in [0, 1] in per cent, with one digit where it is small."""
    return "–" if value is None else f"{100 * value:.{0 if value >= 0.1 or value == 0 else 1}f} %"


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("metatune.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=number, setting=_setting, seconds=_seconds, milliseconds=_milliseconds, share=_share, plural=plural
    )
    return made


ENVIRONMENT = _environment()
