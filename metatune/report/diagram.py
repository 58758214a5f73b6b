"""The geometry of a backtest's pictures: regret by evaluation, and average ranks with a critical difference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metatune.report.chart import SIZE, Tick, ticks

#: Smaller regrets are drawn as this on a logarithmic axis.
_LEAST = 1e-4
#: From this ratio of the largest to the smallest value on, the axis is logarithmic.
_WIDE = 8.0
_MARGIN = 0.05
#: Up to so many decades, ticks stand at 1, 2 and 5, beyond at powers of ten.
_FEW_DECADES = 3.0


@dataclass(frozen=True)
class Curve:
    """A method's line, as an SVG path in coordinates of ``SIZE``."""

    label: str
    path: str


@dataclass(frozen=True)
class RegretChart:
    """Lines by evaluation; ``log`` says whether the vertical axis is logarithmic."""

    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    log: bool


def regret_chart(curves: Mapping[str, Sequence[float]]) -> RegretChart | None:
    """The chart of regret (n,) by method; ``None`` when there is nothing to draw."""
    known = [value for curve in curves.values() for value in curve]
    if not known:
        return None
    log = max(known) > _WIDE * max(min(known), _LEAST)
    heights = {m: [math.log10(max(v, _LEAST)) if log else v for v in curve] for m, curve in curves.items()}
    shown = [value for curve in heights.values() for value in curve]
    span = max(shown) - min(shown) or 1.0
    low, high = min(shown) - _MARGIN * span, max(shown) + _MARGIN * span
    count = max(map(len, curves.values()))
    step = max(1, math.ceil(count / 10))
    at = [1, *(i for i in range(step, count + 1, step) if i > 1)]
    return RegretChart(
        tuple(Curve(method, _path(curve, count, low, high)) for method, curve in heights.items()),
        tuple(Tick(_x(i - 1, count), str(i)) for i in at),
        tuple(
            Tick(100 * (high - value) / (high - low), text)
            for value, text in (_log_ticks(low, high) if log else ticks(low, high))
        ),
        log,
    )


def _x(i: int, count: int) -> float:
    """The i-th of ``count`` evaluations, in per cent."""
    return 100 * (i + 0.5) / count


def _path(curve: Sequence[float], count: int, low: float, high: float) -> str:
    points = [
        f"{_x(i, count) * SIZE / 100:.1f} {(high - value) / (high - low) * SIZE:.1f}" for i, value in enumerate(curve)
    ]
    return "M" + "L".join(points) if points else ""


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round values whose logarithms lie between ``low`` and ``high``, as logarithms with their texts."""
    factors = (1, 2, 5) if high - low <= _FEW_DECADES else (1,)
    found = [
        (math.log10(factor) + power, f"{factor * 10.0**power:g}")
        for power in range(math.floor(low), math.ceil(high))
        for factor in factors
    ]
    return [(value, text) for value, text in found if low <= value <= high]


#: Length of the axis of a rank diagram, and its height.
_LENGTH, _AXIS = 460.0, 56.0
_BAR_STEP, _LABEL_STEP = 7.0, 22.0
#: Room for labels beside the axis: at least so much, and so much for each character of a name and for its rank.
_ROOM, _CHARACTER, _RANK = 150.0, 8.0, 64.0


@dataclass(frozen=True)
class Mark:
    """A method at ``x`` on the axis, whose label stands at height ``y``, at the left or at the right."""

    label: str
    rank: float
    x: float
    y: float
    left: bool


@dataclass(frozen=True)
class Bar:
    """A horizontal line."""

    x1: float
    x2: float
    y: float


@dataclass(frozen=True)
class RankDiagram:
    """Average ranks on an axis, the best at the left; ``groups`` join methods that do not differ significantly.

    ``difference`` is as long as the critical difference ``value``, but no longer than the axis. Demsar, "Statistical
    Comparisons of Classifiers over Multiple Data Sets", 2006.
    """

    marks: tuple[Mark, ...]
    groups: tuple[Bar, ...]
    difference: Bar | None
    value: float | None
    ticks: tuple[tuple[float, str], ...]
    axis: Bar
    width: float
    height: float


def rank_diagram(ranks: Mapping[str, float], critical_difference: float | None) -> RankDiagram | None:
    """The diagram of average ranks by method; ``None`` for less than two methods."""
    if len(ranks) < 2:
        return None
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    count = len(ordered)

    room = max(_ROOM, _RANK + _CHARACTER * max(map(len, ranks)))
    axis = Bar(room, room + _LENGTH, _AXIS)

    def place(rank: float) -> float:
        return axis.x1 + _LENGTH * (rank - 1) / (count - 1)

    joined = _joined([rank for _, rank in ordered], critical_difference or 0.0)
    groups = [
        Bar(place(ordered[i][1]) - 4, place(ordered[j][1]) + 4, _AXIS + _BAR_STEP * (level + 1.5))
        for level, (i, j) in enumerate(joined)
    ]
    top = _AXIS + _BAR_STEP * (len(groups) + 1) + 14
    half = (count + 1) // 2
    marks = []
    for i, (method, rank) in enumerate(ordered):
        level = i if i < half else count - 1 - i
        marks.append(Mark(method, rank, place(rank), top + _LABEL_STEP * level, i < half))
    end = None if critical_difference is None else min(place(1 + critical_difference), axis.x2)
    difference = None if end is None else Bar(axis.x1, end, 22.0)
    steps = tuple((place(rank), str(rank)) for rank in range(1, count + 1))
    width, height = axis.x2 + room, top + _LABEL_STEP * half
    return RankDiagram(tuple(marks), tuple(groups), difference, critical_difference, steps, axis, width, height)


def _joined(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """First and last position of every largest group of ascending ``ranks`` within ``difference``."""
    found: list[tuple[int, int]] = []
    for i, rank in enumerate(ranks):
        last = max(j for j in range(i, len(ranks)) if ranks[j] - rank <= difference)
        if last > i and (not found or last > found[-1][1]):
            found.append((i, last))
    return found
