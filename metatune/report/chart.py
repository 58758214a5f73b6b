"""The geometry of a chart: best value so far by trial, one step line per search, one dot per trial.

Lines are an SVG that stretches with the page; text and dots are HTML placed in per cent over it, so that they keep
their size on a phone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metatune.comparison import best_so_far, counted
from metatune.result import TuneResult
from metatune.trial import Trial

#: Width and height of the coordinates of the lines.
SIZE = 1000.0
_TICKS = 5
_MARGIN = 0.08
#: The share of the trials after which every line is inside the chart; a bad first trial would flatten all the rest.
_SETTLED = 0.15


@dataclass(frozen=True)
class Tick:
    """A mark at ``at`` per cent of its axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """A trial, in per cent from the left and the top; ``beyond``: at the edge, because its value is outside."""

    left: float
    top: float
    trial: Trial
    beyond: bool


@dataclass(frozen=True)
class Line:
    """One search: its step line as an SVG path (empty without a complete trial), and its trials with a value."""

    label: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Chart:
    """Lines and ticks; ``metric`` names the vertical axis."""

    metric: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def chart(results: Mapping[str, TuneResult]) -> Chart | None:
    """The chart of searches by label, all with one metric; ``None`` if none has a complete trial."""
    values = {label: best_so_far(result) for label, result in results.items()}
    if not any(value is not None for line in values.values() for value in line):
        return None
    low, high = _range(list(values.values()))
    count = max(len(line) for line in values.values())
    lines = []
    for label, result in results.items():
        dots = [
            _dot(_x(i, count), (trial.value - low) / (high - low), trial)
            for i, trial in enumerate(counted(result))
            if trial.value is not None
        ]
        lines.append(Line(label, _path(values[label], count, low, high), tuple(dots)))
    step = max(1, math.ceil(count / 12))
    x_ticks = [Tick(_x(i, count), str(i + 1)) for i in range(count) if i == 0 or (i + 1) % step == 0]
    y_ticks = [Tick(100 * (1 - (value - low) / (high - low)), text) for value, text in ticks(low, high)]
    metric = next(iter(results.values())).task.metric.name
    return Chart(metric, tuple(lines), tuple(x_ticks), tuple(y_ticks))


def _dot(left: float, height: float, trial: Trial) -> Dot:
    shown = min(max(height, 0.0), 1.0)
    return Dot(left, 100 * (1 - shown), trial, beyond=shown != height)


def _x(i: int, count: int) -> float:
    """The middle of the i-th of ``count`` columns, in per cent."""
    return 100 * (i + 0.5) / count


def _range(lines: Sequence[Sequence[float | None]]) -> tuple[float, float]:
    """The values between which the chart is drawn."""
    shown = []
    for line in lines:
        known = [value for value in line if value is not None]
        shown += known[min(math.ceil(_SETTLED * len(line)), max(len(known) - 1, 0)) :]
    low, high = min(shown), max(shown)
    span = high - low or abs(high) * 0.01 or 1.0
    return low - _MARGIN * span, high + _MARGIN * span


def _path(line: Sequence[float | None], count: int, low: float, high: float) -> str:
    """Steps: every value holds from its trial to the next."""
    points = [(_x(i, count), (1 - (value - low) / (high - low))) for i, value in enumerate(line) if value is not None]
    if not points:
        return ""
    commands = [f"M{points[0][0] * SIZE / 100:.1f} {points[0][1] * SIZE:.1f}"]
    for left, top in points[1:]:
        commands.append(f"H{left * SIZE / 100:.1f}V{top * SIZE:.1f}")
    return "".join([*commands, f"H{SIZE:.0f}"])


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round values between ``low`` and ``high``, about five, with their texts."""
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first, last = math.ceil(low / step), math.floor(high / step)
    digits = max(0, -math.floor(math.log10(step)) + (1 if step / power == 2.5 else 0))
    return [(i * step, f"{i * step:.{digits}f}" if digits < 8 else f"{i * step:.2e}") for i in range(first, last + 1)]
