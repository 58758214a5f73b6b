"""The meta-surrogate: one LightGBM model per family over configurations and meta-features of all tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metatune.encoding import ConfigurationEncoder
from metatune.surrogate.gbdt import GBDT, META_SETTINGS
from metatune.surrogate.similarity import feature_matrix
from metatune.surrogate.targets import copula_targets, evenly
from metatune.surrogate.tasks import TaskTrials

_ROUNDS = 150
#: No task contributes more than its equal share of so many rows: further trials cost time and change little.
MAX_ROWS = 200_000


@dataclass(frozen=True, eq=False)
class MetaSurrogate:
    """Expected copula target of a configuration on a task described by its meta-features.

    ``features`` are the meta-features it reads, in order; empty when they did not earn their place.
    """

    trees: GBDT
    features: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        tasks: Sequence[TaskTrials],
        encoder: ConfigurationEncoder,
        *,
        features: Sequence[str],
        max_rows: int = MAX_ROWS,
    ) -> "MetaSurrogate":
        """Train on ``tasks``, each with the same total weight, however many trials it has.

        Of a task with more trials than its share of ``max_rows``, some at every level of score stand for all.
        """
        described = feature_matrix([task.record.metafeatures for task in tasks], features)
        targets = [copula_targets(task.score) for task in tasks]
        kept = [evenly(target, max(1, max_rows // len(tasks))) for target in targets]
        size = np.array([len(rows) for rows in kept])
        X = np.empty((size.sum(), len(encoder.columns) + len(features)))
        np.concatenate([task.X[rows] for task, rows in zip(tasks, kept, strict=True)], out=X[:, : len(encoder.columns)])
        X[:, len(encoder.columns) :] = np.repeat(described, size, axis=0)
        y = np.concatenate([target[rows] for target, rows in zip(targets, kept, strict=True)])
        weight = np.repeat(1.0 / size, size)
        trees = GBDT.fit(
            X,
            y,
            categorical=encoder.categorical_columns,
            weight=weight / weight.mean(),
            settings=META_SETTINGS,
            rounds=_ROUNDS,
            min_leaf=min(20, max(3, len(X) // 50)),
        )
        return cls(trees, tuple(features))

    def predict(self, X: np.ndarray, metafeatures: Mapping[str, float]) -> np.ndarray:
        """Expected target of the encoded configurations ``X`` (m, columns) on that task, shape (m,)."""
        return self.trees.predict(_joined(X, feature_matrix([metafeatures], self.features)[0]))


def _joined(X: np.ndarray, features: np.ndarray) -> np.ndarray:
    return np.hstack([X, np.broadcast_to(features, (len(X), len(features)))])
