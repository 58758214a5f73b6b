"""``Data``: checked examples with their target, in the one form that everything else reads; ``Dataset``, the table."""

from abc import ABC, abstractmethod
from collections.abc import Sized
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar

import numpy as np
import pandas as pd

from metatune.columns import column_names, dense, normal_columns
from metatune.errors import DataError, UnknownNameError, UsageError
from metatune.raw import Raw, RawTable, as_array, as_frame
from metatune.repair import Inspector, Repair
from metatune.target import DataKind, read_target

__all__ = ["Data", "DataKind", "Dataset", "Modality", "Target", "column_of", "dataset_from_frame"]

Target: TypeAlias = np.ndarray
#: What an example is.
Modality: TypeAlias = Literal["table", "image", "text", "series"]
XT = TypeVar("XT", bound=Sized)


def _text(label: object) -> str:
    """``label`` as it is typed; whole numbers without decimals, which a column with gaps gives them."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


@dataclass(frozen=True, eq=False)
class Data(ABC, Generic[XT]):
    """Examples ``X`` and their target ``y`` of equal length, already checked; subclasses say what ``X`` is.

    ``y``: ``int64`` class codes 0 .. k-1 for classification, finite ``float64`` for regression.
    ``classes``: the original labels, in the order of the codes; empty for regression.
    """

    modality: ClassVar[Modality]

    X: XT
    y: Target
    kind: DataKind
    classes: tuple[object, ...] = ()
    target: str = "target"

    @property
    def n_rows(self) -> int:
        """Number of examples."""
        return len(self.X)

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """Number of values of which an example consists."""

    @property
    @abstractmethod
    def raw(self) -> Raw:
        """How further examples, as the user has them, become like ``X``."""

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.classes)

    def with_positive(self, label: object) -> Self:
        """The same with the class ``label``, or the one of that text, as code 1, which binary scores are of.

        Raises ``UsageError`` unless that is one of two classes.
        """
        found = [i for i, known in enumerate(self.classes) if type(known) is type(label) and known == label]
        found = found or [i for i, known in enumerate(self.classes) if _text(known) == _text(label)]
        if self.kind != "binary" or not found:
            known = " or ".join(map(repr, self.classes)) if self.kind == "binary" else ""
            remedy = f"Give {known}." if known else "Leave it out: only two classes have a positive one."
            raise UsageError("not one of two classes", field="positive", value=label, remedy=remedy)
        return self if found[0] == 1 else replace(self, y=1 - self.y, classes=self.classes[::-1])

    def take(self, rows: np.ndarray) -> Self:
        """The examples at positions ``rows`` (the classes stay as they are)."""
        X: Any = self.X
        return replace(self, X=X[rows], y=self.y[rows])


@dataclass(frozen=True, eq=False)
class Dataset(Data[pd.DataFrame]):
    """A table.

    ``X``: unique string column names, a plain ``RangeIndex``; each column is either ``float64`` (NaN where
    missing, never infinite) or ``category`` with string categories (missing where NaN).
    ``cut``: names of the categories of which rare levels became missing.
    """

    modality: ClassVar[Modality] = "table"

    cut: tuple[str, ...] = ()

    @cached_property
    def categorical(self) -> tuple[str, ...]:
        """Names of the columns of type ``category``."""
        return tuple(c for c in self.X.columns if isinstance(self.X[c].dtype, pd.CategoricalDtype))

    @cached_property
    def numeric(self) -> tuple[str, ...]:
        """Names of the columns of type ``float64``."""
        return tuple(c for c in self.X.columns if c not in set(self.categorical))

    @property
    def n_columns(self) -> int:
        """Number of feature columns."""
        return self.X.shape[1]

    @property
    def raw(self) -> Raw:
        """See ``Data``."""
        levels = {name: tuple(self.X[name].cat.categories) for name in self.categorical}
        return RawTable({name: levels.get(name) for name in self.X.columns}, self.cut)

    def take(self, rows: np.ndarray) -> Self:
        """The rows at positions ``rows`` (classes and categories stay as they are)."""
        return replace(self, X=self.X.iloc[rows].reset_index(drop=True), y=self.y[rows])


def dataset_from_frame(
    X: Any,
    y: Any,
    *,
    kind: str | None = None,
    target: str = "target",
    rows_per_class: int = 2,
    repair: bool = False,
) -> tuple[Dataset, tuple[Repair, ...]]:
    """The normal form of ``X`` and ``y``, and the repairs that it took (none unless ``repair``).

    ``X``: a DataFrame, or anything of shape (n, d) that NumPy or SciPy knows, whose columns are then called x0, x1,
    ... ``y``: n values, matched by position. Booleans and numbers become ``float64``; texts and categories become
    categories of strings. Neither is changed; columns that are ``float64`` already are shared, not copied.
    ``kind`` is inferred as ``metatune.target.read_target`` describes; a class needs ``rows_per_class`` rows.

    Raises ``DataError`` naming the columns and the remedy for data that cannot be learnt from; where a mechanical
    repair exists, ``repair=True`` makes it instead. ``UsageError`` for an unknown or unfitting ``kind``.
    """
    inspector = Inspector(repair=repair)
    frame = as_frame(dense(X, inspector))
    series = as_series(y)
    check_lengths(frame, series)
    if frame.shape[1] == 0:
        raise DataError("no feature columns", field="X", value=frame.shape, remedy="Give columns besides the target.")
    names = column_names(frame.columns, inspector)
    read = read_target(series, target, kind=kind, rows_per_class=rows_per_class, inspector=inspector)
    if len(read.rows) < len(frame):
        frame = frame.iloc[read.rows]
    features, cut = normal_columns(frame, names, inspector)
    return Dataset(features, read.y, read.kind, read.classes, target, cut), tuple(inspector.repairs)


def as_series(y: Any) -> "pd.Series[Any]":
    """The target ``y`` as a Series; raises ``DataError`` if it is not one value a row."""
    if isinstance(y, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(y).reset_index(drop=True)
    array = as_array(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            "not one value a row", field="y", value=array.shape, remedy="Give an array of shape (n,), one target."
        )
    return pd.Series(array, copy=False)


def check_lengths(X: Sized, y: Sized) -> None:
    """Raise ``DataError`` unless there are at least two examples, and a target for each."""
    if len(X) != len(y):
        raise DataError(
            "X and y of unequal length",
            field="y",
            value=f"{len(X)} rows of X, {len(y)} values of y",
            remedy="Pass one target value for each row.",
        )
    if len(X) < 2:
        problem = "no rows" if len(X) == 0 else "only one row"
        raise DataError(problem, field="X", value=getattr(X, "shape", len(X)), remedy="Give more rows.")


def column_of(frame: pd.DataFrame, name: object, *, field: str = "target") -> "pd.Series[Any]":
    """The column ``name`` of ``frame``. Raises ``UnknownNameError`` or, if there are several, ``DataError``."""
    matches = sum(1 for column in frame.columns if column == name)
    if matches == 0:
        raise UnknownNameError.of(field, name, map(str, frame.columns))
    if matches > 1:
        raise DataError(
            f"{matches} columns have the {field}'s name",
            field=field,
            value=name,
            remedy="Rename or remove all but one of them.",
        )
    found: pd.Series[Any] = frame[name]
    return found
