"""A team's own trials as tables to replay: one per family of a snapshot."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from optuna.distributions import BaseDistribution

from metatune.backtest.table import ReplayTable, ReplayTask
from metatune.encoding import ConfigurationEncoder
from metatune.learners import family_names, get_family
from metatune.parameter import in_distribution, joined
from metatune.search.candidates import Identity, identity, unique
from metatune.snapshot import Snapshot
from metatune.space import Condition, SearchSpace
from metatune.surrogate.tasks import TaskTrials, tasks_of
from metatune.trial_table import FamilyTable

#: A task of a snapshot is replayed from so many completed trials on.
MIN_COMPLETED = 8


def tables_of(
    snapshot: Snapshot, *, borrowed: Collection[str] = (), search_borrowed: bool = False
) -> list[ReplayTable]:
    """One table per family of ``snapshot`` with two tasks or more of at least ``MIN_COMPLETED`` completed trials.

    Studies of one task and metric are one task. Spaces that differ are joined; what a configuration lacks in the joint
    space takes the family's default. ``default`` is known for the families that metatune trains itself. Tasks of which
    all studies are ``borrowed``, by their ids, are history alone unless ``search_borrowed``; a family without others is
    left out then.
    """
    tables = []
    for name in snapshot.families:
        view = snapshot.family(name)
        tasks = [
            t for t in tasks_of(view, ConfigurationEncoder.of(view)) if np.isfinite(t.score).sum() >= MIN_COMPLETED
        ]
        own = [_is_own(task, view, borrowed) for task in tasks]
        searched = tuple(i for i in range(len(tasks)) if own[i] or search_borrowed)
        if len(tasks) > 1 and searched:
            tables.append(replace(_family_table(name, view, tasks, own), searched=searched))
    return tables


def _is_own(task: TaskTrials, view: FamilyTable, borrowed: Collection[str]) -> bool:
    return any(view.studies[i].id not in borrowed for i in np.unique(view.study[task.rows]))


def _family_table(name: str, view: FamilyTable, tasks: Sequence[TaskTrials], own: Sequence[bool]) -> ReplayTable:
    rows = np.concatenate([task.rows for task in tasks])
    studies = [view.studies[i] for i in np.unique(view.study[rows])]
    space = joint_space([s.space for s in sorted(studies, key=lambda study: (study.created, study.id))])
    default = space.clip(get_family(name).default())[0] if name in family_names() else None
    chosen = FamilyTable(name, view.studies, view.table.take(rows))
    configurations = [space.clip(trial.configuration, default)[0] for _, trial in chosen.trials()]
    numbers: dict[Identity, int] = {}
    places = np.array([numbers.setdefault(identity(c), len(numbers)) for c in configurations])
    configurations = unique(configurations)
    ends = np.cumsum([len(task.rows) for task in tasks])
    found = [
        ReplayTask(task.record, places[end - len(task.rows) : end], task.score, view.seconds[task.rows], is_own)
        for task, end, is_own in zip(tasks, ends, own, strict=True)
    ]
    return ReplayTable(name, space, configurations, tuple(found), default)


def joint_space(spaces: Sequence[SearchSpace]) -> SearchSpace:
    """The space that holds all of ``spaces``: joint ranges and choices.

    Of kinds and conditions that differ, the last space that has the parameter decides; a condition on values that its
    parent has no more is none.
    """
    if all(space == spaces[0] for space in spaces):
        return spaces[0]
    parameters: dict[str, BaseDistribution] = {}
    conditions = {}
    for space in reversed(spaces):
        for name, distribution in space.parameters.items():
            if name in parameters:
                parameters[name] = joined(parameters[name], distribution)
            else:
                parameters[name] = distribution
                if name in space.conditions:
                    conditions[name] = space.conditions[name]
    return SearchSpace(parameters, {name: c for name, c in conditions.items() if _is_possible(c, parameters)})


def _is_possible(condition: Condition, parameters: Mapping[str, BaseDistribution]) -> bool:
    return all(in_distribution(parameters[condition.parent], value) for value in condition.values)
