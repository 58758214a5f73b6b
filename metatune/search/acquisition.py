"""How much a candidate promises."""

import math

import numpy as np
from scipy.special import ndtr

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def _log_density(u: np.ndarray | float) -> np.ndarray:
    """Of the standard normal distribution."""
    return np.asarray(-0.5 * u * u - _HALF_LOG_2PI)


#: Below it, the sum in the expected improvement cancels too many digits.
_EDGE = -5.0
_JOINT = float(np.log(np.exp(_log_density(_EDGE)) + _EDGE * ndtr(_EDGE)) - (_log_density(_EDGE) - 2.0 * np.log(-_EDGE)))


def log_expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """Logarithm of the expected improvement over ``best`` (higher is better), shape of ``mean``.

    Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998; in logarithms
    so that far candidates still compare (Ament et al., "Unexpected Improvements to Expected Improvement", 2023).
    """
    u = (mean - best) / deviation
    near = np.maximum(u, _EDGE)
    exact = np.log(np.exp(_log_density(near)) + near * ndtr(near))
    # For u << 0: log(density(u) + u cdf(u)) ~ log density(u) - 2 log|u|, joined continuously at the edge.
    far = np.minimum(u, _EDGE)
    tail = _log_density(far) - 2.0 * np.log(-far)
    return np.asarray(np.where(u > _EDGE, exact, tail + _JOINT) + np.log(deviation))
