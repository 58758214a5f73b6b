"""The spool: a local JSON-lines file per process, in which everything is written down before a store gets it.

::

    {"spool": 1, "store": ..., "experiment": ..., "owner": ...}     where it is to go, and who writes
    {"n": 1, "study": {...}}                                        a study, before its first trial
    {"n": 2, "of": "<study>", "trial": {...}}                       a trial that ended
    {"n": 3, "of": "<study>", "close": "finished", "artifacts": {}} the end of a study, with small text files
    {"sent": [1, 2]}                                                what the store has taken

The writer holds a lock on its file for as long as it lives, so that nobody else replays it meanwhile.
"""

import contextlib
import functools
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metatune.history import schema
from metatune.history.address import Located, without_secrets
from metatune.history.disk import confirm
from metatune.history.owner import Owner
from metatune.study import StudyRecord
from metatune.trial import Trial
from metatune.user_folder import user_folder

if sys.platform != "win32":
    import fcntl

#: Environment variable with another folder for the spool.
SPOOL_VARIABLE = "METATUNE_SPOOL"
#: Version of the lines.
SPOOL_VERSION = 1
SUFFIX = ".jsonl"
#: Lines that nobody could read are kept in files with this ending.
UNREADABLE = ".unreadable"


@dataclass(frozen=True)
class Destination:
    """Where spooled lines are to go: the address of a store, without credentials, and its experiment."""

    store: str
    experiment: str

    @classmethod
    def of(cls, store: Located) -> "Destination":
        """The destination that ``store`` is."""
        return cls(without_secrets(store.uri), store.experiment)


@dataclass(frozen=True)
class Ended:
    """The end of a study: its status, and the texts of small files that are kept with it, by name."""

    status: str
    artifacts: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Entry:
    """One thing to be kept; ``n`` is its number in the file, 0 while it is in memory only."""

    study_id: str
    what: StudyRecord | Trial | Ended
    n: int = 0

    def line(self, n: int) -> str:
        """The line of the file."""
        return f'{{"n":{n},{self.body}}}'

    @functools.cached_property
    def body(self) -> str:
        """The line but for its number. Raises ``TypeError`` or ``ValueError`` for what JSON cannot hold."""
        if isinstance(self.what, StudyRecord):
            return f'"study":{schema.study_document(self.what)}'
        of = f'"of":{json.dumps(self.study_id)}'
        if isinstance(self.what, Trial):
            return f'{of},"trial":{schema.trial_document(self.what)}'
        return f'{of},"close":{json.dumps(self.what.status)},"artifacts":{json.dumps(dict(self.what.artifacts))}'


def folder_of_user() -> Path:
    """The folder of the spool: ``$METATUNE_SPOOL``, else one for this user's application state."""
    return user_folder(SPOOL_VARIABLE, "state", "spool")


def fallback_folder() -> Path:
    """Where the spool goes when its folder cannot be written: a folder of this user among the temporary files."""
    user = os.getuid() if sys.platform != "win32" else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"metatune-spool-{user}"


def folders(folder: Path | None = None) -> list[Path]:
    """Where spooled lines may be: ``folder`` or the user's, and the fallback."""
    return list(dict.fromkeys([folder or folder_of_user(), fallback_folder()]))


class SpoolFile:
    """The file of one process, which appends to it. Not for several threads at once. Methods raise ``OSError``."""

    def __init__(self, folder: Path, destination: Destination) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(folder)
        name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.path = folder / (name + SUFFIX)
        hidden = folder / f".{name}"
        header = {"spool": SPOOL_VERSION, "store": destination.store, "experiment": destination.experiment}
        self._fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        self._size = self._header = 0
        self._torn = self._named = False
        self._next = 1
        try:
            _lock(self._fd)
            self._write(schema.to_json({**header, "owner": str(Owner.current())}))
            self._header = self._size
            # Only now does it have its name: whoever finds it also finds it locked.
            hidden.rename(self.path)
        except OSError:
            os.close(self._fd)
            hidden.unlink(missing_ok=True)
            raise

    def append(self, entry: Entry) -> None:
        """Write ``entry`` down and number it; from here on it outlives this process."""
        n = self._next
        self._write(entry.line(n))
        entry.n, self._next = n, n + 1

    def mark_sent(self, entries: Sequence[Entry]) -> None:
        """Note that the store has ``entries``."""
        self._write(schema.to_json({"sent": [entry.n for entry in entries]}))

    def compact(self, studies: Sequence[StudyRecord]) -> None:
        """Leave nothing but ``studies``, which are open and in the store: all else was sent."""
        os.ftruncate(self._fd, self._header)
        self._size, self._torn, self._next = self._header, False, 1
        kept = [Entry(study.id, study) for study in studies]
        for entry in kept:
            self.append(entry)
        if kept:
            self.mark_sent(kept)

    def sync(self) -> None:
        """Wait until the disk has what was appended. May be called while another thread appends."""
        confirm(self._fd)
        if not self._named:
            sync_folder(self.path.parent)
            self._named = True

    def close(self, *, remove: bool) -> None:
        """Unlock the file; ``remove`` it if nothing in it waits."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def _write(self, line: str) -> None:
        content = (b"\n" if self._torn else b"") + line.encode("ascii") + b"\n"
        done = 0
        try:
            while done < len(content):
                done += os.write(self._fd, content[done:])
        except OSError:
            self._torn = self._torn or done > 0
            if done:  # half a line, on a full disk: take it back
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._size)
                    self._torn = False
            raise
        self._size += len(content)
        self._torn = False


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of the files in ``folder``. Raises ``OSError``."""
    if sys.platform == "win32":  # folders cannot be opened there
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        confirm(fd)
    finally:
        os.close(fd)


def probe(folder: Path) -> None:
    """Write a small file into ``folder``, wait until the disk has it, and remove it. Raises ``OSError``."""
    path = folder / f".{uuid.uuid4().hex[:12]}"
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(fd, b"\n" * 4096)
        confirm(fd)
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)


def _check_private(folder: Path) -> None:
    """Somebody else's folder, or a link, among the temporary files is no place for a spool."""
    if folder == fallback_folder() and sys.platform != "win32":
        about = folder.lstat()
        if folder.is_symlink() or about.st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to somebody else")
        folder.chmod(0o700)


def _lock(fd: int) -> bool:
    """Lock the open file ``fd``, or tell that another process has locked it. Where there are no locks, it is ours."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: replaying twice changes nothing
        return True
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """The file, open to be appended to, with its lock held; ``None`` while its writer lives, or if it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd if _lock(fd) and os.fstat(fd).st_nlink else None
    finally:
        os.close(fd)


def rewrite(path: Path, content: bytes) -> None:
    """Replace what is in the file ``path``, whose lock is held, at once. Raises ``OSError``."""
    fresh = path.with_name(f".{uuid.uuid4().hex[:12]}")
    try:
        with open(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            confirm(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
