"""Observations of this task in the light of earlier tasks: which of them order it alike, and on what scale it is."""

import numpy as np

#: Weight of an earlier task: exp(-sharpness * min(n, _CAP) * share of wrongly ordered pairs).
_CAP = 25
#: Experts that are compared at a time: all of them, times all pairs, would fill memory.
_AT_ONCE = 64
#: A bad score counts at most so many times as far below the median as the best is above it.
_DEPTH = 4.0
#: Beyond this, differences overflow.
_HUGE = 1e300
#: Scores that differ by less, as a share of their size, differ by rounding.
_ROUNDING = 8 * float(np.finfo(np.float64).eps)
#: How far below the worst score a failure is placed, in standard deviations.
_FAILURE = 0.5


def discordance(predicted: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Share of the pairs of observations that each expert puts in the wrong order, shape (experts,).

    ``predicted`` (experts, n), ``score`` (n,). Pairs with equal scores do not count, equal predictions count half.
    Without a single pair to judge by, the answer is 0 for all.
    """
    n = len(score)
    truth = np.sign(score[:, None] - score[None, :]).ravel()
    pairs = np.count_nonzero(truth) / 2.0
    if not pairs:
        return np.zeros(len(predicted))
    agreement = np.empty(len(predicted))
    for start in range(0, len(predicted), _AT_ONCE):
        some = predicted[start : start + _AT_ONCE]
        # Over both orders of a pair, "i above j" times the true sign adds 1 where they agree, -1 where not, 0 for ties.
        above = (some[:, :, None] > some[:, None, :]).reshape(len(some), n * n)
        agreement[start : start + _AT_ONCE] = above.astype(np.float32) @ truth.astype(np.float32)
    return np.asarray((1.0 - agreement / pairs) / 2.0)


def expert_weights(wrong: np.ndarray, n: int, base: np.ndarray, *, sharpness: float) -> np.ndarray:
    """Weights (experts,) that sum to 1, after ``n`` observations.

    ``wrong`` is the experts' ``discordance``, ``base`` (experts,) their weights before any observation. Weighting by
    ranking errors follows Feurer, Letham and Bakshy, "Scalable Meta-Learning for Bayesian Optimization using
    Ranking-Weighted Gaussian Process Ensembles", 2018.
    """
    weight = base * np.exp(-sharpness * min(n, _CAP) * (wrong - wrong.min(initial=1.0)))
    return np.asarray(weight / weight.sum())


def standardised(score: np.ndarray) -> np.ndarray:
    """Scores (n,), NaN for failures, as numbers of mean 0 and deviation 1 without extreme lows.

    Lows are cut, since one diverged run would otherwise hide all differences among the good ones. Failures come
    below the worst.
    """
    z, ok = np.zeros(len(score)), ~np.isnan(score)
    if not ok.any():
        return z
    good = np.clip(score[ok], -_HUGE, _HUGE)
    median, best = float(np.median(good)), float(good.max())
    spread = max(best - median, 1.4826 * float(np.median(np.abs(good - median))))
    if spread == 0 and (good < median).any():  # most scores are equal: what is next below them gives the scale
        spread = median - float(good[good < median].max())
    cut = good if spread == 0 else np.maximum(good, median - _DEPTH * spread)
    width = float(np.ptp(cut))
    if width > _ROUNDING * float(np.abs(cut).max()):
        share = (cut - cut.min()) / width  # first, since squares of very large or small numbers are none
        z[ok] = (share - share.mean()) / share.std()
    z[~ok] = z[ok].min() - _FAILURE
    return z
