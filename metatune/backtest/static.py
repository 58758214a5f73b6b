"""Methods that decide on their whole list before the first evaluation, or do not learn at all."""

import numpy as np

from metatune.backtest.fold import Problem
from metatune.backtest.method import Listed, Method, Observed, Search, nearest_free
from metatune.encoding import UnitEncoder
from metatune.search.portfolio import greedy_portfolio
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.similarity import distances, feature_matrix

#: So many nearest tasks are asked by ``knn``, as in auto-sklearn (Feurer et al., 2015).
NEIGHBOURS = 25
#: ``copula`` is fitted anew for every task that is left out; more trials than this change its list little.
POOLED_ROWS = 20_000


def random(problem: Problem, seed: int) -> Search:
    """The pool in random order."""
    return Listed(np.random.default_rng(seed).permutation(len(problem.rows)))


def default(problem: Problem, seed: int) -> Search:
    """The row nearest to the default configuration, then random ones.

    In a table without a default it is the middle of the space, with the first choice of categorical parameters.
    """
    configuration = problem.fold.table.default or problem.space.clip({})[0]
    first = nearest_free(problem.U, UnitEncoder(problem.space).encode([configuration])[0], ())
    order = np.random.default_rng(seed).permutation(len(problem.rows))
    return Listed(np.concatenate([[first], order[order != first]]))


def portfolio(problem: Problem, seed: int) -> Search:
    """The greedy rank cover (``greedy_portfolio``) of the other tasks' surfaces, begun again when it is complete."""
    return Cover(problem.predicted) if len(problem.others) else random(problem, seed)


class Cover:
    """Candidates in the order of greedy covers of ``surfaces`` (tasks, candidates), higher is better.

    A cover is complete when it has every task's best candidate: the greedy rule then has no opinion on the rest, so
    the next cover starts from what is left.
    """

    def __init__(self, surfaces: np.ndarray) -> None:
        self._surfaces = surfaces
        self._order: list[int] = []

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        return self.first(len(observed) + 1)[-1]

    def first(self, n: int) -> list[int]:
        """The first ``n`` candidates of the list."""
        while len(self._order) < n:
            left = np.setdiff1d(np.arange(self._surfaces.shape[1]), self._order)
            self._order += left[_complete_cover(self._surfaces[:, left])].tolist()
        return self._order[:n]


def _complete_cover(surfaces: np.ndarray) -> list[int]:
    best = set(surfaces.argmax(axis=1).tolist())
    size = len(best)
    cover = greedy_portfolio(surfaces, size)
    while not best.issubset(cover):
        size *= 2
        cover = greedy_portfolio(surfaces, size)
    return cover[: max(map(cover.index, best)) + 1]


def copula(problem: Problem, seed: int) -> Search:
    """One LightGBM on the copula targets of all other tasks together ranks the pool.

    The mean of the prior in Salinas, Shen and Perrone, "A Quantile-based Approach for Hyperparameter Transfer
    Learning", 2020, as a static list. It knows no meta-features, and learns from ``POOLED_ROWS`` trials at most.
    """
    if not len(problem.others):
        return random(problem, seed)
    pooled = MetaSurrogate.fit(problem.history, problem.fold.table.encoder, features=(), max_rows=POOLED_ROWS)
    return Listed(np.argsort(-pooled.predict(problem.X, {}), kind="stable"))


def knn(problem: Problem, seed: int) -> Search:
    """The best configurations of the tasks nearest by meta-features, nearest first.

    Feurer et al., "Efficient and Robust Automated Machine Learning", 2015, start auto-sklearn's search this way. When
    every one of the ``NEIGHBOURS`` nearest tasks had its best, their second best follow, and so on. A configuration is
    replaced by the nearest row that was not evaluated yet. Random where meta-features do not tell tasks apart.
    """
    names = sorted(name for name, value in problem.record.metafeatures.items() if np.isfinite(value))
    known = feature_matrix([task.record.metafeatures for task in problem.history], names)
    away = distances(known, feature_matrix([problem.record.metafeatures], names)[0])
    order = np.argsort(away, kind="stable")[:NEIGHBOURS]
    near = [problem.history[i] for i in order if np.isfinite(away[i])]
    if not near:
        return random(problem, seed)
    ranked = [task.best_rows(len(task.rows)) for task in near]
    turns = [rows[turn] for turn in range(max(map(len, ranked))) for rows in ranked if turn < len(rows)]
    return Snapped(problem, problem.fold.table.U[list(dict.fromkeys(turns))], random(problem, seed))


class Snapped:
    """A list of points, each replaced by the nearest row of the pool that is left; then ``rest``."""

    def __init__(self, problem: Problem, points: np.ndarray, rest: Search) -> None:
        self._problem, self._points, self._rest = problem, points, rest

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        if len(observed) < len(self._points):
            return nearest_free(self._problem.U, self._points[len(observed)], observed)
        return self._rest.ask(observed)


METHODS: dict[str, Method] = {
    "random": random,
    "default": default,
    "portfolio": portfolio,
    "knn": knn,
    "copula": copula,
}
