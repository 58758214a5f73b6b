"""``Outbox``: what is to reach a store; first on the local disk, then, by a background thread, in the store."""

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from metatune.errors import StoreError
from metatune.history import replay
from metatune.history.disk import Disk
from metatune.history.leaving import leave_at_exit, watch
from metatune.history.pace import Pace
from metatune.history.spool import Destination, Ended, Entry, SpoolFile, folders
from metatune.history.store import HistoryStore
from metatune.study import StudyRecord
from metatune.trial import Trial

_LOG = logging.getLogger("metatune")

#: Of the latest value in a moving average.
_WEIGHT = 0.3


class Outbox:
    """Everything that is added is on the local disk when the call returns, and is sent to ``store`` in the background.

    Order of calls: ``open_study``, ``add_trial`` for every trial that ended, ``close_study``. Any thread may call; no
    call raises (what cannot be written as JSON is left out, with a warning), and only ``attempt``, ``flush`` and
    ``leave`` wait for the store. In a forked process the outbox begins anew, without what its parent still has to send.
    ``folder``: of the spool; the user's unless given. When no folder can be written, what is added is in memory until
    the store has it, with a warning.
    ``closing``: the status with which studies that are open at the exit of the process are closed; unless given, they
    stay as they are.
    """

    def __init__(
        self,
        store: HistoryStore,
        *,
        folder: Path | None = None,
        pace: Pace | None = None,
        closing: str | None = None,
    ) -> None:
        self.store = store
        self.pace = pace or Pace()
        self.destination = Destination.of(store)
        #: Why the store did not take something, as long as that waits; and the same for the disk.
        self.problem: StoreError | None = None
        self.disk_problem: str | None = None
        self._folder = folder
        self._closing = closing
        self._warned = False
        self._orphans_sought = False
        self._begin()
        _OUTBOXES.add(self)
        watch(self)

    def _begin(self) -> None:
        """The state of a new process."""
        self._studies: dict[str, StudyRecord] = {}
        self._file: SpoolFile | None = None
        self._waiting: list[Entry] = []
        self._unwritten: list[Entry] = []
        self._thread: threading.Thread | None = None
        self._disk: Disk | None = None
        self._hurry = 0
        self._added = self._sent = self._progress = self._beaten = time.monotonic()
        self._not_before = 0.0
        #: Moving averages: seconds between two trials, and seconds that the store takes for one.
        self._between, self._takes = 1.0, 0.0
        self._failures = self._failed_ever = 0
        self._changed = threading.Condition()

    def open_study(self, study: StudyRecord) -> None:
        """Keep ``study``, which must be there before its trials."""
        with self._changed:
            if study.id not in self._studies:
                self._studies[study.id] = study
                self._add(Entry(study.id, study))

    def add_trial(self, study_id: str, trial: Trial) -> None:
        """Keep a trial that ended."""
        with self._changed:
            self._add(Entry(study_id, trial))
            disk = self._disk
        if disk is not None:
            disk.wait(self.pace.durable)

    def close_study(self, study_id: str, status: str, artifacts: Mapping[str, str]) -> None:
        """Keep that the study ended with ``status``, and the texts of ``artifacts`` with it."""
        with self._changed:
            self._add(Entry(study_id, Ended(status, artifacts)))

    def waiting(self, study_id: str | None = None) -> tuple[Trial, ...]:
        """The trials, of one study or of all, that the store does not have yet."""
        with self._changed:
            return tuple(
                entry.what
                for entry in self._waiting
                if isinstance(entry.what, Trial) and study_id in (None, entry.study_id)
            )

    @property
    def kept(self) -> bool:
        """Whether everything that waits is on the local disk."""
        with self._changed:
            return not self._unwritten

    def drop(self) -> None:
        """Forget what waits: it is not wanted any more."""
        with self._changed:
            self._waiting, self._unwritten, self._studies = [], [], {}
            self._let_go(remove=True)
            self._changed.notify_all()

    def flush(self) -> bool:
        """Wait, for a bounded time (see ``Pace``), until everything is in the store; gives whether nothing waits."""
        with self._changed:
            begun = self._progress = time.monotonic()
            self._not_before, self._hurry = 0.0, self._hurry + 1
            attempts = self._failed_ever + self.pace.attempts
            self._changed.notify_all()
            try:
                while self._waiting and self._thread is not None and self._failed_ever < attempts:
                    end = min(begun + self.pace.leave, self._progress + self.pace.stall)
                    if (left := end - time.monotonic()) <= 0:
                        break
                    self._changed.wait(left)
            finally:
                self._hurry -= 1
            return not self._waiting

    def attempt(self, seconds: float) -> StoreError | None:
        """Wait until the store took or refused something, for ``seconds`` at most; gives why it refused."""
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting or self.problem is not None, seconds)
            self._hurry -= 1
            return self.problem

    def leave(self) -> None:
        """Send what waits, for a bounded time, and let go of the file, which keeps the rest."""
        if self._closing is not None:
            for study_id in list(self._studies):
                self.close_study(study_id, self._closing, {})
        self.flush()
        with self._changed:
            trials = sum(isinstance(entry.what, Trial) for entry in self._waiting)
            if trials:
                where = "`metatune sync` sends them" if self._file else "they are lost when this process ends"
                reason = self.problem or "the store is slow"
                _LOG.warning("%d trials are not in the history yet (%s): %s.", trials, reason, where)
            self._let_go(remove=not self._waiting)

    def _let_go(self, *, remove: bool) -> None:
        if self._file is not None and self._disk is not None:
            self._disk.stop()
            with contextlib.suppress(OSError):
                self._file.close(remove=remove)
            self._file = self._disk = None
            for entry in self._waiting:  # numbers of lines in the file that is left behind
                entry.n = 0

    def _add(self, entry: Entry) -> None:
        try:
            _ = entry.body
        except (TypeError, ValueError, RecursionError) as error:  # it would keep back all that comes after it
            _LOG.warning("A record of study %s cannot be kept and is left out: %s", entry.study_id, error)
            return
        self._waiting.append(entry)
        self._unwritten.append(entry)
        self._write_down()
        now = time.monotonic()
        self._between += _WEIGHT * (now - self._added - self._between)
        self._added = now
        if self._thread is None:
            leave_at_exit()
            self._sent = self._added
            self._thread = threading.Thread(target=self._work, name="metatune-outbox", daemon=True)
            self._thread.start()
        if len(self._waiting) == 1:  # else it is awake or wakes in time: what is added only makes it wait longer
            self._changed.notify_all()

    def _write_down(self) -> None:
        """Append what is in memory only; a disk that refuses is tried again with the next entry."""
        try:
            if self._file is None:
                self._file = self._opened()
                self._disk = Disk(self._file.sync)
            while self._unwritten:
                self._file.append(self._unwritten[0])
                del self._unwritten[0]
            self.disk_problem = None
        except OSError as error:
            if self.disk_problem is None:
                _LOG.warning("Trials cannot be written to the local spool, they are kept in memory: %s", error)
            self.disk_problem = str(error)

    def _opened(self) -> SpoolFile:
        """A new file in the first folder that can be written, with the open studies in it. Raises ``OSError``."""
        problem: OSError | None = None
        for folder in folders(self._folder):
            try:
                file = SpoolFile(folder, self.destination)
            except OSError as error:
                problem = problem or error
                continue
            if problem is not None and not self._warned:
                self._warned = True
                _LOG.warning("The spool is in %s: its own folder cannot be written (%s).", folder, problem)
            known = {entry.study_id for entry in self._waiting if isinstance(entry.what, StudyRecord)}
            file.compact([study for id, study in self._studies.items() if id not in known])
            return file
        assert problem is not None
        raise problem

    # --- the background thread

    def _work(self) -> None:
        while True:
            with self._changed:
                while (left := self._rest()) > 0:
                    if not self._waiting and not self._studies and self._idle() > self.pace.linger:
                        self._let_go(remove=True)
                        self._thread = None
                        return
                    self._changed.wait(left)
                batch = self._batch()
                studies = list(self._studies)
            if batch:
                self._send(batch)
            elif time.monotonic() - self._beaten >= self.pace.heartbeat:
                self._beat(studies)
            elif not self._orphans_sought:
                self._orphans_sought = True
                replay.send_orphans(self.store, folders(self._folder), stop=lambda: bool(self._waiting))

    def _idle(self) -> float:
        return time.monotonic() - max(self._added, self._sent)

    def _rest(self) -> float:
        """Seconds until something is to be done, at most; with the lock held."""
        now = time.monotonic()
        if not self._waiting:
            if not self._orphans_sought and self._sent > self._added:
                return 0.0
            return min(self._beaten + self.pace.heartbeat - now if self._studies else 60.0, self.pace.linger / 2)
        if self._failures and now < self._not_before:
            return self._not_before - now
        if self._hurry or now - self._sent > self.pace.patience:
            return 0.0
        hasty = self._between < 2 * self._takes
        return self._added + (self.pace.pause if hasty else self.pace.quiet) - now

    def _batch(self) -> list[Entry]:
        """The first entries that wait, all of one study; a single one as long as nobody waits for the store."""
        if not self._waiting:
            return []
        first = self._waiting[0].study_id
        same = (entry for entry in self._waiting if entry.study_id == first)
        return list(islice(same, self.pace.batch if self._hurry else 1))

    def _send(self, batch: Sequence[Entry]) -> None:
        began = time.monotonic()
        try:
            replay.send(self.store, batch)
        except StoreError as error:
            self._failed(batch, error)
        # A store of somebody else's making may raise anything; the thread must go on, and nothing be lost.
        except Exception as error:
            problem = f"the store failed ({type(error).__name__}: {error})"
            remedy = "Correct the store; the trials wait in the spool."
            self._failed(batch, StoreError(problem, field="store", value=self.destination.store, remedy=remedy))
        else:
            self._done(batch, (time.monotonic() - began) / len(batch))

    def _done(self, batch: Sequence[Entry], seconds: float) -> None:
        sent = {id(entry) for entry in batch}
        with self._changed:
            self._waiting = [entry for entry in self._waiting if id(entry) not in sent]
            self._unwritten = [entry for entry in self._unwritten if id(entry) not in sent]
            self._progress = self._sent = time.monotonic()
            if isinstance(batch[-1].what, Trial):
                self._takes += _WEIGHT * (seconds - self._takes)
            self._failures = 0
            self.problem = None
            for entry in batch:
                if isinstance(entry.what, Ended):
                    self._studies.pop(entry.study_id, None)
            try:
                if self._file is not None and self._waiting:
                    self._file.mark_sent([entry for entry in batch if entry.n])
                elif self._file is not None:
                    self._file.compact(list(self._studies.values()))
            except OSError as error:  # sent again after a crash, which changes nothing
                self.disk_problem = str(error)
            self._changed.notify_all()

    def _failed(self, batch: Sequence[Entry], error: StoreError) -> None:
        failed = batch[0].study_id
        with self._changed:
            if self.problem is None:
                _LOG.warning("Trials wait in the spool until the history takes them: %s", error)
            self.problem = error
            self._failures += 1
            self._failed_ever += 1
            # The next attempt is with another study, if there is one: this one may be refused for good.
            self._waiting.sort(key=lambda entry: entry.study_id == failed)
            pause = min(self.pace.retry * 2 ** min(self._failures - 1, 10), self.pace.retry_most)
            self._not_before = time.monotonic() + (min(pause, self.pace.retry) if self._hurry else pause)
            self._changed.notify_all()

    def _beat(self, studies: Sequence[str]) -> None:
        self._beaten = time.monotonic()
        try:
            for study_id in studies:
                self.store.beat(study_id)
        except StoreError as error:
            _LOG.debug("no heartbeat: %s", error)

    def after_fork(self) -> None:
        """Begin anew in a forked process."""
        file = self._file
        self._begin()
        if file is not None:
            with contextlib.suppress(OSError):
                file.close(remove=False)


_OUTBOXES: "weakref.WeakSet[Outbox]" = weakref.WeakSet()


def catch_up(store: HistoryStore) -> None:
    """Bring into ``store`` what waits for it: of this process, for a bounded time, and of processes that died."""
    own = Destination.of(store)
    for outbox in list(_OUTBOXES):
        if outbox.destination == own:
            outbox.flush()
    replay.send_orphans(store, folders(), stop=lambda: False)
