"""Types and ranges of parameters, of recorded values alone, column by column."""

import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from metatune.parameter import describe, same_value
from metatune.trial import ParamValue

#: More different texts than this are names of something, not choices; so is a different text in every trial.
MAX_CHOICES = 50
#: Columns of numbers and other values are choices up to this many different values.
MAX_MIXED = 20
_ENOUGH = 8
_NONE = {"None", "none", "null", "NULL", ""}
_BOOL = {"True": True, "true": True, "False": False, "false": False}
_INT = re.compile(r"[+-]?\d{1,15}")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_LONGEST = 200


@dataclass(frozen=True)
class Column:
    """One parameter: ``kind`` as people read it, and its distribution; ``None`` with the reason if it is left out."""

    kind: str
    distribution: BaseDistribution | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.distribution is None:
            return self.reason
        if not isinstance(self.distribution, CategoricalDistribution) and self.distribution.single():
            return f"{self.kind}, always {self.distribution.low}"  # type: ignore[attr-defined]
        return f"{self.kind} {describe(self.distribution)}"


def parsed(value: object) -> ParamValue:
    """``value``, of a text what it writes: a number, a truth value, ``None``, or the text itself."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    if text in _NONE:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def column_of(values: Iterable[object]) -> Column:
    """The column that holds ``values``, one for every trial that has the parameter."""
    raw = list(values)
    read = [parsed(value) for value in {(type(entry), str(entry)): entry for entry in raw}.values()]
    distinct = list({(isinstance(value, bool), value): value for value in read}.values())
    numbers = [v for v in read if isinstance(v, int | float) and not isinstance(v, bool)]
    others = len(distinct) - len(set(numbers))
    if numbers and (not others or (len(distinct) > MAX_MIXED and len(distinct) > 2 * others)):
        kind = "int" if all(isinstance(number, int) for number in numbers) else "float"
        return Column(kind, _numeric(numbers, kind))
    return _choices(distinct, len(raw))


def _choices(distinct: list[ParamValue], n: int) -> Column:
    texts = [value for value in distinct if isinstance(value, str)]
    if len(distinct) == 1:
        return Column("constant", reason="the same in every trial")
    if any(len(text) > _LONGEST for text in texts):
        return Column("text", reason="long texts, not choices")
    if len(distinct) > MAX_CHOICES or (n >= _ENOUGH and len(texts) == n):
        return Column("text", reason="another text in almost every trial: a name, not a choice")
    ordered = sorted(distinct, key=lambda value: (value is not None, isinstance(value, str), _place(value)))
    kind = "bool" if all(isinstance(value, bool) for value in distinct) else "choice"
    return Column(kind, CategoricalDistribution(ordered))


def _place(value: ParamValue) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value))


def _numeric(numbers: list[int | float], kind: str) -> BaseDistribution:
    low, high = min(numbers), max(numbers)
    if kind == "int":
        return IntDistribution(int(low), int(high), log=is_logarithmic(numbers))
    return FloatDistribution(float(low), float(high), log=is_logarithmic(numbers))


def is_logarithmic(numbers: Iterable[float]) -> bool:
    """Whether different positive ``numbers`` that span a decade lie more evenly on a logarithmic scale.

    Different values, not trials: a search visits good values more often.
    """
    values = np.unique(np.asarray(list(numbers), dtype=np.float64))
    if len(values) < 2 or values[0] <= 0 or values[-1] < 10 * values[0]:
        return False

    def skew(points: np.ndarray) -> float:
        return abs(float((np.median(points) - points[0]) / (points[-1] - points[0])) - 0.5)

    return len(values) == 2 or skew(np.log(values)) < skew(values)


def coerced(value: object, distribution: BaseDistribution) -> ParamValue:
    """``value`` as the type that ``distribution`` holds, where it is of that type at all."""
    read = parsed(value)
    if isinstance(distribution, FloatDistribution) and isinstance(read, int) and not isinstance(read, bool):
        return float(read)
    if isinstance(distribution, CategoricalDistribution):
        # What it is comes before what it writes: where there are both, the text "1" is not the number.
        for wanted in (value, read, str(value)):
            for choice in distribution.choices:
                if same_value(choice, wanted):
                    return choice
    return read


def columns_of(rows: Iterable[Mapping[str, object]]) -> dict[str, Column]:
    """The column of every name in ``rows``, in order of appearance."""
    values: dict[str, list[object]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {name: column_of(entries) for name, entries in values.items()}
