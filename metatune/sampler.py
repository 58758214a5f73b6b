"""``MetaSampler``: the engine as a sampler for Optuna studies."""

import threading
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from metatune.caveats import Caveats
from metatune.errors import UsageError
from metatune.metafeatures import describe
from metatune.metric import Metric
from metatune.observing import PROPOSED, SECONDS, declared, not_asked, observation, seconds_of
from metatune.parameter import can_be_parameter, nearest, plain_distribution, plain_value, same_value, value_at
from metatune.search.budget import TimeBudget
from metatune.search.candidates import identity
from metatune.search.proposer import Observation, Proposal, Proposer
from metatune.space import SearchSpace, check_configuration, check_space
from metatune.surrogate.family import FamilySurrogate
from metatune.task import Task, TaskRecord, check_task
from metatune.trial import Configuration, ParamValue
from metatune.used_up import are_noisy, size_of

#: Key of the trial's system attribute that tells where its configuration came from.
ORIGIN = "metatune:origin"
#: Optuna's own key for the parameters that a trial was enqueued with.
FIXED = "fixed_params"
#: A worker declares within moments; one that is silent for longer was killed, and nobody waits for it.
_PATIENCE = timedelta(seconds=60)
_EVIDENCE = ("odds", "trusted")
#: Origins of trials with several objectives, where no ``Proposer`` is asked.
_DEFAULT, _SEVERAL = "default", "tpe"


class MetaSampler(BaseSampler):
    """Proposes configurations from the history of other tasks and the trials of this study.

    ``surrogate``: what is known of the model family (``Knowledge.surrogate``); without it the sampler is a
    Gaussian-process search. ``task``, with its data or as a record, is described by its meta-features. ``space``: the
    whole space with conditions; without it, the parameters that all trials so far had in common are proposed together
    and the others sampled independently, and until a trial is complete, each parameter gets what the history proposes
    by its name, in the space of its latest study. Parameters are known by their names; a warning tells once which of
    them the history lacks. Trials outside of the space, such as those from before a range was narrowed, do not count.
    A parameter of it that the objective does not ask for counts as it was proposed; one that is sampled independently,
    because not every trial has it, is random: a warning tells once of either.
    ``default``: a configuration that is always among the first trials. Without a ``space``, values of it that are not
    allowed go to the nearest ones, and a warning tells once which of them are not tried.
    ``timeout`` and ``n_trials`` are what the one call of ``Study.optimize`` is given (with several workers, their
    number times its timeout, and the trials of all of them): while, at the pace of the latest trials, those that are
    left would take longer than what is left of the seconds, proposals go by the improvement per second that a trial is
    expected to take; always with a ``timeout`` alone, never without.

    Failed trials, and those that broke a constraint (``Trial.set_constraint``), push proposals away, running ones
    count as pending. A proposal depends on the trials of the study, the seed and the trial's number only (where time
    is short, also on how long they took), so a resumed study goes on as it would have. With several objectives there
    is no transfer: the default comes first, other configurations are sampled by Optuna's ``TPESampler`` (origin
    ``tpe``), and a warning says so once; so does one that a finite space was tried as a whole, after which
    configurations are repeated. Raises ``UsageError`` for an argument of another type, a ``timeout`` that is none, or
    one with such ``n_trials``, and ``ConfigurationError`` for a ``default`` that is not in the ``space``.
    """

    def __init__(
        self,
        surrogate: FamilySurrogate | None = None,
        *,
        task: Task | TaskRecord | None = None,
        space: SearchSpace | None = None,
        default: Configuration | None = None,
        timeout: float | None = None,
        n_trials: int | None = None,
        seed: int | None = None,
    ) -> None:
        if surrogate is not None and not isinstance(surrogate, FamilySurrogate):
            remedy = "Give Knowledge.find().surrogate(family), or None for a search without history."
            raise UsageError("no history of a model family", field="surrogate", value=surrogate, remedy=remedy)
        check_space(space)
        if default is not None:
            check_configuration(default, "default")
            if space is not None:
                space.check(default, "default")
        self._surrogate = surrogate
        self._task = _record_of(task)
        self._space = space
        self._default = None if default is None else {name: plain_value(value) for name, value in default.items()}
        self._budget = None if timeout is None else TimeBudget(timeout, n_trials)
        self._earlier: dict[str, frozenset[int]] = {}
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._several = TPESampler(seed=seed, multivariate=False)
        self._intersection = IntersectionSearchSpace()
        self._proposers: dict[str, Proposer] = {}
        self._observations: dict[tuple[object, ...], Observation | None] = {}
        self._lock = threading.RLock()
        self._caveats = Caveats()

    def __getstate__(self) -> dict[str, Any]:
        # A lock cannot be copied, and proposers are made again from the rest.
        return {**self.__dict__, "_lock": None, "_proposers": {}, "_observations": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def reseed_rng(self) -> None:
        """Give the sampler for several objectives another seed; all else differs by trial number anyway."""
        self._several.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Note which trials had ended before the first one of this sampler: they cost nothing of its time."""
        if study.study_name not in self._earlier:
            ended = [t.number for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
            self._earlier[study.study_name] = frozenset(ended)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are proposed together."""
        if study._is_multi_objective():
            self._caveats.several_objectives()
            return self._several.infer_relative_search_space(study, trial)
        if self._space is not None:
            return dict(self._space.parameters)
        shared = self._intersection.calculate(study)
        return {n: d for n, d in shared.items() if not d.single() and can_be_parameter(n, d)}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The proposal for ``trial``; parameters that it leaves inactive are absent."""
        if study._is_multi_objective():
            study._storage.set_trial_system_attr(trial._trial_id, ORIGIN, self._origin_of_several(study, trial))
            return self._several.sample_relative(study, trial, search_space)
        if self._surrogate is not None and search_space:
            self._caveats.ignorance(self._surrogate, search_space)
        with self._lock:  # the next worker of this process must see what this one is about to try
            proposal = self.propose(study, trial, search_space) if search_space else self._blind_proposal(study, trial)
            if proposal is None:
                return {}
            _declare(study, trial, proposal)
        return {n: _choice(search_space[n], value) for n, value in proposal.configuration.items() if n in search_space}

    def propose(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Proposal:
        """The proposal for ``trial`` in ``search_space``, with its origin; changes nothing in the study.

        Choices that are no texts, numbers, booleans or ``None`` are named by their texts, as they are in the history.
        """
        space = self._space
        if space is None:
            space = SearchSpace({name: plain_distribution(d) for name, d in search_space.items()})
        proposer = self._proposer(space)
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        ended = [self._observation(study, t, space, sign) for t in others if t.state.is_finished()]
        observed = [one for one in ended if one is not None]
        pending = [t for t in others if t.state == TrialState.RUNNING]
        now = datetime.now()
        known = {t.number: declared(t, space) for t in pending}
        running = [configuration for configuration in known.values() if configuration is not None]
        silent = [t for t in pending if known[t.number] is None and t.number < trial.number]
        ahead = sum(t.datetime_start is not None and now - t.datetime_start < _PATIENCE for t in silent)
        hurried = self._is_short(study.study_name, [t for t in others if t.state.is_finished()])
        proposal = proposer.propose(observed, running, number=trial.number, ahead=ahead, per_second=hurried)
        self._warn_if_used_up(study, space, observed, proposal)
        return proposal

    def _proposer(self, space: SearchSpace) -> Proposer:
        """The one for ``space``, made once."""
        if space.digest not in self._proposers:
            self._proposers[space.digest] = Proposer(
                self._task, space, surrogate=self._surrogate, default=self._default, seed=self._seed
            )
        return self._proposers[space.digest]

    def _blind_proposal(self, study: Study, trial: FrozenTrial) -> Proposal | None:
        """What is best tried while no trial is complete that would tell what the objective asks for.

        It is what the history proposes in its own space, or the default; each parameter gets the value of its name.
        """
        before = sum(other.number < trial.number for other in study.get_trials(deepcopy=False))
        if self._surrogate is not None and self._surrogate.tasks:
            return self._proposer(self._surrogate.space).propose([], number=trial.number, ahead=before)
        return Proposal(self._default, _DEFAULT) if self._default and not before else None

    def _warn_if_used_up(
        self, study: Study, space: SearchSpace, observed: Sequence[Observation], proposal: Proposal
    ) -> None:
        """Say, once for a study, that it goes on although its space is used up; it may have good reasons."""
        tried = {observation.identity for observation in observed}
        if self._caveats.told_used_up(study.study_name) or identity(proposal.configuration) not in tried:
            return
        noisy = are_noisy((o.identity, o.score) for o in observed if o.score is not None)
        if noisy or size_of(space, len(tried)) is None or _has_more(study, space):
            return
        self._caveats.used_up(study.study_name, len(tried))

    def _is_short(self, study: str, ended: Sequence[FrozenTrial]) -> bool:
        """Whether there is a time budget, and too little is left of it."""
        if self._budget is None:
            return False
        known = self._earlier.get(study, frozenset())
        took: list[float] = []
        before: list[float] = []
        for trial in ended:
            (before if trial.number in known or SECONDS in trial.system_attrs else took).append(seconds_of(trial))
        return self._budget.is_short(took, before)

    def _observation(self, study: Study, trial: FrozenTrial, space: SearchSpace, sign: float) -> Observation | None:
        """What a trial that ended, and so never changes, tells, made once; ``None`` if it lies outside ``space``."""
        key = study.study_name, trial.number, trial.datetime_complete, space.digest
        if key not in self._observations:
            self._observations[key] = observation(trial, space, sign)
        return self._observations[key]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """What was proposed by this name, or the default has where that is tried, as near as is allowed.

        Else a random value; with several objectives one of their sampler.
        """
        default = self._default or {}
        at_hand = {**trial.system_attrs.get(PROPOSED, {})}
        if trial.system_attrs.get(ORIGIN) == _DEFAULT:
            at_hand |= default
        if param_name in at_hand:
            value = nearest(plain_distribution(param_distribution), at_hand[param_name])
            return _choice(param_distribution, value)
        if study._is_multi_objective():
            return self._several.sample_independent(study, trial, param_name, param_distribution)
        seed = [self._seed, trial.number, zlib.crc32(param_name.encode())]
        return value_at(param_distribution, np.random.default_rng(seed).random())

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let Optuna's sampler for several objectives see the end; say which parameters are of no use, or random."""
        complete = state == TrialState.COMPLETE
        proposed = trial.system_attrs.get(PROPOSED)
        if proposed is not None and trial.params and proposed.keys().isdisjoint(trial.params):
            study._storage.set_trial_system_attr(trial._trial_id, ORIGIN, "random")
        if complete and self._default is not None and trial.system_attrs.get(ORIGIN) == _DEFAULT:
            self._caveats.not_default(trial, self._default)
        if study._is_multi_objective():
            self._several.after_trial(study, trial, state, values)
            return
        if complete and self._space is not None:
            self._caveats.not_asked(not_asked(trial, self._space))
        random = [] if trial.system_attrs.get(ORIGIN) == _DEFAULT else _drawn(trial)
        if random and _began_after_another(study, trial):
            self._caveats.drawn(random, self._space)

    def _origin_of_several(self, study: Study, trial: FrozenTrial) -> str:
        """The origin of a trial with several objectives: the first one that nobody enqueued has the default."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        first = FIXED not in trial.system_attrs and all(FIXED in t.system_attrs for t in others)
        return _DEFAULT if first and self._default else _SEVERAL


def _declare(study: Study, trial: FrozenTrial, proposal: Proposal) -> None:
    """Write down what ``trial`` is about to try, and why."""
    noted: dict[str, Any] = {PROPOSED: proposal.configuration, ORIGIN: proposal.origin}
    noted |= {f"metatune:{name}": getattr(proposal, name) for name in _EVIDENCE}
    for key, value in noted.items():
        if value == value:  # NaN: no model was asked
            study._storage.set_trial_system_attr(trial._trial_id, key, value)


def evidence(trial: optuna.Trial) -> dict[str, Any]:
    """What a ``Trial`` keeps of why ``trial`` has its configuration; nothing where no model was asked."""
    attributes = trial.storage.get_trial_system_attrs(trial._trial_id)
    found = {name: attributes.get(f"metatune:{name}") for name in _EVIDENCE}
    return {name: int(value) if name == "trusted" else value for name, value in found.items() if value is not None}


def _record_of(task: Task | TaskRecord | None) -> TaskRecord:
    """``task`` by its meta-features. Raises ``UsageError`` for what is no task."""
    if task is None:
        return TaskRecord(name="study", kind="custom", metric=Metric("value", "maximize"), fingerprint="study")
    if isinstance(task, TaskRecord):
        return task
    check_task(task)
    return task.record(describe(task))


def _drawn(trial: FrozenTrial) -> list[str]:
    """The parameters of ``trial`` that are no constants and were neither proposed nor enqueued."""
    known = {**trial.system_attrs.get(PROPOSED, {}), **trial.system_attrs.get(FIXED, {})}
    return [
        name for name, distribution in trial.distributions.items() if name not in known and not distribution.single()
    ]


def _began_after_another(study: Study, trial: FrozenTrial) -> bool:
    """Whether another trial was complete when ``trial`` began; before, nobody knows what an objective asks for."""
    began, others = trial.datetime_start, study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return began is not None and any(one.datetime_complete and one.datetime_complete <= began for one in others)


def _has_more(study: Study, space: SearchSpace) -> bool:
    """Whether a trial of ``study`` had a parameter to be varied that ``space`` does not have."""
    return any(
        name not in space and not distribution.single()
        for trial in study.get_trials(deepcopy=False)
        for name, distribution in trial.distributions.items()
    )


def _choice(distribution: BaseDistribution, value: ParamValue) -> Any:
    """What ``distribution`` calls the plain ``value``."""
    if not isinstance(distribution, CategoricalDistribution):
        return value
    return next(choice for choice in distribution.choices if same_value(plain_value(choice), value))
