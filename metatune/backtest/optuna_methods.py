"""Optuna's tree-structured Parzen estimator, alone and started by the history.

Run on rows by mapping: the sampler proposes a configuration as in any search, and the nearest row of the pool in the
unit cube that was not evaluated yet is evaluated in its place. The study is told that row, not the proposal, so that
the sampler learns from what was really run. Restricting the sampler's own candidates to rows would serve it better.
"""

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from metatune.backtest.fold import Problem
from metatune.backtest.method import Method, Observed, Search, nearest_free
from metatune.backtest.static import Cover
from metatune.encoding import UnitEncoder
from metatune.quiet import quiet_optuna

#: Configurations of the portfolio that ``tpe_warm`` starts with: as many as TPE would draw at random first.
ENQUEUED = 10


def tpe(problem: Problem, seed: int) -> Search:
    """TPE with Optuna's defaults (Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011)."""
    return TpeSearch(problem, seed, opening=[])


def tpe_warm(problem: Problem, seed: int) -> Search:
    """TPE whose first trials are the portfolio's first ``ENQUEUED`` configurations."""
    known = len(problem.others) > 0
    opening = Cover(problem.predicted).first(min(ENQUEUED, len(problem.rows))) if known else []
    return TpeSearch(problem, seed, opening=opening)


class TpeSearch:
    """``opening`` first, position by position, then the sampler. A failure is told as minus infinity."""

    def __init__(self, problem: Problem, seed: int, *, opening: list[int]) -> None:
        self._problem, self._opening, self._told = problem, opening, 0
        self._encoder = UnitEncoder(problem.space)
        with quiet_optuna():
            self._study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=seed))

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        if len(observed) < len(self._opening):
            return self._opening[len(observed)]
        for position, score in observed[self._told :]:
            self._tell(position, score)
        self._told = len(observed)
        trial = self._study.ask()
        proposed = self._problem.space.suggest(trial)
        self._study.tell(trial, state=TrialState.FAIL)
        return nearest_free(self._problem.U, self._encoder.encode([proposed])[0], observed)

    def _tell(self, position: int, score: float) -> None:
        params = self._problem.configurations[position]
        distributions = {name: self._problem.space[name] for name in params}
        value = -np.inf if np.isnan(score) else score
        self._study.add_trial(create_trial(params=params, distributions=distributions, value=float(value)))


METHODS: dict[str, Method] = {"tpe": tpe, "tpe_warm": tpe_warm}
