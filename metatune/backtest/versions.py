"""``compare``: whether one version of a history makes searches better or worse than another one.

Searches are replayed on the tasks of the newer version, one left out at a time, twice: with the other tasks of the
newer version as history, and with those of the older one. Tasks, pools, seeds and method are the same both times.
Families whose trials are the same in both are not replayed, since nothing could differ. The engine replays without
its surrogate over meta-features: that one decides for itself whether it has a say, which takes five times as long as
all the rest.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from metatune.backtest.fold import Fold
from metatune.backtest.history_tables import tables_of
from metatune.backtest.replay import replay
from metatune.backtest.summary import HARM
from metatune.backtest.table import ReplayTable
from metatune.errors import SearchError
from metatune.snapshot import Snapshot
from metatune.study import StudyRecord
from metatune.trial import Trial

#: How much is replayed for each family: enough to see harm, little enough for a minute.
TASKS, SEEDS, EVALUATIONS = 24, (0, 1), 5
METHOD = "metatune-features-off"

#: One-sided normal quantile: a difference above so many standard errors is hardly chance.
_CHANCE = 1.645
_NEWER, _OLDER, _BOTH = "newer:", "older:", "both:"
_Record: TypeAlias = tuple[StudyRecord, tuple[Trial, ...]]
#: Family, fingerprint and metric: what trials are of one task by.
_Task: TypeAlias = tuple[str, str, str, str]


@dataclass(frozen=True)
class Comparison:
    """Mean normalised regret over searches and their evaluations, with each version as history; lower is better.

    ``error`` is the standard error of the difference, over pairs of searches. ``tasks`` is how many tasks were searched
    on, ``families`` those that were replayed.
    """

    newer: float
    older: float
    error: float
    tasks: int
    families: tuple[str, ...]

    @property
    def is_worse(self) -> bool:
        """Whether the newer version loses more than ``HARM``, what a backtest calls harm, and more than chance does."""
        return self.newer - self.older > max(HARM, _CHANCE * self.error)


def compare(newer: Snapshot, older: Snapshot, *, tasks: int = TASKS, seeds: Sequence[int] = SEEDS) -> Comparison | None:
    """Replay at most ``tasks`` tasks of each family, evenly spread; ``None`` where nothing can be replayed."""
    regret: list[tuple[float, float]] = []
    replayed: dict[str, int] = {}
    for table in tables_of(Snapshot.of(_joined(newer.records(), older.records()))):
        found = [pair for seed in seeds for pair in _replayed(table, seed, tasks)]
        if found:
            regret += found
            replayed[table.name] = len(found) // len(seeds)
    if not regret:
        return None
    newer_regret, older_regret = np.array(regret).T
    error = float(np.std(newer_regret - older_regret) / np.sqrt(len(regret)))
    return Comparison(
        float(newer_regret.mean()), float(older_regret.mean()), error, sum(replayed.values()), tuple(replayed)
    )


def _joined(newer: Sequence[_Record], older: Sequence[_Record]) -> list[_Record]:
    """The records of the families that differ; the fingerprint of a task says to which version it belongs."""
    new, old = _by_task(newer), _by_task(older)
    differing = {task[0] for task in {*new, *old} if new.get(task) != old.get(task)}
    joined: list[_Record] = []
    for task in sorted({*new, *old}):
        if task[0] not in differing:
            continue
        if new.get(task) == old.get(task):
            joined += [_marked(record, _BOTH) for record in new[task]]
        else:
            joined += [_marked(record, _NEWER) for record in new.get(task, ())]
            joined += [_marked(record, _OLDER) for record in old.get(task, ())]
    return joined


def _by_task(records: Sequence[_Record]) -> dict[_Task, list[_Record]]:
    found: defaultdict[_Task, list[_Record]] = defaultdict(list)
    for study, trials in sorted(records, key=lambda record: record[0].id):
        metric = study.task.metric
        found[study.family, study.task.fingerprint, metric.name, metric.direction].append((study, trials))
    return dict(found)


def _marked(record: _Record, mark: str) -> _Record:
    """The same under names of its own, but still in its group: a task never teaches itself."""
    study, trials = record
    task = replace(study.task, fingerprint=mark + study.task.fingerprint, group=study.task.group)
    return replace(study, id=mark + study.id, task=task), tuple(replace(t, key=mark + t.key) for t in trials)


def _replayed(table: ReplayTable, seed: int, tasks: int) -> list[tuple[float, float]]:
    """Mean regret of a search on each task, with the newer and with the older version as history."""
    marks = [task.record.fingerprint for task in table.tasks]
    folds = [
        Fold(table, seed, teachers=[i for i, mark in enumerate(marks) if not mark.startswith(other)])
        for other in (_OLDER, _NEWER)
    ]
    left_out = [i for i in folds[0].playable if not marks[i].startswith(_OLDER)]
    if len(left_out) > tasks:
        left_out = [left_out[i] for i in np.linspace(0, len(left_out) - 1, tasks).round().astype(int)]
    newer, older = ([_regret(fold, task) for task in left_out] for fold in folds)
    return list(zip(newer, older, strict=True))


def _regret(fold: Fold, task: int) -> float:
    run = replay(fold.problem(task), METHOD, EVALUATIONS)
    if run.error is not None:
        raise SearchError(
            f"a search could not be replayed ({run.error})",
            field="backtest",
            value=run.task,
            remedy="See `metatune backtest`; to publish nevertheless: metatune publish --force.",
        )
    return float(run.regret.mean())
