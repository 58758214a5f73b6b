"""``Notebook``: the studies under which a process collects trials that metatune did not propose."""

import hashlib
import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from metatune.errors import UsageError
from metatune.history.mlflow_store import MLflowStore
from metatune.history.outbox import Outbox
from metatune.history.spool import Destination
from metatune.history.store import HistoryStore
from metatune.learners import family_names, get_family
from metatune.metafeatures import describe
from metatune.metric import Direction
from metatune.parameter import in_distribution, same_value
from metatune.provenance import provenance
from metatune.redaction import redacted
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import Task, TaskRecord
from metatune.trial import COLLECTED, Configuration, ParamValue, Trial

_LOG = logging.getLogger("metatune")

#: The range of a number is inferred as a tenth to ten times of what was seen.
_SPREAD = 10
#: An inferred range ends here unless more was seen: its width must be a finite number.
_FARTHEST = sys.float_info.max / 4


class Notebook:
    """What this process collects for one store; any thread may call, and no call raises over the store."""

    def __init__(self, store: HistoryStore) -> None:
        self._outbox = Outbox(store, closing="finished")
        self._notes = provenance()
        self._token = uuid.uuid4().hex
        self._studies: dict[str, StudyRecord] = {}
        self._numbers: dict[str, int] = {}
        self._tasks: dict[tuple[str, str], TaskRecord] = {}
        self._inferred: dict[tuple[str, ...], SearchSpace] = {}
        #: Ids of studies that began when a parameter had been nothing but ``None``, by what they are known by now.
        self._settled: dict[tuple[str, ...], str] = {}
        self._lock = threading.RLock()

    def study(
        self, task: Task, family: str, configuration: Configuration, *, space: SearchSpace | None, name: str | None
    ) -> StudyRecord:
        """The study to which a trial with ``configuration`` belongs; a new one for another task, family or space.

        ``name``: of a study that processes share; without one, it is this process's own, and goes on with a space that
        settles its space.
        """
        with self._lock:
            shared = name or f"{self._token} {os.getpid()}"
            key = (shared, task.fingerprint, task.metric.name, family)
            known = space or self._space(key, configuration, shared=name is not None)
            id = self._id(key, known)
            record = self._studies.get(id)
            if record is None:
                record = StudyRecord(
                    task=self._record(task), family=family, space=known, id=id, strategy=COLLECTED, notes=self._notes
                )
            elif record.space.is_settled_by(known):
                record = replace(record, space=known)
            else:
                return record
            self._studies[id] = record
            self._outbox.open_study(record)
            return record

    def add(self, study: StudyRecord, make: Callable[[int], Trial]) -> None:
        """Keep the trial that ``make`` gives for its number."""
        with self._lock:
            number = self._numbers.get(study.id, 0)
            self._numbers[study.id] = number + 1
        self._outbox.add_trial(study.id, make(number))

    def after_fork(self) -> None:
        """Begin anew in a forked process: its studies are its own, and nobody would release the parent's lock."""
        self._lock = threading.RLock()
        self._studies, self._numbers = {}, {}

    def flush(self) -> bool:
        """Wait, for a bounded time, until the store has everything; gives whether it has."""
        return self._outbox.flush()

    def _record(self, task: Task) -> TaskRecord:
        key = (task.fingerprint, task.metric.name)
        if key not in self._tasks:
            self._tasks[key] = task.record(describe(task))
        return self._tasks[key]

    def _id(self, key: tuple[str, ...], space: SearchSpace) -> str:
        full = (*key, space.digest)
        return self._settled.get(full) or hashlib.sha256("\0".join(full).encode()).hexdigest()[:12]

    def _space(self, key: tuple[str, ...], configuration: Configuration, *, shared: bool) -> SearchSpace:
        """The space of metatune's own family of this name if it fits, else one around what was seen so far."""
        family = key[-1]
        if key not in self._inferred and family in family_names():
            own = get_family(family).space()
            if own.contains(configuration):
                return own
        known = self._inferred.get(key)
        if known is not None and _fits(known, configuration):
            return known
        wider = self._inferred[key] = widened(known, configuration)
        # Processes that share a study may see different numbers, and it has one space.
        if known is not None and known.is_settled_by(wider) and not shared:
            self._settled[*key, wider.digest] = self._id(key, known)
        return wider


def _fits(space: SearchSpace, configuration: Configuration) -> bool:
    return all(name in space and _has_room(space[name], value) for name, value in configuration.items())


def _has_room(known: BaseDistribution, value: ParamValue) -> bool:
    """Whether ``value`` is in ``known``, or is a ``None`` among numbers, which is kept and counts as missing.

    Room for it would make choices of the numbers, and a space of every new one.
    """
    return in_distribution(known, value) or (value is None and not isinstance(known, CategoricalDistribution))


def widened(space: SearchSpace | None, configuration: Configuration) -> SearchSpace:
    """``space`` with room for ``configuration``: numbers from a tenth to ten times of what was seen, choices.

    ``None`` is a choice unless there are numbers.
    """
    parameters: dict[str, Any] = {} if space is None else dict(space.parameters)
    for name, value in configuration.items():
        known = parameters.get(name)
        if known is None or not _has_room(known, value):
            parameters[name] = _around(known, value)
    return SearchSpace(parameters, None if space is None else space.conditions)


def _around(known: BaseDistribution | None, value: ParamValue) -> BaseDistribution:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if numeric and isinstance(known, CategoricalDistribution) and known.choices == (None,):
        known = None
    if isinstance(known, CategoricalDistribution) or (known is None and not numeric):
        choices = () if known is None else known.choices
        return CategoricalDistribution((*choices, *(() if any(same_value(value, c) for c in choices) else (value,))))
    if not numeric:  # numbers so far, and now something else
        return CategoricalDistribution((value,))
    assert isinstance(value, int | float)
    seen = [float(value)] if known is None else [float(value), float(known.low), float(known.high)]  # type: ignore[attr-defined]
    whole = isinstance(value, int) and not isinstance(known, FloatDistribution)
    if min(seen) > 0:
        low = min(max(seen[0] / _SPREAD, sys.float_info.min), *seen)
        high = max(min(seen[0] * _SPREAD, _FARTHEST), *seen)
        return (
            IntDistribution(max(1, int(low)), int(high), log=True) if whole else FloatDistribution(low, high, log=True)
        )
    reach = _SPREAD * max(1.0, abs(seen[0]))
    low, high = min(max(seen[0] - reach, -_FARTHEST), *seen), max(min(seen[0] + reach, _FARTHEST), *seen)
    return IntDistribution(int(low), int(high)) if whole else FloatDistribution(low, high)


def plain_configuration(configuration: Configuration) -> dict[str, ParamValue]:
    """``configuration`` with Python's own numbers, without texts that are secrets by their name (one warning for each).

    Raises ``UsageError`` for what cannot be a parameter.
    """
    if not isinstance(configuration, Mapping) or not configuration:
        raise UsageError(
            "not a configuration",
            field="configuration",
            value=configuration,
            remedy='Give names and values, for example {"rate": 0.1}.',
        )
    plain: dict[str, ParamValue] = {}
    for name, value in configuration.items():
        value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(name, str) or not name or not _simple(value):
            raise UsageError(
                "not a parameter: a name with a finite number, a text, a boolean or None",
                field=f"configuration[{name!r}]",
                value=value,
                remedy="Leave it out, or describe it by such values.",
            )
        if isinstance(value, str) and redacted(f"{name}=x") != f"{name}=x":
            if name not in _SECRETS:
                _SECRETS.add(name)
                _LOG.warning("%r looks like a secret by its name and is not remembered.", name)
        else:
            plain[name] = value
    if not plain:
        raise UsageError(
            "nothing but secrets by their names",
            field="configuration",
            value=list(configuration),
            remedy="Give what was tuned.",
        )
    return plain


#: Names that were warned of.
_SECRETS: set[str] = set()


def _simple(value: object) -> bool:
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    return value is None or isinstance(value, str)


def task_of(task: Task | str, metric: str | None, direction: Direction | None) -> Task:
    """``task``, or the custom task of that name. Raises ``UsageError``."""
    if isinstance(task, Task):
        if metric is not None or direction is not None:
            raise UsageError(
                "the task has its metric",
                field="metric",
                value=metric or direction,
                remedy="Give metric and direction with the name of a task only.",
            )
        return task
    if metric is None or direction is None:
        raise UsageError(
            "a task by its name needs a metric and its direction",
            field="metric" if metric is None else "direction",
            value=None,
            remedy="Give metric='...' and direction='maximize' or 'minimize'.",
        )
    return Task.custom(task, metric=metric, direction=direction)


_NOTEBOOKS: dict[HistoryStore | Destination, Notebook] = {}
_LOCK = threading.Lock()


def notebook_of(store: HistoryStore | None) -> Notebook:
    """The notebook of this process for ``store``, or for MLflow at its default address."""
    with _LOCK:
        store = store or MLflowStore()
        # Stores of another making may share an address and still be different ones.
        key = Destination.of(store) if isinstance(store, MLflowStore) else store
        if key not in _NOTEBOOKS:
            _NOTEBOOKS[key] = Notebook(store)
        return _NOTEBOOKS[key]


def _after_fork() -> None:
    global _LOCK
    _LOCK = threading.Lock()
    for notebook in _NOTEBOOKS.values():
        notebook.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
