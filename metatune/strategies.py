"""Search strategies by name: the engine, and Optuna's samplers to compare it with."""

import math
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from metatune.errors import MissingDependencyError, UnknownNameError
from metatune.parameter import nearest, value_at
from metatune.sampler import MetaSampler
from metatune.space import SearchSpace
from metatune.surrogate.family import FamilySurrogate
from metatune.task import TaskRecord
from metatune.trial import Configuration, ParamValue

#: Small, so that a search of some dozens of trials has several generations.
_POPULATION = 10
#: A round of the grid with more points than this is drawn point by point instead of being shuffled as a whole.
_LISTED = 50_000
#: Draws in a row without a new point after which a drawn round counts as used up.
_PATIENCE = 1_000
#: Rounds of the grid; the last has 4,097 values of every number.
_REFINEMENTS = 12

_HOSTED: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "cmaes": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "genetic": lambda seed: NSGAIISampler(population_size=_POPULATION, seed=seed),
}

#: Every name that ``make_sampler`` knows.
STRATEGIES: tuple[str, ...] = ("meta", "random", "grid", "tpe", "cmaes", "genetic")


def check_strategy(strategy: object) -> None:
    """Raise ``UnknownNameError`` for an unknown name, ``MissingDependencyError`` if its package is not installed."""
    if strategy not in STRATEGIES:
        raise UnknownNameError.of("strategy", strategy, STRATEGIES)
    if strategy == "cmaes" and find_spec("cmaes") is None:
        raise MissingDependencyError(
            "the package 'cmaes' is not installed",
            field="strategy",
            value=strategy,
            remedy="Install it: pip install cmaes.",
        )


def make_sampler(
    strategy: str,
    *,
    space: SearchSpace,
    seed: int = 0,
    record: TaskRecord | None = None,
    surrogate: FamilySurrogate | None = None,
    default: Configuration | None = None,
    enqueued: int = 0,
    timeout: float | None = None,
    n_trials: int | None = None,
) -> BaseSampler:
    """The sampler called ``strategy`` for a study whose trials ask for the parameters of ``space``.

    - ``meta``: ``MetaSampler`` with ``record``, ``surrogate``, ``default``, ``timeout`` and ``n_trials``, which the
      others ignore;
    - ``random``: independent draws (Bergstra and Bengio, 2012);
    - ``grid``: ``GridSampler``; ``enqueued`` trials come before its first point;
    - ``tpe``: tree-structured Parzen estimator (Bergstra et al., 2011);
    - ``cmaes``: CMA-ES (Hansen and Ostermeier, 2001) on the numbers that are always active, random for the rest;
    - ``genetic``: NSGA-II (Deb et al., 2002) with populations of 10.

    What each proposes depends on the trials of the study, ``seed`` and the trial's number only; with ``meta`` and a
    ``timeout`` that is short for ``n_trials`` more trials also on how long they took. Raises what ``check_strategy``
    and ``MetaSampler`` raise.
    """
    check_strategy(strategy)
    if strategy == "meta":
        return MetaSampler(
            surrogate, task=record, space=space, default=default, timeout=timeout, n_trials=n_trials, seed=seed
        )
    if strategy == "grid":
        return GridSampler(space, seed=seed, enqueued=enqueued)
    return SeededSampler(_HOSTED[strategy], seed=seed)


class SeededSampler(BaseSampler):
    """A new sampler of Optuna for every trial, seeded by the trial's number.

    Optuna's samplers keep all but their random numbers in the study, so this makes a search that is taken up again
    go on as it would have.
    """

    def __init__(self, make: Callable[[int], BaseSampler], *, seed: int) -> None:
        self._make = make
        self._seed = seed
        self._sampler = make(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the sampler for ``trial``."""
        state = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
        self._sampler = self._make(int(state[0]))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See ``BaseSampler``."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See ``BaseSampler``."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See ``BaseSampler``."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """See ``BaseSampler``."""
        self._sampler.after_trial(study, trial, state, values)


class GridSampler(BaseSampler):
    """The points of a grid over ``space`` in an order shuffled by ``seed``: trial ``enqueued + i`` gets the i-th.

    The grid has all choices of a categorical parameter and, of a number, the lowest, middle and highest value (on
    its own scale). Once all of these points are used, the grid is refined by the values half-way between, and so on.
    Points that differ in inactive parameters only are one. A finite space has an end: see ``has``.
    """

    def __init__(self, space: SearchSpace, *, seed: int = 0, enqueued: int = 0) -> None:
        self._space = space
        self._enqueued = enqueued
        self._points: list[dict[str, ParamValue]] = []
        self._more = _grid(space, np.random.default_rng(seed))

    def has(self, number: int) -> bool:
        """Whether there is a point for the trial ``number``."""
        while len(self._points) <= number - self._enqueued:
            point = next(self._more, None)
            if point is None:
                return False
            self._points.append(point)
        return True

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space."""
        return dict(self._space.parameters)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point of the trial; after the last one, the first again."""
        index = max(trial.number - self._enqueued, 0)
        return dict(self._points[index if self.has(trial.number) else index % len(self._points)])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The lowest value or first choice of a parameter that is not in the space."""
        return value_at(param_distribution, 0.0)


def _grid(space: SearchSpace, rng: np.random.Generator) -> Iterator[dict[str, ParamValue]]:
    """Every point of finer and finer grids, each point once."""
    seen: set[str] = set()
    for doubled in range(_REFINEMENTS):
        axes = [_axis(distribution, 2 ** (doubled + 1)) for distribution in space.parameters.values()]
        listed = math.prod(map(len, axes)) <= _LISTED
        misses = 0
        for values in _rows(axes, rng, listed=listed):
            point = space.active(dict(zip(space, values, strict=True)))
            key = repr(point)
            misses = misses + 1 if key in seen else 0
            if misses > _PATIENCE and not listed:
                break
            if not misses:
                seen.add(key)
                yield point
        if [len(axis) for axis in axes] == [_n_values(distribution) for distribution in space.parameters.values()]:
            return


def _n_values(distribution: Any) -> float:
    """How many values there are."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if distribution.single():
        return 1
    return (
        math.inf if distribution.step is None else round((distribution.high - distribution.low) / distribution.step) + 1
    )


def _axis(distribution: Any, intervals: int) -> list[ParamValue]:
    """The values of one parameter at the ends of ``intervals`` equal parts of its range; all, if there are no more."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    count = _n_values(distribution)
    if 1 < count <= intervals + 1:
        return [nearest(distribution, distribution.low + i * distribution.step) for i in range(int(count))]
    return list(dict.fromkeys(value_at(distribution, i / intervals) for i in range(intervals + 1)))


def _rows(
    axes: Sequence[Sequence[ParamValue]], rng: np.random.Generator, *, listed: bool
) -> Iterator[list[ParamValue]]:
    """The points of the product of ``axes`` in random order; unless ``listed``, endless and with repetitions."""
    lengths = [len(axis) for axis in axes]
    for index in rng.permutation(math.prod(lengths)) if listed else ():
        yield [axis[i] for axis, i in zip(axes, np.unravel_index(index, lengths), strict=True)]
    while not listed:
        yield [axis[i] for axis, i in zip(axes, rng.integers(lengths), strict=True)]
