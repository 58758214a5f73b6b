"""The verb ``forget``: a task, a study or a user completely out of history, spool and knowledge."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from metatune.errors import UsageError
from metatune.history.forgetting import Found, erase, find
from metatune.history.mlflow_store import MLflowStore
from metatune.history.spool import Destination, folders
from metatune.history.spool_forgetting import Spooled, erase_spooled, find_spooled, spooled_studies
from metatune.knowledge import PUBLISHED, Knowledge
from metatune.manifest import MANIFEST
from metatune.mirror import Mirror, mirror_of
from metatune.study import StudyRecord


@dataclass(frozen=True)
class Selection:
    """Which studies are to be forgotten: exactly one of the name of a task, the beginning of an id, and a user."""

    task: str | None = None
    study: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        if sum(bool(one) for one in (self.task, self.study, self.user)) != 1:
            raise UsageError(
                "say what is to be forgotten, one thing at a time",
                field="forget",
                value=None,
                remedy="Give one of --task NAME, --study ID and --user NAME.",
            )

    @property
    def name(self) -> str:
        """What was given."""
        return str(self.task or self.study or self.user)

    def wants(self, study: StudyRecord) -> bool:
        """Whether ``study`` is to be forgotten."""
        if self.task:
            return study.task.name == self.task
        if self.study:
            return study.id.startswith(self.study)
        return study.notes.get("user") == self.user


@dataclass(frozen=True)
class Plan:
    """What is to be removed.

    ``found`` from the history, ``spooled`` from the local spool, ``learnt`` (study ids) from the knowledge in
    ``directory``. ``mirror`` is the local copy of the history.
    """

    uri: str
    found: tuple[Found, ...]
    directory: Path | None
    learnt: tuple[str, ...]
    spooled: tuple[Spooled, ...]
    mirror: Mirror

    @property
    def trials(self) -> int:
        """Trials in the history that are to be removed."""
        return sum(study.trials for study in self.found)

    @property
    def waiting(self) -> int:
        """Trials in the spool that are to be removed."""
        return sum(file.trials for file in self.spooled)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be removed."""
        return not self.found and not self.learnt and not self.spooled


@dataclass(frozen=True)
class Forgotten:
    """What was removed.

    ``for_good`` is false where an MLflow server only marked the runs as deleted. ``owned`` are files of the spool that
    were left to the living processes that write them: what is in there is still to come.
    """

    plan: Plan
    for_good: bool
    owned: tuple[Path, ...] = ()


def plan(store: MLflowStore, selection: Selection, *, knowledge: Path | str | None = None) -> Plan:
    """What ``forget`` would remove from ``store`` and from the folder ``knowledge``; nothing is changed.

    Raises ``UsageError`` for the beginning of an id that several studies have, or a published knowledge, ``StoreError``
    and ``KnowledgeError``.
    """
    if knowledge is not None and str(knowledge).startswith(PUBLISHED):
        raise UsageError(
            "a published version is never altered",
            field="knowledge",
            value=str(knowledge),
            remedy="Forget it in the history, train and publish again, and delete the old versions in MLflow.",
        )
    directory = Path(knowledge) if knowledge is not None else None
    found = find(store.uri, store.experiment, selection.wants)
    learnt: tuple[str, ...] = ()
    if directory is not None and (directory / MANIFEST).is_file():
        learnt = tuple(study.id for study in Knowledge.load(directory).snapshot.studies if selection.wants(study))
    waiting = spooled_studies(folders(), Destination.of(store), selection.wants)
    ids = {study.record.id for study in found} | set(learnt) | waiting
    if selection.study and len(ids) > 1 and selection.study not in ids:
        raise UsageError(
            f"{len(ids)} studies have ids that begin like this",
            field="study",
            value=selection.study,
            remedy="`metatune history` lists the studies with their ids.",
        )
    if selection.study and selection.study in ids:
        found = [study for study in found if study.record.id == selection.study]
        learnt = tuple(one for one in learnt if one == selection.study)
        ids = {selection.study}
    spooled = find_spooled(folders(), Destination.of(store), ids, selection.name)
    return Plan(store.uri, tuple(found), directory, learnt, tuple(spooled), mirror_of(store))


def forget(plan: Plan) -> Forgotten:
    """Remove what ``plan`` says. May be repeated. Raises ``StoreError`` and ``KnowledgeError``.

    The local copy of the history is deleted; the next reading makes it again. Families of the knowledge that had such
    a study are trained again; a knowledge of which nothing is left is removed.
    """
    owned = erase_spooled(plan.spooled)  # first: what waits there would come back into the history
    for_good = erase(plan.uri, plan.found)
    if not plan.empty:
        plan.mirror.delete()
    if plan.directory is not None and plan.learnt:
        known = Knowledge.load(plan.directory)
        if {study.id for study in known.snapshot.studies} <= set(plan.learnt):
            shutil.rmtree(plan.directory)
        else:
            known.without(plan.learnt).save(plan.directory)
    return Forgotten(plan, for_good, tuple(owned))
