"""``Owner``: which process writes something, and whether it still lives."""

import functools
import hashlib
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """A process: its machine and session (hashes, so that no host name leaves it), its number and when it started.

    ``session`` differs after a reboot and in another container, ``started`` in a process that got the same number
    later; both are empty where the system does not tell.
    """

    machine: str
    session: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> "Owner":
        """The process that asks."""
        pid = os.getpid()
        return cls(_machine(), _session(), pid, _started(pid) or "")

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """The owner that ``str`` gave; ``None`` for other text."""
        parts = text.split(":")
        if len(parts) != 4 or not parts[2].isdigit():
            return None
        return cls(parts[0], parts[1], int(parts[2]), parts[3])

    def __str__(self) -> str:
        return f"{self.machine}:{self.session}:{self.pid}:{self.started}"

    def alive(self) -> bool | None:
        """Whether the process lives; ``None`` if that cannot be told from here."""
        if self.machine != _machine() or self.session != _session():
            return None
        started = _started(self.pid)
        return started is not None and started == self.started


@functools.cache
def _machine() -> str:
    return _hash(f"{socket.gethostname()} {uuid.getnode()}")


@functools.cache
def _session() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
        return _hash(f"{boot} {os.readlink(_PROC / 'self/ns/pid')}")
    except OSError:
        return ""


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6, person=b"owner").hexdigest()


def _started(pid: int) -> str | None:
    """When process ``pid`` started, in ticks since boot; empty if the system does not say, ``None`` without one."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None if _PROC.exists() else _exists(pid)
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before it may have spaces and brackets
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""
