"""The surface of one past task: its copula targets as a function of the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metatune.encoding import ConfigurationEncoder
from metatune.surrogate.gbdt import GBDT, fit_task_model
from metatune.surrogate.gp import GaussianProcess, Hyperparameters
from metatune.surrogate.targets import copula_targets
from metatune.surrogate.tasks import TaskTrials

#: Up to this many trials a Gaussian process ranks unseen configurations better than trees do, and is cheap.
GP_LIMIT = 300


@dataclass(frozen=True, eq=False)
class TaskSurface:
    """What one task's trials say about every configuration.

    ``X`` (n, columns) are its trials in the encoder's columns, ``target`` (n,) their copula targets. ``trees`` is set
    for a task with many trials, ``hyperparameters`` for one with few.
    """

    X: np.ndarray
    target: np.ndarray
    encoder: ConfigurationEncoder
    hyperparameters: Hyperparameters | None = None
    trees: GBDT | None = None

    @classmethod
    def of(
        cls,
        task: TaskTrials,
        encoder: ConfigurationEncoder,
        *,
        hyperparameters: Hyperparameters | None = None,
        trees: GBDT | None = None,
    ) -> "TaskSurface":
        """The surface of ``task`` from what an earlier ``fit`` found."""
        return cls(task.X, copula_targets(task.score), encoder, hyperparameters, trees)

    @classmethod
    def fit(
        cls, task: TaskTrials, encoder: ConfigurationEncoder, *, like: "TaskSurface | None" = None
    ) -> "TaskSurface":
        """The surface through the scores of ``task``, as smooth as ``like``, if that is a process, else as learnt."""
        target = copula_targets(task.score)
        if len(target) > GP_LIMIT:
            return cls.of(task, encoder, trees=fit_task_model(task.X, target, categorical=encoder.categorical_columns))
        if like is not None and like.hyperparameters is not None:
            return cls.of(task, encoder, hyperparameters=like.hyperparameters)
        process = GaussianProcess(encoder.unit(task.X), target, owners=encoder.owners)
        return cls.of(task, encoder, hyperparameters=process.hyperparameters)

    @cached_property
    def _process(self) -> GaussianProcess:
        return GaussianProcess(
            self.encoder.unit(self.X), self.target, owners=self.encoder.owners, hyperparameters=self.hyperparameters
        )

    def predict(self, X: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Expected target at rows given both raw (m, columns) and in the unit cube (m, unit columns), shape (m,)."""
        return self.trees.predict(X) if self.trees is not None else self._process.mean(unit)


def predict_all(surfaces: Sequence[TaskSurface], X: np.ndarray, encoder: ConfigurationEncoder) -> np.ndarray:
    """Every surface at every row of ``X``, shape (surfaces, rows)."""
    unit = encoder.unit(X)
    return np.array([surface.predict(X, unit) for surface in surfaces]).reshape(len(surfaces), len(X))
