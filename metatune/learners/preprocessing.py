"""Tables to matrices: what a family needs done to missing values and categories, learnt on the training rows only.

Both encoders keep their state as plain JSON, take any frame that has the columns they were fitted on, and treat a
level that was not in the training rows as unknown. They never look at the target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from metatune.columns import require_columns
from metatune.dataset import Dataset

#: Levels of a categorical column that get an indicator each; the rest share the frequency column.
ONE_HOT_LEVELS = 16

#: Larger numbers are cut to this: scikit-learn's trees compute in single precision, scalers square.
_LARGEST = 1e30


@dataclass(frozen=True)
class NumericColumn:
    """A numeric column: the median of its training rows (0 if it had none), and whether it had missing values."""

    name: str
    median: float
    has_missing: bool


@dataclass(frozen=True)
class CategoricalColumn:
    """A categorical column: its levels in the training rows, most frequent first, with their shares of the rows."""

    name: str
    levels: tuple[str, ...]
    shares: tuple[float, ...]
    has_missing: bool


class MatrixEncoder:
    """Frame -> float matrix without missing values, shape (n, ``width``).

    Numbers: median imputation, and an indicator column where the training rows had missing values. Categories:
    one indicator for each of the ``ONE_HOT_LEVELS`` most frequent levels, one for missing; a column with more levels
    also gives each row the frequency of its level in the training rows (count encoding, 0 for unknown).
    """

    def __init__(self, numeric: Sequence[NumericColumn], categorical: Sequence[CategoricalColumn]) -> None:
        self.numeric = tuple(numeric)
        self.categorical = tuple(categorical)

    @classmethod
    def fit(cls, data: Dataset) -> "MatrixEncoder":
        """The encoder for the columns of ``data``."""
        numeric = [_numeric_column(name, data.X[name].to_numpy(dtype=np.float64)) for name in data.numeric]
        return cls(numeric, [_categorical_column(name, data.X[name]) for name in data.categorical])

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """The matrix for the rows of ``X``. Raises ``DataError`` when a column is missing."""
        require_columns(X, [c.name for c in self.numeric] + [c.name for c in self.categorical])
        blocks: list[np.ndarray] = []
        for number in self.numeric:
            values = numbers(X[number.name])
            missing = np.isnan(values)
            blocks.append(np.clip(np.where(missing, number.median, values), -_LARGEST, _LARGEST)[:, None])
            if number.has_missing:
                blocks.append(missing.astype(np.float64)[:, None])
        for category in self.categorical:
            blocks.extend(_indicator_blocks(category, X[category.name]))
        return np.hstack(blocks) if blocks else np.zeros((len(X), 1))

    def to_state(self) -> dict[str, Any]:
        """The encoder as plain JSON."""
        return {"numeric": [asdict(c) for c in self.numeric], "categorical": [asdict(c) for c in self.categorical]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "MatrixEncoder":
        """The encoder that ``to_state`` described."""
        numeric = [NumericColumn(**column) for column in state["numeric"]]
        return cls(numeric, [_read_categorical(column) for column in state["categorical"]])


class NativeEncoder:
    """Frame -> float matrix, one column per feature, for libraries that take missing values and category codes.

    Numbers stay as they are; categories become codes, NaN for missing and unknown. Columns keep their order;
    ``categorical_positions`` says which hold codes.
    """

    def __init__(self, columns: Sequence[str], levels: Mapping[str, tuple[str, ...]]) -> None:
        self.columns = tuple(columns)
        self.levels = dict(levels)

    @classmethod
    def fit(cls, data: Dataset) -> "NativeEncoder":
        """The encoder for the columns of ``data``."""
        levels = {name: _categorical_column(name, data.X[name]).levels for name in data.categorical}
        return cls([str(c) for c in data.X.columns], levels)

    @property
    def categorical_positions(self) -> list[int]:
        """Positions of the columns that hold codes."""
        return [i for i, name in enumerate(self.columns) if name in self.levels]

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """The matrix for the rows of ``X``. Raises ``DataError`` when a column is missing."""
        require_columns(X, self.columns)
        matrix = np.empty((len(X), len(self.columns)))
        for i, name in enumerate(self.columns):
            if name in self.levels:
                codes, _ = level_codes(X[name], self.levels[name])
                matrix[:, i] = np.where(codes < 0, np.nan, codes)
            else:
                matrix[:, i] = numbers(X[name])
        return matrix

    def to_state(self) -> dict[str, Any]:
        """The encoder as plain JSON."""
        return {"columns": list(self.columns), "levels": {name: list(v) for name, v in self.levels.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "NativeEncoder":
        """The encoder that ``to_state`` described."""
        return cls(state["columns"], {name: tuple(levels) for name, levels in state["levels"].items()})


def numbers(column: pd.Series) -> np.ndarray:
    """The column as float64, NaN for what is not a number."""
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def level_codes(column: pd.Series, levels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Positions in ``levels`` of the column's values (-1: missing or not among them), and which rows are missing."""
    category = column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category")
    position = {level: i for i, level in enumerate(levels)}
    # One more place at the end, so that the code -1 of a missing value finds -1.
    places = np.array([position.get(str(level), -1) for level in category.cat.categories] + [-1], dtype=np.int64)
    codes = category.cat.codes.to_numpy()
    return places[codes], codes < 0


def _numeric_column(name: str, values: np.ndarray) -> NumericColumn:
    missing = np.isnan(values)
    median = float(np.median(values[~missing])) if not missing.all() else 0.0
    return NumericColumn(name, median, bool(missing.any()))


def _categorical_column(name: str, column: pd.Series) -> CategoricalColumn:
    counts = column.value_counts()  # most frequent first, missing left out
    counts = counts[counts > 0]
    # Ties by name: value_counts leaves their order to the order of the rows.
    ordered = sorted(
        zip(counts.index.astype(str), counts.to_numpy(), strict=True), key=lambda item: (-item[1], item[0])
    )
    levels, shares = tuple(level for level, _ in ordered), tuple(float(n) / len(column) for _, n in ordered)
    return CategoricalColumn(name, levels, shares, bool(column.isna().any()))


def _read_categorical(state: Mapping[str, Any]) -> CategoricalColumn:
    return CategoricalColumn(state["name"], tuple(state["levels"]), tuple(state["shares"]), state["has_missing"])


def _indicator_blocks(category: CategoricalColumn, column: pd.Series) -> list[np.ndarray]:
    codes, missing = level_codes(column, category.levels)
    width = min(len(category.levels), ONE_HOT_LEVELS)
    blocks = [(codes[:, None] == np.arange(width)).astype(np.float64)]
    if len(category.levels) > ONE_HOT_LEVELS:
        shares = np.array([*category.shares, 0.0])
        blocks.append(shares[codes][:, None])
    if category.has_missing:
        blocks.append(missing.astype(np.float64)[:, None])
    return blocks
