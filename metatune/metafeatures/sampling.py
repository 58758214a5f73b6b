"""``Sample``: the rows and columns that all meta-features are computed from, in a canonical form.

Sampling comes first, column by column, so that cost does not grow with the data and the frame is never copied.
The canonical form makes every feature independent of the order of the columns and of how classes are coded.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from metatune.dataset import DataKind, Dataset

#: At most this many rows and columns are looked at.
MAX_ROWS = 10_000
MAX_COLUMNS = 100


@dataclass(frozen=True, eq=False)
class Sample:
    """At most ``MAX_ROWS`` rows and ``MAX_COLUMNS`` columns of a dataset, with the sizes of the whole.

    ``numeric``: float64 (m, a), NaN where missing, each column divided by 2**exponent so that it lies in [-1, 1]
    (a division without rounding: squares cannot overflow). ``codes``: int64 (m, c), levels of the categorical
    columns numbered as they appear, -1 where missing. ``y``: class codes numbered as they appear, or the target
    divided by a power of two. ``class_counts``: rows of each class present, over all rows; empty for regression.
    """

    numeric: np.ndarray
    exponents: np.ndarray
    codes: np.ndarray
    y: np.ndarray
    kind: DataKind
    n_rows: int
    n_columns: int
    share_categorical: float
    class_counts: np.ndarray

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number."""
        return self.kind == "regression"


def positions(rng: np.random.Generator, n: int, limit: int) -> np.ndarray:
    """At most ``limit`` of the positions 0 .. n - 1, ascending."""
    if n <= limit:
        return np.arange(n)
    return np.sort(rng.choice(n, limit, replace=False, shuffle=False))


def draw(data: Dataset, rows: np.ndarray, seed: int) -> Sample:
    """The sample of ``data`` restricted to the positions ``rows``; equal arguments give equal samples."""
    rng = np.random.default_rng(seed)
    chosen = rows[positions(rng, len(rows), MAX_ROWS)]
    is_categorical = np.array([isinstance(dtype, pd.CategoricalDtype) for dtype in data.X.dtypes], dtype=bool)
    numeric, codes = [], []
    for j in positions(rng, data.n_columns, MAX_COLUMNS):
        column = data.X.iloc[:, j].iloc[chosen]
        if is_categorical[j]:
            codes.append(pd.factorize(column.array)[0])
        else:
            numeric.append(column.to_numpy(np.float64))
    values, exponents = scaled(_canonical(numeric, len(chosen), np.float64))
    regression = data.kind == "regression"
    return Sample(
        numeric=values,
        exponents=exponents,
        codes=_canonical(codes, len(chosen), np.int64),
        y=scaled(data.y[chosen, None])[0][:, 0] if regression else pd.factorize(data.y[chosen])[0],
        kind=data.kind,
        n_rows=len(rows),
        n_columns=data.n_columns,
        share_categorical=float(is_categorical.mean()) if data.n_columns else np.nan,
        class_counts=np.empty(0, np.int64) if regression else _class_counts(data.y, rows),
    )


def summarized(values: np.ndarray, chosen: np.ndarray, rows: np.ndarray, y: np.ndarray, kind: DataKind) -> Sample:
    """The sample of the examples at the positions ``chosen``, in the place of which stand ``values`` (m, a).

    ``rows``: the positions of all examples. All columns are divided by one power of two: they keep their proportions.
    """
    largest = np.fmax.reduce(np.abs(values), axis=None, initial=0.0)
    exponent = np.frexp(largest)[1]
    regression = kind == "regression"
    return Sample(
        numeric=np.ldexp(values.astype(np.float64), -exponent),
        exponents=np.full(values.shape[1], exponent),
        codes=np.empty((len(chosen), 0), dtype=np.int64),
        y=scaled(y[chosen, None].astype(np.float64))[0][:, 0] if regression else pd.factorize(y[chosen])[0],
        kind=kind,
        n_rows=len(rows),
        n_columns=values.shape[1],
        share_categorical=0.0,
        class_counts=np.empty(0, np.int64) if regression else _class_counts(y, rows),
    )


def scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``values`` (m, a), each column divided by the power of two above its largest magnitude; and the exponents."""
    largest = np.fmax.reduce(np.abs(values), axis=0, initial=0.0)
    exponents = np.frexp(largest)[1]
    return np.ldexp(values, -exponents), exponents


def _class_counts(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    counts = np.bincount(y[rows])
    return np.sort(counts[counts > 0])


def _canonical(columns: list[np.ndarray], n_rows: int, dtype: type) -> np.ndarray:
    # Sorting columns by their content makes ties between columns (equally good splits, equal eigenvalues) fall
    # the same way whatever their order in the table.
    ordered = sorted(columns, key=lambda column: column.tobytes())
    return np.array(ordered, dtype=dtype).reshape(len(ordered), n_rows).T
