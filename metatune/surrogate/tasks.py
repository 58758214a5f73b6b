"""The trials of a family, put together by task."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from metatune.encoding import ConfigurationEncoder
from metatune.family_table import FamilyTable
from metatune.metric import Metric
from metatune.task import TaskRecord
from metatune.trial import STATUSES

#: A task teaches nothing with fewer successes than this, or when all of them score the same.
MIN_TRIALS = 4
#: More trials of one task than this are thinned out: they would cost time and add little.
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


def tasks_of(table: FamilyTable, encoder: ConfigurationEncoder, metric: Metric | None = None) -> tuple[TaskTrials, ...]:
    """The tasks in ``table`` that teach something, in the order of their fingerprints.

    Studies with one fingerprint and one metric are one task. Pruned and interrupted trials are left out: their
    values do not compare with those of complete ones. With ``metric``, a study counts by that metric where its trials
    recorded it: what is best by accuracy need not be best by log loss. The others still rank by their own.
    """
    score, records = _scores(table, metric)
    usable = np.isin(table.status, (_COMPLETE, _FAILED))
    found: list[tuple[TaskRecord, np.ndarray]] = []
    for _, indices in sorted(studies_by_task(records).items()):
        rows = np.sort(np.concatenate([table.rows_of_study[index] for index in indices]))
        rows = rows[usable[rows]]
        rows = rows[best_and_even(score[rows], MAX_TRIALS)]
        if teaches(score[rows]):
            found.append((records[indices[-1]], rows))
    if not found:
        return ()
    X = encoder.encode_table(table, np.concatenate([rows for _, rows in found]))
    own = np.split(X, np.cumsum([len(rows) for _, rows in found])[:-1])
    return tuple(TaskTrials(record, rows, x, score[rows]) for (record, rows), x in zip(found, own, strict=True))


def studies_by_task(records: Mapping[int, TaskRecord]) -> dict[tuple[str, str], list[int]]:
    """The studies of each task, by its fingerprint and metric; ``records`` has the record of each study."""
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, record in records.items():
        found[record.fingerprint, record.metric.name].append(index)
    return dict(found)


def teaches(score: np.ndarray) -> bool:
    """Whether the scores (n,) of a task, NaN for failures, say anything: some successes, not all of one score."""
    good = score[~np.isnan(score)]
    return len(good) >= MIN_TRIALS and float(np.ptp(good)) > 0


def feature_names(tasks: Sequence[TaskTrials]) -> list[str]:
    """The meta-features that any of ``tasks`` has, sorted."""
    return sorted({name for task in tasks for name in task.record.metafeatures})


def _scores(table: FamilyTable, metric: Metric | None) -> tuple[np.ndarray, dict[int, TaskRecord]]:
    """The score of every trial, NaN unless complete, and the record of every study with the metric that counts."""
    complete = table.status == _COMPLETE
    score = np.where(complete, table.score, np.nan)
    records = {index: table.studies[index].task for index in table.rows_of_study}
    if metric is None or metric.name not in table.metrics:
        return score, records
    asked = metric.score(table.metrics[metric.name])
    for index, record in records.items():
        rows = table.rows_of_study[index][complete[table.rows_of_study[index]]]
        if record.metric.name != metric.name and len(rows) and np.isfinite(asked[rows]).all():
            score[rows] = asked[rows]
            records[index] = replace(record, metric=metric)
    return score, records


def best_and_even(score: np.ndarray, limit: int) -> np.ndarray:
    """Positions of at most ``limit`` trials, ascending: a third of them the best, the others evenly spread.

    ``score`` (n,) is higher-is-better, NaN for failures, which count as worst.
    """
    if len(score) <= limit:
        return np.arange(len(score))
    order = np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")
    best, others = order[: limit // 3], order[limit // 3 :]
    even = np.linspace(0, len(others) - 1, limit - len(best)).round().astype(np.int64)
    return np.sort(np.concatenate([best, others[even]]))
