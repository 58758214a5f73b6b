"""``Gain``: what a configuration gained over the default on earlier tasks, and what that says of a new one."""

from dataclasses import dataclass

import numpy as np

from metatune.search.prior import Prior, percentile
from metatune.surrogate.gbdt import FOREST_SETTINGS, GBDT
from metatune.surrogate.tasks import TaskTrials
from metatune.trial import Configuration

#: Gains beyond this, in the metric's unit or as a share of the default's value, count no more.
_MOST = 0.1
#: Worse than the default by more than this is a harm, and one harm weighs as much as this much of gain
#: (docs/benchmarks.md).
_HARM, _COST = 0.02, 0.1
_TREES, _MIN_LEAF = 100, 10


@dataclass(frozen=True, eq=False)
class Gain:
    """``values`` (tasks,): what was gained over the default on each known task.

    In the metric's own unit, or as a share of the default's value for a metric whose ``gains_are_relative``; positive
    is better. ``weights`` (tasks,), summing to 1: how much each task tells about the one at hand.
    """

    values: np.ndarray
    weights: np.ndarray

    @property
    def worth(self) -> float:
        """The expected gain, where a harm counts far more than what it takes."""
        return float(self.weights @ _utility(self.values))

    @property
    def evidence(self) -> float:
        """``worth`` times the effective number of tasks (Kish, "Survey Sampling", 1965): a few say little."""
        return self.worth / float(self.weights @ self.weights)

    def quantile(self, q: float, among: np.ndarray) -> float:
        """The weighted quantile of the gains on the tasks ``among``, bool (tasks,), which must be some."""
        values, weights = self.values[among], self.weights[among]
        weights = weights if weights.any() else np.ones(len(values))
        order = np.argsort(values)
        reached = np.cumsum(weights[order]) / weights.sum()
        return float(values[order[min(int(np.searchsorted(reached, q)), len(order) - 1)]])


def gain_of(prior: Prior, configuration: Configuration, default: Configuration) -> Gain:
    """The gain of ``configuration`` over ``default``, as the surfaces of the tasks of a ``prior`` with history say.

    A task tells about the one at hand as often as they share a leaf of a forest that learns the gain from
    meta-features: Meinshausen, "Quantile Regression Forests", 2006. Of few tasks, or without meta-features, all tell
    alike.
    """
    z = prior.predict([configuration, default])[: len(prior.tasks)]
    values = np.array([_gained(task, *map(percentile, row)) for task, row in zip(prior.tasks, z, strict=True)])
    base = prior.base[: len(values)] / prior.base[: len(values)].sum()
    known, new = prior.features
    if not np.isfinite(new).any() or len(values) < 2 * _MIN_LEAF:
        return Gain(values, base)
    forest = GBDT.fit(known, _utility(values), weight=base, settings=FOREST_SETTINGS, rounds=_TREES, min_leaf=_MIN_LEAF)
    together = (forest.leaves(known) == forest.leaves(new[None])) * base[:, None]
    return Gain(values, (together / together.sum(axis=0)).mean(axis=1))


def _gained(task: TaskTrials, share: float, usual_share: float) -> float:
    """What the trial that beats ``share`` of those of ``task`` gains over the one that beats ``usual_share``."""
    new, usual = np.nanquantile(task.score, [share, usual_share])
    scale = abs(usual) if task.record.metric.gains_are_relative else 1.0
    return float((new - usual) / (scale or 1.0))


def _utility(gain: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(gain, -_MOST, _MOST) - _COST * (gain < -_HARM))
