"""SMAC3's hyperparameter optimisation facade (random forest, log expected improvement), without history.

The model's candidates are the unevaluated rows of the pool, by an acquisition maximiser given to the facade. The
initial design and SMAC's share of random configurations are points of the space, mapped to the nearest unevaluated row.
"""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import ConfigSpace
from optuna.distributions import CategoricalDistribution
from smac import HyperparameterOptimizationFacade, Scenario
from smac.acquisition.maximizer import AbstractAcquisitionMaximizer
from smac.model.random_forest import RandomForest
from smac.runhistory import StatusType, TrialInfo, TrialValue

from metatune.backtest.fold import Problem
from metatune.backtest.method import Observed, Search
from metatune.backtest.peers.pool import Pool, completed
from metatune.space import SearchSpace

#: Points of the Sobol design before the model.
STARTUP = 5
_UNLIMITED = 1_000_000


class PoolMaximizer(AbstractAcquisitionMaximizer):  # type: ignore[misc]
    """Ranks the rows that are left in the pool by the acquisition function."""

    rows: list[Any]

    def _maximize(self, previous_configs: list[Any], n_points: int) -> list[tuple[float, Any]]:
        return self._sort_by_acquisition_value(self.rows)  # type: ignore[no-any-return]


class SmacSearch:
    """One search by SMAC; failures are told as crashed, with the worst loss so far as their cost."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._pool = Pool(problem)
        space = configuration_space(problem.space, seed)
        rows = [_within(space, completed(problem.space, configuration)) for configuration in problem.configurations]
        self._rows = [ConfigSpace.Configuration(space, values=row) for row in rows]
        self._maximizer = PoolMaximizer(space, seed=seed)
        self._seed: int | None = None
        directory = Path(tempfile.mkdtemp(prefix="smac-"))
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=_UNLIMITED,
            seed=seed,
            output_directory=directory,
        )
        facade = HyperparameterOptimizationFacade
        self._facade = facade(
            scenario,
            _never_called,
            model=_forest(scenario),
            initial_design=facade.get_initial_design(scenario, n_configs=STARTUP),
            intensifier=facade.get_intensifier(scenario, max_config_calls=1),
            config_selector=facade.get_config_selector(scenario, retrain_after=1),
            acquisition_maximizer=self._maximizer,
            logging_level=False,
            overwrite=True,
        )

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        for position, loss, failed in self._pool.news(observed):
            status = StatusType.CRASHED if failed else StatusType.SUCCESS
            info = TrialInfo(self._rows[position], seed=self._seed)
            self._facade.tell(info, TrialValue(cost=loss, status=status), save=False)
        self._maximizer.rows = [self._rows[position] for position in self._pool.free(observed)]
        asked = self._facade.ask()
        self._seed = asked.seed
        return self._pool.nearest(dict(asked.config), observed)


def configuration_space(space: SearchSpace, seed: int) -> Any:
    """``space`` as ConfigSpace has it, conditions included."""
    built = ConfigSpace.ConfigurationSpace(seed=seed)
    for name, distribution in space.parameters.items():
        if isinstance(distribution, CategoricalDistribution):
            built.add(ConfigSpace.CategoricalHyperparameter(name, list(distribution.choices)))
        else:
            bounds: Any = distribution
            kind = int if isinstance(bounds.low, int) else float
            number = ConfigSpace.UniformIntegerHyperparameter if kind is int else ConfigSpace.UniformFloatHyperparameter
            built.add(number(name, bounds.low, bounds.high, log=bounds.log))
    for name, condition in space.conditions.items():
        built.add(ConfigSpace.InCondition(built[name], built[condition.parent], list(condition.values)))
    return built


def _within(space: Any, configuration: dict[str, Any]) -> dict[str, Any]:
    """``configuration`` within the bounds of ``space``, which ConfigSpace rounds."""
    bounds = {name: (p.lower, p.upper) for name, p in space.items() if hasattr(p, "lower")}
    return {
        name: min(max(value, bounds[name][0]), bounds[name][1]) if name in bounds else value
        for name, value in configuration.items()
    }


def _forest(scenario: Scenario) -> RandomForest:
    """The facade's own model, on one core.

    Trees are limited to a thousand leaves, which these searches never reach: for the default, a million, memory is laid
    out anew with every tree, which takes a hundred times as long as growing it.
    """
    return RandomForest(
        configspace=scenario.configspace,
        log_y=True,
        n_trees=10,
        ratio_features=1.0,
        min_samples_split=2,
        min_samples_leaf=1,
        max_leaf_nodes=1000,
        n_jobs=1,
        seed=scenario.seed,
    )


def _never_called(config: Any, seed: int = 0) -> float:
    raise RuntimeError("evaluations are replayed")  # SMAC wants a function, and ask and tell never call it


def method(problem: Problem, seed: int) -> Search:
    """A search by SMAC3."""
    return SmacSearch(problem, seed)
