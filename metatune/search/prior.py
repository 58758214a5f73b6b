"""What the history says about one new task: its experts, their first weights, and the opening moves."""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from metatune.search.candidates import Identity, identity, spread, unique
from metatune.search.portfolio import greedy_portfolio
from metatune.space import SearchSpace
from metatune.surrogate.design import Design
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.similarity import distances, feature_matrix, unlike_anything
from metatune.surrogate.tasks import TaskTrials
from metatune.task import TaskRecord
from metatune.trial import Configuration, ParamValue

#: Points spread over the space at hand, beside the design of the history.
_SPREAD = 256
#: Share of the first weight that the meta-surrogate has among the experts, where meta-features earned their place.
_META_SHARE = 0.2
#: The same where a single configuration is judged, with no others beside it to make up for it (docs/benchmarks.md).
_META_SAY = 0.35
#: Borrowed tasks count together as much as so many own ones (scripts/benchmark_own_history.py).
_CREDIT = 30
#: More experts than this cost time at every proposal; the nearest tasks are kept.
_MAX_TASKS = 512


class Prior:
    """The experts of a family for ``record`` in ``space``: the surfaces of earlier tasks and the meta-surrogate.

    ``pool`` are candidates that do not depend on this task's observations; ``predicted`` (experts, pool) is what the
    experts say of them; ``base`` (experts,) are the experts' weights before any observation.
    """

    def __init__(
        self, surrogate: FamilySurrogate | None, record: TaskRecord, space: SearchSpace, *, seed: int = 0
    ) -> None:
        self._record, self.space, self._seed = record, space, seed
        self._told: dict[Identity, np.ndarray] = {}
        self._surrogate = surrogate if surrogate and surrogate.tasks and _speaks_of(surrogate, space) else None

    @property
    def empty(self) -> bool:
        """Whether there is no history to speak of."""
        return self._surrogate is None

    @cached_property
    def tasks(self) -> tuple[TaskTrials, ...]:
        """The known tasks that are experts, in the order of the first rows of ``predicted``."""
        return () if self._surrogate is None else tuple(self._surrogate.tasks[i] for i in self._chosen)

    @cached_property
    def same_metric(self) -> np.ndarray:
        """Which of ``tasks`` are judged by this task's metric, bool, shape (tasks,)."""
        return np.array([task.record.metric.name == self._record.metric.name for task in self.tasks], dtype=bool)

    @property
    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """The meta-features of this task, by name: those of ``tasks`` (tasks, features), its own (features,)."""
        known, own = self._features
        return known[self._chosen], own

    @cached_property
    def task_distances(self) -> np.ndarray:
        """Distance of each known task by meta-features, shape (tasks,)."""
        return np.empty(0) if self._surrogate is None else distances(*self._features)

    @cached_property
    def is_unlike(self) -> bool:
        """Whether the task is unlike all known ones; never for a task without meta-features."""
        if self._surrogate is None or not self._record.metafeatures:
            return False
        return unlike_anything(*self._features, [record.group for record in self._surrogate.records])

    @cached_property
    def _features(self) -> tuple[np.ndarray, np.ndarray]:
        records = [] if self._surrogate is None else self._surrogate.records
        names = sorted(self._record.metafeatures)
        return feature_matrix([r.metafeatures for r in records], names), feature_matrix(
            [self._record.metafeatures], names
        )[0]

    @cached_property
    def _chosen(self) -> np.ndarray:
        """Positions of the known tasks that are used: the nearest, own ones before borrowed ones as near."""
        if self._surrogate is None:
            return np.empty(0, dtype=np.int64)
        return np.sort(np.lexsort((~self._surrogate.is_own, self.task_distances))[:_MAX_TASKS])

    @cached_property
    def _design(self) -> Design | None:
        design = None if self._surrogate is None else self._surrogate.design
        if design is None or len(self._chosen) == len(design.scores):
            return design  # what it has solved serves all
        return design.of_tasks(self._chosen)

    @cached_property
    def _asks_meta(self) -> bool:
        """Whether the meta-surrogate has a say: meta-features proved useful, and this task has most of them."""
        if self._surrogate is None or self._surrogate.meta is None or self.is_unlike:
            return False
        features = self._surrogate.meta.features if self._surrogate.validation.use_features else ()
        return has_most(self._record, features)

    @cached_property
    def base(self) -> np.ndarray:
        """First weights of the experts, shape (experts,), summing to 1."""
        return self._weights(_META_SHARE)

    @cached_property
    def verdict(self) -> np.ndarray:
        """Weights of the experts where a single configuration is judged, shape (experts,), summing to 1."""
        return self._weights(_META_SAY)

    def _weights(self, meta_share: float) -> np.ndarray:
        if self._surrogate is None:
            return np.empty(0)
        groups = np.array([record.group for record in self._surrogate.records])
        weights = task_weights(self._surrogate.is_own[self._chosen], groups[self._chosen])
        return with_meta(weights, meta_share) if self._asks_meta else weights

    @cached_property
    def length(self) -> np.ndarray | None:
        """Lengthscales that are typical of earlier tasks, shape (parameters,); ``None`` without history."""
        design = None if self._surrogate is None else self._surrogate.design
        return None if design is None else design.length_in(self.space)

    @cached_property
    def pool(self) -> list[dict[str, ParamValue]]:
        """The history's design, with the best of earlier tasks, brought into the space, and points spread over it."""
        design = None if self._surrogate is None else self._surrogate.design
        known = [] if design is None else [self.space.clip(design.encoder.decode(row))[0] for row in design.X]
        return unique([*known, *spread(self.space, _SPREAD, self._seed)])

    @cached_property
    def predicted(self) -> np.ndarray:
        """The experts' scores of the pool, shape (experts, pool)."""
        return self.predict(self.pool)

    def predict(self, configurations: Sequence[Configuration]) -> np.ndarray:
        """The experts' scores of ``configurations``, in copula units, shape (experts, configurations)."""
        if self._surrogate is None or self._design is None:
            return np.empty((0, len(configurations)))
        X = self._surrogate.encoder.encode(configurations, self.space)
        rows = self._design.predict(X)
        if self._asks_meta and self._surrogate.meta is not None:
            return np.vstack([rows, self._surrogate.meta.predict(X, self._record.metafeatures)])
        return rows

    def told(self, configurations: Sequence[Configuration]) -> np.ndarray:
        """``predict`` for configurations that are asked about again and again: each is predicted once, and alone.

        In company the last digits would depend on it, and with them whatever is decided between equals.
        """
        keys = [identity(c) for c in configurations]
        for key, configuration in zip(keys, configurations, strict=True):
            if key not in self._told:
                self._told[key] = self.predict([configuration])[:, 0]
        return np.array([self._told[key] for key in keys]).reshape(len(keys), -1).T

    def portfolio(self, size: int) -> list[dict[str, ParamValue]]:
        """``size`` configurations that together serve the earlier tasks; the best single one first."""
        if self._surrogate is None:
            return []
        return [self.pool[i] for i in greedy_portfolio(self.predicted, size, self.base)]


def task_weights(own: np.ndarray, groups: np.ndarray, *, credit: float = _CREDIT) -> np.ndarray:
    """First weights of the tasks, shape (tasks,), summing to 1; ``own`` (tasks,) are the team's, the others borrowed.

    Tasks of one source, named by ``groups`` (tasks,), share the weight of one. Own ones have together at least
    n / (n + ``credit``) of the weight, n their sources, however many are borrowed, and no less than all alike.
    """
    sides = np.char.add(np.where(own, "own ", "borrowed "), groups)
    _, source, sizes = np.unique(sides, return_inverse=True, return_counts=True)
    weight = 1.0 / sizes[source]
    n, m = float(weight[own].sum()), float(weight.sum())
    if not 0.0 < n < m:
        return np.asarray(weight / m)
    share = max(n / (n + credit), n / m)
    return np.where(own, weight * (share / n), weight * ((1.0 - share) / (m - n)))


def has_most(record: TaskRecord, features: Sequence[str]) -> bool:
    """Whether a meta-surrogate that reads ``features`` can be asked about the task of ``record``.

    It must have half of them: trees would read a missing one as 0.
    """
    known = sum(math.isfinite(record.metafeatures.get(name, math.nan)) for name in features)
    return bool(features) and 2 * known >= len(features)


def with_meta(weights: np.ndarray, share: float = _META_SHARE) -> np.ndarray:
    """``weights`` (tasks,) and the ``share`` of the meta-surrogate, the last expert: (tasks + 1,), summing to 1."""
    return np.append((1.0 - share) * weights, share)


def _speaks_of(surrogate: FamilySurrogate, space: SearchSpace) -> bool:
    """Whether the history shares a parameter with ``space``; without one it says nothing about it."""
    names = {column[2:] for column in surrogate.encoder.columns}
    return any(name in names for name in space)


def percentile(z: float) -> float:
    """Share of configurations that a copula score of ``z`` beats, in [0, 1]."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
