"""What trials of an Optuna study tell the engine: ``observation`` of an ended one, ``declared`` of a running one."""

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from metatune.parameter import plain_value
from metatune.search.proposer import Observation
from metatune.space import SearchSpace
from metatune.trial import Configuration, ParamValue

#: Key of the trial's system attribute that tells how long a trial of an earlier run took, NaN if that is not known:
#: Optuna knows only when it was told of it.
SECONDS = "metatune:seconds"
#: The configuration itself, declared before the trial's parameters are asked for one by one.
PROPOSED = "metatune:proposed"


def declared(trial: FrozenTrial, space: SearchSpace) -> Configuration | None:
    """The configuration of a running trial: its parameters, or what was proposed for it; ``None``: not known yet."""
    values = _whole(trial, space)
    complete = bool(values) and all(name in values for name in space if space.is_active(name, values))
    return space.clip(values)[0] if complete or PROPOSED in trial.system_attrs else None


def not_asked(trial: FrozenTrial, space: SearchSpace) -> list[str]:
    """The parameters of ``space`` that were proposed for ``trial``, and that its objective did not ask for."""
    return [name for name in _whole(trial, space) if name not in trial.params]


def seconds_of(trial: FrozenTrial) -> float:
    """How long an ended trial took, NaN if that is not known: one that was added to the study took no time there."""
    if SECONDS in trial.system_attrs:
        return float(trial.system_attrs[SECONDS])
    return trial.duration.total_seconds() if trial.duration else float("nan")


def _whole(trial: FrozenTrial, space: SearchSpace) -> dict[str, ParamValue]:
    """The parameters of ``trial`` in ``space``, those that its objective did not ask for as they were proposed."""
    proposed: dict[str, ParamValue] = trial.system_attrs.get(PROPOSED, {})
    return space.active({**proposed, **{name: plain_value(value) for name, value in trial.params.items()}})


def observation(trial: FrozenTrial, space: SearchSpace, sign: float) -> Observation | None:
    """A pruned trial counts with its last intermediate value, a failed one or a value that is not finite as failed.

    So does a trial that broke one of its constraints: it is no solution, and says where there is none.
    ``None`` for a trial outside ``space``, whose score says nothing about the nearest place inside it.
    """
    configuration = _whole(trial, space)
    if not space.contains(configuration):
        return None
    value = trial.value if trial.state == TrialState.COMPLETE else None
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    usable = value is not None and np.isfinite(value) and all(limit <= 0.0 for limit in trial.constraints.values())
    # A crash says nothing about the seconds.
    seconds = seconds_of(trial) if trial.state == TrialState.COMPLETE else float("nan")
    return Observation(space.clip(configuration)[0], sign * value if usable and value is not None else None, seconds)
