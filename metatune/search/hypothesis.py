"""``Hypothesis``: one way in which earlier tasks may bear on this one; ``HYPOTHESES``, all that are held possible."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

_SHARES = (0.0, 0.3, 0.6, 0.9)
_LENGTHS, _COLD_LENGTHS = (0.5, 1.0, 2.0), (0.3, 0.6, 1.0, 2.0)
_NOISES = (0.003, 0.03, 0.2)
#: Variance of the centre, in copula units.
_CENTRE = 9.0
#: Logarithm of how much less likely a hypothesis is held than one with the mean as given, before any observation.
AGAINST = {"given": 0.0, "free": 1.0, "absent": 1.0}

Mean = Literal["given", "free", "absent"]


@dataclass(frozen=True)
class Hypothesis:
    """``share`` of the covariance that is the earlier tasks', factor ``length`` on lengthscales, ``noise`` variance."""

    mean: Mean
    share: float
    length: float
    noise: float

    def covariance(self, near: np.ndarray, alike: np.ndarray, means: np.ndarray, others: np.ndarray) -> np.ndarray:
        """From Matérn correlations and the tasks' covariances (n, m), and the means at these points, (n,) and (m,)."""
        own = (1.0 - self.share) * near
        if self.share:
            own += self.share * alike
        own += np.multiply.outer(means, others) + _CENTRE if self.mean == "free" else _CENTRE
        return own

    def variance(self, varies: np.ndarray, means: np.ndarray) -> np.ndarray:
        """The diagonal of ``covariance`` at points of which ``varies`` (m,) are the tasks' variances."""
        own = 1.0 - self.share + self.share * varies + _CENTRE
        return own + means**2 if self.mean == "free" else own


#: All that are held possible. Without the absent ones, the history is believed whatever is observed.
HYPOTHESES = (
    *(Hypothesis("given", *rest) for rest in product(_SHARES, _LENGTHS, _NOISES)),
    *(Hypothesis("free", share, 1.0, noise) for share, noise in product(_SHARES, _NOISES)),
    *(Hypothesis("absent", 0.0, *rest) for rest in product(_COLD_LENGTHS, _NOISES)),
)
