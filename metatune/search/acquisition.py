"""How much a candidate promises."""

import math

import numpy as np
from scipy.special import erfcx, ndtr

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
#: Below the first, the sum in the expected improvement cancels; below the second, 1 - |u| cdf(u) / density(u) does. At
#: both, either form is right to a few units in the last place of the sum with the density.
_NEAR, _FAR = -1.0, -1e3


def log_expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """Logarithm of the expected improvement over ``best`` (higher is better), shape of ``mean``.

    Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998; in logarithms
    so that far candidates still compare (Ament et al., "Unexpected Improvements to Expected Improvement", 2023).
    """
    u = (mean - best) / deviation
    near = np.maximum(u, _NEAR)
    exact = np.log(np.exp(_log_density(near)) + near * ndtr(near))
    tail = _log_density(np.minimum(u, _NEAR)) + _log_share(np.minimum(u, _NEAR))
    return np.asarray(np.where(u > _NEAR, exact, tail) + np.log(deviation))


def _log_density(u: np.ndarray) -> np.ndarray:
    """Of the standard normal distribution."""
    return np.asarray(-0.5 * u * u - _HALF_LOG_2PI)


def _log_share(u: np.ndarray) -> np.ndarray:
    """log(1 - |u| cdf(u) / density(u)), for negative ``u``: the improvement as a share of the density."""
    middle, far = np.maximum(u, _FAR), np.minimum(u, _FAR)
    exact = np.log1p(middle * math.sqrt(math.pi / 2.0) * erfcx(-middle / math.sqrt(2.0)))
    # The first terms of the asymptotic series; the next one is 12 / u**4.
    series = np.log1p(-3.0 / far**2) - 2.0 * np.log(-far)
    return np.asarray(np.where(u > _FAR, exact, series))
