"""The contract of a history store: where studies and trials are kept for ever."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from metatune.study import StudyRecord
from metatune.trial import Trial

#: How a study ends.
ENDINGS = ("finished", "interrupted", "failed")


class HistoryStore(Protocol):
    """Studies and their trials, complete and without duplicates.

    Order of calls: ``open_study`` before the first ``add_trials`` of that study; ``close_study`` when the search
    ended. All three may be repeated with the same arguments without effect: a study is known by its ``id``,
    a trial by its ``key``. Every method raises ``StoreError`` when the store cannot be reached or is damaged.
    """

    uri: str
    experiment: str

    def open_study(self, study: StudyRecord) -> None:
        """Record ``study``; if it is there already (a resumed search), mark it as running again.

        A space that settles the one on record (``SearchSpace.is_settled_by``) takes its place; no other does.
        """

    def add_trials(self, study_id: str, trials: Sequence[Trial]) -> None:
        """Record ended trials; those whose key is already there are left as they are."""

    def add_many(self, study_id: str, trials: Sequence[Trial]) -> None:
        """As ``add_trials``, for hundreds and more: by a faster way, if the store has one."""

    def close_study(self, study_id: str, *, status: str, artifacts: Sequence[Path] = ()) -> None:
        """Mark the study as ended (``finished``, ``interrupted`` or ``failed``) and keep small files with it."""

    def beat(self, study_id: str) -> None:
        """Note that the search of an open study still runs."""

    def studies(self) -> list[StudyRecord]:
        """All studies, oldest first."""

    def study(self, study_id: str) -> StudyRecord:
        """One study by its id or an unambiguous beginning of it."""

    def trials(self, study_id: str) -> list[Trial]:
        """The trials of one study, by number."""

    def keys(self, study_id: str) -> set[str]:
        """The keys of the trials of one study, as ``schema.token`` writes them: quicker to read than the trials."""

    def records(self) -> Iterator[tuple[StudyRecord, list[Trial]]]:
        """All studies, oldest first, each with its trials by number: the whole history in few reads."""
