"""``Outbox``: what is to reach a store; first on the local disk, then, by a background thread, in the store."""

import logging
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from metatune.errors import StoreError
from metatune.history import replay
from metatune.history.journal import Journal
from metatune.history.leaving import leave_at_exit, watch
from metatune.history.pace import Pace
from metatune.history.spool import Destination, Ended, Entry, folders
from metatune.history.store import HistoryStore
from metatune.study import StudyRecord
from metatune.trial import Trial
from metatune.wording import plural

_LOG = logging.getLogger("metatune")

#: Of the latest value in a moving average.
_WEIGHT = 0.3


class Outbox:
    """Everything that is added is in a local file when the call returns, and is sent to ``store`` in the background.

    From then on it outlives this process, however that ends. It outlives the machine from the moment at which the disk
    confirms it, for which every trial asks: ``add_trial`` waits for that where the disk usually answers within
    ``Pace.durable``, and goes on before it on slower ones. A disk that refuses is said once, and in ``disk_problem``
    until it has confirmed all that waits (see ``Journal``).

    Order of calls: ``open_study``, ``add_trial`` for every trial that ended, ``close_study``. Any thread may call; no
    call raises (what cannot be written as JSON is left out, with a warning), and only ``attempt``, ``flush`` and
    ``leave`` wait for the store. In a forked process the outbox begins anew, without what its parent still has to send.
    ``folder``: of the spool; the user's unless given. When no folder can be written, or
    the disk is full, what is added is in memory, with a warning, until there is room or the store has it.
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
        #: Why the store did not take something, as long as that waits.
        self.problem: StoreError | None = None
        self._folder = folder
        self._closing = closing
        self._orphans_sought = False
        self._begin()
        _OUTBOXES.add(self)
        watch(self)

    def _begin(self) -> None:
        """The state of a new process."""
        self._studies: dict[str, StudyRecord] = {}
        self._waiting: list[Entry] = []
        self._thread: threading.Thread | None = None
        self._hurry = 0
        self._added = self._sent = self._progress = self._beaten = time.monotonic()
        self._not_before = 0.0
        #: Moving averages: seconds between two trials, and seconds that the store takes for one.
        self._between, self._takes = 1.0, 0.0
        self._failures = self._failed_ever = 0
        self._changed = threading.Condition()
        self._journal = Journal(self.destination, self._folder, self._changed)

    def open_study(self, study: StudyRecord) -> None:
        """Keep ``study``, which must be there before its trials; again, if its space settles the one it had."""
        with self._changed:
            known = self._studies.get(study.id)
            if known is None or known.space.is_settled_by(study.space):
                self._studies[study.id] = study
                self._add(Entry(study.id, study))

    def add_trial(self, study_id: str, trial: Trial) -> None:
        """Keep a trial that ended."""
        with self._changed:
            self._add(Entry(study_id, trial))
        self._journal.confirmed(self.pace.durable)

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
            return self._journal.kept

    @property
    def disk_problem(self) -> str | None:
        """Why what waits is not safe on the local disk, as long as that is so."""
        return self._journal.problem

    def drop(self) -> None:
        """Forget what waits: it is not wanted any more."""
        with self._changed:
            self._waiting, self._studies = [], {}
            self._journal.forget()
            self._journal.let_go(self._waiting)
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
        """Send what waits, for a bounded time, and let go of the file, which keeps the rest, confirmed by the disk."""
        if self._closing is not None:
            for study_id in list(self._studies):
                self.close_study(study_id, self._closing, {})
        if not self.flush():
            with self._changed:
                self._journal.write(self._waiting, self._studies)
            self._journal.confirmed(self.pace.stall)  # of a slow disk nobody has waited for an answer so far
        with self._changed:
            trials = sum(isinstance(entry.what, Trial) for entry in self._waiting)
            if trials:
                lost = "" if self._journal.kept else "; what is in memory only is lost when this process ends"
                where = f"`metatune sync` sends what waits in the spool{lost}"
                reason = "the store is slow" if self.problem is None else self.problem.problem
                _LOG.warning("%s not in the history yet (%s): %s.", plural(trials, "trial"), reason, where)
            self._journal.let_go(self._waiting)

    def _add(self, entry: Entry) -> None:
        try:
            _ = entry.body
        except (TypeError, ValueError, RecursionError) as error:  # it would keep back all that comes after it
            _LOG.warning("A record of study %s cannot be kept and is left out: %s", entry.study_id, error)
            return
        self._waiting.append(entry)
        self._journal.add(entry, self._waiting, self._studies)
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

    # --- the background thread

    def _work(self) -> None:
        while True:
            with self._changed:
                while (left := self._rest()) > 0:
                    if not self._waiting and not self._studies and self._idle() > self.pace.linger:
                        self._journal.let_go(self._waiting)
                        self._thread = None
                        return
                    self._changed.wait(left if self._journal.kept else min(left, self.pace.disk))
                    self._journal.write(self._waiting, self._studies)
                batch = self._batch()
                studies = list(self._studies)
            if batch:
                self._send(batch)
            else:
                self._look_after(studies)

    def _look_after(self, studies: Sequence[str]) -> None:
        """What the store gets while nothing waits for it."""
        try:
            if time.monotonic() - self._beaten >= self.pace.heartbeat:
                self._beaten = time.monotonic()
                for study_id in studies:
                    self.store.beat(study_id)
            elif not self._orphans_sought:
                self._orphans_sought = True
                replay.send_orphans(self.store, folders(self._folder), stop=lambda: bool(self._waiting))
        # As in ``_send``: whatever the store raises, the thread must go on.
        except Exception as error:
            _LOG.debug("no heartbeat, or what dead processes left was not sent: %s", error)

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
            self._progress = self._sent = time.monotonic()
            if isinstance(batch[-1].what, Trial):
                self._takes += _WEIGHT * (seconds - self._takes)
            self._failures = 0
            self.problem = None
            for entry in batch:
                if isinstance(entry.what, Ended):
                    self._studies.pop(entry.study_id, None)
            self._journal.sent(batch, self._waiting, self._studies)
            self._changed.notify_all()

    def _failed(self, batch: Sequence[Entry], error: StoreError) -> None:
        failed = batch[0].study_id
        with self._changed:
            if self.problem is None:
                _LOG.warning(
                    "Trials wait in the spool until the history takes them: %s (%s).", error.problem, error.value
                )
            self.problem = error
            self._failures += 1
            self._failed_ever += 1
            # The next attempt is with another study, if there is one: this one may be refused for good.
            self._waiting.sort(key=lambda entry: entry.study_id == failed)
            pause = min(self.pace.retry * 2 ** min(self._failures - 1, 10), self.pace.retry_most)
            self._not_before = time.monotonic() + (min(pause, self.pace.retry) if self._hurry else pause)
            self._changed.notify_all()

    def after_fork(self) -> None:
        """Begin anew in a forked process."""
        journal = self._journal
        self._begin()
        journal.leave_to_parent()


_OUTBOXES: "weakref.WeakSet[Outbox]" = weakref.WeakSet()


def catch_up(store: HistoryStore) -> None:
    """Bring into ``store`` what waits for it: of this process, for a bounded time, and of processes that died."""
    own = Destination.of(store)
    for outbox in list(_OUTBOXES):
        if outbox.destination == own:
            outbox.flush()
    replay.send_orphans(store, folders(), stop=lambda: False)
