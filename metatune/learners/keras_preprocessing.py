"""What goes into a network and comes out: ``DensePreprocessor`` for features, ``Outputs`` for the target."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from metatune.dataset import DataKind, Dataset
from metatune.learners.target_scale import TargetScale

#: Of a column with more levels, these many most frequent ones get a column each; the others share one.
MAX_LEVELS = 24
#: Larger magnitudes are cut, so that differences of two numbers cannot overflow.
_HUGE = 1e100


@dataclass(frozen=True, kw_only=True)
class NumericColumn:
    """``(x - centre) / scale`` with missing at ``centre``; ``indicator`` adds a 0/1 column for missing."""

    name: str
    centre: float
    scale: float
    indicator: bool

    @classmethod
    def of(cls, values: pd.Series) -> "NumericColumn":
        """Median and interquartile range of ``values``, or half their range where the former is 0."""
        x = _cut(values)
        known = x[~np.isnan(x)]
        if not known.size:
            return cls(name=str(values.name), centre=0.0, scale=1.0, indicator=False)
        low, q1, median, q3, high = np.quantile(known, (0.0, 0.25, 0.5, 0.75, 1.0))
        scale = (q3 - q1) or (high - low) / 2 or 1.0
        return cls(name=str(values.name), centre=float(median), scale=float(scale), indicator=known.size < x.size)

    def encode(self, values: pd.Series) -> list[np.ndarray]:
        """The scaled column, smoothly bounded to (-3, 3), and the indicator where there is one."""
        x = _cut(values)
        missing = np.isnan(x)
        z = np.clip((np.where(missing, self.centre, x) - self.centre) / self.scale, -1e6, 1e6)
        bounded = z / np.sqrt(1 + (z / 3) ** 2)
        return [bounded, missing.astype(float)] if self.indicator else [bounded]


@dataclass(frozen=True, kw_only=True)
class CategoricalColumn:
    """One 0/1 column per level of ``levels``, in their order.

    ``rest`` adds a column for all other levels, also those never seen (all zeros without it), ``missing`` one
    for missing values. ``frequency`` maps each seen level to its scaled log frequency, an additional column of a
    column with a ``rest``; empty otherwise.
    """

    name: str
    levels: tuple[str, ...]
    rest: bool
    missing: bool
    frequency: Mapping[str, float]

    @classmethod
    def of(cls, values: pd.Series) -> "CategoricalColumn":
        """The levels that occur in ``values``, most frequent first, ties by name."""
        counts = {str(level): int(n) for level, n in values.value_counts().items() if n}
        order = sorted(counts, key=lambda level: (-counts[level], level))
        rest = len(order) > MAX_LEVELS
        span = np.log1p(len(values))
        return cls(
            name=str(values.name),
            levels=tuple(order[:MAX_LEVELS]),
            rest=rest,
            missing=bool(values.isna().any()),
            frequency={level: float(np.log1p(counts[level]) / span) for level in order} if rest else {},
        )

    def encode(self, values: pd.Series) -> list[np.ndarray]:
        """The columns as the class says."""
        missing = values.isna().to_numpy()
        texts = values.astype(object)
        columns: list[np.ndarray] = [(texts == level).to_numpy(dtype=float) for level in self.levels]
        if self.rest:
            columns.append((~texts.isin(self.levels) & ~missing).to_numpy(dtype=float))
            columns.append(texts.map(self.frequency).to_numpy(dtype=float, na_value=0.0))
        if self.missing:
            columns.append(missing.astype(float))
        return columns


@dataclass(frozen=True)
class DensePreprocessor:
    """What was learnt from the training columns, in their order.

    Numbers are scaled robustly and bounded smoothly, so that no outlier rules a network (Holzmüller et al., 2024,
    "Better by default", RealMLP); levels are one-hot up to ``MAX_LEVELS``, beyond that folded with their frequency.
    """

    columns: tuple[NumericColumn | CategoricalColumn, ...]

    @classmethod
    def of(cls, data: Dataset) -> "DensePreprocessor":
        """Learn from the rows of ``data``."""
        kinds = dict.fromkeys(data.categorical, CategoricalColumn)
        return cls(tuple(kinds.get(name, NumericColumn).of(data.X[name]) for name in data.X.columns))

    def encode(self, X: pd.DataFrame) -> np.ndarray:
        """``X`` with at least the training columns -> matrix, shape (n, width), ``float32``, always finite."""
        blocks = [block for column in self.columns for block in column.encode(X[column.name])]
        if not blocks:
            return np.zeros((len(X), 1), dtype=np.float32)
        return np.column_stack(blocks).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {type(c).__name__ + f":{i}": asdict(c) for i, c in enumerate(self.columns)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "DensePreprocessor":
        """The inverse of ``to_dict``."""
        kinds: dict[str, Any] = {k.__name__: k for k in (NumericColumn, CategoricalColumn)}
        return cls(tuple(kinds[key.split(":")[0]](**_tuples(values)) for key, values in raw.items()))


@dataclass(frozen=True)
class Outputs:
    """What the network's last layer stands for; ``target_scale`` is that of a regression target."""

    kind: DataKind
    n_classes: int
    target_scale: TargetScale = field(default_factory=TargetScale)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Outputs":
        """The inverse of ``to_dict``."""
        return cls(**{**raw, "target_scale": TargetScale(**raw["target_scale"])})

    @property
    def width(self) -> int:
        """Number of outputs: one per class, one alone for two classes and for regression."""
        return self.n_classes if self.kind == "multiclass" else 1

    @property
    def activation(self) -> str:
        """Of the last layer."""
        return {"binary": "sigmoid", "multiclass": "softmax", "regression": "linear"}[self.kind]

    def encode(self, y: np.ndarray) -> np.ndarray:
        """The target, standardised for regression, as the loss takes it."""
        return y.astype(np.int32 if self.kind == "multiclass" else np.float32)

    def decode(self, raw: np.ndarray) -> np.ndarray:
        """Network outputs, shape (n, width) -> values, shape (n,), or probabilities, shape (n, k)."""
        values: np.ndarray = raw.astype(np.float64)
        if self.kind == "regression":
            return self.target_scale.undo(values[:, 0])
        if self.kind == "binary":
            return np.column_stack([1 - values[:, 0], values[:, 0]])
        return np.asarray(values / values.sum(axis=1, keepdims=True))

    def answers(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """What ``decode`` gave -> predictions and probabilities, the latter ``None`` for regression."""
        if self.kind == "regression":
            return values, None
        return values.argmax(axis=1).astype(np.int64), values


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _cut(values: pd.Series) -> np.ndarray:
    return np.asarray(np.clip(values.to_numpy(dtype=float), -_HUGE, _HUGE))
