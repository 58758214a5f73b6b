"""Which rows judge a trial, and which judge the end result: deterministic by seed, stratified by class."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from metatune.errors import DataError, UnknownNameError, UsageError
from metatune.own_folds import OwnFolds
from metatune.repair import Repair

#: ``None`` (by size), ``"holdout"``, the share of a holdout in (0, 1), the number of folds, or the folds themselves.
Validation: TypeAlias = str | float | int | Iterable[tuple[Any, Any]] | None
Folds: TypeAlias = tuple[tuple[np.ndarray, np.ndarray], ...]

SMALL = 2_000
FOLDS = 3
HOLDOUT = 0.25
TEST = 0.2


@dataclass(frozen=True)
class SplitPlan:
    """How rows are divided: ``test`` share first, of the rest ``folds`` folds, or a holdout of ``share`` (1 fold)."""

    folds: int
    share: float
    test: float

    @property
    def rows_per_class(self) -> int:
        """The fewest rows with which a class is in the test split, and in train and valid of every fold."""
        return max(self.folds, 2) + (self.test > 0)

    def train_rows(self, n_rows: int) -> int:
        """How many of ``n_rows`` rows the smallest fold trains on, where no class is so rare that it takes more."""
        rest = n_rows - round(self.test * n_rows)
        return rest - (round(self.share * rest) if self.folds == 1 else -(-rest // self.folds))


def plan_splits(validation: Validation, test_size: float, n_rows: int) -> SplitPlan:
    """The plan for ``n_rows`` rows; ``validation=None`` is 3 folds below 2,000 rows and a holdout of 25 % from there.

    Raises ``UsageError`` for what cannot be a plan.
    """
    if isinstance(test_size, bool) or not isinstance(test_size, int | float) or not 0 <= test_size < 1:
        raise UsageError("not a share", field="test_size", value=test_size, remedy="Use 0 <= test_size < 1.")
    if validation is None:
        folds, share = (FOLDS, 0.0) if n_rows < SMALL else (1, HOLDOUT)
    elif isinstance(validation, str):
        if validation != "holdout":
            raise UnknownNameError.of("validation", validation, ["holdout"])
        folds, share = 1, HOLDOUT
    elif isinstance(validation, float) and 0 < validation < 1:
        folds, share = 1, validation
    elif isinstance(validation, int) and not isinstance(validation, bool) and validation >= 2:
        folds, share = validation, 0.0
    else:
        raise UsageError(
            "neither a share nor a number of folds",
            field="validation",
            value=validation,
            remedy="Use 'holdout', a share between 0 and 1, a number of folds from 2, or pairs of positions "
            "(train, valid), such as list(GroupKFold(3).split(X, y, groups)).",
        )
    return SplitPlan(folds, share, float(test_size))


def plan_rows(validation: Validation, test_size: float, n_rows: int) -> SplitPlan | OwnFolds:
    """``plan_splits``, or the user's own folds, which leave the test split out themselves.

    Raises ``UsageError`` for what cannot be a plan.
    """
    if isinstance(validation, str) or not isinstance(validation, Iterable):
        return plan_splits(validation, test_size, n_rows)
    if test_size != TEST:
        raise UsageError(
            "of no use with own folds, whose test split is what none of them has",
            field="test_size",
            value=test_size,
            remedy="Leave it out, and make the folds of those rows that are not to be for the test.",
        )
    return OwnFolds.of(validation, n_rows)


def split(strata: np.ndarray, plan: SplitPlan | OwnFolds, *, seed: int, judged: int = 1) -> tuple[np.ndarray, Folds]:
    """Positions of the test rows, and (train, valid) positions of each fold, all ascending.

    ``strata``: class codes of the rows, all equal where there are no classes. A class with
    ``plan.rows_per_class`` rows or more is in every part. Raises ``DataError`` for too few rows. Own folds stay as they
    are, and each must have ``judged`` classes to be judged by.
    """
    if isinstance(plan, OwnFolds):
        return plan.split(strata, judged)
    parts = max(plan.folds, 2) + (plan.test > 0)
    if len(strata) < 2 * parts:
        raise DataError(
            f"too few rows to judge a model ({2 * parts} are needed for this validation)",
            field="rows",
            value=len(strata),
            remedy="Add rows, or use fewer folds or test_size=0.",
        )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError("not a whole number from 0", field="seed", value=seed, remedy="Use for example seed=0.")
    rng = np.random.default_rng(seed)
    everything = np.arange(len(strata))
    chosen = np.zeros(len(strata), dtype=bool)
    if plan.test > 0:
        chosen[_share_of(strata, plan.test, max(plan.folds, 2), rng)] = True
    test, rest = everything[chosen], everything[~chosen]
    if plan.folds == 1:
        valid = np.zeros(len(rest), dtype=bool)
        valid[_share_of(strata[rest], plan.share, 1, rng)] = True
        return test, ((rest[~valid], rest[valid]),)
    fold = np.empty(len(rest), dtype=np.int64)
    fold[_by_class(strata[rest], rng)] = np.arange(len(rest)) % plan.folds
    return test, tuple((rest[fold != k], rest[fold == k]) for k in range(plan.folds))


def left_out(test: np.ndarray, folds: Folds, n_rows: int) -> tuple[Repair, ...]:
    """A notice of the rows that neither train nor judge nor test, as own folds that follow time may leave some."""
    used = np.unique(np.concatenate([test, *(rows for fold in folds for rows in fold)]))
    if len(used) == n_rows:
        return ()
    notice = "not used, as they are in no fold and older than the last rows that are: each fold trains on what is past"
    return (Repair("validation", f"{n_rows - len(used):,} of {n_rows:,} rows", notice),)


def _by_class(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All positions, class after class, in random order within a class."""
    shuffled = rng.permutation(len(strata))
    return shuffled[np.argsort(strata[shuffled], kind="stable")]


def _share_of(strata: np.ndarray, share: float, keep: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of about ``share`` of the rows: from every class one at least, leaving ``keep`` of it if possible."""
    order = _by_class(strata, rng)
    counts = np.bincount(strata)
    counts = counts[counts > 0]
    rank = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    size = np.repeat(counts, counts)
    # Sorted by this key, every prefix has the classes in proportion; first members lead, the kept ones are last.
    key = np.where(rank == 0, 0.0, (rank + 0.5) / size)
    key[rank >= size - keep] = np.inf
    wanted = min(max(round(share * len(strata)), len(counts), 2), int(np.isfinite(key).sum()), len(strata) - 2 * keep)
    return order[np.argsort(key, kind="stable")[:wanted]]
