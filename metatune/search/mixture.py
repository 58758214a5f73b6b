"""``Mixture``: hypotheses on what earlier tasks say about this one, each weighted by how well it foresaw this task.

A hypothesis is a Gaussian process whose mean and covariance come partly from the surfaces of earlier tasks:

    score = centre + scale * (m + f + g + noise),   f ~ GP(0, a * C),   g ~ GP(0, (1 - a) * Matérn)

with m the experts' weighted mean and C their weighted covariance, as in a process pre-trained on other tasks (Wang et
al., "Pre-trained Gaussian Processes for Bayesian Optimization", 2021). Hypotheses differ in the share a, in the
lengthscales, in the noise, and in m: as given, with a slope of its own (of either sign), or absent. The centre has a
wide prior, the scale is the likeliest one. Bayesian model averaging over the hypotheses (Hoeting et al., 1999) is
what makes a misleading history harmless: it loses its weight as soon as it explains the observations worse.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dtrtri
from scipy.spatial.distance import cdist

from metatune.search.acquisition import log_expected_improvement
from metatune.search.feasibility import Feasibility
from metatune.search.hypothesis import AGAINST, HYPOTHESES, Hypothesis
from metatune.search.transfer import discordance, expert_weights, standardised
from metatune.surrogate.gp import GaussianProcess, cholesky, matern52
from metatune.surrogate.tasks import best_and_even

#: How fast experts that order the observations wrongly lose weight, in the mean and in the covariance.
_SHARPNESS, _COVARIANCE_SHARPNESS = 0.8, 0.3
#: The scale is pulled towards 1 (in deviations of the observations) by so many observations.
_PULL = 0.2
#: Hypotheses with less weight than this share of the best one's, or beyond this number, are left out.
_NEGLIGIBLE, _KEPT = 0.02, 8
#: Experts and hypotheses are judged, and lengthscales learnt, by so many observations.
_JUDGED_BY = 50
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, eq=False)
class _Points:
    """Points with all that hypotheses read: place (m, d), experts' scores (experts, m), and their mean (m,)."""

    U: np.ndarray
    told: np.ndarray
    mean: np.ndarray

    def join(self, other: "_Points") -> "_Points":
        """These points, then ``other``."""
        mean = np.concatenate([self.mean, other.mean])
        return _Points(np.vstack([self.U, other.U]), np.hstack([self.told, other.told]), mean)

    def at(self, rows: np.ndarray) -> "_Points":
        """Those at positions ``rows``."""
        return _Points(self.U[rows], self.told[:, rows], self.mean[rows])


@dataclass(frozen=True, eq=False)
class _Alike:
    """Covariances of the experts' scores around their mean, the experts weighted by ``weights`` (experts,)."""

    weights: np.ndarray

    def between(self, points: _Points, others: _Points) -> np.ndarray:
        """Shape (points, others). Only ``points`` are centred expert by expert: the ``others`` may be many."""
        centred = self.weights[:, None] * (points.told - points.mean)
        return np.asarray(centred.T @ others.told - np.outer(centred.sum(axis=0), others.mean))

    def of(self, points: _Points) -> np.ndarray:
        """The variances, shape (points,)."""
        square = np.einsum("i,ij,ij->j", self.weights, points.told, points.told)
        return np.asarray(square - points.mean * (2.0 * (self.weights @ points.told) - points.mean))


@dataclass(frozen=True, eq=False)
class _Conditioned:
    """A hypothesis given scores: the best of them, log evidence, 1 / scale, what whitens (n, n), whitened residual."""

    hypothesis: Hypothesis
    best: float
    evidence: float
    inverse_scale: float
    whiten: np.ndarray
    residual: np.ndarray

    @classmethod
    def on(
        cls,
        hypothesis: Hypothesis,
        near: np.ndarray,
        alike: np.ndarray,
        mean: np.ndarray,
        z: np.ndarray,
        *,
        inverse_scale: float | None = None,
    ) -> "_Conditioned":
        n = len(z)
        covariance = hypothesis.covariance(near, alike, mean, mean)
        factor = cholesky(covariance + hypothesis.noise * np.eye(n))
        # Inverted, since very many candidates are to be whitened with it, and a product is faster than a solution.
        whiten = dtrtri(factor, lower=1)[0]
        white = whiten @ np.column_stack([z, mean])
        expected = white[:, 1] if hypothesis.mean == "given" else np.zeros(n)
        u = _likeliest_inverse_scale(white[:, 0], expected) if inverse_scale is None else inverse_scale
        residual = u * white[:, 0] - expected
        evidence = (n + _PULL) * math.log(u) - 0.5 * (float(residual @ residual) + _PULL * u * u)
        evidence -= float(np.log(np.diag(factor)).sum()) + n * _HALF_LOG_2PI + AGAINST[hypothesis.mean]
        return cls(hypothesis, float(z.max()), evidence, u, whiten, residual)

    def predict(
        self, near: np.ndarray, alike: np.ndarray, varies: np.ndarray, seen: np.ndarray, new: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation at new points (m,) from the experts' means at the ``seen`` and ``new`` ones.

        ``near`` and ``alike`` (n, m) are their correlations and covariances, ``varies`` (m,) the variances of the new.
        """
        cross = self.hypothesis.covariance(near, alike, seen, new)
        reduction = self.whiten @ cross
        own = self.hypothesis.variance(varies, new)
        variance = np.maximum(own - np.einsum("ij,ij->j", reduction, reduction), 1e-10)
        mean = reduction.T @ self.residual + (new if self.hypothesis.mean == "given" else 0.0)
        return mean / self.inverse_scale, np.sqrt(variance) / self.inverse_scale


def _likeliest_inverse_scale(z: np.ndarray, expected: np.ndarray) -> float:
    """The u that maximises n log u - |u z - expected|^2 / 2 for whitened ``z`` and ``expected`` (n,), pulled to 1."""
    square, cross = float(z @ z) + _PULL, float(z @ expected)
    return (cross + math.sqrt(cross * cross + 4.0 * square * (len(z) + _PULL))) / (2.0 * square)


class Mixture:
    """What ``score`` (n,), NaN for failures, at points ``U`` (n, d) of the unit cube says together with the experts.

    Failures say where not to go (``Feasibility``); everything else is about what did not fail.

    ``told`` (experts, n) are the experts' scores there in copula units, ``base`` (experts,) their weights before any
    observation; with no experts (0, n) this is a plain Gaussian process with lengthscales of its own. ``owners`` (d,)
    numbers the parameter of each column, ``length`` (parameters,) are typical lengthscales of earlier tasks. Of the
    ``hypotheses`` some use the history.

    ``z`` are the scores as they are modelled, without failures. ``odds`` is the logarithm of how much likelier the
    observations are with the history than without it, ``believed`` the share of hypotheses that use it in what is
    proposed.
    """

    def __init__(
        self,
        U: np.ndarray,
        score: np.ndarray,
        told: np.ndarray,
        *,
        owners: np.ndarray,
        base: np.ndarray,
        length: np.ndarray | None = None,
        hypotheses: Sequence[Hypothesis] = HYPOTHESES,
    ) -> None:
        failed, self._feasibility = np.isnan(score), None
        if failed.any() and not failed.all():
            self._feasibility = Feasibility(U, ~failed, owners, best_and_even(score, _JUDGED_BY))
            U, score, told = U[~failed], score[~failed], told[:, ~failed]
        self.z = standardised(score)
        # What is learnt about this task is learnt from so many observations: time grows with their third power.
        judged = best_and_even(self.z, _JUDGED_BY)
        self._cold = _Cold.fit(U, self.z, owners, judged)
        self._cold_weight, self.odds, self.believed = 1.0, -math.inf, 0.0
        self.weights = np.empty(0)
        self._kept: list[_Conditioned] = []
        if len(told):
            wrong = discordance(told[:, judged], self.z[judged])
            self.weights = expert_weights(wrong, len(self.z), base, sharpness=_SHARPNESS)
            self._alike = _Alike(expert_weights(wrong, len(self.z), base, sharpness=_COVARIANCE_SHARPNESS))
            self._length = (np.ones(int(owners.max()) + 1) if length is None else length)[owners]
            self._seen = self._points(U, told)
            self._weigh(hypotheses, judged)

    def _points(self, U: np.ndarray, predicted: np.ndarray) -> _Points:
        return _Points(U / self._length, predicted, self.weights @ predicted)

    def _weigh(self, hypotheses: Sequence[Hypothesis], judged: np.ndarray) -> None:
        """Keep what matters of ``hypotheses`` by the observations ``judged``; say how likely those with history are."""
        given = self._conditioned(hypotheses, judged)
        if not given:
            return
        evidence = np.array([c.evidence for c in given])
        uses = np.array([c.hypothesis.mean != "absent" for c in given])
        cold = self._cold.evidence - AGAINST["absent"] if not uses.all() else -math.inf
        without = np.append(evidence[~uses], cold)
        # A mean on each side: neither gains by having more hypotheses.
        self.odds = _log_mean(evidence[uses]) - _log_mean(without + AGAINST["absent"])
        best = float(evidence.max())
        order = np.argsort(-evidence, kind="stable")[:_KEPT]
        kept = [given[i] for i in order if evidence[i] > best + math.log(_NEGLIGIBLE)]
        self._log_weights = {c.hypothesis: c.evidence - best for c in kept}
        self._cold_weight = math.exp(min(cold - best, 50.0))
        weight = np.exp(evidence - best)
        self.believed = float(weight[uses].sum() / (weight.sum() + self._cold_weight))
        everything = np.arange(len(self.z))
        few = len(judged) == len(everything)
        self._kept = kept if few else self._conditioned([c.hypothesis for c in kept], everything)

    def _conditioned(self, hypotheses: Sequence[Hypothesis], rows: np.ndarray) -> list[_Conditioned]:
        """``hypotheses`` given the observations ``rows``, without those whose covariance is not regular there."""
        seen, z = self._seen.at(rows), self.z[rows]
        near, alike = _Correlations(seen, seen), self._alike.between(seen, seen)
        found = []
        for hypothesis in hypotheses:
            with suppress(LinAlgError):
                found.append(_Conditioned.on(hypothesis, near[hypothesis.length], alike, seen.mean, z))
        return found

    @property
    def trusted(self) -> int:
        """The number of experts that carry nine tenths of the weight."""
        return int(np.searchsorted(np.cumsum(-np.sort(-self.weights)), 0.9)) + 1 if len(self.weights) else 0

    def log_improvement(self, U: np.ndarray, predicted: np.ndarray, *, without_history: bool = False) -> np.ndarray:
        """Logarithm of the expected improvement over the best score, up to a constant, shape (m,).

        ``U`` (m, d) and ``predicted`` (experts, m) describe the candidates. ``without_history`` asks the plain process
        alone. Where something failed, it counts the less the likelier a candidate fails.
        """
        improvement = self._log_improvement(U, predicted, without_history)
        return improvement if self._feasibility is None else improvement + self._feasibility.log_factor(U)

    def _log_improvement(self, U: np.ndarray, predicted: np.ndarray, without_history: bool) -> np.ndarray:
        cold = log_expected_improvement(*self._cold.predict(U), self._cold.best)
        if without_history or not self._kept:
            return cold
        total = cold + math.log(self._cold_weight) if self._cold_weight > _NEGLIGIBLE else np.full(len(U), -np.inf)
        foreseen = self._foreseen(self._points(U, predicted))
        for kept, (mean, deviation) in zip(self._kept, foreseen, strict=True):
            improvement = log_expected_improvement(mean, deviation, kept.best)
            total = np.logaddexp(total, self._log_weights[kept.hypothesis] + improvement)
        return total

    def _foreseen(self, new: _Points) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Mean and deviation at ``new`` by each hypothesis that is kept."""
        seen = self._seen
        near, alike, varies = _Correlations(seen, new), self._alike.between(seen, new), self._alike.of(new)
        for kept in self._kept:
            yield kept.predict(near[kept.hypothesis.length], alike, varies, seen.mean, new.mean)

    def believing(self, U: np.ndarray, predicted: np.ndarray) -> "Mixture":
        """This mixture as if the points, still running, had come out as each hypothesis predicts."""
        changed = copy.copy(self)
        changed._cold = self._cold.believing(U)
        if self._kept:
            new = self._points(U, predicted)
            changed._seen = seen = self._seen.join(new)
            near, alike = _Correlations(seen, seen), self._alike.between(seen, seen)
            changed._kept = []
            for old, (mean, _) in zip(self._kept, self._foreseen(new), strict=True):
                z, scale = np.concatenate([self.z, mean]), old.inverse_scale
                args = old.hypothesis, near[old.hypothesis.length], alike, seen.mean, z
                with suppress(LinAlgError):
                    changed._kept.append(_Conditioned.on(*args, inverse_scale=scale))
        return changed


@dataclass(frozen=True, eq=False)
class _Cold:
    """A plain Gaussian process with lengthscales of its own: a search without history."""

    process: GaussianProcess
    centre: float
    deviation: float
    evidence: float
    best: float

    @classmethod
    def fit(cls, U: np.ndarray, z: np.ndarray, owners: np.ndarray, judged: np.ndarray) -> "_Cold":
        """On all observations; lengthscales and evidence come from those at positions ``judged``."""
        centre, deviation = float(z.mean()), float(z.std()) or 1.0
        target = (z - centre) / deviation
        learnt = GaussianProcess(U[judged], target[judged], owners=owners)
        evidence = learnt.log_marginal_likelihood() - len(judged) * math.log(deviation)
        few = len(judged) == len(z)
        process = learnt if few else learnt.given(U, target)
        return cls(process, centre, deviation, evidence, float(z.max()))

    def predict(self, U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, deviation = self.process.predict(U)
        return self.centre + self.deviation * mean, self.deviation * deviation

    def believing(self, U: np.ndarray) -> "_Cold":
        best = max(self.best, float(self.predict(U)[0].max()))
        return replace(self, process=self.process.believing(U), best=best)


class _Correlations(dict[float, np.ndarray]):
    """The Matérn correlations between two sets of points by the factor on the lengthscales, computed when asked for."""

    def __init__(self, points: _Points, others: _Points) -> None:
        self._squares = cdist(points.U, others.U, "sqeuclidean")

    def __missing__(self, length: float) -> np.ndarray:
        self[length] = matern52(self._squares / length**2)
        return self[length]


def _log_mean(evidence: np.ndarray) -> float:
    return float(np.logaddexp.reduce(evidence)) - math.log(len(evidence))
