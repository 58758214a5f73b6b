"""``Learnt``: what the history of a fold teaches, learnt once and read for every task that is left out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from metatune.encoding import ConfigurationEncoder
from metatune.search.prior import has_most
from metatune.space import SearchSpace
from metatune.surrogate.design import learnt_from, lengths_in, log_lengths
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.surface import TaskSurface
from metatune.surrogate.targets import copula_targets
from metatune.surrogate.tasks import TaskTrials, feature_names, teaches
from metatune.surrogate.validation import validate
from metatune.task import TaskRecord

#: Groups of tasks that are left out together when the surrogate with meta-features is learnt: one fit serves a group.
_FOLDS = 5

Features = Literal["gate", "on", "off", "shuffled"]


def standard_targets(score: np.ndarray) -> np.ndarray:
    """Scores (n,) less their mean, divided by their deviation; failures (NaN) as the worst."""
    filled = _filled(score)
    return np.asarray((filled - filled.mean()) / (filled.std() or 1.0))


def range_targets(score: np.ndarray) -> np.ndarray:
    """Scores (n,) with the worst mapped to -2 and the best to 2; failures (NaN) as the worst."""
    filled = _filled(score)
    return np.asarray(4.0 * (filled - filled.min()) / (float(np.ptp(filled)) or 1.0) - 2.0)


def _filled(score: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(score), np.nanmin(score), score)


#: How scores of different tasks can be made to compare.
TARGETS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "copula": copula_targets,
    "standard": standard_targets,
    "range": range_targets,
}


class Learnt:
    """What ``histories``, one per task, teach about the configurations ``X`` (m, columns) of ``space``.

    ``asked`` (m,) says which of these are in a pool; nothing is said of the others.
    """

    def __init__(
        self,
        histories: Sequence[TaskTrials],
        encoder: ConfigurationEncoder,
        space: SearchSpace,
        X: np.ndarray,
        asked: np.ndarray,
    ) -> None:
        self._histories, self._encoder, self._space = histories, encoder, space
        self._X, self._asked = X, asked
        self._surfaces: dict[str, np.ndarray] = {}
        self._lengths: dict[int, np.ndarray] = {}
        self._metas: dict[tuple[int, str], MetaSurrogate | None] = {}
        self._shuffled = np.random.default_rng(0).permutation(len(histories))
        groups = sorted({history.record.group for history in histories})
        place = {group: i % _FOLDS for i, group in enumerate(groups)}
        self._fold = np.array([place[history.record.group] for history in histories])

    def teaches(self, task: int) -> bool:
        """Whether the history of ``task`` says anything."""
        return teaches(self._histories[task].score)

    def surfaces(self, target: str = "copula") -> np.ndarray:
        """Predicted targets, shape (tasks, m): one surface per task on its history, NaN where nothing is said."""
        if target not in self._surfaces:
            predicted = np.full((len(self._histories), len(self._X)), np.nan)
            X = self._X[self._asked]
            unit = self._encoder.unit(X)
            for i in filter(self.teaches, range(len(self._histories))):
                surface = TaskSurface.fit(self._histories[i], self._encoder, targets=TARGETS[target])
                predicted[i, self._asked] = surface.predict(X, unit)
            self._surfaces[target] = predicted
        return self._surfaces[target]

    def length(self, tasks: np.ndarray) -> np.ndarray:
        """Lengthscales that are typical of ``tasks``, as ``Design`` learns them, shape (parameters,)."""
        chosen = [int(tasks[i]) for i in learnt_from(len(tasks))]
        for task in chosen:
            if task not in self._lengths:
                self._lengths[task] = log_lengths(self._histories[task], self._encoder)
        mean = np.mean([self._lengths[task] for task in chosen], axis=0)
        return lengths_in(self._space, self._encoder, np.exp(mean))

    def by_features(self, task: int, X: np.ndarray, mode: Features) -> np.ndarray | None:
        """What the surrogate with meta-features says of ``X`` (m, columns) on ``task``, which it never saw.

        ``None`` where it has no say: ``off``, by the ``gate``, or where the task lacks most meta-features.
        """
        fold = int(self._fold[task])
        if (fold, mode) not in self._metas:
            self._metas[fold, mode] = self._fit(fold, mode)
        meta = self._metas[fold, mode]
        record = self._record(task, mode)
        return None if meta is None or not has_most(record, meta.features) else meta.predict(X, record.metafeatures)

    def _fit(self, fold: int, mode: Features) -> MetaSurrogate | None:
        others = [i for i in np.flatnonzero(self._fold != fold).tolist() if self.teaches(i)]
        tasks = [replace(self._histories[i], record=self._record(i, mode)) for i in others]
        features = feature_names(tasks)
        if mode == "off" or not features:
            return None
        if mode == "gate" and not validate(tasks, self._encoder, features).use_features:
            return None
        return MetaSurrogate.fit(tasks, self._encoder, features=features)

    def _record(self, task: int, mode: Features) -> TaskRecord:
        """The record of ``task``; with ``shuffled``, it has the meta-features of another one."""
        record = self._histories[task].record
        if mode != "shuffled":
            return record
        return replace(record, metafeatures=self._histories[int(self._shuffled[task])].record.metafeatures)
