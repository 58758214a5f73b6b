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
    """Pairs (train, valid) of positions among ``n_rows`` rows; rows that are in none are the test split.

    Where every fold trains on rows before those that it judges, as in time, only rows after all of the folds are: a
    model is not tested on a past that it was not trained on. Older rows that no fold has are then left out.
    """

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

    def split(self, strata: np.ndarray, judged: int) -> tuple[np.ndarray, tuple[tuple[np.ndarray, np.ndarray], ...]]:
        """The test rows and the folds, all ascending, for rows of the classes ``strata``.

        Raises ``UsageError`` where rows were dropped, ``DataError`` where a class is not learnt or fewer than
        ``judged`` of them are judged.
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
                raise _lacking("train", number, "rows of every class", "or merge or remove rare classes")
            if len(np.unique(strata[valid])) < min(judged, len(classes)):
                needed = "every class" if judged == len(classes) > 2 else f"{judged} classes at least"
                raise _lacking("judge", number, f"rows of {needed}, which the metric needs", "or another metric")
        return self._test(), self.folds

    def _test(self) -> np.ndarray:
        """The rows that are in no fold; where folds follow time, those after the last that is in one."""
        used = np.concatenate([rows for fold in self.folds for rows in fold])
        in_time = all(train[-1] < valid[0] for train, valid in self.folds)
        return np.setdiff1d(np.arange(used.max() + 1 if in_time else 0, self.n_rows), used)


def _lacking(side: str, number: int, needed: str, other: str) -> DataError:
    return DataError(
        f"the rows that {side} lack {needed}",
        field=f"validation[{number}]",
        value=f"fold {number}",
        remedy=f"Use fewer or other folds, {other}.",
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
