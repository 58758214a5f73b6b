"""``OptunaCollector``: remember the trials of a plain Optuna study."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from metatune.collector import curve_of
from metatune.errors import UsageError
from metatune.history.store import HistoryStore
from metatune.metric import Direction
from metatune.notebook import notebook_of, plain_configuration, task_of
from metatune.parameter import plain_distribution, plain_value
from metatune.space import SearchSpace
from metatune.task import Task
from metatune.trial import COLLECTED, TOO_LARGE, Configuration, Status, Trial
from metatune.wording import plural

#: How the states in which a trial has ended are called here.
ENDED: Mapping[TrialState, Status] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class OptunaCollector:
    """A callback for ``study.optimize(..., callbacks=[OptunaCollector(task, family)])``.

    ``task``: a ``Task`` whose metric is what the objective returns, or the name of one: its metric then is called
    ``metric``, and its direction is the study's. Of a study with several objectives say which one that is: it, numbered
    ``objective``, is remembered as the value, the others as metrics ``objective_<number>``. ``family`` and ``store``:
    as for ``collect``.
    ``space`` of the study; unless given, it is put together from the distributions of its trials.

    Optuna calls no callback for a trial whose exception ends ``optimize`` (one that ``catch`` does not name). Raises
    ``UsageError`` for a wrong argument, and in the first trial where the task's direction is not the study's.
    """

    def __init__(
        self,
        task: Task | str,
        family: str,
        *,
        metric: str = "value",
        objective: int | None = None,
        space: SearchSpace | None = None,
        store: HistoryStore | None = None,
    ) -> None:
        self._task, self._family, self._metric, self._objective = task, family, metric, objective
        self._space = space
        self._seen: dict[str, Any] = {}
        self._notebook = notebook_of(store)

    def __call__(self, study: optuna.Study, frozen: FrozenTrial) -> None:
        """Remember the trial ``frozen``, which ended; one without parameters tells nothing."""
        if frozen.state not in ENDED or not frozen.params:
            return
        number = self._number(study)
        task = self._checked(study, number)
        configuration = _configuration(frozen)
        self._seen |= {name: plain_distribution(frozen.distributions[name]) for name in configuration}
        space = self._space or SearchSpace(self._seen)
        record = self._notebook.study(task, self._family, configuration, space=space, name=study.study_name)
        key = key_of(frozen, study.study_name, task=task.fingerprint, family=self._family)
        trial = trial_of(frozen, key, objective=number)
        self._notebook.add(record, lambda number: trial)

    def _number(self, study: optuna.Study) -> int:
        n = len(study.directions)
        number = 0 if self._objective is None and n == 1 else self._objective
        if number is None or not 0 <= number < n:
            remedy = f"Give the number of the one that the task's metric is, from 0 to {n - 1}."
            raise UsageError(f"the study has {plural(n, 'objective')}", field="objective", value=number, remedy=remedy)
        return number

    def _checked(self, study: optuna.Study, objective: int) -> Task:
        direction: Direction = "maximize" if study.directions[objective] == StudyDirection.MAXIMIZE else "minimize"
        if isinstance(self._task, str):
            return task_of(self._task, self._metric, direction)
        if self._task.metric.direction != direction:
            raise UsageError(
                f"the study is to {direction} its objective, the task its metric to {self._task.metric.direction}",
                field="task",
                value=self._task.metric.name,
                remedy="Make the study with direction=task.metric.direction, and return the metric in its own unit.",
            )
        return self._task


def _configuration(frozen: FrozenTrial) -> Configuration:
    return plain_configuration({name: plain_value(value) for name, value in frozen.params.items()})


def trial_of(frozen: FrozenTrial, key: str, *, objective: int = 0) -> Trial:
    """The ended trial ``frozen`` of an Optuna study, under ``key`` (see ``key_of``).

    A pruned trial has the value that was reported last; reports at steps that no column holds are left out. One that
    broke a constraint has failed: it is no solution.
    """
    status, error = _end_of(frozen)
    values = [] if frozen.values is None else list(frozen.values)
    value = values[objective] if objective < len(values) else None
    reported = sorted(frozen.intermediate_values.items())
    steps = {step: value for step, value in reported if math.isfinite(value) and abs(step) < TOO_LARGE}
    if status == "pruned" and value is None and len(values) <= 1:
        value = next(reversed(steps.values()), None)
    if status == "failed" or (value is not None and not math.isfinite(value)):
        status, value = ("failed" if status != "pruned" else status), None
    started = frozen.datetime_start
    return Trial(
        configuration=_configuration(frozen),
        status=status,
        value=value,
        number=frozen.number,
        key=key,
        metrics={f"objective_{i}": other for i, other in enumerate(values) if i != objective and math.isfinite(other)},
        curve=curve_of(steps),
        reported=tuple(steps.items()),
        seconds=math.nan if frozen.duration is None else frozen.duration.total_seconds(),
        origin=COLLECTED,
        error=error if status == "failed" else None,
        started=math.nan if started is None else started.timestamp(),
    )


def _end_of(frozen: FrozenTrial) -> tuple[Status, str]:
    """How ``frozen`` ended, and why it failed if it did."""
    broken = [name for name, value in frozen.constraints.items() if value > 0.0]
    if broken:
        return "failed", f"it broke the constraint {', '.join(map(repr, broken))}"
    return ENDED[frozen.state], str(frozen.system_attrs.get("fail_reason", "the objective failed"))


def key_of(frozen: FrozenTrial, study_name: str, *, task: str, family: str) -> str:
    """The key of a trial of an Optuna study: the same each time, whether collected or imported.

    ``task`` is the task's fingerprint. When the trial began is part of it: a study may be made again with its name.
    """
    parts = [study_name, str(frozen.number), str(frozen.datetime_start), task, family]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
