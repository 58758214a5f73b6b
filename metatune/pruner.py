"""``MetaPruner``: learning curves of past tasks decide when a trial of an Optuna study is stopped."""

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from metatune.errors import UsageError
from metatune.search.budget import check_count
from metatune.surrogate.curves import LAG, STARTUP, CurveModel, rung_steps

_LOG = logging.getLogger("metatune")
_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class MetaPruner(BasePruner):
    """Stops a trial whose learning curve, as far as it is known, is not worth going on with.

    ``model`` is what past curves taught (``CurveModel.fit``); without one the pruner is cautious. For curves: reports
    are the objective itself at growing steps, counted from 1, in a study of either direction. Reports on folds or
    other parts that do not follow one another are a matter for Optuna's ``WilcoxonPruner``. In a study with several
    objectives Optuna lets no trial report, so there is nothing to prune by.

    Guarantees, with any model:

    - Nothing is stopped before ``startup`` trials are complete, nor within the first ``warmup`` steps, nor at the
      last step.
    - A trial whose projection is not behind that of the best complete trial at this step goes on.
    - So does one among the best ``keep / r`` of all trials, at position ``r`` of the budget; history chooses ``keep``,
      .04 or more. Where past curves tell too little about the end, that is all of them, and a warning says so.
    - It keeps nothing but a cache: the decision follows from the trials in the study, so a resumed study decides as
      before.

    A report that is NaN or infinite counts as worst. Failed trials do not count. ``budget`` is the number of steps of
    a full trial; by default the largest that a complete trial of the study reported. Raises ``UsageError`` for
    numbers out of range.
    """

    def __init__(
        self, model: CurveModel | None = None, *, startup: int = STARTUP, warmup: int = 0, budget: int | None = None
    ) -> None:
        check_count("startup", startup, 1)
        check_count("warmup", warmup, 0)
        if budget is not None:
            check_count("budget", budget, 1)
        if model is not None and not isinstance(model, CurveModel):
            remedy = "Give Knowledge.find().surrogate(family).curves, or None."
            raise UsageError("no model of learning curves", field="model", value=model, remedy=remedy)
        self.model = CurveModel() if model is None else model
        if self.model.stops_nothing:
            _LOG.warning("MetaPruner: past learning curves tell too little about how trials end; none is stopped.")
        self._startup = startup
        self._warmup = warmup
        self._budget = budget
        self._lengths: dict[tuple[str, int, datetime | None], int] = {}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether ``trial`` is to be stopped after its latest report. Decides once at each of ``curves.RUNGS``."""
        step = trial.last_step
        if step is None or step <= self._warmup:
            return False
        trials = [t for t in study.get_trials(deepcopy=False, states=_COUNTED) if t.number != trial.number]
        complete = [t for t in trials if t.state == TrialState.COMPLETE and t.intermediate_values]
        if len(complete) < self._startup:
            return False
        budget = self._length(study, complete) if self._budget is None else self._budget
        rung = _rung_reached(trial.intermediate_values, step, budget)
        if rung is None:
            return False
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        reached = [t for t in trials if _reached(t, step)]
        # Of a running trial that has not come as far, nobody knows whether it is better.
        stopped = [
            t for t in trials if t.state == TrialState.PRUNED and t.intermediate_values and not _reached(t, step)
        ]
        best = max(complete, key=lambda t: -np.inf if t.value is None else sign * t.value)
        looks = sign * np.array([_look(t.intermediate_values, step) for t in (trial, best, *reached)])
        own, leader, *others = self.model.project(rung, looks[:, 0], looks[:, 1])
        started = len(others) + len(stopped)
        return not self.model.is_promising(rung, own, np.array(others), started, leader=leader)

    def _length(self, study: Study, complete: Sequence[FrozenTrial]) -> int:
        """The last step that any of the ``complete`` trials, which never change, reported; each is looked at once."""
        name, longest = study.study_name, 0
        for trial in complete:
            key = name, trial.number, trial.datetime_complete
            if key not in self._lengths:
                self._lengths[key] = trial.last_step or 0
            longest = max(longest, self._lengths[key])
        return longest


def _rung_reached(values: Mapping[int, float], step: int, budget: int) -> int | None:
    """The rung that ``step`` is the first report at or after; ``None`` if there is none, or nothing left to save."""
    if step >= budget:
        return None
    before = max((s for s in values if s < step), default=-1)
    steps = rung_steps(budget)
    now, then = (int(np.searchsorted(steps, s, side="right")) for s in (step, before))
    return now - 1 if now > then else None


def _reached(trial: FrozenTrial, step: int) -> bool:
    """Whether the trial has a value to compare at ``step``; one that ended early by itself keeps its last."""
    if not trial.intermediate_values:
        return False
    return trial.state == TrialState.COMPLETE or max(trial.intermediate_values) >= step


def _look(values: Mapping[int, float], step: int) -> tuple[float, float]:
    """The latest reported value at ``step``, and that at ``LAG`` of it; the first one where none is as early."""
    found = []
    steps: list[int] = []
    for wanted in (step, int(LAG * step)):
        value = values.get(wanted)
        if value is None:
            steps = steps or sorted(values)
            value = values[steps[max(bisect_right(steps, wanted) - 1, 0)]]
        found.append(value)
    return found[0], found[1]
