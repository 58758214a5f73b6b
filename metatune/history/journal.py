"""``Journal``: the local file in which an outbox writes down what it has, and what the disk says of it."""

import contextlib
import functools
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from metatune.history.disk import Disk
from metatune.history.spool import Destination, Entry, SpoolFile, folders
from metatune.study import StudyRecord

_LOG = logging.getLogger("metatune")


class Journal:
    """Every method but ``confirmed`` is called with ``lock`` held, and none raises.

    What is added has left this process when the call returns, unless no folder takes it or its disk is full: then it is
    in memory, which is said once, and tried again with the next entry and with every ``write``. Whether it is on the
    disk, the disk confirms later. Of a disk that refuses to, nothing is known any more, whatever it says of the same
    file later: with every further entry all that waits is written to a new file, until the disk confirms one.
    ``problem`` says why what waits is not safe; ``None`` if it is as safe as the disk is quick.
    """

    def __init__(self, destination: Destination, folder: Path | None, lock: threading.Condition) -> None:
        self._destination, self._folder, self._lock = destination, folder, lock
        self.problem: str | None = None
        self._file: SpoolFile | None = None
        self._disk: Disk | None = None
        #: The file that the disk did not confirm, until it confirmed its successor.
        self._doubted: SpoolFile | None = None
        self._unwritten: list[Entry] = []
        self._warned = False
        #: Whether it was said that trials are in memory only.
        self._said = False

    @property
    def kept(self) -> bool:
        """Whether everything is in a file."""
        return not self._unwritten

    def add(self, entry: Entry, waiting: Sequence[Entry], studies: Mapping[str, StudyRecord]) -> None:
        """Write ``entry`` down, the last of those ``waiting``; ``studies`` are open."""
        self._unwritten.append(entry)
        self.write(waiting, studies)

    def write(self, waiting: Sequence[Entry], studies: Mapping[str, StudyRecord]) -> None:
        """Write down, in its order, what could not be written so far of what is ``waiting``; ``studies`` are open."""
        if not self._unwritten:
            return
        try:
            if self._file is None:
                self._use(self._opened(waiting, studies))
            elif self._file is self._doubted:
                with contextlib.suppress(OSError):  # the old one still takes what is new
                    self._write_anew(self._file, waiting, studies)
            assert self._file is not None
            while self._unwritten:
                self._file.append(self._unwritten[0])
                del self._unwritten[0]
            self._all_kept()
        except OSError as error:
            self.problem = str(error)
            if not self._said:
                self._said = True
                _LOG.warning("Trials cannot be written to the local spool, they are kept in memory: %s", error)

    def _all_kept(self) -> None:
        if self._doubted is None:
            self.problem = None
        if self._said:
            self._said = False
            _LOG.warning("No trial is in memory only any more.")

    def sent(self, batch: Sequence[Entry], waiting: Sequence[Entry], studies: Mapping[str, StudyRecord]) -> None:
        """Note that the store has ``batch``, and that only ``waiting`` are left."""
        gone = {id(entry) for entry in batch}
        self._unwritten = [entry for entry in self._unwritten if id(entry) not in gone]
        try:
            if self._file is not None and waiting:
                self._file.mark_sent([entry for entry in batch if entry.n])
            elif self._file is not None:
                self._file.compact(list(studies.values()))
            if not self._unwritten:
                self._all_kept()
        except OSError as error:  # sent again after a crash, which changes nothing
            self.problem = str(error)

    def forget(self) -> None:
        """Write down nothing of what could not be written so far."""
        self._unwritten, self._said = [], False
        if self._doubted is None:
            self.problem = None

    def let_go(self, waiting: Sequence[Entry]) -> None:
        """Close the file, which stays only if something is ``waiting``."""
        if self._file is not None and self._disk is not None:
            self._disk.stop()
            with contextlib.suppress(OSError):
                self._file.close(remove=not waiting)
            self._file = self._disk = self._doubted = None
            for entry in waiting:  # numbers of lines in the file that is left behind
                entry.n = 0

    def confirmed(self, seconds: float) -> None:
        """Ask the disk to confirm what was added, and wait for it as ``Disk.wait`` does."""
        with self._lock:
            disk = self._disk
        if disk is not None:
            disk.wait(seconds)

    def leave_to_parent(self) -> None:
        """Close the file in a forked process: its lines are the parent's."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close(remove=False)

    def _use(self, file: SpoolFile) -> None:
        self._file = file
        self._disk = Disk(file.sync, functools.partial(self._heard, file))

    def _opened(self, waiting: Sequence[Entry], studies: Mapping[str, StudyRecord]) -> SpoolFile:
        """A new file in the first folder that can be written, with the open studies in it. Raises ``OSError``."""
        problem: OSError | None = None
        for folder in folders(self._folder):
            try:
                file = self._begun(folder, waiting, studies)
            except OSError as error:
                problem = problem or error
                continue
            if problem is not None and not self._warned:
                self._warned = True
                _LOG.warning("The spool is in %s: its own folder cannot be written (%s).", folder, problem)
            return file
        assert problem is not None
        raise problem

    def _begun(self, folder: Path, waiting: Sequence[Entry], studies: Mapping[str, StudyRecord]) -> SpoolFile:
        """A new file in ``folder`` with the open studies that are not ``waiting``; none is left if it raises."""
        known = {entry.study_id for entry in waiting if isinstance(entry.what, StudyRecord)}
        file = SpoolFile(folder, self._destination)
        try:
            file.compact([study for id, study in studies.items() if id not in known])
        except OSError:
            file.close(remove=True)
            raise
        return file

    def _write_anew(self, doubted: SpoolFile, waiting: Sequence[Entry], studies: Mapping[str, StudyRecord]) -> None:
        """Put a new file with all that waits into the place of ``doubted``. Raises ``OSError`` and changes nothing."""
        numbers = [entry.n for entry in waiting]
        file = self._opened(waiting, studies)
        try:
            for entry in waiting:
                file.append(entry)
        except OSError:
            for entry, n in zip(waiting, numbers, strict=True):
                entry.n = n
            file.close(remove=True)
            raise
        self._unwritten = []
        if self._disk is not None:
            self._disk.stop()
        with contextlib.suppress(OSError):  # sent again, which changes nothing
            doubted.close(remove=True)
        self._use(file)

    def _heard(self, file: SpoolFile, problem: OSError | None) -> None:
        """What the disk said of all that is in ``file``."""
        if problem is None and self._doubted is None:
            return
        with self._lock:
            if file is not self._file:
                return
            if problem is not None:
                if self.problem is None:
                    _LOG.warning(
                        "The disk does not confirm what is written to the local spool; a crash of the machine may lose "
                        "trials that the history does not have yet: %s",
                        problem,
                    )
                self.problem, self._doubted = str(problem), file
            elif file is not self._doubted:
                self._doubted = None
                self.problem = self.problem if self._unwritten else None
