"""What is tuned, and what judges its configurations: a model family on the task's data, or the user's function."""

import inspect
import math
import numbers
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeAlias

import optuna

from metatune.errors import SearchError, UnknownNameError, UsageError
from metatune.learners import family_names, get_family
from metatune.learners.base import ModelFamily, Report, TaskModel
from metatune.learners.choice import check_family, check_named, default_for
from metatune.learners.evaluate import refit, run_trial
from metatune.space import Change, SearchSpace
from metatune.task import Task
from metatune.trial import Configuration, ParamValue, Status, Trial

#: The user's own: the value of the task's metric for a configuration. One with a parameter named ``report`` gets
#: a ``Report`` there, for values on the way.
Objective: TypeAlias = Callable[..., Any]

_MOST_STEPS = 100_000
#: How the error of an objective begins whose result can be no score, whatever the configuration is.
NO_NUMBER = "not a number but of type"


def named(task: Task, family: str | ModelFamily[Any] | None, objective: Objective | None) -> str | ModelFamily[Any]:
    """``family``, or the usual one for data like the task's. Raises ``UsageError`` where there is none."""
    if family is None and objective is not None:
        raise UsageError(
            "an own objective needs a name",
            field="family",
            value=family,
            remedy="Name what is tuned, by which later searches find its history.",
        )
    if family is None:
        return default_for(task)
    check_named(family)
    return family


@dataclass(frozen=True)
class Subject:
    """What is tuned: its name, its space, a default configuration, and the model family unless it is the user's own."""

    name: str
    space: SearchSpace
    default: Configuration | None
    family: ModelFamily[Any] | None

    @classmethod
    def of(
        cls,
        task: Task,
        family: str | ModelFamily[Any],
        *,
        objective: Objective | None,
        space: SearchSpace | None,
        default: Configuration | None,
    ) -> "Subject":
        """The subject that the arguments of ``tune`` name. Raises ``UsageError`` for what does not fit together."""
        name = family if isinstance(family, str) else family.name
        known: ModelFamily[Any] | None = None
        if isinstance(family, ModelFamily):
            known = family
        elif objective is None or family in family_names():
            known = get_family(family)
        if space is None and known is None:
            raise UsageError(
                "an own objective needs a space",
                field="space",
                value=space,
                remedy="Give space=SearchSpace({...}) with the parameters that the objective takes.",
            )
        if objective is None and known is not None:
            _check_family(task, known, space)
        space = known.space() if space is None and known is not None else space
        assert space is not None
        if default is not None:
            space.check(default, "default")
            default, _ = space.clip(default)
        elif known is not None:
            default, _ = space.clip(known.default())
        return cls(name, space, default, known if objective is None else None)

    def judge(
        self, task: Task, objective: Objective | None, *, seed: int, threads: int
    ) -> "FamilyJudge | FunctionJudge":
        """What judges configurations of this subject on ``task``. Raises ``UsageError`` for a bad ``objective``."""
        if objective is not None or self.family is None:
            return FunctionJudge(objective, task.metric.name)
        return FamilyJudge(task, self.family, seed, threads)

    def checked(self, warm_start: Sequence[Configuration]) -> list[Configuration]:
        """``warm_start`` with values of Python's own types.

        Raises ``ConfigurationError`` for the first configuration that is not in the space.
        """
        for i, configuration in enumerate(warm_start):
            self.space.check(configuration, f"warm_start[{i}]")
        return [self.space.clip(configuration)[0] for configuration in warm_start]


def _check_family(task: Task, family: ModelFamily[Any], space: SearchSpace | None) -> None:
    if task.data is None:
        raise UsageError(
            "a custom task has no data to train on",
            field="objective",
            value=None,
            remedy="Give objective=, a function that takes a configuration and returns the metric.",
        )
    check_family(task, family)
    for name in space or ():
        if name not in family.space():
            raise UnknownNameError.of(f"parameter of {family.name} in space", name, family.space())


class Judge(Protocol):
    """Turns a configuration into an ended trial: ``complete``, ``failed`` or ``pruned``.

    ``KeyboardInterrupt`` travels, everything else that the evaluation raises becomes a failed trial. ``repeatable``
    says that a configuration tried again is sure to give what it gave before.
    """

    @property
    def repeatable(self) -> bool:
        """See the class."""

    def __call__(self, configuration: Configuration, *, number: int, origin: str, report: Report) -> Trial:
        """The trial of ``configuration``; ``report`` may raise ``optuna.TrialPruned``."""


@dataclass
class FamilyJudge:
    """Trains a model family on every fold of the task, with parameters that the space leaves out at their defaults.

    What cannot work on so few rows is clamped for the training; the trial keeps the configuration as proposed.
    """

    repeatable: ClassVar[bool] = True

    task: Task
    family: ModelFamily[Any]
    seed: int
    threads: int

    def trained(self, configuration: Configuration, n_rows: int) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """What is trained on ``n_rows`` rows for ``configuration``, and what was clamped for it."""
        whole, _ = self.family.space().clip(configuration, self.family.default())
        n_columns = 0 if self.task.data is None else self.task.data.n_columns
        return self.family.clamp(whole | dict(configuration), n_rows, n_columns)

    def in_trials(self, configuration: Configuration) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """``trained`` on the smallest fold."""
        return self.trained(configuration, self.task.train_rows)

    def refit(self, best: Trial) -> TaskModel:
        """The final model, trained on all but the test rows, for as many steps as early stopping kept in ``best``.

        Raises whatever training raises.
        """
        configuration, _ = self.trained(best.configuration, len(self.task.search_rows))
        return refit(
            self.task,
            self.family,
            configuration,
            best_step=best.best_step,
            seed=self.seed,
            threads=self.threads,
        )

    def __call__(self, configuration: Configuration, *, number: int, origin: str, report: Report) -> Trial:
        """See ``Judge``."""
        values, _ = self.in_trials(configuration)
        trial = run_trial(
            self.task,
            self.family,
            values,
            number=number,
            origin=origin,
            seed=self.seed,
            threads=self.threads,
            report=report,
        )
        return replace(trial, configuration=configuration)


class FunctionJudge:
    """Calls the user's ``objective``. Raises ``UsageError`` for something that cannot be called so."""

    repeatable: ClassVar[bool] = False

    def __init__(self, objective: Objective | None, metric: str) -> None:
        if not callable(objective):
            raise UsageError(
                "not a function",
                field="objective",
                value=objective,
                remedy="Give a function that takes a configuration (a dict) and returns a number.",
            )
        self._objective = objective
        self._metric = metric
        self._takes_report = _takes_report(objective)

    def __call__(self, configuration: Configuration, *, number: int, origin: str, report: Report) -> Trial:
        """See ``Judge``."""
        pairs: list[tuple[int, float]] = []

        def note(step: int, value: float) -> None:
            pairs.append((_step(step), _number(value, f"value reported at step {step}")))
            report(*pairs[-1])

        began, start = time.time(), time.perf_counter()
        options = {"report": note} if self._takes_report else {}

        def ended(status: Status, value: float | None, **more: Any) -> Trial:
            return Trial(
                configuration=configuration,
                status=status,
                value=value,
                number=number,
                origin=origin,
                reported=tuple(pairs),
                seconds=time.perf_counter() - start,
                started=began,
                **more,
            )

        try:
            value = _number(self._objective(dict(configuration), **options), "value of the objective")
        except optuna.TrialPruned:
            curve = _curve(pairs)
            return ended("pruned", curve[-1] if curve else None, curve=curve)
        # The objective is the user's and may raise anything; one bad configuration must not end the search,
        # and what was raised is kept in the trial.
        except Exception as error:
            return ended("failed", None, error=f"{type(error).__name__}: {error}")
        return ended("complete", value, metrics={self._metric: value}, curve=_curve(pairs))


def _takes_report(objective: Objective) -> bool:
    """Whether there is a parameter named ``report``. Raises ``UsageError`` for what cannot be called as needed."""
    try:
        signature = inspect.signature(objective)
    except ValueError:  # some functions written in C have none
        return False
    takes = "report" in signature.parameters
    try:
        signature.bind({}, **({"report": None} if takes else {}))
    except TypeError as error:
        raise UsageError(
            f"cannot be called with one configuration ({error})",
            field="objective",
            value=str(signature),
            remedy="Let it take one argument, the configuration, and if you like a second one named report.",
        ) from error
    return takes


def _number(value: object, field: str) -> float:
    """``value`` as a finite float. Raises ``SearchError`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SearchError(
            f"{NO_NUMBER} {type(value).__name__}",
            field=field,
            value=value,
            remedy="Return the metric as a float.",
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SearchError(
            "not finite",
            field=field,
            value=value,
            remedy="Training may have diverged; return a finite number, or raise an exception that says why.",
        )
    return number


def _step(step: object) -> int:
    if isinstance(step, bool) or not isinstance(step, numbers.Integral) or not 1 <= int(step) <= _MOST_STEPS:
        raise UsageError(
            "not a step",
            field="report",
            value=step,
            remedy=f"Count the steps 1, 2, ..., at most {_MOST_STEPS}.",
        )
    return int(step)


def _curve(reported: Sequence[tuple[int, float]]) -> tuple[float, ...]:
    """The reported values at their steps, NaN between them."""
    values = dict(reported)
    return tuple(values.get(step, math.nan) for step in range(1, max(values, default=0) + 1))
