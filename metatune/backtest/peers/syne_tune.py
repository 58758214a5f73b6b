"""Syne Tune's quantile-based transfer (Copula Thompson Sampling; Salinas, Shen, Perrone 2020).

``QuantileBasedSurrogateSearcher`` fits one boosted-tree model to the Gaussian quantiles of all source tasks and draws
Thompson samples from it. Its cached candidates are replaced by the unevaluated rows of the pool, as in the paper's own
experiments on tables. This searcher learns nothing from the task at hand, by its authors' design.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from optuna.distributions import CategoricalDistribution
from syne_tune import config_space as st
from syne_tune.optimizer.schedulers.transfer_learning.quantile_based.quantile_based_searcher import (
    QuantileBasedSurrogateSearcher,
)
from syne_tune.optimizer.schedulers.transfer_learning.transfer_learning_task_evaluation import (
    TransferLearningTaskEvaluations,
)

from metatune.backtest.fold import Problem
from metatune.backtest.method import Observed, Search
from metatune.backtest.peers.pool import Pool, as_texts, filled, source_tasks
from metatune.space import SearchSpace
from metatune.trial import Configuration


class SyneTuneSearch:
    """One search by Copula Thompson Sampling."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._pool = Pool(problem)
        space = configuration_space(problem.space)
        self._searcher = QuantileBasedSurrogateSearcher(space, _evaluations(problem, space), random_seed=seed)
        self._rows = _columns(problem.space, problem.configurations)
        self._mean = np.reshape(self._searcher.model_pipeline.predict(self._rows), (-1, 1))
        self._deviation = float(self._searcher.sigma_pred.flat[0])

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        left = self._pool.free(observed)
        searcher = self._searcher
        searcher.mu_pred, searcher.sigma_pred = self._mean[left], np.full((len(left), 1), self._deviation)
        searcher.X_candidates = self._rows.iloc[left].assign(position=left).reset_index(drop=True)
        return int(searcher.suggest()["position"])


def configuration_space(space: SearchSpace) -> dict[str, Any]:
    """``space`` as Syne Tune has it, choices as texts; it knows no conditions."""
    built: dict[str, Any] = {}
    for name, distribution in space.parameters.items():
        if isinstance(distribution, CategoricalDistribution):
            built[name] = st.choice([str(choice) for choice in distribution.choices])
        else:
            bounds: Any = distribution
            number, log = (st.randint, st.lograndint) if isinstance(bounds.low, int) else (st.uniform, st.loguniform)
            built[name] = (log if bounds.log else number)(bounds.low, bounds.high)
    return built


def _columns(space: SearchSpace, configurations: Sequence[Configuration]) -> pd.DataFrame:
    return pd.DataFrame([as_texts(space, filled(space, c)) for c in configurations])


def _evaluations(problem: Problem, space: dict[str, Any]) -> dict[str, TransferLearningTaskEvaluations]:
    return {
        str(index): TransferLearningTaskEvaluations(
            configuration_space=space,
            hyperparameters=_columns(problem.space, configurations),
            objectives_names=["loss"],
            objectives_evaluations=losses.reshape(-1, 1, 1, 1),
        )
        for index, (configurations, losses) in enumerate(source_tasks(problem))
    }


def method(problem: Problem, seed: int) -> Search:
    """A search by Syne Tune's quantile-based transfer."""
    return SyneTuneSearch(problem, seed)
