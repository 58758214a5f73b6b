"""``OwnFolds``: the user's own splits, where rows belong together or follow one another."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metatune.errors import DataError, UsageError

_REMEDY = (
    "Give pairs of positions (train, valid), such as list(GroupKFold(3).split(X, y, groups)) or "
    "list(TimeSeriesSplit(3).split(X))."
)


@dataclass(frozen=True, eq=False)
class OwnFolds:
    """Pairs (train, valid) of positions among ``n_rows`` rows; the rows that are in none are the test split."""

    folds: tuple[tuple[np.ndarray, np.ndarray], ...]
    n_rows: int
    #: The least with which a class can be on both sides; ``split`` sees to where its rows really are.
    rows_per_class: int = 2

    @classmethod
    def of(cls, pairs: Iterable[Any], n_rows: int) -> "OwnFolds":
        """The folds ``pairs``. Raises ``UsageError`` for what are no positions, or positions that train and judge."""
        folds = []
        for number, pair in enumerate(pairs):
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UsageError("not a pair", field=f"validation[{number}]", value=pair, remedy=_REMEDY)
            train, valid = (_positions(part, n_rows, f"validation[{number}][{i}]") for i, part in enumerate(pair))
            both = np.intersect1d(train, valid)
            if len(both):
                raise UsageError(
                    "rows that train and judge",
                    field=f"validation[{number}]",
                    value=f"{len(both):,} rows, such as {both[0]}",
                    remedy="Let each row of a fold train or judge.",
                )
            folds.append((train, valid))
        if not folds:
            raise UsageError("no folds", field="validation", value=[], remedy=_REMEDY)
        return cls(tuple(folds), n_rows)

    def split(self, strata: np.ndarray) -> tuple[np.ndarray, tuple[tuple[np.ndarray, np.ndarray], ...]]:
        """The test rows and the folds, all ascending, for rows of the classes ``strata``.

        Raises ``UsageError`` where rows were dropped, ``DataError`` where a class is not learnt or only one is judged.
        """
        if len(strata) != self.n_rows:
            raise UsageError(
                "positions of rows of which some were dropped by repair",
                field="validation",
                value=f"{self.n_rows - len(strata):,} of {self.n_rows:,} rows",
                remedy="Remove these rows before you make the folds.",
            )
        classes = np.unique(strata)
        for number, (train, valid) in enumerate(self.folds):
            if len(np.unique(strata[train])) < len(classes):
                raise _lacking("train", number, "rows of every class")
            if len(classes) > 1 and len(np.unique(strata[valid])) < 2:
                raise _lacking("judge", number, "rows of two classes at least")
        used = np.concatenate([rows for fold in self.folds for rows in fold])
        return np.setdiff1d(np.arange(self.n_rows), used), self.folds


def _lacking(side: str, number: int, needed: str) -> DataError:
    return DataError(
        f"the rows that {side} lack {needed}",
        field=f"validation[{number}]",
        value=f"fold {number}",
        remedy="Use fewer or other folds, or merge or remove rare classes.",
    )


def _positions(part: Any, n_rows: int, field: str) -> np.ndarray:
    """``part`` as different positions below ``n_rows``, ascending."""
    try:
        rows = np.asarray(part)
    except ValueError:  # lists of different lengths
        rows = np.empty(0)
    if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
        raise UsageError("not positions of rows", field=field, value=part, remedy=_REMEDY)
    if rows.min() < 0 or rows.max() >= n_rows:
        worst = int(rows.min() if rows.min() < 0 else rows.max())
        remedy = f"Use positions from 0 to {n_rows - 1:,}, not labels of an index."
        raise UsageError("beyond the rows", field=field, value=worst, remedy=remedy)
    kept = np.unique(rows).astype(np.int64)
    if len(kept) < len(rows):
        value = f"{len(rows) - len(kept):,} of {len(rows):,}"
        raise UsageError("positions that occur more than once", field=field, value=value, remedy="Name each row once.")
    return kept
