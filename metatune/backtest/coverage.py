"""``Coverage``: how many tasks of a table are searched, and why the others are not."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metatune.backtest.fold import Fold
from metatune.backtest.table import ReplayTable
from metatune.wording import plural

#: A task of a snapshot is replayed from so many completed trials on.
MIN_COMPLETED = 8
#: Why a task is not searched, and the words for it after a number of tasks.
REASONS: Mapping[str, str] = {
    "few_completed": f"with fewer than {MIN_COMPLETED} completed trials",
    "few_in_pool": "with fewer than 2 scores in the pool",
    "equal_scores": "with equal scores only",
    "alone": "without a second task to learn from",
    "borrowed": "borrowed",
    "not_drawn": "beyond the number asked for",
}


@dataclass(frozen=True)
class Coverage:
    """``searched`` of so many ``tasks``; ``left_out`` counts the others by reason, one of ``REASONS``."""

    tasks: int
    searched: int
    left_out: Mapping[str, int]

    @classmethod
    def of(cls, searched: int, left_out: Mapping[str, int]) -> "Coverage":
        """That of ``searched`` tasks and those that were ``left_out``."""
        ordered = {reason: left_out[reason] for reason in REASONS if left_out.get(reason)}
        return cls(searched + sum(ordered.values()), searched, ordered)


def drawn(fold: Fold, tasks: int | None) -> list[int]:
    """The tasks on which ``fold`` is searched: all on which a search can be judged, or so many of them, evenly."""
    playable = fold.playable
    if tasks is None or tasks >= len(playable):
        return playable
    return [playable[i] for i in np.linspace(0, len(playable) - 1, tasks).round().astype(int)]


def coverage_of(table: ReplayTable, seeds: Iterable[int], tasks: int | None = None) -> Coverage:
    """What ``run_all`` searches of ``table`` with ``seeds`` and ``tasks``; once with any of them is searched."""
    folds = [Fold(table, seed) for seed in seeds]
    searched = {task for fold in folds for task in drawn(fold, tasks)}
    others = (_reason(table, folds, task) for task in range(len(table.tasks)) if task not in searched)
    return Coverage.of(len(searched), Counter(table.left_out) + Counter(others))


def _reason(table: ReplayTable, folds: Sequence[Fold], task: int) -> str:
    if table.searched is not None and task not in table.searched:
        return "borrowed"
    if not table.has_history:
        return "alone"
    if any(task in fold.playable for fold in folds):
        return "not_drawn"
    return "equal_scores" if any(len(fold.pool_scores(task)) > 1 for fold in folds) else "few_in_pool"


def coverage_told(searched: int, tasks: int, left_out: Mapping[str, int]) -> str:
    """The fields of a ``Coverage`` in a sentence or two; empty if no task was left out."""
    if not left_out:
        return ""
    others = ", ".join(f"{count:,} {REASONS[reason]}" for reason, count in left_out.items())
    return f"{searched:,} of {plural(tasks, 'task')} searched. Left out: {others}."
