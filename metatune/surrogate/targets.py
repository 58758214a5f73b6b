"""Targets that compare across tasks: what counts is the rank of a configuration within its task."""

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

#: How far below the worst success a failure lies, in standard deviations.
FAILURE_GAP = 0.5


def copula_targets(score: np.ndarray) -> np.ndarray:
    """Gaussian ranks of one task's scores, shape (n,): higher is better, NaN (a failure) below the worst.

    Ranks are made normal by the inverse normal distribution function (Salinas, Shen and Perrone, "A Quantile-based
    Approach for Hyperparameter Transfer Learning", 2020), ties share their mean rank. All equal scores give zeros.
    """
    target = np.zeros(len(score))
    ok = ~np.isnan(score)
    n = int(ok.sum())
    if n:
        target[ok] = ndtri((rankdata(score[ok]) - 0.5) / n)
    if not ok.all():
        target[~ok] = (target[ok].min() if n else 0.0) - FAILURE_GAP
    return target


def evenly(target: np.ndarray, n: int) -> np.ndarray:
    """Positions of at most ``n`` of the targets, ascending, spread evenly over their order, both ends included."""
    if len(target) <= n:
        return np.arange(len(target))
    order = np.argsort(target, kind="stable")
    return np.sort(order[np.linspace(0, len(target) - 1, n).round().astype(np.int64)])
