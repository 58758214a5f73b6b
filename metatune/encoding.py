"""The only door between parameter names and matrix columns.

``ConfigurationEncoder`` makes the columns that trees read: raw values, the union of all parameters a family's
history has. ``UnitEncoder`` makes the columns a Gaussian process reads: one search space mapped to [0, 1].
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution

from metatune.errors import KnowledgeError
from metatune.family_table import FamilyTable
from metatune.parameter import same_value, units_at, value_at
from metatune.space import SearchSpace
from metatune.trial import Configuration, ParamValue


@dataclass(frozen=True)
class Scale:
    """The range of a numeric parameter over all spaces of the history, and whether it is logarithmic."""

    low: float
    high: float
    log: bool

    @property
    def width(self) -> float:
        """Width of the range, in logarithms where the scale is."""
        return math.log(self.high / self.low) if self.log else self.high - self.low

    def unit(self, values: np.ndarray) -> np.ndarray:
        """``values`` with the range mapped to [0, 1]; up to a quarter of the range beyond it, NaN to the middle."""
        low, high = self.low, self.high
        if self.log:
            low, high, values = np.log(low), np.log(high), np.log(np.maximum(values, self.low * 1e-3))
        scaled = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
        return np.nan_to_num(np.clip(scaled, -0.25, 1.25), nan=0.5)


@dataclass(frozen=True)
class ConfigurationEncoder:
    """Configurations of one model family as rows of float64, columns ``n:<name>`` and ``c:<name>``.

    A numeric parameter is its value, a categorical one the index of its choice among ``levels[name]``. NaN stands for
    a parameter that is inactive and for a choice never seen. A parameter that the space at hand does not have at all
    takes ``fill``: the typical value of good trials, since trees trained without missing values would read NaN as 0.
    """

    scales: Mapping[str, Scale]
    levels: Mapping[str, tuple[ParamValue, ...]]
    fill: Mapping[str, float]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(f"n:{name}" for name in self.scales) + tuple(f"c:{name}" for name in self.levels)

    @property
    def categorical_columns(self) -> list[int]:
        """Positions of the columns that hold level indices."""
        return list(range(len(self.scales), len(self.columns)))

    @cached_property
    def owners(self) -> np.ndarray:
        """For each column of ``unit``, the position of its parameter: columns of one choice belong together."""
        widths = [1] * len(self.scales) + [len(levels) for levels in self.levels.values()]
        return np.repeat(np.arange(len(widths)), widths)

    @classmethod
    def of(cls, table: FamilyTable) -> "ConfigurationEncoder":
        """The encoder for all parameters in ``table``; ``fill`` from the better half of each study's trials."""
        spaces = [table.studies[i].space for i in table.rows_of_study]
        scales = {name: _scale(name, spaces, table.numeric[name]) for name in sorted(table.numeric)}
        levels = {name: tuple(table.categorical[name].levels) for name in sorted(table.categorical)}
        encoder = cls(scales, levels, {})
        fill = {}
        for column, values in zip(encoder.columns, encoder._values(table, _better_half(table)), strict=True):
            values = values[~np.isnan(values)]
            if len(values):
                typical = np.bincount(values.astype(int)).argmax() if column.startswith("c:") else np.median(values)
                fill[column] = float(typical)
        return cls(scales, levels, fill)

    def encode_table(self, table: FamilyTable, rows: np.ndarray) -> np.ndarray:
        """The trials of ``table`` at the positions ``rows`` (n,), shape (n, columns)."""
        X = np.empty((len(rows), len(self.columns)))
        for j, values in enumerate(self._values(table, rows)):
            X[:, j] = values
        return X

    def _values(self, table: FamilyTable, rows: np.ndarray) -> Iterator[np.ndarray]:
        """The columns of ``encode_table``, one after another."""
        absent = np.full(len(rows), np.nan)
        for name in self.scales:
            yield table.numeric[name][rows] if name in table.numeric else absent
        for name in self.levels:
            if name in table.categorical:
                codes, levels = table.categorical[name]
                yield np.array([*(self._code(name, level) for level in levels), np.nan])[codes[rows]]
            else:
                yield absent

    def encode(self, configurations: Sequence[Configuration], space: Collection[str]) -> np.ndarray:
        """``configurations`` of a space with the parameters ``space``, shape (configurations, columns)."""
        X = np.full((len(configurations), len(self.columns)), np.nan)
        for j, column in enumerate(self.columns):
            kind, name = column[0], column[2:]
            if name not in space:
                X[:, j] = self.fill.get(column, np.nan)
            else:
                values = [configuration.get(name, ...) for configuration in configurations]
                X[:, j] = [_number(v) for v in values] if kind == "n" else [self._code(name, v) for v in values]
        return X

    def decode(self, row: np.ndarray) -> dict[str, ParamValue]:
        """The configuration at ``row`` (columns,), its numbers as floats, without what is missing there."""
        values: dict[str, ParamValue] = {}
        for column, value in zip(self.columns, row.tolist(), strict=True):
            if not math.isnan(value):
                name = column[2:]
                values[name] = self.levels[name][int(value)] if column.startswith("c:") else value
        return values

    def unit(self, X: np.ndarray) -> np.ndarray:
        """Rows of ``encode`` as points for distances, shape (n, unit columns): [0, 1], a column per choice."""
        parts = [scale.unit(X[:, j]) for j, scale in enumerate(self.scales.values())]
        for j, levels in enumerate(self.levels.values(), start=len(self.scales)):
            parts += [(X[:, j] == code).astype(np.float64) for code in range(len(levels))]
        return np.column_stack(parts) if parts else np.empty((len(X), 0))

    def _code(self, name: str, value: object) -> float:
        for code, level in enumerate(self.levels[name]):
            if same_value(level, value):
                return float(code)
        return np.nan

    def to_json(self) -> str:
        """The encoder as JSON text; ``from_json`` gives an equal one back."""
        scales = {name: [scale.low, scale.high, scale.log] for name, scale in self.scales.items()}
        levels = {name: list(values) for name, values in self.levels.items()}
        return json.dumps({"scales": scales, "levels": levels, "fill": dict(self.fill)})

    @classmethod
    def from_json(cls, text: str) -> "ConfigurationEncoder":
        """The encoder that ``to_json`` wrote. Raises ``KnowledgeError`` for anything else."""
        try:
            raw = json.loads(text)
            scales = {name: Scale(*values) for name, values in raw["scales"].items()}
            levels = {name: tuple(values) for name, values in raw["levels"].items()}
            return cls(scales, levels, dict(raw["fill"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KnowledgeError(
                f"not an encoder ({error})", field="encoder", value=text, remedy="Train the knowledge again."
            ) from error


def _scale(name: str, spaces: Sequence[SearchSpace], values: np.ndarray) -> Scale:
    """The hull of the ranges that ``spaces`` give to ``name``; logarithmic if any of them is and the hull allows it."""
    ranges: list[Any] = [space[name] for space in spaces if name in space and hasattr(space[name], "log")]
    if not ranges:
        seen = values[np.isfinite(values)]
        return Scale(float(seen.min()), float(seen.max()), False) if len(seen) else Scale(0.0, 1.0, False)
    low, high = min(float(d.low) for d in ranges), max(float(d.high) for d in ranges)
    return Scale(low, high, any(d.log for d in ranges) and low > 0)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan


def _better_half(table: FamilyTable) -> np.ndarray:
    """Rows of the trials that are at least as good as the median of their study."""
    good = [np.empty(0, dtype=np.int64)]
    for rows in table.rows_of_study.values():
        score = table.score[rows]
        scored = ~np.isnan(score)
        if scored.any():
            good.append(rows[scored][score[scored] >= np.median(score[scored])])
    return np.concatenate(good)


@dataclass(frozen=True)
class UnitEncoder:
    """Configurations of one search space as points of a unit cube, for distances.

    A numeric parameter is one column, its quantile in [0, 1] (log-scaled where the parameter is); a categorical one
    has a column per choice, 1 for the one chosen. Where a parameter is inactive, its columns hold the middle
    (numeric) or zeros (categorical), so that it neither attracts nor repels. ``decode`` is the inverse of
    ``encode``.
    """

    space: SearchSpace

    @cached_property
    def owners(self) -> np.ndarray:
        """For each column, the position of its parameter in the space: columns of one choice belong together."""
        widths = [len(d.choices) if isinstance(d, CategoricalDistribution) else 1 for d in self._distributions]
        return np.repeat(np.arange(len(widths)), widths)

    @property
    def _distributions(self) -> list[object]:
        return list(self.space.parameters.values())

    def encode(self, configurations: Sequence[Configuration]) -> np.ndarray:
        """Shape (configurations, columns), float64 in [0, 1]."""
        columns: list[np.ndarray] = []
        for name, distribution in self.space.parameters.items():
            values = [configuration.get(name, ...) for configuration in configurations]
            if isinstance(distribution, CategoricalDistribution):
                columns += [
                    np.array([float(value is not ... and same_value(value, choice)) for value in values])
                    for choice in distribution.choices
                ]
            else:
                numbers = np.array([np.nan if value is ... else value for value in values], dtype=np.float64)
                columns.append(np.nan_to_num(units_at(distribution, numbers), nan=0.5))  # type: ignore[arg-type]
        return np.column_stack(columns) if configurations else np.empty((0, len(self.owners)))

    def decode(self, row: np.ndarray) -> dict[str, ParamValue]:
        """The configuration at ``row``; a choice is the one with the largest column."""
        values: dict[str, ParamValue] = {}
        for i, (name, distribution) in enumerate(self.space.parameters.items()):
            own = row[self.owners == i]
            if isinstance(distribution, CategoricalDistribution):
                values[name] = distribution.choices[int(np.argmax(own))]
            else:
                values[name] = value_at(distribution, float(own[0]))
        return self.space.active(values)
