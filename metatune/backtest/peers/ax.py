"""Ax's multi-task transfer: ``TransferLearningAdapter`` (BOTL) with BoTorch's ``MultiTaskGP`` (Swersky et al. 2013).

Source tasks are auxiliary experiments of the target experiment. The model is fitted for every proposal, and Ax's
acquisition function ranks the unevaluated rows of the pool. Before there are two results, a Sobol point of Ax is mapped
to the nearest unevaluated row.
"""

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd
from ax.adapter.registry import Generators
from ax.adapter.transfer_learning.adapter import (
    TL_EXP,
    TransferLearningAdapter,
    transfer_learning_generator_specs_constructor,
)
from ax.core.arm import Arm
from ax.core.auxiliary_source import AuxiliarySource
from ax.core.data import Data
from ax.core.experiment import Experiment
from ax.core.metric import Metric
from ax.core.objective import Objective
from ax.core.observation import ObservationFeatures
from ax.core.optimization_config import OptimizationConfig
from ax.core.parameter import ChoiceParameter, Parameter, ParameterType, RangeParameter
from ax.core.search_space import SearchSpace as AxSpace
from ax.generators.torch.botorch_modular.generator import BoTorchGenerator
from optuna.distributions import CategoricalDistribution

from metatune.backtest.fold import Problem
from metatune.backtest.method import Observed, Search
from metatune.backtest.peers.pool import Pool, as_texts, filled, from_texts, source_tasks
from metatune.space import SearchSpace

#: Source tasks and trials of each that it is given, at random: the exact process is cubic in all of them together.
SOURCE_TASKS, SOURCE_ROWS = 5, 25
#: Results before the model: Ax standardises them.
STARTUP = 2
_LOSS = "loss"


class WarmGenerator(BoTorchGenerator):  # type: ignore[misc]
    """Starts each fit from the hyperparameters of the last one; from scratch, a fit takes over a thousand steps."""

    def fit(self, datasets: Any, search_space_digest: Any, **options: Any) -> None:
        """See ``BoTorchGenerator``."""
        last = None if self._surrogate is None else self.surrogate.model.state_dict()
        super().fit(datasets, search_space_digest, **{"state_dict": last, **options})


class AxSearch:
    """One search by Ax; failures are told as the worst value so far."""

    def __init__(self, problem: Problem, seed: int) -> None:
        logging.getLogger("ax").setLevel(logging.ERROR)
        self._problem, self._pool = problem, Pool(problem)
        self._space = search_space(problem.space)
        self._experiment = self._new_experiment("target")
        tasks = source_tasks(problem, rows=SOURCE_ROWS, tasks=SOURCE_TASKS, seed=seed)
        sources = []
        for number, (configurations, losses) in enumerate(tasks):
            source = self._new_experiment(f"source{number}")
            _attach(source, [as_texts(problem.space, filled(problem.space, c)) for c in configurations], losses)
            sources.append(AuxiliarySource(experiment=source))
        self._experiment.auxiliary_experiments_by_purpose = {TL_EXP: sources}
        specs, _ = transfer_learning_generator_specs_constructor(use_model_selection=False)
        options = dict(specs[0].generator_kwargs)
        self._generator = WarmGenerator(surrogate_spec=options["surrogate_spec"])
        self._transforms, self._transform_configs = options["transforms"], options["transform_configs"]
        self._sobol = Generators.SOBOL(experiment=self._experiment, seed=seed)

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        for position, loss, _ in self._pool.news(observed):
            _attach(self._experiment, [self._values(position)], np.array([loss]))
        if len(self._experiment.trials) < STARTUP:
            point = from_texts(self._problem.space, self._sobol.gen(1).arms[0].parameters)
            return self._pool.nearest(point, observed)
        free = self._pool.free(observed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the numerics of the fit, at most proposals
            adapter = TransferLearningAdapter(
                experiment=self._experiment,
                data=self._experiment.lookup_data(),
                generator=self._generator,
                transforms=self._transforms,
                transform_configs=self._transform_configs,
            )
            values = adapter.evaluate_acquisition_function(
                [ObservationFeatures(parameters=self._values(position)) for position in free]
            )
        return int(free[int(np.argmax(values))])

    def _values(self, position: int) -> dict[str, Any]:
        space = self._problem.space
        return as_texts(space, filled(space, self._problem.configurations[position]))

    def _new_experiment(self, name: str) -> Experiment:
        objective = Objective(metric=Metric(_LOSS, lower_is_better=True), minimize=True)
        return Experiment(
            name=name, search_space=self._space, optimization_config=OptimizationConfig(objective=objective)
        )


def search_space(space: SearchSpace) -> AxSpace:
    """``space`` as Ax has it, without conditions and with choices as texts."""
    parameters: list[Parameter] = []
    for name, distribution in space.parameters.items():
        if isinstance(distribution, CategoricalDistribution):
            choices = [str(choice) for choice in distribution.choices]
            parameters.append(ChoiceParameter(name, ParameterType.STRING, choices, is_ordered=False, sort_values=False))
        else:
            bounds: Any = distribution
            kind = ParameterType.INT if isinstance(bounds.low, int) else ParameterType.FLOAT
            parameters.append(RangeParameter(name, kind, bounds.low, bounds.high, log_scale=bounds.log))
    return AxSpace(parameters)


def _attach(experiment: Experiment, configurations: list[dict[str, Any]], losses: np.ndarray) -> None:
    """One trial with all of ``configurations``, completed with ``losses`` (n,)."""
    trial = experiment.new_batch_trial()
    trial.add_arms_and_weights([Arm(parameters=configuration) for configuration in configurations])
    trial.mark_running(no_runner_required=True)
    table = pd.DataFrame(
        {
            "trial_index": trial.index,
            "arm_name": [arm.name for arm in trial.arms],
            "metric_name": _LOSS,
            "metric_signature": _LOSS,
            "mean": losses,
            "sem": np.nan,
        }
    )
    experiment.attach_data(Data(df=table))
    trial.mark_completed()


def method(problem: Problem, seed: int) -> Search:
    """A search by Ax's multi-task transfer."""
    return AxSearch(problem, seed)
