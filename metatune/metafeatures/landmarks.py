"""Landmarks: how well the simplest learners do on a small sample (Pfahringer, Bensusan & Giraud-Carrier, 2000).

Two-fold cross-validation on at most 1,000 rows, 50 columns and the 50 most frequent classes. Every score is 0 for a
constant prediction and 1 for a perfect one: balanced accuracy rescaled to chance for classes, R2 (not below -1) for
a numeric target.
Classes weigh the same in every learner that can weigh, so scores differ by what a learner can express.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.tree import DecisionTreeRegressor

from metatune.metafeatures.moments import standardized
from metatune.metafeatures.sampling import Sample

MAX_ROWS = 1_000
MAX_COLUMNS = 50
MAX_LEVELS = 8
MAX_CLASSES = 50
MIN_ROWS = 10

NAMES = (
    "landmark_one_nn", "landmark_naive_bayes", "landmark_best_node", "landmark_mean_node", "landmark_tree",
    "landmark_linear", "gap_tree_linear", "gap_one_nn_linear", "gap_tree_best_node",
)  # fmt: skip
SEPARABILITY_NAMES = ("landmark_one_nn", "landmark_centroid", "landmark_linear")

#: (X train (n, d), targets (n, k), weights (n,), X test (m, d)) -> predictions (m, k).
#: Targets are class indicators or, with k = 1, the standardised numeric target; the largest of k is the class.
Learner: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def landmarks(sample: Sample, *, seed: int) -> dict[str, float]:
    """Scores of the landmarks and the gaps between them; empty for under ten rows or a target that does not vary.

    Naive Bayes is for classes only. ``mean_node`` is the mean over columns of the score of a one-split tree on that
    column alone, the expectation of a random node.
    """
    rng = np.random.default_rng(seed)
    rows = _rows(sample, rng)
    X = _design(sample, rows, rng)
    targets = _targets(sample, rows)
    if len(rows) < MIN_ROWS or not X.shape[1] or not targets.shape[1]:
        return {}
    learners: dict[str, Learner] = {"one_nn": _one_nn, "best_node": _best_node, "tree": _tree, "linear": _linear}
    if not sample.is_regression:
        learners["naive_bayes"] = _naive_bayes
    fold = _folds(sample.y[rows], rng)
    found = _scores(learners, X, targets, fold)
    nodes = [_score(targets, _held_out(_best_node, column[:, None], targets, fold)) for column in X.T]
    found["landmark_mean_node"] = float(np.mean(nodes))
    for better, than in (("tree", "linear"), ("one_nn", "linear"), ("tree", "best_node")):
        found[f"gap_{better}_{than}"] = found[f"landmark_{better}"] - found[f"landmark_{than}"]
    return found


def separability(sample: Sample, *, seed: int) -> dict[str, float]:
    """Scores of the landmarks that ask how far apart the targets lie: nearest neighbour, nearest class mean, linear.

    For examples summarised by columns in one unit, which keep their proportions here. Class means are for classes
    only. Empty where ``landmarks`` is.
    """
    rng = np.random.default_rng(seed)
    rows = _rows(sample, rng)
    X, targets = points(sample.numeric[rows]), _targets(sample, rows)
    if len(rows) < MIN_ROWS or not X.shape[1] or not targets.shape[1]:
        return {}
    learners: dict[str, Learner] = {"one_nn": _one_nn, "linear": _linear}
    if not sample.is_regression:
        learners["centroid"] = _centroid
    return _scores(learners, X, targets, _folds(sample.y[rows], rng))


def points(values: np.ndarray) -> np.ndarray:
    """The columns that vary, centred, of mean square 1 over all together; missing values become the column's mean."""
    known = ~np.isnan(values)
    varies = np.fmax.reduce(values, axis=0, initial=-np.inf) > np.fmin.reduce(values, axis=0, initial=np.inf)
    values, known = values[:, varies], known[:, varies]
    centre = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    centred = np.where(known, values - centre, 0.0)
    if centred.size:
        centred /= np.abs(centred).max()
        centred /= np.sqrt(np.mean(centred**2))
    return centred


def _scores(learners: dict[str, Learner], X: np.ndarray, targets: np.ndarray, fold: np.ndarray) -> dict[str, float]:
    return {f"landmark_{name}": _score(targets, _held_out(f, X, targets, fold)) for name, f in learners.items()}


def _rows(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """Positions in the sample, ascending."""
    shuffled = rng.permutation(len(sample.y))
    if not sample.is_regression:
        frequent = np.argsort(-np.bincount(sample.y), kind="stable")[:MAX_CLASSES]
        shuffled = shuffled[np.isin(sample.y[shuffled], frequent)]
    return np.sort(shuffled[:MAX_ROWS])


def _design(sample: Sample, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Standardised numeric columns and indicators of the most frequent levels, (len(rows), d)."""
    n_numeric = sample.numeric.shape[1]
    chosen = np.sort(rng.permutation(n_numeric + sample.codes.shape[1])[:MAX_COLUMNS])
    numeric = sample.numeric[np.ix_(rows, chosen[chosen < n_numeric])]
    codes = sample.codes[np.ix_(rows, chosen[chosen >= n_numeric] - n_numeric)]
    parts = [numeric]
    for column in codes.T:
        levels, counts = np.unique(column[column >= 0], return_counts=True)
        frequent = levels[np.argsort(-counts, kind="stable")[:MAX_LEVELS]]
        parts.append((column[:, None] == frequent).astype(float))
    return standardized(np.hstack(parts))


def _targets(sample: Sample, rows: np.ndarray) -> np.ndarray:
    y = sample.y[rows]
    if sample.is_regression:
        return standardized(y[:, None])
    present = np.unique(y)
    return (y[:, None] == present).astype(float) if len(present) > 1 else np.empty((len(y), 0))


def _folds(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fold 0 or 1 of each row; neighbours in the order of ``y`` are separated, which stratifies."""
    fold = np.empty(len(y), dtype=np.int64)
    fold[np.lexsort((rng.permutation(len(y)), y))] = np.arange(len(y)) % 2
    return fold


def _held_out(learner: Learner, X: np.ndarray, targets: np.ndarray, fold: np.ndarray) -> np.ndarray:
    predictions = []
    for test in (fold == 0, fold == 1):
        predictions.append(learner(X[~test], targets[~test], _weights(targets[~test]), X[test]))
    joined = np.empty((len(X), *predictions[0].shape[1:]))
    joined[fold == 0], joined[fold == 1] = predictions
    return joined


def _weights(targets: np.ndarray) -> np.ndarray:
    """Weights of mean 1 that give every class present the same total; ones for a numeric target."""
    n, k = targets.shape
    if k == 1:
        return np.ones(n)
    weights: np.ndarray = targets @ (1.0 / np.maximum(targets.sum(axis=0), 1.0))
    weights /= weights.mean()
    return weights


def _score(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Score of ``predictions`` (n, k) against ``targets`` (n, k)."""
    k = targets.shape[1]
    if k == 1:
        return max(1.0 - float(np.mean((targets - predictions) ** 2)), -1.0)
    hits = predictions.argmax(axis=1) == targets.argmax(axis=1)
    recall = float(np.mean(hits @ targets / targets.sum(axis=0)))
    return float((recall - 1.0 / k) / (1.0 - 1.0 / k))


def _one_nn(X: np.ndarray, targets: np.ndarray, weights: np.ndarray, test: np.ndarray) -> np.ndarray:
    nearest: np.ndarray = targets[cdist(test, X, "sqeuclidean").argmin(axis=1)]
    return nearest


def _centroid(X: np.ndarray, targets: np.ndarray, weights: np.ndarray, test: np.ndarray) -> np.ndarray:
    counts = targets.sum(axis=0)
    means = targets.T @ X / np.maximum(counts, 1.0)[:, None]
    return np.where(counts > 0, -cdist(test, means, "sqeuclidean"), -np.inf)


def _naive_bayes(X: np.ndarray, targets: np.ndarray, weights: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Gaussian log-likelihoods of the classes, equal priors; variances are smoothed as columns have variance 1."""
    out = np.full((len(test), targets.shape[1]), -np.inf)
    for c, member in enumerate(targets.T > 0):
        if member.any():
            variance = X[member].var(axis=0) + 1e-3
            out[:, c] = -0.5 * (np.log(variance) + (test - X[member].mean(axis=0)) ** 2 / variance).sum(axis=1)
    return out


def _linear(X: np.ndarray, targets: np.ndarray, weights: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Ridge regression for a number; linear discriminants with equal priors for classes; both lightly regularised."""
    if targets.shape[1] == 1:
        centre, offset = X.mean(axis=0), targets.mean(axis=0)
        centred = X - centre
        gram = centred.T @ centred + 0.01 * len(X) * np.eye(X.shape[1])
        fitted: np.ndarray = (test - centre) @ np.linalg.solve(gram, centred.T @ (targets - offset)) + offset
        return fitted
    counts = targets.sum(axis=0)
    means = targets.T @ X / np.maximum(counts, 1.0)[:, None]
    within = X - targets @ means
    scatter = (within * weights[:, None]).T @ within / len(X) + 0.01 * np.eye(X.shape[1])
    directions = np.linalg.solve(scatter, means.T)
    discriminants: np.ndarray = test @ directions - 0.5 * np.sum(means.T * directions, axis=0)
    return np.where(counts > 0, discriminants, -np.inf)


def _tree(X: np.ndarray, targets: np.ndarray, weights: np.ndarray, test: np.ndarray) -> np.ndarray:
    # Squared error on class indicators is the Gini impurity: one learner serves both kinds of target.
    tree = DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, targets, sample_weight=weights)
    out: np.ndarray = tree.predict(test).reshape(len(test), targets.shape[1])
    return out


def _best_node(X: np.ndarray, targets: np.ndarray, weights: np.ndarray, test: np.ndarray) -> np.ndarray:
    gains, splits = zip(*(_split(column, targets, weights) for column in X.T), strict=True)
    j = int(np.argmax(gains))
    threshold, low, high = splits[j]
    out: np.ndarray = np.where((test[:, j] <= threshold)[:, None], low, high)
    return out


def _split(
    x: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[float, tuple[float, np.ndarray, np.ndarray]]:
    """Gain and (threshold, prediction at or below, prediction above) of the split of least weighted squared error.

    For class indicators that error is the Gini impurity (Breiman et al., 1984).
    """
    order = np.argsort(x, kind="stable")
    xs = x[order]
    sums = np.cumsum(targets[order] * weights[order, None], axis=0)
    mass = np.cumsum(weights[order])
    cuts = np.flatnonzero(xs[1:] > xs[:-1])
    if not cuts.size:
        constant = sums[-1] / mass[-1]
        return 0.0, (np.inf, constant, constant)
    low, high = sums[cuts], sums[-1] - sums[cuts]
    low_mass, high_mass = mass[cuts], mass[-1] - mass[cuts]
    gain = (low**2).sum(axis=1) / low_mass + (high**2).sum(axis=1) / high_mass
    i = int(gain.argmax())
    threshold = 0.5 * (xs[cuts[i]] + xs[cuts[i] + 1])
    base = float((sums[-1] ** 2).sum() / mass[-1])
    return float(gain[i]) - base, (threshold, low[i] / low_mass[i], high[i] / high_mass[i])
