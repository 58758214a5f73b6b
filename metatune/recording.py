"""``Recorder``: brings the trials of a running search into the history, and never ends the search over it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from metatune.errors import StoreError, StoreUnavailableError
from metatune.history.outbox import Outbox
from metatune.history.pace import Pace
from metatune.history.store import HistoryStore
from metatune.study import StudyRecord
from metatune.trial import Trial
from metatune.wording import plural

_LOG = logging.getLogger("metatune")

#: How long a search waits for its history before the first trial; the first use of a database takes seconds.
_OPEN_SECONDS = 60.0


class Recorder:
    """Order of calls: ``open``, ``add`` for every ended trial, ``close``.

    ``store`` is ``None`` where nothing is to be recorded. Everything goes to the local spool first (``Outbox``), and
    from there to the store, so that no trial waits for a store and none is lost with it. ``unsaved`` is what still
    waits, and ``problem`` why.
    """

    def __init__(self, store: HistoryStore | None, study: StudyRecord, *, pace: Pace | None = None) -> None:
        self._outbox = None if store is None else Outbox(store, pace=pace)
        self._study = study

    @property
    def unsaved(self) -> tuple[Trial, ...]:
        """Trials that are not in the store yet."""
        return () if self._outbox is None else self._outbox.waiting(self._study.id)

    @property
    def problem(self) -> StoreError | None:
        """Why something of this search waits."""
        return None if self._outbox is None else self._outbox.problem

    @property
    def kept(self) -> bool:
        """Whether what is unsaved is in a file from which ``metatune sync`` brings it into the store."""
        return self._outbox is None or self._outbox.kept

    def open(self) -> None:
        """Record the study. Raises ``StoreError`` for a store that will not be usable later either."""
        if self._outbox is None:
            return
        self._outbox.open_study(self._study)
        problem = self._outbox.attempt(_OPEN_SECONDS)
        if problem is not None and not isinstance(problem, StoreUnavailableError):
            self._outbox.drop()
            raise problem

    def add(self, trial: Trial) -> None:
        """Record ``trial``."""
        if self._outbox is not None:
            self._outbox.add_trial(self._study.id, trial)

    def close(self, status: str, artifacts: Sequence[Path] = ()) -> None:
        """Mark the study as ended with ``status``, keep the small text files ``artifacts`` with it, and wait a bounded
        time until everything is in the store. Ctrl-C ends the waiting: the rest is in the spool.
        """
        if self._outbox is None:
            return
        texts = {path.name: path.read_text(encoding="utf-8") for path in artifacts}
        self._outbox.close_study(self._study.id, status, texts)
        try:
            self._outbox.flush()
        except KeyboardInterrupt:
            _LOG.warning(
                "%s waiting in the spool: `metatune sync` sends what waits.",
                plural(len(self.unsaved), "trial"),
            )
