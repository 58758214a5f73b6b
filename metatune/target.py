"""The target column: what kind of task it makes, its classes, and which rows can be used."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from metatune.appearance import POINTS, are_decimals
from metatune.column_values import LARGEST, is_numeric, to_float
from metatune.errors import DataError, UnknownNameError, UsageError
from metatune.repair import Inspector, shortened

DataKind: TypeAlias = Literal["binary", "multiclass", "regression"]
#: Whole numbers with more different values than this are amounts, not classes.
MAX_NUMBERED_CLASSES = 20


@dataclass(frozen=True)
class TargetValues:
    """``y`` in the form of ``Dataset`` for the rows at positions ``rows``, which are all rows unless repaired."""

    y: np.ndarray
    kind: DataKind
    classes: tuple[object, ...]
    rows: np.ndarray


def read_target(
    y: "pd.Series[Any]", name: str, *, kind: str | None, rows_per_class: int, inspector: Inspector
) -> TargetValues:
    """The target ``y`` called ``name``, of the given or inferred ``kind`` (``"classification"``: by number of classes).

    Inferred: two different values are ``binary``; texts, booleans and categories are classes, and so are whole
    numbers with at most 20 different values and at least ten rows for each; other numbers are ``regression``.

    Raises ``DataError`` for a target that cannot be learnt, ``UsageError`` for a kind that does not fit it.
    """
    if kind is not None and kind not in (*get_args(DataKind), "classification"):
        raise UnknownNameError.of("kind", kind, [*get_args(DataKind), "classification"])
    rows = _present(y, name, inspector)
    y = y.iloc[rows].reset_index(drop=True)
    numbers = to_float(y).to_numpy() if is_numeric(y) else None
    if numbers is None and kind in (None, "regression") and are_decimals(pd.unique(y)):
        raise DataError(
            "numbers with decimal commas, which are texts",
            field=f"target {name!r}",
            value=y.iloc[0],
            remedy=f"{POINTS}; kind='classification' if they are the names of classes.",
        )
    if numbers is not None:
        usable = np.abs(numbers) <= LARGEST
        if not usable.all():
            inspector.found(
                f"infinite or beyond {LARGEST:.1e}",
                field=f"target {name!r}",
                value=float(numbers[~usable][0]),
                remedy="Correct these values",
                action=f"drop {(~usable).sum():,} of {len(usable):,} rows",
            )
            rows, y, numbers = rows[usable], y[usable].reset_index(drop=True), numbers[usable]
    if kind == "regression" or (kind is None and numbers is not None and not _are_classes(y, numbers)):
        return _regression(numbers, y, name, rows)
    return _classification(y, name, rows, kind=kind, rows_per_class=rows_per_class, inspector=inspector)


def _present(y: "pd.Series[Any]", name: str, inspector: Inspector) -> np.ndarray:
    missing = y.isna().to_numpy()
    if missing.all():
        raise DataError(
            "nothing but missing values",
            field=f"target {name!r}",
            value=np.nan,
            remedy="Choose another target column, or fill this one.",
        )
    if missing.any():
        inspector.found(
            "missing in some rows",
            field=f"target {name!r}",
            value=f"{missing.sum():,} of {len(missing):,} rows",
            remedy="Fill these values or remove the rows",
            action="drop these rows",
        )
    return np.flatnonzero(~missing)


def _are_classes(y: "pd.Series[Any]", numbers: np.ndarray) -> bool:
    n_values = len(pd.unique(numbers))
    if n_values <= 2 or pd.api.types.is_bool_dtype(y.dtype):
        return True
    few = n_values <= MAX_NUMBERED_CLASSES and n_values * 10 <= len(numbers)
    return few and bool((numbers == np.floor(numbers)).all())


def _regression(numbers: np.ndarray | None, y: "pd.Series[Any]", name: str, rows: np.ndarray) -> TargetValues:
    field = f"target {name!r}"
    if numbers is None:
        raise UsageError(
            "kind='regression' needs numbers",
            field=field,
            value=y.iloc[0],
            remedy="Use kind='classification' or convert the column to numbers.",
        )
    if numbers.min() == numbers.max():
        raise DataError(
            "the same value in all rows", field=field, value=float(numbers[0]), remedy="Choose another target column."
        )
    return TargetValues(numbers, "regression", (), rows)


def _classification(
    y: "pd.Series[Any]",
    name: str,
    rows: np.ndarray,
    *,
    kind: str | None,
    rows_per_class: int,
    inspector: Inspector,
) -> TargetValues:
    field = f"target {name!r}"
    codes, labels = _classes(y, field, inspector)
    if len(labels) == 1:
        raise DataError(
            "only one class", field=field, value=labels[0], remedy="Choose another target column, or add rows."
        )
    counts = np.bincount(codes)
    rare = np.flatnonzero(counts < rows_per_class)
    if len(rare):
        inspector.found(
            f"classes with fewer than the {rows_per_class} rows that training and judging need",
            field=field,
            value=", ".join(f"{labels[i]!r}: {counts[i]}" for i in rare[:5]),
            remedy="Merge or remove rare classes, use fewer folds, or kind='regression' if it is an amount",
            action=f"drop the rows of the classes {shortened([str(labels[i]) for i in rare])}",
        )
        common = counts[codes] >= rows_per_class
        kept = np.flatnonzero(counts >= rows_per_class)
        rows, codes = rows[common], np.searchsorted(kept, codes[common])
        labels = [labels[i] for i in kept]
    if len(labels) < 2:
        raise DataError(
            "fewer than two classes with enough rows", field=field, value=labels, remedy="Add rows of other classes."
        )
    actual: DataKind = "binary" if len(labels) == 2 else "multiclass"
    if kind not in (None, "classification", actual):
        raise UsageError(
            f"the target has {len(labels)} classes", field="kind", value=kind, remedy=f"Use kind={actual!r}."
        )
    return TargetValues(codes.astype(np.int64), actual, tuple(labels), rows)


def _classes(y: "pd.Series[Any]", field: str, inspector: Inspector) -> tuple[np.ndarray, list[Any]]:
    """Codes and labels of the classes, in the order of the categories or else sorted."""
    if isinstance(y.dtype, pd.CategoricalDtype):
        used = y.cat.remove_unused_categories()
        return used.cat.codes.to_numpy().astype(np.int64), used.cat.categories.tolist()
    if not is_numeric(y) and pd.api.types.infer_dtype(y, skipna=True) != "string":
        types = sorted({type(value).__name__ for value in y})
        inspector.found(
            "values that are neither texts nor numbers, or of several types",
            field=field,
            value=types,
            remedy="Give the target one type",
            action="turn all into texts",
        )
        y = y.map(str)
    codes, found = pd.factorize(y, sort=True)
    return codes.astype(np.int64), list(pd.Index(found).tolist())
