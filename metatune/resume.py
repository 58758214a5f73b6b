"""Take up a recorded study again: what is kept for it in the study's notes, and what must be as it was."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metatune.errors import UsageError
from metatune.fingerprint import fingerprint_of
from metatune.history.store import HistoryStore
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import Task, TaskRecord
from metatune.trial import Configuration, Trial
from metatune.wording import plural

_DEFAULT, _WARM_START, _SPLITS, _SEED, _KNOWLEDGE = "default", "warm_start", "splits", "splits_seed", "knowledge"


def notes_of(
    task: Task, *, default: Configuration | None, warm_start: Sequence[Configuration], knowledge: str
) -> dict[str, str]:
    """The notes of a new study, by which it can be taken up again."""
    return {
        _DEFAULT: json.dumps(None if default is None else dict(default)),
        _WARM_START: json.dumps([dict(configuration) for configuration in warm_start]),
        _SPLITS: _digest(task),
        _SEED: str(task.seed),
        _KNOWLEDGE: knowledge,
    }


def default_of(record: StudyRecord) -> dict[str, Any] | None:
    """The default configuration with which the study began."""
    found: dict[str, Any] | None = json.loads(record.notes.get(_DEFAULT, "null"))
    return found


def warm_start_of(record: StudyRecord) -> list[dict[str, Any]]:
    """The warm starts with which the study began; they are its first trials."""
    found: list[dict[str, Any]] = json.loads(record.notes.get(_WARM_START, "[]"))
    return found


def knowledge_of(record: StudyRecord) -> str:
    """What the notes say about the knowledge that was used."""
    return record.notes.get(_KNOWLEDGE, "")


def take_up(
    store: HistoryStore | None,
    study_id: str,
    task: Task,
    *,
    family: str,
    space: SearchSpace | None,
    warm_start: Sequence[Configuration],
) -> tuple[StudyRecord, list[Trial]]:
    """The study with this id, or this unambiguous beginning of one, and its trials.

    Raises ``UsageError`` naming what is not as it was: the task's data, its splits or metric, the family, the space
    or the warm starts (where these two are given).
    """
    if store is None:
        raise UsageError(
            "a search is taken up from the history",
            field="resume",
            value=study_id,
            remedy="Give the store in which the study is.",
        )
    record = store.study(study_id)
    _check_data(task, record)
    now_and_before: Mapping[str, tuple[object, object]] = {
        "family": (family, record.family),
        "metric": (_text(task.metric), _text(record.task.metric)),
        "space": (record.space if space is None else space, record.space),
        "warm_start": ([_plain(c, record.space) for c in warm_start] or warm_start_of(record), warm_start_of(record)),
    }
    for field, (now, before) in now_and_before.items():
        if now != before:
            raise UsageError(
                f"study {record.id} has {before!r}",
                field=field,
                value=now,
                remedy="Take it up with the arguments that it began with, or begin a new search.",
            )
    return record, store.trials(record.id)


def _check_data(task: Task, record: StudyRecord) -> None:
    """Raise ``UsageError`` for a task with other data or other splits than the study has, and say why they differ."""
    if task.fingerprint != record.task.fingerprint:
        data = task.data
        if data is not None and data.kind == "binary":
            other = data.with_positive(data.classes[0])
            if fingerprint_of(other) == record.task.fingerprint:
                raise UsageError(
                    f"study {record.id} began with the other class as the positive one",
                    field="positive",
                    value=data.classes[1],
                    remedy=f"Use positive={other.classes[1]!r} for the task, or begin a new search.",
                )
        raise UsageError(
            f"the data are others than study {record.id} began with, {_data(record.task)}",
            field="task",
            value=_data(task.record({})),
            remedy="Give the data that it began with, or begin a new search.",
        )
    if _digest(task) == record.notes.get(_SPLITS, _digest(task)):
        return
    seed = record.notes.get(_SEED, str(task.seed))
    if seed != str(task.seed):
        raise UsageError(
            f"study {record.id} began with seed {seed}, which splits the data otherwise than seed {task.seed}",
            field="seed",
            value=task.seed,
            remedy=f"Use seed={seed} for the task, or begin a new search.",
        )
    raise UsageError(
        f"study {record.id} began with other splits of the data",
        field="splits of the task",
        value=f"{plural(len(task.folds), 'fold')}, {plural(len(task.test), 'test row')}",
        remedy="Give the validation and the test size that it began with, or begin a new search.",
    )


def _data(task: TaskRecord) -> str:
    size = f", {task.n_rows:,} rows, {task.n_columns:,} columns" if task.n_rows else ""
    return f"{task.name!r}{size}"


def _plain(configuration: Configuration, space: SearchSpace) -> dict[str, Any]:
    """As ``Subject.checked`` would have it; one that is not in ``space`` as it is."""
    return space.clip(configuration)[0] if space.contains(configuration) else dict(configuration)


def _text(metric: Metric) -> str:
    return f"{metric.name} ({metric.direction})"


def _digest(task: Task) -> str:
    """Equal for tasks whose trials are judged on the same rows; empty for custom tasks."""
    if task.data is None:
        return ""
    rows = [task.test, *(part for fold in task.folds for part in fold)]
    whole = hashlib.sha256()
    for part in rows:
        whole.update(f"{len(part)}:".encode() + np.asarray(part, dtype="<i8").tobytes())
    return whole.hexdigest()[:16]
