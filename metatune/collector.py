"""``collect``: remember the trials of any training code, whatever framework it uses."""

import functools
import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Literal, NoReturn

import numpy as np
import optuna

from metatune.errors import UsageError
from metatune.history.store import HistoryStore
from metatune.metric import Direction
from metatune.notebook import Notebook, notebook_of, plain_configuration, task_of
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import Task
from metatune.trial import COLLECTED, TOO_LARGE, Configuration, Status, Trial

_LOG = logging.getLogger("metatune")
#: A curve longer than this is recorded by its reported steps only.
_LONGEST_CURVE = 100_000


def collect(
    task: Task | str,
    family: str,
    configuration: Configuration | None = None,
    *,
    metric: str | None = None,
    direction: Direction | None = None,
    space: SearchSpace | None = None,
    study: str | None = None,
    store: HistoryStore | None = None,
) -> "Collector":
    """Remember what a block does as one trial of ``family`` with ``configuration`` on ``task``::

        with metatune.collect(task, "my_network", {"rate": 0.1}) as trial:
            for epoch in range(10):
                ...
                trial.report(accuracy, step=epoch)

    or, as a decorator, every call of a function that takes a configuration and returns the score (one with a parameter
    named ``report`` gets ``trial.report`` there)::

        @metatune.collect("churn", "my_network", metric="auc", direction="maximize")
        def train(configuration): ...

    An exception makes a failed trial with that error (a ``TimeoutError`` is one) and travels on;
    ``KeyboardInterrupt`` and ``SystemExit`` make an interrupted one, ``optuna.TrialPruned`` a pruned one, a block
    without a report a failed one.

    ``task``: a ``Task``, or the name of one with its ``metric`` and ``direction``. ``family``: any name; under the same
    name, histories meet. ``configuration``: names to numbers, texts, booleans or ``None``; texts that are secrets by
    their name (``api_key``) are left out, and nothing else of the training is recorded. ``space``: where the
    configurations come from; unless given that of a family of metatune which they fit, else one around the values that
    were seen. What lies outside of that widens it, and from then on trials are another study; ``None`` among numbers
    does not, nor, in a study of this process alone, the first value of a parameter that was nothing but ``None``.
    ``study``: a name under which processes share studies, one for each space: give ``space`` for one in all; unless
    given, each process has its own. ``store``: MLflow at its default address unless given; stores of one address
    are one.

    What ended is on the local disk when the block is left, and goes to the store in the background; recording
    never raises. Threads and processes may collect at once. Raises ``UsageError`` for a wrong argument.
    """
    if not isinstance(family, str) or not family:
        raise UsageError("a family is known by its name", field="family", value=family, remedy="Give a text.")
    known = task_of(task, metric, direction)
    checked = None if configuration is None else plain_configuration(configuration)
    return Collector(notebook_of(store), known, family, checked, space=space, study=study)


class Collector:
    """What ``collect`` gives: a context for one trial, or a decorator."""

    def __init__(
        self,
        notebook: Notebook,
        task: Task,
        family: str,
        configuration: Configuration | None,
        *,
        space: SearchSpace | None,
        study: str | None,
    ) -> None:
        self._notebook, self._task, self._family = notebook, task, family
        self._configuration, self._space, self._study = configuration, space, study
        self._trial: CollectedTrial | None = None
        self._record: StudyRecord | None = None
        self._started = self._began = 0.0

    def __enter__(self) -> "CollectedTrial":
        if self._configuration is None:
            _refuse("a trial has a configuration", "Give it to collect, or use collect as a decorator.")
        if self._trial is not None:
            _refuse("a trial is collected once", "Call collect for each trial.")
        self._record = self._notebook.study(
            self._task, self._family, self._configuration, space=self._space, name=self._study
        )
        self._trial = CollectedTrial(self._configuration)
        self._started, self._began = time.time(), time.perf_counter()
        return self._trial

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        assert self._trial is not None
        assert self._record is not None
        seconds = time.perf_counter() - self._began
        self._notebook.add(
            self._record,
            lambda number: ended(self._trial, error, number=number, started=self._started, seconds=seconds),
        )
        if error is None and not _is_score(self._trial.value):  # else nobody notices before the history is read
            _LOG.warning("A trial of %s is remembered as failed: %s.", self._family, _no_score(self._trial.value))
        return False

    def __call__(self, function: Callable[..., float]) -> Callable[..., float]:
        """``function`` so that every call of it is a trial."""
        reports = "report" in inspect.signature(function).parameters

        @functools.wraps(function)
        def collected(configuration: Configuration, *arguments: Any, **options: Any) -> float:
            checked = plain_configuration(configuration)
            one = Collector(self._notebook, self._task, self._family, checked, space=self._space, study=self._study)
            with one as trial:
                given = {"report": trial.report, **options} if reports else options
                score = function(configuration, *arguments, **given)
                trial.report(score)
            return score

        return collected


def _refuse(problem: str, remedy: str) -> NoReturn:
    raise UsageError(problem, field="configuration", value=None, remedy=remedy)


class CollectedTrial:
    """A trial in progress, whose scores are reported. Made by ``collect``."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration: Configuration = MappingProxyType(dict(configuration))
        self.metrics: dict[str, float] = {}
        self.steps: dict[int, float] = {}
        self._result: float | None = None

    @property
    def value(self) -> float | None:
        """The last score that was reported without a step, else that of the highest step."""
        return self.steps[max(self.steps)] if self._result is None and self.steps else self._result

    def report(self, score: float, step: int | None = None, *, metrics: Mapping[str, float] | None = None) -> None:
        """Give the task's metric, in its own unit: after ``step`` (an epoch, a round), or without one as the result.

        ``metrics`` are other scores of the result, by name. Raises ``UsageError`` for what is not a number or a step.
        """
        value = _number(score, "score")
        others = {str(name): _number(other, f"metrics[{name!r}]") for name, other in (metrics or {}).items()}
        if step is None:
            self._result = value
        elif isinstance(step, bool) or not isinstance(step, int | np.integer) or not 0 <= step < TOO_LARGE:
            raise UsageError("not a step", field="step", value=step, remedy="Give a whole number from 0 below 2**63.")
        else:
            self.steps[int(step)] = value
        self.metrics |= others


def _number(value: object, field: str) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError("not a number", field=field, value=value, remedy="Give one number.") from error


def ended(
    trial: CollectedTrial | None, error: BaseException | None, *, number: int, started: float, seconds: float
) -> Trial:
    """``trial`` as it is remembered after its block was left, with ``error`` or without one."""
    assert trial is not None
    value = trial.value
    finite = _is_score(value)
    status, said = _outcome(error)
    if status == "complete" and not finite:
        status, said = "failed", _no_score(value)
    return Trial(
        configuration=trial.configuration,
        status=status,
        value=value if finite and status in ("complete", "pruned") else None,
        number=number,
        metrics={name: score for name, score in trial.metrics.items() if math.isfinite(score)},
        curve=curve_of(trial.steps),
        reported=tuple(sorted(trial.steps.items())),
        seconds=seconds,
        origin=COLLECTED,
        error=said,
        started=started,
    )


def _is_score(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _no_score(value: float | None) -> str:
    return "nothing was reported: call trial.report(score) in the block" if value is None else f"score {value}"


def _outcome(error: BaseException | None) -> tuple[Status, str | None]:
    if error is None:
        return "complete", None
    if isinstance(error, optuna.TrialPruned):
        return "pruned", None
    said = f"{type(error).__name__}: {error}"
    return ("failed" if isinstance(error, Exception) else "interrupted"), said


def curve_of(steps: Mapping[int, float]) -> tuple[float, ...]:
    """``steps`` (counted from 0 or from 1) as a curve with a value for each step, NaN where there was none."""
    if not steps or max(steps) > _LONGEST_CURVE:
        return ()
    first = min(1, *steps)
    return tuple(steps.get(step, math.nan) for step in range(first, max(steps) + 1))
