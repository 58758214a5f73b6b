"""The surface of one past task: its copula targets as a function of the configuration."""

from collections.abc import Callable
from dataclasses import dataclass

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
    """What one task's trials say about every configuration: trees for many trials, a Gaussian process for few."""

    model: GBDT | GaussianProcess

    @classmethod
    def fit(
        cls,
        task: TaskTrials,
        encoder: ConfigurationEncoder,
        *,
        like: Hyperparameters | None = None,
        targets: Callable[[np.ndarray], np.ndarray] = copula_targets,
    ) -> "TaskSurface":
        """The surface through the scores of ``task``; a process is as smooth as ``like``, if given, else as learnt.

        ``targets`` makes numbers that compare across tasks of scores (n,), NaN for failures.
        """
        target = targets(task.score)
        if len(target) > GP_LIMIT:
            return cls(fit_task_model(task.X, target, categorical=encoder.categorical_columns))
        return cls(GaussianProcess(encoder.unit(task.X), target, owners=encoder.owners, hyperparameters=like))

    @property
    def hyperparameters(self) -> Hyperparameters | None:
        """How smooth it is, if it is a process."""
        return self.model.hyperparameters if isinstance(self.model, GaussianProcess) else None

    def predict(self, X: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Expected target at rows given both raw (m, columns) and in the unit cube (m, unit columns), shape (m,)."""
        return self.model.predict(X) if isinstance(self.model, GBDT) else self.model.mean(unit)
