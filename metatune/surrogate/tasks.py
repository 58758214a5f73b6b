"""The trials of a family, put together by task."""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from metatune.encoding import ConfigurationEncoder
from metatune.metric import Metric
from metatune.task import TaskRecord
from metatune.trial import STATUSES
from metatune.trial_table import FamilyTable

#: A task teaches nothing with fewer successes than this, or when all of them score the same.
MIN_TRIALS = 4
#: More trials of one task than this are thinned out evenly: they would cost time and add little.
MAX_TRIALS = 1000

_COMPLETE, _FAILED = STATUSES.index("complete"), STATUSES.index("failed")


@dataclass(frozen=True, eq=False)
class TaskTrials:
    """All usable trials of one task: those that completed, and those that failed.

    ``rows`` (n,) are their rows in the family's table, ``X`` (n, columns) their encoded configurations, ``score`` (n,)
    is higher-is-better and NaN for failures.
    """

    record: TaskRecord
    rows: np.ndarray
    X: np.ndarray
    score: np.ndarray

    def best_rows(self, n: int) -> np.ndarray:
        """Rows in the family's table of the ``n`` best trials, best first."""
        order = np.argsort(-np.nan_to_num(self.score, nan=-np.inf), kind="stable")
        return self.rows[order[:n]]


def tasks_of(table: FamilyTable, encoder: ConfigurationEncoder) -> tuple[TaskTrials, ...]:
    """The tasks in ``table`` that teach something, in the order of their fingerprints.

    Studies with one fingerprint and one metric are one task. Pruned and interrupted trials are left out: their
    values do not compare with those of complete ones.
    """
    status, score, study = table.status, table.score, table.study
    X = encoder.encode_table(table)
    members: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index in np.unique(study):
        record = table.studies[index].task
        members[record.fingerprint, record.metric.name].append(int(index))
    found = []
    for _, indices in sorted(members.items()):
        usable = np.isin(study, indices) & ((status == _COMPLETE) | (status == _FAILED))
        rows = _thinned(np.flatnonzero(usable))
        values = np.where(status[rows] == _COMPLETE, score[rows], np.nan)
        good = values[~np.isnan(values)]
        if len(good) >= MIN_TRIALS and np.ptp(good) > 0:
            found.append(TaskTrials(table.studies[indices[-1]].task, rows, X[rows], values))
    return tuple(found)


def judged_by(task: TaskTrials, table: FamilyTable, metric: Metric) -> TaskTrials:
    """``task`` with the scores of ``metric``, where its trials recorded that; else ``task`` itself.

    What is best by accuracy need not be best by log loss. A task without the metric still ranks by its own.
    """
    own = task.record.metric
    if (own.name, own.direction) == (metric.name, metric.direction) or metric.name not in table.metrics:
        return task
    values = table.metrics[metric.name][task.rows]
    usable = np.isfinite(values) & ~np.isnan(task.score)
    score = np.where(usable, values if metric.direction == "maximize" else -values, np.nan)
    failed = np.isnan(task.score)
    if (usable | failed).all() and usable.sum() >= MIN_TRIALS and np.ptp(score[usable]) > 0:
        return replace(task, record=replace(task.record, metric=metric), score=score)
    return task


def _thinned(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= MAX_TRIALS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MAX_TRIALS).round().astype(np.int64)]
