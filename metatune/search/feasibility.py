"""``Feasibility``: how likely a configuration is not to fail, by what failed in this search and what did not."""

import numpy as np
from scipy.special import log_ndtr

from metatune.surrogate.gp import GaussianProcess

#: Deviation beyond that of the process, so that nothing is certain.
_DOUBT = 0.3
#: The power of the probability: a failure is not only no improvement, it also takes the place of another trial.
_CAUTION = 2.0


class Feasibility:
    """A Gaussian process on whether configurations ``U`` (n, d) ended well, bool (n,).

    An improvement counts the less the less likely the configuration that promises it is to end well, after Gelbart,
    Snoek and Adams, "Bayesian Optimization with Unknown Constraints", 2014. A failure given a low score instead would
    count as evidence against every history that did not foresee it. Lengthscales are learnt from the rows ``judged``.
    """

    def __init__(self, U: np.ndarray, ended_well: np.ndarray, owners: np.ndarray, judged: np.ndarray) -> None:
        label = np.where(ended_well, 1.0, -1.0)
        learnt = GaussianProcess(U[judged], label[judged], owners=owners)
        self._process = learnt if len(judged) == len(U) else learnt.given(U, label)

    def log_factor(self, U: np.ndarray) -> np.ndarray:
        """Logarithm of what improvements by configurations ``U`` (m, d) are multiplied by, at most 0, shape (m,)."""
        mean, deviation = self._process.predict(U)
        return np.asarray(_CAUTION * log_ndtr(mean / np.hypot(deviation, _DOUBT)))
