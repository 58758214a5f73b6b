"""``Recorder``: brings the trials of a running search into the history, and never ends the search over it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from metatune.errors import StoreError
from metatune.history.store import HistoryStore
from metatune.study import StudyRecord
from metatune.trial import Trial

_LOG = logging.getLogger("metatune")


class Recorder:
    """Order of calls: ``open``, ``add`` for every ended trial, ``close``.

    ``store`` is ``None`` where nothing is to be recorded. ``open`` raises ``StoreError`` when the store cannot be
    used, before anything is trained. A store that fails later keeps no trial from being evaluated: what could not be
    written is tried again with the next trial and at the end; ``unsaved`` is what then is still missing, and
    ``problem`` the last failure.
    """

    def __init__(self, store: HistoryStore | None, study: StudyRecord) -> None:
        self._store = store
        self._study = study
        self._unsaved: list[Trial] = []
        self.problem: StoreError | None = None

    @property
    def unsaved(self) -> tuple[Trial, ...]:
        """Trials that are not in the store yet."""
        return tuple(self._unsaved)

    def open(self) -> None:
        """Record the study. Raises ``StoreError``."""
        if self._store is not None:
            self._store.open_study(self._study)

    def add(self, trial: Trial) -> None:
        """Record ``trial`` and all that could not be recorded before."""
        if self._store is None:
            return
        self._unsaved.append(trial)
        first = self.problem is None
        if not self._send() and first:
            _LOG.warning("The search goes on, but its trials cannot be recorded at the moment: %s", self.problem)

    def close(self, status: str, artifacts: Sequence[Path] = ()) -> None:
        """Record what is left and mark the study as ended with ``status``."""
        if self._store is None or not self._send():
            return
        try:
            self._store.close_study(self._study.id, status=status, artifacts=artifacts)
        except StoreError as error:
            self.problem = error

    def _send(self) -> bool:
        """Whether everything is in the store now."""
        if self._store is None or not self._unsaved:
            return True
        try:
            self._store.add_trials(self._study.id, self._unsaved)
        except StoreError as error:
            self.problem = error
            return False
        self._unsaved.clear()
        self.problem = None
        return True
