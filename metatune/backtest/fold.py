"""``Fold``: one split of a table's trials into history and pools; ``Problem``: one task left out, to be searched."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from metatune.backtest.learnt import Learnt
from metatune.backtest.table import ReplayTable
from metatune.errors import UnknownNameError
from metatune.space import SearchSpace
from metatune.surrogate.tasks import TaskTrials
from metatune.task import TaskRecord
from metatune.trial import ParamValue

#: What is done to the history to see what a search does with a bad one.
Stress = Literal["none", "inverted", "unrelated"]

#: Numbers that keep the random draws of one seed apart.
_SPLIT, _HISTORY, _OTHERS, _POOL, _SHUFFLE = range(5)


class Fold:
    """What the left-out tasks of one ``table`` and ``seed`` share, computed when first asked for and kept.

    Where tasks share configurations, a random half of the configurations is history and the other half the pools:
    a shared optimum would otherwise be looked up. Otherwise all trials are both, and only other tasks are history.

    ``history_rows``: so many random trials at most are the history of a task. ``stress``: ``inverted`` negates the
    history's scores, ``unrelated`` shuffles them among its configurations. ``n_history``: only so many other tasks,
    drawn at random for each left-out task, are its history. ``teachers``: positions of the tasks that may be history at
    all, unless all may. ``whole``: all trials are history and pools even where tasks share configurations, as for a
    search that opens with configurations of the history. Raises ``UnknownNameError`` for another ``stress``.
    """

    def __init__(
        self,
        table: ReplayTable,
        seed: int,
        *,
        history_rows: int = 500,
        stress: str = "none",
        n_history: int | None = None,
        teachers: Collection[int] | None = None,
        whole: bool = False,
    ) -> None:
        if stress not in get_args(Stress):
            raise UnknownNameError.of("stress", stress, get_args(Stress))
        self.table, self.seed = table, seed
        self.history_rows, self.stress, self.n_history = history_rows, stress, n_history
        self.whole = whole
        self._teachers = range(len(table.tasks)) if teachers is None else frozenset(teachers)
        self._histories: dict[int, TaskTrials] = {}

    @cached_property
    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the configurations of the history and of the pools, each sorted."""
        everything = np.arange(len(self.table.configurations))
        if self.whole or not self.table.shared:
            return everything, everything
        shuffled = self._rng(_SPLIT).permutation(everything)
        half = len(shuffled) // 2
        return np.sort(shuffled[:half]), np.sort(shuffled[half:])

    def history(self, task: int) -> TaskTrials:
        """The trials of ``task`` that others may learn from, in random order.

        ``rows`` are positions in the table's configurations; none of a task that may not be history.
        """
        if task not in self._histories:
            whole = self.table.tasks[task]
            own = np.flatnonzero(np.isin(whole.rows, self.split[0]) & (task in self._teachers))
            own = self._rng(_HISTORY, task).permutation(own)[: self.history_rows]
            score = whole.score[own]
            if self.stress == "inverted":
                score = -score
            elif self.stress == "unrelated":
                score = self._rng(_SHUFFLE, task).permutation(score)
            rows = whole.rows[own]
            self._histories[task] = TaskTrials(whole.record, rows, self.table.X[rows], score)
        return self._histories[task]

    def pool_rows(self, task: int) -> np.ndarray:
        """Positions of the configurations that a search on ``task`` may ask for, in random order."""
        return np.asarray(self.table.tasks[task].rows[self._pool(task)])

    def _pool(self, task: int) -> np.ndarray:
        """Positions among the trials of ``task``; shuffled, so that a tie decided by order is decided by chance."""
        own = np.flatnonzero(np.isin(self.table.tasks[task].rows, self.split[1]))
        return self._rng(_POOL, task).permutation(own)

    @cached_property
    def learnt(self) -> Learnt:
        """What the histories of all tasks teach about the configurations in the pools."""
        table = self.table
        asked = np.zeros(len(table.configurations), dtype=bool)
        asked[np.concatenate([task.rows for task in table.tasks])] = True
        in_pool = np.zeros_like(asked)
        in_pool[self.split[1]] = True
        histories = [self.history(i) for i in range(len(table.tasks))]
        return Learnt(histories, table.encoder, table.space, table.X, asked & in_pool)

    def others(self, task: int) -> np.ndarray:
        """The tasks that are history for ``task``: those that teach, but itself and its group; ascending."""
        tasks = self.table.tasks
        different = [i for i in range(len(tasks)) if i != task and tasks[i].record.group != tasks[task].record.group]
        found = list(filter(self.learnt.teaches, different))
        if self.n_history is not None and len(found) > self.n_history:
            found = sorted(self._rng(_OTHERS, task).choice(found, self.n_history, replace=False).tolist())
        return np.array(found, dtype=np.int64)

    def problem(self, task: int) -> "Problem":
        """The search on ``task``, by its position in the table."""
        return Problem(self, task)

    @cached_property
    def playable(self) -> list[int]:
        """Those of the searched tasks on which a search can be judged: their pools hold two different scores.

        None of a table without a task that could be history for another.
        """
        if not self.table.has_history:
            return []
        searched = range(len(self.table.tasks)) if self.table.searched is None else self.table.searched
        return [i for i in searched if len(scores := self.pool_scores(i)) and scores.min() < scores.max()]

    def pool_scores(self, task: int) -> np.ndarray:
        """The scores in the pool of ``task``, failures left out."""
        score = self.table.tasks[task].score[self._pool(task)]
        return np.asarray(score[np.isfinite(score)])

    def _rng(self, purpose: int, task: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, task])


@dataclass(frozen=True, eq=False)
class Problem:
    """A search on one task that was left out, over the m configurations of its pool.

    A method may read everything but ``score``, which it gets one by one.
    """

    fold: Fold
    task: int

    @property
    def record(self) -> TaskRecord:
        """What is known of the task itself."""
        return self.fold.table.tasks[self.task].record

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.fold.table.space

    @cached_property
    def others(self) -> np.ndarray:
        """Positions of the tasks of the history in the table, shape (others,)."""
        return self.fold.others(self.task)

    @cached_property
    def _chosen(self) -> np.ndarray:
        return self.fold._pool(self.task)

    @cached_property
    def rows(self) -> np.ndarray:
        """Positions of the pool in the table's configurations, shape (m,)."""
        return np.asarray(self.fold.table.tasks[self.task].rows[self._chosen])

    @cached_property
    def configurations(self) -> list[dict[str, ParamValue]]:
        """The pool."""
        return [self.fold.table.configurations[row] for row in self.rows]

    @cached_property
    def U(self) -> np.ndarray:  # noqa: N802
        """The pool as points of the unit cube, shape (m, unit columns)."""
        return np.asarray(self.fold.table.U[self.rows])

    @property
    def owners(self) -> np.ndarray:
        """For each column of ``U``, the position of its parameter in the space."""
        return self.fold.table.owners

    @cached_property
    def X(self) -> np.ndarray:  # noqa: N802
        """The pool as trees read it, shape (m, columns)."""
        return np.asarray(self.fold.table.X[self.rows])

    @cached_property
    def score(self) -> np.ndarray:
        """What the evaluations give, higher is better, NaN for a failure, shape (m,)."""
        return np.asarray(self.fold.table.tasks[self.task].score[self._chosen])

    @cached_property
    def seconds(self) -> np.ndarray:
        """What the evaluations cost, NaN where unknown, shape (m,)."""
        return np.asarray(self.fold.table.tasks[self.task].seconds[self._chosen])

    @cached_property
    def history(self) -> tuple[TaskTrials, ...]:
        """The trials of the other tasks, in the order of ``others``."""
        return tuple(self.fold.history(int(task)) for task in self.others)

    @cached_property
    def predicted(self) -> np.ndarray:
        """What the other tasks' surfaces say of the pool, shape (others, m)."""
        return np.asarray(self.fold.learnt.surfaces()[np.ix_(self.others, self.rows)])

    def regret(self, scores_so_far: Sequence[float] | np.ndarray) -> np.ndarray:
        """Normalised regret after each evaluation: (best - best so far) / (best - worst) over the pool, in [0, 1].

        A failure counts as the worst score.
        """
        half = self.score[np.isfinite(self.score)] / 2.0  # the difference of two of the largest numbers overflows
        worst, best = float(half.min()), float(half.max())
        got = np.nan_to_num(np.asarray(scores_so_far, dtype=np.float64) / 2.0, nan=worst)
        return np.asarray((best - np.maximum.accumulate(got)) / (best - worst))
