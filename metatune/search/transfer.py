"""Observations of this task read in the light of earlier tasks: a weighted prior and a process for the rest."""

import math
from dataclasses import dataclass, replace

import numpy as np

from metatune.surrogate.gp import GaussianProcess

#: Weight of an earlier task: exp(-_SHARPNESS * min(n, _CAP) * share of wrongly ordered pairs).
_SHARPNESS, _CAP = 0.8, 25
#: How strongly the slope of the prior is pulled towards 1, in observations.
_PULL = 1.0
#: From so many observations on, tasks that order them no better than chance are dropped.
_MIN_TO_DROP = 5
#: A bad score counts at most so many times as far below the median as the best is above it.
_DEPTH = 4.0
#: Beyond this, sums of squares overflow.
_HUGE = 1e100
#: How far below the worst score a failure is placed, in standard deviations.
_FAILURE = 0.5


def discordance(predicted: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Share of the pairs of observations that each expert puts in the wrong order, shape (experts,).

    ``predicted`` (experts, n), ``score`` (n,). Pairs with equal scores do not count, equal predictions count half.
    Without a single pair to judge by, the answer is 0 for all.
    """
    i, j = np.triu_indices(len(score), 1)
    truth = np.sign(score[i] - score[j])
    i, j, truth = i[truth != 0], j[truth != 0], truth[truth != 0]
    if not len(truth):
        return np.zeros(len(predicted))
    # Signs that agree add 1, that differ -1, a tie 0; one expert at a time, since pairs times experts fill memory.
    agreement = [float(truth @ np.sign(row[i] - row[j])) for row in predicted]
    return (1.0 - np.array(agreement) / len(truth)) / 2.0


def expert_weights(wrong: np.ndarray, n: int, base: np.ndarray) -> np.ndarray:
    """Weights (experts,) that sum to 1, or all 0 when none orders ``n`` observations better than chance.

    ``wrong`` is the experts' ``discordance``, ``base`` (experts,) their weights before any observation. Weighting by
    ranking errors follows Feurer, Letham and Bakshy, "Scalable Meta-Learning for Bayesian Optimization using
    Ranking-Weighted Gaussian Process Ensembles", 2018.
    """
    weight = base * np.exp(-_SHARPNESS * min(n, _CAP) * (wrong - wrong.min(initial=1.0)))
    if n >= _MIN_TO_DROP:
        weight = np.where(wrong < 0.5, weight, 0.0)
    total = weight.sum()
    return np.asarray(weight / total if total > 0 else weight)


def standardised(score: np.ndarray) -> np.ndarray:
    """Scores (n,), NaN for failures, as numbers of mean 0 and deviation 1 without extreme lows.

    Lows are cut, since one diverged run would otherwise hide all differences among the good ones. Failures come
    below the worst.
    """
    ok = ~np.isnan(score)
    if not ok.any():
        return np.zeros(len(score))
    score = np.clip(score, -_HUGE, _HUGE)
    median, best = float(np.median(score[ok])), float(score[ok].max())
    spread = max(best - median, 1.4826 * float(np.median(np.abs(score[ok] - median))))
    cut = np.where(ok, score, np.inf) if spread == 0 else np.maximum(score, median - _DEPTH * spread)
    mean, deviation = float(cut[ok].mean()), float(cut[ok].std())
    varies = deviation > 1e-12 * float(np.abs(cut[ok]).max())
    z = (cut - mean) / deviation if varies else np.where(ok, 0.0, np.nan)
    return np.asarray(np.where(ok, z, z[ok].min() - _FAILURE))


@dataclass(frozen=True, eq=False)
class TransferModel:
    """Mean = slope x (weighted experts) + a Gaussian process of what they leave unexplained.

    ``weights`` (experts,) and ``slope`` say how much of the history is used: a slope of 0 is a search without
    history. ``wrong`` is the share of pairs that the weighted prior itself orders wrongly.
    """

    weights: np.ndarray
    slope: float
    wrong: float
    z: np.ndarray
    _centre: float
    _offset: float
    _scale: float
    _process: GaussianProcess

    @classmethod
    def fit(
        cls, U: np.ndarray, score: np.ndarray, predicted: np.ndarray, *, owners: np.ndarray, base: np.ndarray
    ) -> "TransferModel":
        """Learn from ``score`` (n,), NaN for failures, at points ``U`` (n, d) of the unit cube.

        ``predicted`` (experts, n) are the experts' scores there in copula units, ``base`` (experts,) their weights;
        with no experts (0, n) the model is a plain Gaussian process. The slope is a ridge estimate pulled towards 1
        and never negative: an inverted history must be forgotten, not trusted upside down.
        """
        z = standardised(score)
        wrong = discordance(predicted, z)
        weights = expert_weights(wrong, len(z), base)
        prior = weights @ predicted
        centre = float(prior.mean())
        centred = prior - centre
        slope = max(0.0, float(centred @ z + _PULL) / float(centred @ centred + _PULL)) if weights.any() else 0.0
        rest = z - slope * centred
        offset, scale = float(rest.mean()), float(rest.std()) or 1.0
        process = GaussianProcess(U, (rest - offset) / scale, owners=owners)
        own = float(discordance(prior[None, :], z)[0]) if weights.any() else 0.5
        return cls(weights, slope, own, z, centre, offset, scale, process)

    @property
    def evidence(self) -> float:
        """Log marginal likelihood of ``z`` under this model, by which models with and without history compare."""
        return self._process.log_marginal_likelihood() - len(self.z) * math.log(self._scale)

    def predict(self, U: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation, in the units of ``z``, at points ``U`` (m, d) with ``predicted`` (experts, m)."""
        mean, deviation = self._process.predict(U)
        prior = self.slope * (self.weights @ predicted - self._centre) if self.slope else 0.0
        return prior + self._offset + self._scale * mean, self._scale * deviation

    def believing(self, U: np.ndarray) -> "TransferModel":
        """This model as if the points ``U``, still running, had come out as it predicts: they lose their appeal."""
        return replace(self, _process=self._process.believing(U))
