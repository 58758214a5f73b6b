"""``Dataset``: a checked table of features with its target, in the one form that everything else reads."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

Target: TypeAlias = np.ndarray
DataKind: TypeAlias = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features ``X`` and target ``y`` of equal length, already checked.

    ``X``: unique string column names, a plain ``RangeIndex``; each column is either ``float64`` (NaN where
    missing, never infinite) or ``category`` with string categories (missing where NaN).
    ``y``: ``int64`` class codes 0 .. k-1 for classification, finite ``float64`` for regression.
    ``classes``: the original labels, in the order of the codes; empty for regression.
    """

    X: pd.DataFrame
    y: Target
    kind: DataKind
    classes: tuple[object, ...] = ()
    target: str = "target"

    @cached_property
    def categorical(self) -> tuple[str, ...]:
        """Names of the columns of type ``category``."""
        return tuple(c for c in self.X.columns if isinstance(self.X[c].dtype, pd.CategoricalDtype))

    @cached_property
    def numeric(self) -> tuple[str, ...]:
        """Names of the columns of type ``float64``."""
        return tuple(c for c in self.X.columns if c not in set(self.categorical))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.X)

    @property
    def n_columns(self) -> int:
        """Number of feature columns."""
        return self.X.shape[1]

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.classes)

    def take(self, rows: np.ndarray) -> "Dataset":
        """The rows at positions ``rows`` (classes and categories stay as they are)."""
        part = self.X.iloc[rows].reset_index(drop=True)
        return Dataset(part, self.y[rows], self.kind, self.classes, self.target)
