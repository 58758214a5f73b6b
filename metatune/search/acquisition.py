"""How much a candidate promises."""

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm


def log_expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """Logarithm of the expected improvement over ``best`` (higher is better), shape of ``mean``.

    Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998; in logarithms
    so that far candidates still compare (Ament et al., "Unexpected Improvements to Expected Improvement", 2023).
    """
    u = (mean - best) / deviation
    near = np.maximum(u, -5.0)
    exact = np.log(norm.pdf(near) + near * norm.cdf(near))
    # For u << 0: log(pdf(u) + u cdf(u)) ~ log pdf(u) - 2 log|u|, joined continuously at u = -5.
    far = np.minimum(u, -5.0)
    tail = norm.logpdf(far) - 2.0 * np.log(-far)
    joint = np.log(norm.pdf(-5.0) - 5.0 * np.exp(log_ndtr(-5.0))) - (norm.logpdf(-5.0) - 2.0 * np.log(5.0))
    return np.asarray(np.where(u > -5.0, exact, tail + joint) + np.log(deviation))
