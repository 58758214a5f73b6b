"""``StudyRecord``: one search (or imported set of trials) on one task, without its trials."""

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from metatune.space import SearchSpace
from metatune.task import TaskRecord


def new_study_id() -> str:
    """An identifier that no other study has."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What is known about a study besides its trials.

    ``family`` names what is tuned, ``space`` where, ``strategy`` how (``meta``, ``tpe``, ``design``, ...).
    ``created`` is seconds since the epoch. ``notes`` are further short texts (package versions, row caps).
    """

    task: TaskRecord
    family: str
    space: SearchSpace
    id: str = field(default_factory=new_study_id)
    strategy: str = "meta"
    seed: int = 0
    created: float = field(default_factory=time.time)
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", dict(self.notes))


def latest(studies: Iterable[StudyRecord]) -> StudyRecord:
    """The one of ``studies`` that was created last; of several, that with the largest id."""
    return max(studies, key=lambda study: (study.created, study.id))
