"""A small Gaussian process: ARD Matérn-5/2, hyperparameters by marginal likelihood.

It models the surface of a past task with few trials, and, in a search, what the history did not foresee.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2, 4.2 and 5.4.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

_SQRT5 = math.sqrt(5.0)
_ITERATIONS = 40
#: Bounds of lengthscales, for inputs in [0, 1].
LENGTH_BOUNDS = 0.05, 20.0
#: Where the search for lengthscales starts.
PRIOR_LENGTH = 0.6
#: Bounds of the logarithms of lengthscales, signal variance and noise variance, for standardised targets.
_BOUNDS = {"length": tuple(map(math.log, LENGTH_BOUNDS)), "signal": (math.log(0.05), math.log(20.0)),
           "noise": (math.log(1e-5), math.log(1.0))}  # fmt: skip
#: Where the search for hyperparameters starts and what a weak normal prior pulls them to: (mean, deviation).
_PRIOR = {"length": (math.log(PRIOR_LENGTH), 1.0), "signal": (0.0, 1.0), "noise": (math.log(1e-2), 1.5)}


def matern52(scaled_squares: np.ndarray) -> np.ndarray:
    """The Matérn-5/2 correlation for squared distances that are already divided by the squared lengthscales."""
    r = np.sqrt(np.maximum(scaled_squares, 0.0))
    return np.asarray((1.0 + _SQRT5 * r + 5.0 / 3.0 * r * r) * np.exp(-_SQRT5 * r))


def cholesky(K: np.ndarray) -> np.ndarray:
    """The lower Cholesky factor of ``K`` (n, n); a search asks for hundreds a proposal, so LAPACK is called directly.

    Raises ``LinAlgError`` if ``K`` is not positive definite.
    """
    factor, failed = dpotrf(K, lower=1)
    if failed:
        raise LinAlgError("not positive definite")
    return np.asarray(factor)


def _solved(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """K⁻¹ ``right`` for the lower Cholesky ``factor`` of K."""
    return np.asarray(dpotrs(factor, right, lower=1)[0])


@dataclass(frozen=True)
class Hyperparameters:
    """``length``: one per group of columns; ``signal`` and ``noise``: variances. None of them logarithmic."""

    length: np.ndarray
    signal: float
    noise: float


class GaussianProcess:
    """Regression of ``y`` (n,) on ``X`` (n, d); ``owners`` (d,) numbers the lengthscale of each column.

    ``y`` is taken as it is: the caller centres and scales it. With ``hyperparameters`` they are kept, otherwise they
    maximise the marginal likelihood times a weak prior. ``predict`` gives mean and standard deviation of the latent
    function, without noise.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        owners: np.ndarray | None = None,
        hyperparameters: Hyperparameters | None = None,
    ) -> None:
        self._X = np.asarray(X, dtype=np.float64)
        self._y = np.asarray(y, dtype=np.float64)
        self._owners = np.arange(self._X.shape[1]) if owners is None else owners
        self.hyperparameters = hyperparameters or self._fit()
        self._factor, self._alpha = self._condition(self.hyperparameters)

    def mean(self, Z: np.ndarray) -> np.ndarray:
        """The mean alone at the rows of ``Z`` (m, d), shape (m,)."""
        return np.asarray(self._cross(Z) @ self._alpha)

    def predict(self, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation at the rows of ``Z`` (m, d), each of shape (m,)."""
        K = self._cross(Z)
        reduction = solve_triangular(self._factor, K.T, lower=True, check_finite=False)
        variance = self.hyperparameters.signal - (reduction**2).sum(0)
        return K @ self._alpha, np.sqrt(np.maximum(variance, 1e-12))

    def _cross(self, Z: np.ndarray) -> np.ndarray:
        """Covariance of the rows of ``Z`` with the data, shape (m, n)."""
        length = self.hyperparameters.length[self._owners]
        squares = cdist(np.asarray(Z) / length, self._X / length, "sqeuclidean")
        return self.hyperparameters.signal * matern52(squares)

    def believing(self, Z: np.ndarray) -> "GaussianProcess":
        """The process with the points ``Z`` (m, d) added at their own mean: same mean, less uncertainty there.

        Ginsbourger, Le Riche and Carraro, "Kriging is well-suited to parallelize optimization", 2010.
        """
        return self.given(np.vstack([self._X, Z]), np.concatenate([self._y, self.mean(Z)]))

    def given(self, X: np.ndarray, y: np.ndarray) -> "GaussianProcess":
        """The process with the same hyperparameters on other data ``X`` (n, d) and ``y`` (n,)."""
        return GaussianProcess(X, y, owners=self._owners, hyperparameters=self.hyperparameters)

    def log_marginal_likelihood(self) -> float:
        """log p(y | X) under the current hyperparameters."""
        return float(
            -0.5 * self._y @ self._alpha
            - np.log(np.diag(self._factor)).sum()
            - 0.5 * len(self._y) * math.log(2.0 * math.pi)
        )

    def _grouped_squares(self) -> np.ndarray:
        """Squared distances within the data per lengthscale, shape (groups, n, n)."""
        groups = int(self._owners.max()) + 1
        squares = np.zeros((groups, len(self._X), len(self._X)))
        for column, owner in enumerate(self._owners):
            squares[owner] += (self._X[:, column, None] - self._X[None, :, column]) ** 2
        return squares

    def _condition(self, h: Hyperparameters) -> tuple[np.ndarray, np.ndarray]:
        scaled = self._X / h.length[self._owners]
        K = h.signal * matern52(cdist(scaled, scaled, "sqeuclidean"))
        jitter = h.noise + 1e-8
        while True:
            try:
                factor = cholesky(K + jitter * np.eye(len(K)))
            except LinAlgError:  # nearly equal rows: a little more noise makes the matrix regular
                jitter *= 10.0
            else:
                return factor, _solved(factor, self._y)

    def _fit(self) -> Hyperparameters:
        squares = self._grouped_squares()
        groups = len(squares)
        kinds = ["length"] * groups + ["signal", "noise"]
        prior = np.array([_PRIOR[kind] for kind in kinds])
        found = minimize(
            self._objective,
            prior[:, 0],
            args=(squares, prior),
            jac=True,
            method="L-BFGS-B",
            bounds=[_BOUNDS[kind] for kind in kinds],
            options={"maxiter": _ITERATIONS},
        )
        best = np.exp(found.x)
        return Hyperparameters(best[:groups], float(best[groups]), float(best[groups + 1]))

    def _objective(self, log: np.ndarray, grouped: np.ndarray, prior: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log posterior of the hyperparameters and its gradient; ``grouped``: see ``_grouped_squares``."""
        groups = len(grouped)
        inverse = np.exp(-2.0 * log[:groups])
        signal, noise = math.exp(log[groups]), math.exp(log[groups + 1])
        squares = np.tensordot(inverse, grouped, axes=1)
        r = np.sqrt(squares)
        decay = np.exp(-_SQRT5 * r)
        K = signal * (1.0 + _SQRT5 * r + 5.0 / 3.0 * squares) * decay
        n = len(K)
        try:
            factor = cholesky(K + (noise + 1e-8) * np.eye(n))
        except LinAlgError:
            return 1e25, np.zeros_like(log)
        alpha = _solved(factor, self._y)
        inner = np.outer(alpha, alpha) - _solved(factor, np.eye(n))
        shared = inner * (signal * 5.0 / 3.0 * (1.0 + _SQRT5 * r) * decay)
        slope = np.empty_like(log)
        slope[:groups] = 0.5 * np.tensordot(grouped, shared, axes=([1, 2], [0, 1])) * inverse
        slope[groups] = 0.5 * float((inner * K).sum())
        slope[groups + 1] = 0.5 * noise * float(np.trace(inner))
        likelihood = -0.5 * self._y @ alpha - np.log(np.diag(factor)).sum() - 0.5 * n * math.log(2.0 * math.pi)
        deviation = (log - prior[:, 0]) / prior[:, 1]
        value = -float(likelihood) + 0.5 * float(deviation @ deviation)
        return value, -slope + deviation / prior[:, 1]
