"""``Design``: what every earlier task is predicted to score on one common set of configurations.

Made once, when knowledge is trained, so that a proposal costs the same whether the history has ten tasks or a
thousand: it reads numbers where it would otherwise ask a model per task.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from optuna.distributions import CategoricalDistribution
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from metatune.encoding import ConfigurationEncoder, Scale
from metatune.family_table import FamilyTable
from metatune.space import SearchSpace
from metatune.study import latest
from metatune.surrogate.gp import LENGTH_BOUNDS, PRIOR_LENGTH, GaussianProcess, matern52
from metatune.surrogate.parallel import each
from metatune.surrogate.surface import TaskSurface
from metatune.surrogate.targets import copula_targets, evenly
from metatune.surrogate.tasks import TaskTrials

#: Configurations of the design: the best of the tasks, points drawn from the space, and trials of all kinds.
_SIZE, _BEST, _DRAWN = 1024, 384, 256
_BEST_PER_TASK = 2
#: Lengthscales are learnt from so many tasks, each by so many of its trials.
_LEARNT_FROM, _LEARNT_BY = 24, 120
#: Variance of the noise that keeps the interpolation smooth where trees step between near neighbours.
_NUGGET = 1e-3
#: In which scores are kept and written: it rounds by a hundredth of that noise's deviation.
PRECISION = np.float16


@dataclass(frozen=True, eq=False)
class Design:
    """``X`` (design, columns) are encoded configurations, ``scores`` (tasks, design) what every task scores there.

    Scores are predicted copula targets, higher is better. ``length`` (parameters,) are lengthscales that are typical
    of the tasks, in the encoder's unit cube.
    """

    encoder: ConfigurationEncoder
    X: np.ndarray
    scores: np.ndarray
    length: np.ndarray

    @classmethod
    def of(
        cls, surfaces: Sequence[TaskSurface], encoder: ConfigurationEncoder, X: np.ndarray, *, length: np.ndarray
    ) -> "Design":
        """The predictions of ``surfaces`` for the configurations ``X``."""
        unit = encoder.unit(X)
        scores = each(lambda surface: surface.predict(X, unit), surfaces)
        # As precise as they are written, so that knowledge proposes the same before and after.
        rounded = np.array(scores, dtype=PRECISION).reshape(len(surfaces), len(X))
        return cls(encoder, X, rounded.astype(np.float64), length)

    def of_tasks(self, tasks: np.ndarray) -> "Design":
        """The design of some tasks, by their positions."""
        return replace(self, scores=self.scores[tasks])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The scores of the tasks at the rows of ``X`` (m, columns), shape (tasks, m).

        They are kriged between the points of the design, never beyond what the task scores on it:
        Krige, "A statistical approach to some basic mine valuation problems on the Witwatersrand", 1951.
        """
        near = matern52(cdist(self.encoder.unit(X) / self._widths, self._places, "sqeuclidean"))
        low, high = self._ranges
        return np.asarray(np.clip(self._means + (near @ self._weights).T, low, high))

    def length_in(self, space: SearchSpace) -> np.ndarray:
        """``length`` in the unit cube of ``space``, shape (parameters of ``space``,)."""
        return lengths_in(space, self.encoder, self.length)

    @property
    def _widths(self) -> np.ndarray:
        return np.asarray(self.length[self.encoder.owners])

    @cached_property
    def _places(self) -> np.ndarray:
        return np.asarray(self.encoder.unit(self.X) / self._widths)

    @cached_property
    def _means(self) -> np.ndarray:
        return np.asarray(self.scores.mean(axis=1, keepdims=True))

    @cached_property
    def _ranges(self) -> tuple[np.ndarray, np.ndarray]:
        return self.scores.min(axis=1, keepdims=True), self.scores.max(axis=1, keepdims=True)

    @cached_property
    def _weights(self) -> np.ndarray:
        """Weights of the design's correlations in the interpolation, shape (design, tasks)."""
        correlation = matern52(cdist(self._places, self._places, "sqeuclidean"))
        factor = cho_factor(correlation + _NUGGET * np.eye(len(correlation)), lower=True, check_finite=False)
        return np.asarray(cho_solve(factor, (self.scores - self._means).T, check_finite=False))


def design_points(table: FamilyTable, tasks: Sequence[TaskTrials], encoder: ConfigurationEncoder) -> np.ndarray:
    """Encoded configurations for a design, shape (at most 1024, columns), no two alike.

    First the best of every task, which a search wants exactly; then points drawn from the space of the latest study,
    where no optimiser has been; then trials of all tasks, which follow whatever conditions the parameters have; and
    where that is not enough, more drawn points.
    """
    rng = np.random.default_rng(0)
    ranked = [task.best_rows(_BEST_PER_TASK) for task in tasks]
    best = [int(rows[rank]) for rank in range(_BEST_PER_TASK) for rows in ranked]
    used = {int(i) for task in tasks for i in np.unique(table.study[task.rows])}
    space = latest(table.studies[i] for i in used).space
    drawn = encoder.encode(space.sample(_SIZE, rng), space)
    trials = rng.permutation(np.concatenate([task.rows for task in tasks]))[: 4 * _SIZE]
    tried = encoder.encode_table(table, np.concatenate([best[:_BEST], trials]))
    k = min(_BEST, len(best))
    X = np.vstack([tried[:k], drawn[:_DRAWN], tried[k:], drawn[_DRAWN:]])
    _, first = np.unique(np.nan_to_num(X, nan=-1e300), axis=0, return_index=True)
    return np.asarray(X[np.sort(first)[:_SIZE]])


def typical_length(tasks: Sequence[TaskTrials], encoder: ConfigurationEncoder) -> np.ndarray:
    """Geometric mean over some of ``tasks`` of the lengthscales that fit their scores best, shape (parameters,)."""
    chosen = [tasks[i] for i in learnt_from(len(tasks))]
    return np.asarray(np.exp(np.mean(each(lambda task: log_lengths(task, encoder), chosen), axis=0)))


def learnt_from(n: int) -> np.ndarray:
    """Positions of the tasks, of ``n``, whose lengthscales are learnt."""
    return np.unique(np.linspace(0, n - 1, min(n, _LEARNT_FROM)).round().astype(np.int64))


def log_lengths(task: TaskTrials, encoder: ConfigurationEncoder) -> np.ndarray:
    """Logarithms of the lengthscales that fit the scores of ``task`` best, shape (parameters,)."""
    rows = evenly(copula_targets(task.score), _LEARNT_BY)
    process = GaussianProcess(encoder.unit(task.X[rows]), copula_targets(task.score[rows]), owners=encoder.owners)
    return np.asarray(np.log(process.hyperparameters.length))


def lengths_in(space: SearchSpace, encoder: ConfigurationEncoder, length: np.ndarray) -> np.ndarray:
    """Lengthscales of the parameters of ``space`` in its own unit cube, whose ranges may be wider or narrower.

    ``length`` (parameters of ``encoder``,) are those in the unit cube of ``encoder``.
    """
    typical = {column[2:]: float(length[i]) for i, column in enumerate(encoder.columns)}
    found = []
    for name, distribution in space.parameters.items():
        here, scale = typical.get(name, PRIOR_LENGTH), encoder.scales.get(name)
        if scale is not None and not scale.width:  # never varied, so nothing is known
            here = PRIOR_LENGTH
        elif scale is not None and not isinstance(distribution, CategoricalDistribution):
            low, high = float(distribution.low), float(distribution.high)  # type: ignore[attr-defined]
            own = Scale(low, high, bool(distribution.log))  # type: ignore[attr-defined]
            here *= scale.width / own.width if own.width and own.log == scale.log else 1.0
        found.append(here)
    return np.asarray(np.clip(found, *LENGTH_BOUNDS))
