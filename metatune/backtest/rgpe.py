"""RGPE: a ranking-weighted ensemble of the other tasks' models and this task's Gaussian process.

Feurer, Letham and Bakshy, "Scalable Meta-Learning for Bayesian Optimization using Ranking-Weighted Gaussian Process
Ensembles", 2018.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from metatune.backtest.fold import Problem
from metatune.backtest.method import Method, Observed, Search
from metatune.backtest.static import random
from metatune.search.acquisition import log_expected_improvement
from metatune.search.transfer import standardised
from metatune.surrogate.gp import GaussianProcess, Hyperparameters, matern52

#: Draws from the posteriors by which models are ranked.
SAMPLES = 256
#: Deviation of every other task's surface around its mean, in its standardised units.
DEVIATION = 0.3
#: A base model is dropped when its median ranking loss is above this quantile of the target model's losses.
DROP_QUANTILE = 0.95
#: From so many observations on, the target model takes part.
MIN_TARGET = 3


class Rgpe:
    """One search. The base models are the surfaces of the other tasks, with one constant deviation.

    Before any observation all base models weigh the same. The expected improvement is over the best mean of the
    ensemble among the configurations observed, since base models and observations do not share a scale.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._U, self._owners, self._seed = problem.U, problem.owners, seed
        surfaces = problem.predicted
        spread = np.maximum(surfaces.std(axis=1, keepdims=True), 1e-12)
        self._base = (surfaces - surfaces.mean(axis=1, keepdims=True)) / spread
        self._random = random(problem, seed)

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        if not len(self._base) and len(observed) < MIN_TARGET:
            return self._random.ask(observed)
        done = np.array([position for position, _ in observed], dtype=np.int64)
        mean, deviation = self._ensemble(done, np.array([score for _, score in observed]))
        if not len(done):
            return int(np.argmax(mean))
        promise = log_expected_improvement(mean, deviation, float(mean[done].max()))
        promise[done] = -np.inf
        return int(np.argmax(promise))

    def _ensemble(self, done: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of the weighted models at every row of the pool."""
        base = self._base
        z = standardised(score)
        if len(done) < MIN_TARGET:
            weights = shares_of_wins(ranking_losses(self._drawn(done), z))
            return weights @ base, np.full(base.shape[1], DEVIATION * float(np.linalg.norm(weights)))
        target = GaussianProcess(self._U[done], z, owners=self._owners)
        out_mean, out_deviation = leave_one_out(self._U[done], z, target.hyperparameters, self._owners)
        rng = np.random.default_rng([self._seed, len(done), 1])
        own = out_mean + out_deviation * rng.standard_normal((SAMPLES, len(done)))
        losses = ranking_losses(np.concatenate([self._drawn(done), own[None]]), z)
        weights = ensemble_weights(losses)
        mean, deviation = target.predict(self._U)
        variance = DEVIATION**2 * (weights[:-1] ** 2).sum() + (weights[-1] * deviation) ** 2
        return weights[:-1] @ base + weights[-1] * mean, np.sqrt(variance)

    def _drawn(self, done: np.ndarray) -> np.ndarray:
        """Draws of the base models at the observations, shape (models, SAMPLES, n)."""
        rng = np.random.default_rng([self._seed, len(done), 0])
        noise = rng.standard_normal((len(self._base), SAMPLES, len(done)))
        return np.asarray(self._base[:, None, done] + DEVIATION * noise)


def rgpe(problem: Problem, seed: int) -> Search:
    """A search by RGPE; the pool's random order before ``MIN_TARGET`` observations where there is no history."""
    return Rgpe(problem, seed)


def ranking_losses(drawn: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Pairs of observations ``z`` (n,) that each draw puts in the wrong order, shape (models, samples).

    ``drawn`` (models, samples, n). Pairs of equal observations do not count, equal draws of different ones do.
    """
    i, j = np.nonzero(z[:, None] > z[None, :])
    return np.array([(draws[:, i] <= draws[:, j]).sum(axis=1) for draws in drawn], dtype=np.float64)


def shares_of_wins(losses: np.ndarray) -> np.ndarray:
    """The share of samples in which each model has the smallest loss, ties divided, shape (models,)."""
    wins = losses == losses.min(axis=0)
    return np.asarray((wins / wins.sum(axis=0)).mean(axis=1))


def ensemble_weights(losses: np.ndarray) -> np.ndarray:
    """Weights of the models from their ``losses`` (models, samples), the target model last.

    Models whose median loss is above ``DROP_QUANTILE`` of the target's are left out, lest many bad ones win by chance.
    """
    kept = np.median(losses, axis=1) <= np.quantile(losses[-1], DROP_QUANTILE)
    kept[-1] = True
    weights = np.zeros(len(losses))
    weights[kept] = shares_of_wins(losses[kept])
    return weights


def leave_one_out(
    U: np.ndarray, z: np.ndarray, h: Hyperparameters, owners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of a process at each of its observations without that observation, each of shape (n,).

    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 5.4.2.
    """
    scaled = U / h.length[owners]
    K = h.signal * matern52(cdist(scaled, scaled, "sqeuclidean")) + (h.noise + 1e-8) * np.eye(len(z))
    inverse = cho_solve(cho_factor(K, lower=True), np.eye(len(z)))
    variance = 1.0 / np.diag(inverse)
    return z - (inverse @ z) * variance, np.sqrt(variance)


METHODS: dict[str, Method] = {"rgpe": rgpe}
