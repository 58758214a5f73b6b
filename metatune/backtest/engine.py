"""metatune's own engine in a replay, what it is without history, and what it is without each of its parts.

The pool takes the place of points spread over a real space: there are no neighbours to be made, nor a climb, and the
other tasks' surfaces are asked at the pool itself rather than kriged from a design. There is no default to be tried,
and where openings fail, what the history promises most is next, whether it is near a failure or not. The portfolio, the
weights, the mixture and the share without history are the code of ``Proposer``.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from metatune.backtest.fold import Problem
from metatune.backtest.learnt import Features
from metatune.backtest.method import Listed, Method, Observed, Search
from metatune.backtest.static import random
from metatune.search.candidates import favoured_and_random
from metatune.search.hypothesis import HYPOTHESES, Hypothesis
from metatune.search.mixture import Mixture
from metatune.search.portfolio import greedy_portfolio
from metatune.search.prior import task_weights, with_meta
from metatune.search.proposer import CANDIDATES, PORTFOLIO, in_share, turn_without_history

#: Random points with which a search without history begins.
_RANDOM_START = 5


@dataclass(frozen=True)
class Variant:
    """What an ablation changes of the engine; the defaults are metatune as it is.

    ``target``: what the surfaces of other tasks are fitted to. ``features``: whether the surrogate with meta-features
    is an expert (``gate``: where leaving tasks out says so, ``shuffled``: always, with another task's meta-features).
    ``portfolio``: configurations that open the search. ``fixed_mean``: the experts' weighted mean is the prior
    mean (no covariance of tasks, no other slope). ``guard``: whether there are hypotheses that doubt the
    history, and a share of proposals without it.
    """

    target: str = "copula"
    features: Features = "gate"
    portfolio: int = PORTFOLIO
    fixed_mean: bool = False
    guard: bool = True

    @property
    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """The hypotheses that are held possible."""
        if self.fixed_mean:
            return tuple(h for h in HYPOTHESES if h.mean == "given" and not h.share)
        return HYPOTHESES if self.guard else tuple(h for h in HYPOTHESES if h.mean == "given")


class Engine:
    """The engine of ``variant`` on the pool of ``problem``.

    ``predicted`` (experts, pool) is what the experts say of it, ``base`` (experts,) their first weights.
    """

    def __init__(self, problem: Problem, seed: int, variant: Variant) -> None:
        self._problem, self._variant, self._seed = problem, variant, seed
        learnt = problem.fold.learnt
        self.predicted = learnt.surfaces(variant.target)[np.ix_(problem.others, problem.rows)]
        others = [problem.fold.table.tasks[i] for i in problem.others]
        own, groups = np.array([task.own for task in others]), np.array([task.record.group for task in others])
        self.base = task_weights(own, groups)
        # Meta-features are learnt from all tasks: with a few of them as history there is nothing to learn them from.
        few = problem.fold.n_history is not None
        by_features = None if few else learnt.by_features(problem.task, problem.X, variant.features)
        if by_features is not None:
            self.predicted = np.vstack([self.predicted, by_features])
            self.base = with_meta(self.base)
        self._length = learnt.length(problem.others)
        self._opening = greedy_portfolio(self.predicted, variant.portfolio, self.base)
        self._random = random(problem, seed)
        self._promised = Listed(np.argsort(-(self.base @ self.predicted), kind="stable"))

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        n = len(observed)
        if n < len(self._opening):
            return self._opening[n]
        if _successes(observed) < 2:
            return self._random.ask(observed) if in_share(n) else self._promised.ask(observed)
        positions, score = _arrays(observed)
        model = Mixture(
            self._problem.U[positions],
            score,
            self.predicted[:, positions],
            owners=self._problem.owners,
            base=self.base,
            length=self._length,
            hypotheses=self._variant.hypotheses,
        )
        alone = self._variant.guard and turn_without_history(model, n)
        rng = np.random.default_rng([self._seed, n])
        looked_at = favoured_and_random(model.weights @ self.predicted, CANDIDATES, rng)
        looked_at = np.setdiff1d(looked_at, positions)
        if not len(looked_at):
            return self._random.ask(observed)
        U, predicted = self._problem.U[looked_at], self.predicted[:, looked_at]
        return int(looked_at[np.argmax(model.log_improvement(U, predicted, without_history=alone))])


class Cold:
    """The engine without history: random points, then its plain Gaussian process."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem, self._random = problem, random(problem, seed)

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        if len(observed) < _RANDOM_START or _successes(observed) < 2:
            return self._random.ask(observed)
        positions, score = _arrays(observed)
        nothing = np.empty((0, len(self._problem.rows)))
        owners = self._problem.owners
        model = Mixture(self._problem.U[positions], score, nothing[:, positions], owners=owners, base=np.empty(0))
        improvement = model.log_improvement(self._problem.U, nothing)
        improvement[positions] = -np.inf
        return int(np.argmax(improvement))


def _arrays(observed: Observed) -> tuple[np.ndarray, np.ndarray]:
    """Positions and scores (n,)."""
    return np.array([position for position, _ in observed]), np.array([score for _, score in observed])


def _successes(observed: Observed) -> int:
    return sum(bool(np.isfinite(score)) for _, score in observed)


def _engine(variant: Variant, problem: Problem, seed: int) -> Search:
    return Engine(problem, seed, variant) if len(problem.others) else Cold(problem, seed)


#: What the engine is without one of its parts, or with another one in its place.
ABLATIONS: dict[str, Variant] = {
    "metatune-standard-targets": Variant(target="standard"),
    "metatune-range-targets": Variant(target="range"),
    "metatune-features-on": Variant(features="on"),
    "metatune-features-off": Variant(features="off"),
    "metatune-features-shuffled": Variant(features="shuffled"),
    "metatune-portfolio-0": Variant(portfolio=0),
    "metatune-portfolio-1": Variant(portfolio=1),
    "metatune-portfolio-5": Variant(portfolio=5),
    "metatune-portfolio-10": Variant(portfolio=10),
    "metatune-fixed-mean": Variant(fixed_mean=True),
    "metatune-no-guard": Variant(guard=False),
}

METHODS: dict[str, Method] = {
    "gp": Cold,
    "metatune": partial(_engine, Variant()),
    **{name: partial(_engine, variant) for name, variant in ABLATIONS.items()},
}
