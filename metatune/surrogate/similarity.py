"""How alike tasks are, judged by their meta-features."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

#: Two tasks share too little to be compared when fewer than this share of the features is known in both.
_MIN_SHARED = 0.3


def feature_matrix(metafeatures: Sequence[Mapping[str, float]], names: Sequence[str]) -> np.ndarray:
    """Rows of float64 in the order of ``names``; NaN where a task lacks the feature."""
    rows = [[float(features.get(name, np.nan)) for name in names] for features in metafeatures]
    return np.array(rows, dtype=np.float64).reshape(len(metafeatures), len(names))


def distances(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Distance of ``new`` (features,) to each row of ``known`` (tasks, features), shape (tasks,).

    Each feature is replaced by its Gaussian rank among all tasks, so that no unit dominates; the distance is the root
    mean square over the features that both know, infinite when they are too few.
    """
    stacked = np.vstack([known, new])
    ranked = np.full_like(stacked, np.nan)
    for j in range(stacked.shape[1]):
        ok = np.isfinite(stacked[:, j])
        if ok.sum() > 1:
            ranked[ok, j] = ndtri((rankdata(stacked[ok, j]) - 0.5) / ok.sum())
    informative = np.isfinite(ranked).any(axis=0)
    if not informative.any():
        return np.full(len(known), np.inf)
    squares = (ranked[:-1, informative] - ranked[-1, informative]) ** 2
    shared = np.isfinite(squares)
    total = np.where(shared, squares, 0.0).sum(axis=1)
    count = shared.sum(axis=1)
    root = np.sqrt(total / np.maximum(count, 1))
    return np.where(count >= max(1.0, _MIN_SHARED * informative.sum()), root, np.inf)


def unlike_anything(known: np.ndarray, new: np.ndarray) -> bool:
    """Whether ``new`` is farther from its nearest known task than known tasks usually are from theirs.

    Farther than one and a half times the 95th percentile of the known tasks' own nearest distances. With fewer than
    five known tasks there is no "usually", and the answer is yes only when no distance can be computed at all.
    """
    nearest = float(np.min(distances(known, new), initial=np.inf))
    if not np.isfinite(nearest):
        return True
    if len(known) < 5:
        return False
    own = [float(np.min(distances(np.delete(known, i, 0), known[i]), initial=np.inf)) for i in range(len(known))]
    usual = [d for d in own if np.isfinite(d)]
    return bool(usual) and nearest > 1.5 * float(np.quantile(usual, 0.95))
