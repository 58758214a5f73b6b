"""What every package is told of a problem, and how its proposals become rows of the pool."""

from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution

from metatune.backtest.fold import Problem
from metatune.backtest.method import Observed, nearest_free
from metatune.encoding import UnitEncoder
from metatune.parameter import value_at
from metatune.space import SearchSpace
from metatune.trial import Configuration, ParamValue


def filled(space: SearchSpace, configuration: Configuration) -> dict[str, Any]:
    """``configuration`` with a value for inactive parameters too: the middle of the range, or the first choice.

    For packages whose models need a value in every column.
    """
    values: dict[str, ParamValue] = {}
    for name, distribution in space.parameters.items():
        if name in configuration:
            values[name] = configuration[name]
        elif isinstance(distribution, CategoricalDistribution):
            values[name] = distribution.choices[0]
        else:
            values[name] = value_at(distribution, 0.5)
    return values


def completed(space: SearchSpace, configuration: Configuration) -> dict[str, Any]:
    """``configuration`` with a value for active parameters that it lacks, for packages that want all."""
    return space.active(filled(space, configuration))


def as_texts(space: SearchSpace, values: Configuration) -> dict[str, Any]:
    """``values`` with every choice as a text, for packages that take no truth values, ``None`` or two kinds."""
    return {name: str(v) if isinstance(space[name], CategoricalDistribution) else v for name, v in values.items()}


def from_texts(space: SearchSpace, texts: Configuration) -> dict[str, Any]:
    """The values of which ``as_texts`` made ``texts``."""
    values: dict[str, Any] = dict(texts)
    for name, text in texts.items():
        distribution = space[name]
        if isinstance(distribution, CategoricalDistribution):
            values[name] = next(choice for choice in distribution.choices if str(choice) == text)
    return values


class Pool:
    """The rows of a problem, to be minimised: a loss is a negated score."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._encoder = UnitEncoder(problem.space)
        self._told = 0

    def nearest(self, configuration: Configuration, observed: Observed) -> int:
        """The position of the unevaluated row that is nearest to ``configuration`` in the unit cube."""
        point = self._encoder.encode([self._problem.space.active(configuration)])[0]
        return nearest_free(self._problem.U, point, observed)

    def free(self, observed: Observed) -> np.ndarray:
        """The positions of the unevaluated rows, ascending."""
        free = np.ones(len(self._problem.U), dtype=bool)
        free[[position for position, _ in observed]] = False
        return np.flatnonzero(free)

    def news(self, observed: Observed) -> list[tuple[int, float, bool]]:
        """(position, loss, failed) of what was evaluated since the last call; a failure's loss is the worst so far.

        Failures before the first success wait for it: there is no worst loss yet.
        """
        losses = failures_as_worst(-np.array([score for _, score in observed], dtype=np.float64))
        if np.isnan(losses).all():
            return []
        start, self._told = self._told, len(observed)
        new = zip(observed[start:], losses[start:], strict=True)
        return [(position, float(loss), bool(np.isnan(score))) for (position, score), loss in new]


def failures_as_worst(losses: np.ndarray) -> np.ndarray:
    """``losses`` (n,) with NaN replaced by the largest of the others; all NaN stays as it is."""
    finite = losses[~np.isnan(losses)]
    return np.where(np.isnan(losses), finite.max(), losses) if len(finite) else losses


def source_tasks(
    problem: Problem, *, rows: int | None = None, tasks: int | None = None, seed: int = 0
) -> list[tuple[list[dict[str, ParamValue]], np.ndarray]]:
    """The history: per task its configurations, and their losses (n,) with failures as that task's worst.

    ``rows``, ``tasks``: at most that many trials of a task and tasks, drawn at random, for models whose cost grows
    steeply with them. Tasks on which nothing succeeded are left out.
    """
    rng = np.random.default_rng(seed)
    table, found = problem.fold.table, []
    for trials in _drawn(problem.history, tasks, rng):
        chosen = _drawn(np.arange(len(trials.rows)), rows, rng)
        losses = failures_as_worst(-trials.score[chosen])
        if len(losses) and np.isfinite(losses).all():
            found.append(([table.configurations[row] for row in trials.rows[chosen]], losses))
    return found


def _drawn(items: Any, limit: int | None, rng: np.random.Generator) -> Any:
    if limit is None or len(items) <= limit:
        return items
    chosen = np.sort(rng.choice(len(items), limit, replace=False))
    return items[chosen] if isinstance(items, np.ndarray) else [items[i] for i in chosen]
