"""A team's own trials as tables to replay: one per family of a snapshot."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution

from metatune.backtest.coverage import MIN_COMPLETED, Coverage
from metatune.backtest.table import ReplayTable, ReplayTask
from metatune.encoding import ConfigurationEncoder
from metatune.family_table import FamilyTable
from metatune.learners import family_names, get_family
from metatune.parameter import in_distribution, joined
from metatune.search.candidates import Identity, identity, unique
from metatune.snapshot import Snapshot
from metatune.space import Condition, SearchSpace
from metatune.surrogate.tasks import TaskTrials, studies_by_task, tasks_of
from metatune.trial import STATUSES


class Replayable(NamedTuple):
    """Tables to replay, and of the other families with own tasks how many tasks are left out, and why."""

    tables: list[ReplayTable]
    others: dict[str, Coverage]


def tables_of(
    snapshot: Snapshot, *, borrowed: Collection[str] = (), search_borrowed: bool = False
) -> list[ReplayTable]:
    """The tables of ``replayable``."""
    return replayable(snapshot, borrowed=borrowed, search_borrowed=search_borrowed).tables


def replayable(snapshot: Snapshot, *, borrowed: Collection[str] = (), search_borrowed: bool = False) -> Replayable:
    """One table per family of ``snapshot`` with two tasks or more of at least ``MIN_COMPLETED`` completed trials.

    Studies of one task and metric are one task. Spaces that differ are joined; what a configuration lacks in the joint
    space takes the family's default. ``default`` is known for the families that metatune trains itself. Tasks of which
    all studies are ``borrowed``, by their ids, are history alone unless ``search_borrowed``; a family without others is
    left out then.
    """
    found = Replayable([], {})
    for name in snapshot.families:
        view = snapshot.family(name)
        tasks = [
            t for t in tasks_of(view, ConfigurationEncoder.of(view)) if np.isfinite(t.score).sum() >= MIN_COMPLETED
        ]
        own = [_is_own(np.unique(view.study[task.rows]), view, borrowed) for task in tasks]
        searched = tuple(i for i in range(len(tasks)) if own[i] or search_borrowed)
        left_out = _left_out(view, tasks, () if search_borrowed else borrowed)
        if len(tasks) > 1 and searched:
            table = _family_table(name, view, tasks, own)
            found.tables.append(replace(table, searched=searched, left_out=left_out))
        elif searched or set(left_out) - {"borrowed"}:
            left_out += Counter({"alone": len(searched), "borrowed": len(tasks) - len(searched)})
            found.others[name] = Coverage.of(0, left_out)
    return found


def _is_own(studies: Iterable[int], view: FamilyTable, borrowed: Collection[str]) -> bool:
    return any(view.studies[i].id not in borrowed for i in studies)


def _left_out(view: FamilyTable, tasks: Sequence[TaskTrials], borrowed: Collection[str]) -> Counter[str]:
    """How many tasks of ``view`` are none of ``tasks``, by reason; ``borrowed`` ones would not be searched anyway."""
    kept = {(task.record.fingerprint, task.record.metric.name) for task in tasks}
    score = np.where(view.status == STATUSES.index("complete"), view.score, np.nan)
    reasons: Counter[str] = Counter()
    for task, studies in studies_by_task({i: view.studies[i].task for i in view.rows_of_study}).items():
        if task in kept:
            continue
        completed = sum(np.isfinite(score[view.rows_of_study[i]]).sum() for i in studies)
        few = "few_completed" if completed < MIN_COMPLETED else "equal_scores"
        reasons[few if _is_own(studies, view, borrowed) else "borrowed"] += 1
    return reasons


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
