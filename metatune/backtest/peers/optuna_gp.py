"""Optuna's Gaussian-process sampler (``GPSampler``), without history.

The sampler has no list of candidates: its proposal is mapped to the nearest unevaluated row of the pool, and it is
told that row. All parameters are sampled together; one that is inactive in a row is told as the middle of its range.
"""

import optuna
import torch  # noqa: F401  the sampler needs it, and would say so only in the middle of a search
from optuna.samplers import GPSampler
from optuna.trial import TrialState, create_trial

from metatune.backtest.fold import Problem
from metatune.backtest.method import Observed, Search
from metatune.backtest.peers.pool import Pool, filled
from metatune.quiet import quiet_optuna

#: Random points before the model; Optuna's own default is 10.
STARTUP = 5


class OptunaGpSearch:
    """One search by ``GPSampler``; failures are told as the worst value so far."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem, self._pool = problem, Pool(problem)
        self._distributions = dict(problem.space.parameters)
        with quiet_optuna():
            self._study = optuna.create_study(sampler=GPSampler(seed=seed, n_startup_trials=STARTUP))

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        for position, loss, _ in self._pool.news(observed):
            params = filled(self._problem.space, self._problem.configurations[position])
            self._study.add_trial(create_trial(params=params, distributions=self._distributions, value=loss))
        trial = self._study.ask(self._distributions)
        # The row is added instead, once it is evaluated; a trial left running would count as pending for ever.
        self._study.tell(trial, state=TrialState.FAIL)
        return self._pool.nearest(trial.params, observed)


def method(problem: Problem, seed: int) -> Search:
    """A search by Optuna's ``GPSampler``."""
    return OptunaGpSearch(problem, seed)
