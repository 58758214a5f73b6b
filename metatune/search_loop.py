"""``SearchLoop``: the trials of one search, run by Optuna."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from metatune.objective import NO_NUMBER, Judge
from metatune.observing import SECONDS
from metatune.quiet import quiet_optuna
from metatune.recording import Recorder
from metatune.result import Progress, best_of
from metatune.sampler import FIXED, ORIGIN, MetaSampler, evidence
from metatune.strategies import GridSampler
from metatune.study import StudyRecord
from metatune.trial import WARM_START, Configuration, Trial
from metatune.used_up import are_noisy, size_of, whole_space
from metatune.wording import plural

#: When so many trials at the beginning raise one and the same error, the others would too.
_HOPELESS = 5
#: … unless they are of these kinds, bad values and exceeded limits: other configurations may do better.
_HOPEFUL = ("SearchError", "TimeoutError", "MemoryError")
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class _FailedTrialError(Exception):
    """Tells Optuna that a trial failed; the trial has the reason."""


class SearchLoop:
    """Order of calls: ``replay`` the trials of an earlier run, ``enqueue`` warm starts, ``run``.

    ``trials`` are all ended trials; ``study`` is Optuna's, with the same numbers. ``ending`` says in words why ``run``
    came to an end before all its trials were made, where no exception tells it.
    """

    def __init__(
        self,
        record: StudyRecord,
        judge: Judge,
        recorder: Recorder,
        *,
        sampler: BaseSampler,
        pruner: BasePruner | None,
        on_trial: Callable[[Progress], None] | None,
    ) -> None:
        self.record = record
        self.trials: list[Trial] = []
        self._judge = judge
        self._recorder = recorder
        self._on_trial = on_trial
        self._total = 0
        self._patience: int | None = None
        self._stopped = False
        self.ending: str | None = None
        self._size: int | None = None
        self._began = time.perf_counter()
        with quiet_optuna():
            self.study = optuna.create_study(
                # Pruners such as Hyperband's draw by the name, so it is the same after a resume.
                study_name=f"{record.family} on {record.task.name}, seed {record.seed}",
                direction=record.task.metric.direction,
                sampler=sampler,
                pruner=pruner or NopPruner(),
            )

    @property
    def done(self) -> list[Trial]:
        """The trials that were not interrupted."""
        return [trial for trial in self.trials if trial.status != "interrupted"]

    @property
    def best(self) -> Trial | None:
        """The best complete trial."""
        return best_of(self.trials, self.record.task.metric)

    def replay(self, trials: Sequence[Trial]) -> None:
        """Bring the study into the state that it had after ``trials``; an interrupted one is tried again.

        The sampler is asked as it was then, because Optuna's samplers keep their state in the study as they are
        asked; the engine keeps none, and asking it takes a while.
        """
        self.trials = list(trials)
        ended = {trial.number: trial for trial in self.done}
        with quiet_optuna():
            for number in range(max(ended, default=-1) + 1):
                trial = ended.get(number)
                if trial is None:  # it was never recorded
                    missing = self.study.ask()
                    self.study._storage.set_trial_system_attr(missing._trial_id, SECONDS, math.nan)
                    self.study.tell(missing, state=TrialState.FAIL)
                else:
                    self._retell(trial)

    def _retell(self, trial: Trial) -> None:
        self.study.enqueue_trial(dict(trial.configuration))
        asked = self.study.ask()
        if trial.origin != WARM_START and not isinstance(self.study.sampler, MetaSampler):
            asked.relative_params  # noqa: B018 (asks the sampler)
        self.record.space.suggest(asked)
        for step, reported in trial.reported:
            asked.report(reported, step)
            asked.should_prune()  # some pruners keep their state in the study as they are asked
        self.study._storage.set_trial_system_attr(asked._trial_id, SECONDS, trial.seconds)
        value = trial.value if trial.status == "complete" else None
        self.study.tell(asked, value, state=_STATES[trial.status])

    def enqueue(self, configurations: Sequence[Configuration]) -> None:
        """Let the next trials be of ``configurations``."""
        with quiet_optuna():
            for configuration in configurations:
                self.study.enqueue_trial(dict(configuration))

    def run(self, n_trials: int, timeout: float | None, patience: int | None = None) -> None:
        """Go on until ``n_trials`` trials have ended, those of ``replay`` included, or ``timeout`` seconds are over.

        Or until ``patience`` trials in a row have found nothing better. A running trial is not stopped by the timeout.
        One that Ctrl-C stops is recorded as interrupted, and the ``KeyboardInterrupt`` travels on.
        """
        self._total, self._patience = n_trials, patience
        self._size = size_of(self.record.space, n_trials)
        left = n_trials - len(self.done)
        self.ending = self._nothing_left(len(self.study.trials) - 1)
        if left <= 0 or self.ending:
            return
        with quiet_optuna():
            self.study.optimize(
                self._objective,
                n_trials=left,
                timeout=timeout,
                catch=(_FailedTrialError,),
                callbacks=[self._after],
            )
        if timeout is not None and not self._stopped and len(self.done) < n_trials:
            self.ending = "the time was up"

    def _objective(self, asked: optuna.Trial) -> float:
        """What Optuna calls: the value of the trial, or an exception that tells how it ended."""
        configuration = self.record.space.suggest(asked)
        origin = _origin(asked, self.record.strategy)
        why = evidence(asked)

        def report(step: int, value: float) -> None:
            asked.report(value, step)
            if asked.should_prune():
                raise optuna.TrialPruned

        started, start = time.time(), time.perf_counter()
        try:
            trial = self._judge(configuration, number=asked.number, origin=origin, report=report)
        except KeyboardInterrupt:
            self._end(
                Trial(
                    configuration=configuration,
                    status="interrupted",
                    value=None,
                    number=asked.number,
                    origin=origin,
                    **why,
                    seconds=time.perf_counter() - start,
                    started=started,
                )
            )
            raise
        trial = replace(trial, **why)
        self._end(trial)
        if trial.status == "pruned":
            raise optuna.TrialPruned
        if trial.value is None:
            raise _FailedTrialError
        return trial.value

    def _end(self, trial: Trial) -> None:
        self.trials.append(trial)
        self._recorder.add(trial)

    def _after(self, study: optuna.Study, ended: optuna.trial.FrozenTrial) -> None:
        """What Optuna calls after each trial."""
        self.ending = self._nothing_left(ended.number)
        if self.ending or self._hopeless():
            self._stopped = True
            study.stop()
        if self._on_trial is not None:
            seconds = time.perf_counter() - self._began
            self._on_trial(
                Progress(trial=self.trials[-1], best=self.best, done=len(self.done), total=self._total, seconds=seconds)
            )

    def _nothing_left(self, number: int) -> str | None:
        """In words, that trials are left but nothing is hoped of them after the trial ``number``."""
        return None if len(self.done) >= self._total else self._used_up(number) or self._out_of_patience()

    def _used_up(self, number: int) -> str | None:
        """In words, that nothing is left to try that would tell more."""
        if self._size is not None and self._tried() >= self._size and not self._worth_repeating():
            return whole_space(self._tried())
        sampler = self.study.sampler
        if isinstance(sampler, GridSampler) and not sampler.has(number + 1):
            return f"the whole grid was tried ({plural(self._tried(), 'point')})"
        return None

    def _out_of_patience(self) -> str | None:
        """In words, that the latest trials found nothing better; warm starts are all tried before, and do not count."""
        best = self.best
        if self._patience is None or best is None or self._waiting():
            return None
        since = next(i for i, trial in enumerate(reversed(self.done)) if trial is best)
        in_vain = sum(trial.origin != WARM_START for trial in self.done[len(self.done) - since :])
        return f"nothing better in {plural(in_vain, 'trial')}" if in_vain >= self._patience else None

    def _waiting(self) -> bool:
        """Whether a configuration that was asked for is still to be tried."""
        return bool(self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def _tried(self) -> int:
        """How many different configurations were tried; of no use, and dear in a long search, in an endless space."""
        return len({_key(trial) for trial in self.done})

    def _worth_repeating(self) -> bool:
        """Whether a configuration that was tried again is known to have got another score, or is asked for again."""
        if self._judge.repeatable:
            return False
        complete = (trial for trial in self.done if trial.status == "complete")
        return self._waiting() or are_noisy((_key(trial), trial.value) for trial in complete)

    def _hopeless(self) -> bool:
        """Whether the first trials all raised one error that has nothing to do with their configurations."""
        first = {_cause(trial) for trial in self.trials[:_HOPELESS]}
        error = next(iter(first))
        same = len(first) == 1 and error is not None and (NO_NUMBER in error or not error.startswith(_HOPEFUL))
        return same and len(self.trials) == _HOPELESS


def _cause(trial: Trial) -> str | None:
    """Why ``trial`` failed; of a result that is no number, without the value, which differs from trial to trial."""
    return trial.error.partition(" (got ")[0] if trial.error and NO_NUMBER in trial.error else trial.error


def _key(trial: Trial) -> str:
    return repr(dict(trial.configuration))


def _origin(asked: optuna.Trial, strategy: str) -> str:
    attributes: dict[str, Any] = asked.storage.get_trial_system_attrs(asked._trial_id)
    return WARM_START if FIXED in attributes else str(attributes.get(ORIGIN, strategy))
