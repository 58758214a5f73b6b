"""Feature columns into the normal form of ``Dataset``, and what is wrong with them."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from metatune.appearance import NOTICES, POINTS, appearance, words
from metatune.column_values import LARGEST, by_text, days, kind_of, to_float
from metatune.errors import DataError
from metatune.repair import Inspector, shortened

#: From so many levels on, or from 1,000 rows on with more levels than half the rows, a category is useless.
MAX_LEVELS = 10_000
KEPT_LEVELS = 100
#: Tables with more columns than this and than ten times their rows are too wide.
MAX_COLUMNS = 1_000
#: A sparse table with more cells is not made dense (400 MB).
MAX_DENSE_CELLS = 50_000_000


class _Problem(NamedTuple):
    problem: str
    remedy: str
    action: str


_PROBLEMS = {
    "mixed": _Problem(
        "values that are neither texts nor numbers, or of several types",
        "Give each column one type",
        "turn all into texts",
    ),
    "dates": _Problem("dates are not numbers", "Derive numbers from them", "turn them into days since 1970-01-01"),
    "infinite": _Problem("infinite values", "Replace them", "treat them as missing"),
    "huge": _Problem(f"numbers beyond {LARGEST:.1e}, which overflow", "Rescale them", "treat these as missing"),
    "empty": _Problem("nothing but missing values", "Leave such columns out", "drop them"),
    "constant": _Problem("only one value", "Leave such columns out", "drop them"),
    "many decimals": _Problem("numbers with decimal commas, which are texts", POINTS, "drop them"),
    "ids": _Problem(
        "different texts in more than half of the rows",
        "Leave such columns out, learn from one alone (Task.from_texts; of a file text='COLUMN')",
        "drop them",
    ),
    "levels": _Problem(
        f"more than {MAX_LEVELS:,} different texts",
        "Group them",
        f"keep the {KEPT_LEVELS} most frequent and treat the others as missing",
    ),
}


def dense(X: Any, inspector: Inspector) -> Any:
    """``X`` itself, or as a dense table where it is a SciPy sparse matrix or has pandas' sparse columns."""
    frame = isinstance(X, pd.DataFrame)
    if not (scipy.sparse.issparse(X) or (frame and any(isinstance(t, pd.SparseDtype) for t in X.dtypes))):
        return X
    cells = X.shape[0] * X.shape[1]
    if cells > MAX_DENSE_CELLS:
        raise DataError(
            "a sparse table that is too large to be made dense",
            field="X",
            value=X.shape,
            remedy=f"Reduce it to at most {MAX_DENSE_CELLS:,} cells, for example with TruncatedSVD.",
        )
    inspector.found(
        "a sparse table", field="X", value=X.shape, remedy="Make it dense (X.toarray())", action="make it dense"
    )
    if not frame:
        return X.toarray()
    return pd.DataFrame(
        {i: c.sparse.to_dense() if isinstance(c.dtype, pd.SparseDtype) else c for i, (_, c) in enumerate(X.items())}
    ).set_axis(X.columns, axis="columns")


def column_names(columns: Iterable[Any], inspector: Inspector) -> list[str]:
    """The names as unique strings."""
    names = list(columns)
    odd = [name for name in names if not isinstance(name, str)]
    if odd:
        inspector.found(
            "column names that are not texts",
            field="columns",
            value=odd[:5],
            remedy="Rename them (frame.columns = frame.columns.astype(str))",
            action="turn them into texts",
        )
    texts = [str(name) for name in names]
    repeated = [name for name, count in Counter(texts).items() if count > 1]
    if repeated:
        inspector.found(
            "column names that occur more than once",
            field="columns",
            value=shortened(repeated),
            remedy="Rename or remove columns",
            action="number them",
        )
    return _numbered(texts)


def _numbered(texts: list[str]) -> list[str]:
    taken = set(texts)
    seen: set[str] = set()
    unique = []
    for text in texts:
        name, n = text, 1
        while name in seen or (n > 1 and name in taken):
            n += 1
            name = f"{text}_{n}"
        seen.add(name)
        unique.append(name)
    return unique


def normal_columns(X: pd.DataFrame, names: list[str], inspector: Inspector) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The columns of ``X`` as ``float64`` or ``category`` under ``names``, without copying what is so already.

    With them, the names of the categories of which rare levels became missing.
    Raises ``DataError`` for the first kind of problem, naming all columns that have it.
    """
    X = X.set_axis(pd.RangeIndex(len(X)), axis="index")
    kept: dict[str, pd.Series[Any]] = {}
    found: dict[str, dict[str, object]] = {}
    for position, name in enumerate(names):
        problems: dict[str, object] = {}
        column = _normal(X.iloc[:, position], name, problems)
        if column is not None:
            kept[name] = column
        for problem, value in problems.items():
            found.setdefault(problem, {})[name] = value
    for kind, (problem, remedy, action) in _PROBLEMS.items():
        if kind in found:
            value = next(iter(found[kind].values()))
            field = f"X[{shortened(list(found[kind]))}]"
            inspector.found(problem, field=field, value=value, remedy=remedy, action=action)
    for kind, notice in NOTICES.items():
        for name, value in found.get(kind, {}).items():
            inspector.noticed(field=f"X[{name!r}]", value=value, notice=notice.format(name=name))
    if not kept:
        raise DataError("no usable column is left", field="X", value=X.shape, remedy="Add columns that vary.")
    columns = _not_too_wide(pd.DataFrame(kept, copy=False), inspector)
    return columns, tuple(name for name in found.get("levels", ()) if name in columns)


def _normal(column: "pd.Series[Any]", name: str, problems: dict[str, object]) -> "pd.Series[Any] | None":
    """The repaired column, or ``None`` if it must go; ``problems`` gets each problem with a value that has it."""
    kind = kind_of(column)
    if kind == "complex":
        raise DataError("complex numbers", field=f"X[{name!r}]", value=column.iloc[0], remedy="Give real parts.")
    if kind == "dates":
        if column.notna().any():
            problems["dates"] = column.dropna().iloc[0]
        return _number(days(column), problems)
    if kind == "number":
        try:
            return _number(to_float(column), problems)
        except OverflowError:  # whole numbers of Python have no largest
            kind = "mixed"
    if kind == "mixed":
        problems["mixed"] = sorted({type(value).__name__ for value in column.dropna()})
        column = column.map(str, na_action="ignore")
    return _category(column, problems)


def require_columns(X: pd.DataFrame, names: Iterable[str]) -> None:
    """Raise ``DataError`` naming the first of ``names`` that ``X`` does not have."""
    for name in names:
        if name not in X.columns:
            raise DataError(
                "a column that the model was trained on is missing",
                field="X",
                value=name,
                remedy="Give all feature columns of the training data; their order does not matter.",
            )


def _number(column: "pd.Series[float]", problems: dict[str, object]) -> "pd.Series[float] | None":
    low, high = _range(column)
    for problem, limit in (("infinite", np.finfo(np.float64).max), ("huge", LARGEST)):
        if high > limit or low < -limit:
            problems[problem] = high if high > limit else low
            column = column.where(column.abs() <= limit)
            low, high = _range(column)
    if np.isnan(low):
        problems["empty"] = low
        return None
    if low == high and not column.hasnans:
        problems["constant"] = low
        return None
    return column


def _range(column: "pd.Series[float]") -> tuple[float, float]:
    # A column of a row-major table is strided: one copy is cheaper than two strided passes.
    values = np.ascontiguousarray(column.to_numpy())
    return float(np.fmin.reduce(values)), float(np.fmax.reduce(values))


def _category(column: "pd.Series[Any]", problems: dict[str, object]) -> "pd.Series[Any] | None":
    codes, found = pd.factorize(column)
    codes, levels = by_text(codes, [str(level) for level in found])
    if not levels:
        problems["empty"] = np.nan
        return None
    if len(levels) == 1 and codes.min() >= 0:
        problems["constant"] = levels[0]
        return None
    looks = appearance(levels, len(column))
    if len(column) >= 1_000 and len(levels) > len(column) / 2:
        problems["many decimals" if looks == "decimals" else "ids"] = f"{len(levels):,} levels in {len(column):,} rows"
        return None
    if looks is not None:
        example = f"{words(levels)} words" if looks == "text" else repr(levels[0])
        problems[looks] = f"{len(levels):,} different values in {len(column):,} rows, such as {example}"
    if len(levels) > MAX_LEVELS:
        problems["levels"] = f"{len(levels):,} levels in {len(column):,} rows"
        levels, codes = _most_frequent(levels, codes)
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(levels)))


def _most_frequent(levels: list[str], codes: np.ndarray) -> tuple[list[str], np.ndarray]:
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    best = np.sort(np.argsort(-counts, kind="stable")[:KEPT_LEVELS])
    new = np.full(len(levels) + 1, -1)
    new[best] = np.arange(len(best))
    return [levels[i] for i in best], new[codes]


def _not_too_wide(X: pd.DataFrame, inspector: Inspector) -> pd.DataFrame:
    n_rows, n_columns = X.shape
    if n_columns <= max(MAX_COLUMNS, 10 * n_rows):
        return X
    inspector.found(
        f"far more columns than rows (more than {MAX_COLUMNS:,} and than ten times the rows)",
        field="X",
        value=X.shape,
        remedy="Select columns",
        action=f"keep the categories and the numbers of highest variance, {MAX_COLUMNS:,} columns in all",
    )
    variance = np.array([np.inf if isinstance(c.dtype, pd.CategoricalDtype) else c.var() for _, c in X.items()])
    best = np.sort(np.argsort(-variance, kind="stable")[:MAX_COLUMNS])
    return X.iloc[:, best]
