"""What the knowledge recommends first for a task without whose group it was made, beside the library's default.

See ``benchmark_knowledge.py`` for how it is judged.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kb.others import without_group
from kb.proposed import FIRST
from metatune.learners import get_family
from metatune.recommender import chosen
from metatune.search.candidates import identity
from metatune.search.prior import Prior
from metatune.space import SearchSpace
from metatune.splits import HOLDOUT, TEST
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.tasks import TaskTrials
from metatune.task import TaskRecord
from metatune.trial import ParamValue

#: Worse than the default by more than this is a harm that must not happen.
HARM = 0.02
#: Tasks with fewer trials are not replayed.
_FEWEST_TRIALS = 10
#: Groups are left out of the meta-surrogate in so many parts.
_PARTS = 20


class Tried(Prior):
    """The prior of a task for which only the configurations that were ``tried`` on it exist."""

    def __init__(
        self,
        surrogate: FamilySurrogate,
        record: TaskRecord,
        space: SearchSpace,
        tried: Sequence[dict[str, ParamValue]],
    ) -> None:
        super().__init__(surrogate, record, space)
        self._tried = list(tried)

    @cached_property
    def pool(self) -> list[dict[str, ParamValue]]:
        """What was tried."""
        return self._tried


class _Others:
    """``surrogate`` as if it had never seen a dataset of a group; whether it uses meta-features stays as decided.

    The meta-surrogate, which takes most of the time, is trained without a twentieth of the groups at once.
    """

    def __init__(self, surrogate: FamilySurrogate) -> None:
        self._surrogate = surrogate
        groups = sorted({task.record.group for task in surrogate.tasks})
        order = np.random.default_rng(0).permutation(len(groups))
        self._part = {group: int(place) % _PARTS for group, place in zip(groups, order, strict=True)}
        self._meta: dict[int, MetaSurrogate] = {}

    def than(self, group: str) -> FamilySurrogate:
        part = self._part[group]
        if part not in self._meta:
            kept = [task for task in self._surrogate.tasks if self._part[task.record.group] != part]
            features = self._surrogate.meta.features if self._surrogate.meta else ()
            self._meta[part] = MetaSurrogate.fit(kept, self._surrogate.encoder, features=features)
        return replace(without_group(self._surrogate, group), meta=self._meta[part])


def left_out(
    surrogate: FamilySurrogate, only: Collection[str] | None = None, *, known: FamilySurrogate | None = None
) -> Iterator[tuple[TaskTrials, Tried, int]]:
    """Every task with enough trials, what is known of it without its group, and the default's place in its pool.

    Only trials of the design are the task's: what was proposed for it was chosen by knowing it. ``only``: the datasets
    with these names. ``known``: all that is known, instead of the tasks of the other groups in ``surrogate``.
    """
    family, others = get_family(surrogate.table.family), _Others(surrogate)
    space, default = family.space(), family.default()
    for whole in surrogate.tasks:
        if only is not None and whole.record.name not in only:
            continue
        task = _designed(surrogate, whole)
        tried = [surrogate.table.configuration(int(row)) for row in task.rows]
        if default in tried and len(tried) >= _FEWEST_TRIALS:
            prior = Tried(known or others.than(task.record.group), task.record, space, tried)
            yield task, prior, tried.index(default)


def _designed(surrogate: FamilySurrogate, task: TaskTrials) -> TaskTrials:
    kept = surrogate.table.number[task.rows] < FIRST
    return replace(task, rows=task.rows[kept], X=task.X[kept], score=task.score[kept])


@dataclass(frozen=True)
class First:
    """The first recommendation on a dataset beside the default, as ``first`` says.

    ``gain`` over the default is in accuracy or shares of the target's spread, positive when better, minus infinity for
    one that failed; ``error`` is one standard error of the default's score.
    """

    dataset: str
    gain: float
    error: float

    @property
    def good(self) -> bool:
        """At least as good as the default, within one standard error."""
        return self.gain >= -self.error

    @property
    def harmful(self) -> bool:
        """Worse by more than ``HARM``."""
        return self.gain < -HARM


def standard_error(score: float, n: int, *, accuracy: bool) -> float:
    """Of an accuracy on ``n`` rows (binomial), or of an RMSE on ``n`` rows whose errors are normal."""
    return math.sqrt(max(score * (1 - score), 0.0) / n) if accuracy else score / math.sqrt(2 * n)


def firsts(
    surrogate: FamilySurrogate, only: Collection[str] | None = None, *, known: FamilySurrogate | None = None
) -> Iterator[First]:
    """The first recommendation for every task that was judged by accuracy or RMSE; arguments as of ``left_out``."""
    default = get_family(surrogate.table.family).default()
    for task, prior, at in left_out(surrogate, only, known=known):
        accuracy = task.record.metric.name == "accuracy"
        if not np.isfinite(task.score[at]) or not (accuracy or task.record.metric.name == "rmse"):
            continue
        best = chosen(prior, 3, default)[0][0]
        place = next(i for i, c in enumerate(prior.pool) if identity(c) == identity(best))
        scale = 1.0 if accuracy else spread(surrogate, task)
        gain = float(np.nan_to_num(task.score[place], nan=-np.inf) - task.score[at]) / scale
        usual = abs(float(task.score[at])) / scale
        yield First(task.record.name, gain, standard_error(usual, validated(surrogate, task), accuracy=accuracy))


def spread(surrogate: FamilySurrogate, task: TaskTrials) -> float:
    """Standard deviation of the target on the validation rows: RMSE / sqrt(1 - R2), by the best of the trials.

    The mean over the folds where there are several, as RMSE and R2 are.
    """
    row = task.best_rows(1)[0]
    rmse, r2 = (float(surrogate.table.metrics[name][row]) for name in ("rmse", "r2"))
    return rmse / math.sqrt(1 - r2) if r2 < 1 else math.inf


def validated(surrogate: FamilySurrogate, task: TaskTrials) -> int:
    """How many rows judged each trial: all that are no test rows with folds, a quarter of them in a holdout."""
    study = surrogate.table.studies[int(surrogate.table.study[task.rows[0]])]
    rows = task.record.n_rows * (1 - TEST)
    return max(1, round(rows * (HOLDOUT if study.notes["validation"] == "holdout" else 1.0)))
