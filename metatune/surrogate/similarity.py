"""How alike tasks are, judged by their meta-features."""

from collections.abc import Mapping, Sequence

import numpy as np

#: Two tasks share too little to be compared when fewer than this share of the features is known in both.
_MIN_SHARED = 0.3
#: Known tasks that are compared with all others at a time: all at once would fill memory.
_AT_ONCE = 256


def feature_matrix(metafeatures: Sequence[Mapping[str, float]], names: Sequence[str]) -> np.ndarray:
    """Rows of float64 in the order of ``names``; NaN where a task lacks the feature."""
    rows = [[float(features.get(name, np.nan)) for name in names] for features in metafeatures]
    return np.array(rows, dtype=np.float64).reshape(len(metafeatures), len(names))


def distances(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Distance of ``new`` (features,) to each row of ``known`` (tasks, features), shape (tasks,).

    Each feature is centred at the known tasks' median, divided by their interquartile range and compressed by asinh, so
    that neither its unit nor a long tail dominates. The distance is the root mean square over the features that both
    know, infinite when they are too few.
    """
    return _between(_scaled(known, known), _scaled(known, np.atleast_2d(new)))[:, 0]


def _between(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances of scaled ``rows`` (n, features) to scaled ``others`` (m, features), shape (n, m).

    What is not finite is not known.
    """
    a, b = np.isfinite(rows).astype(np.float64), np.isfinite(others).astype(np.float64)
    A, B = np.where(a > 0, rows, 0.0), np.where(b > 0, others, 0.0)
    # Sums over the features that both know: a^2 - 2ab + b^2, each masked by the other's knowledge.
    squares = (A**2) @ b.T - 2.0 * A @ B.T + a @ (B**2).T
    shared = a @ b.T
    enough = shared >= np.maximum(1.0, _MIN_SHARED * b.sum(axis=1))
    return np.where(enough, np.sqrt(np.maximum(squares, 0.0) / np.maximum(shared, 1.0)), np.inf)


def _scaled(known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``rows`` in the units of ``known``; NaN for a feature that no known task has, 0 for one that never varies."""
    scaled = np.full(rows.shape, np.nan)
    for j in range(rows.shape[1]):
        seen = known[np.isfinite(known[:, j]), j]
        if len(seen):
            low, middle, high = np.quantile(seen, [0.25, 0.5, 0.75])
            width = (high - low) / 1.349 or float(seen.std())
            scaled[:, j] = np.arcsinh((rows[:, j] - middle) / width) if width > 0 else rows[:, j] * 0.0
    return scaled


def unlike_anything(known: np.ndarray, new: np.ndarray, groups: Sequence[str]) -> bool:
    """Whether ``new`` is farther from its nearest known task than known tasks usually are from theirs.

    Farther than one and a half times the 95th percentile of the known tasks' distances to the nearest one of another
    source; ``groups`` (tasks,) names their sources, since samples of one source are alike whatever is usual. With
    fewer than five sources there is no "usually", and the answer is yes only when no distance can be computed at all.
    """
    nearest = float(np.min(distances(known, new), initial=np.inf))
    if not np.isfinite(nearest):
        return True
    sources = np.asarray(groups)
    if len(np.unique(sources)) < 5:
        return False
    scaled = _scaled(known, known)
    own = np.empty(len(known))
    for start in range(0, len(known), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        among = _between(scaled[some], scaled)
        among[sources[some, None] == sources] = np.inf
        own[some] = among.min(axis=1)
    usual = own[np.isfinite(own)]
    return bool(len(usual)) and nearest > 1.5 * float(np.quantile(usual, 0.95))
