"""``TrialProcess``: a process that judges configurations, seen from outside; and what it does, from inside."""

import contextlib
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import optuna

from metatune.errors import MetatuneError, UsageError
from metatune.learners.base import Report
from metatune.objective import Judge
from metatune.orphan import end_with_parent
from metatune.trial import Configuration, Trial

#: What the process is called, from its first line on.
_NAME = "metatune-trial"
#: Its exit code when the program that it imports would begin the search again.
_UNGUARDED = 97

#: A process that imports the user's program and gets the data within so many seconds has started.
_START_SECONDS = 300.0
#: How often a running trial is looked at, in seconds.
_WATCH_SECONDS = 0.1
#: What a trial on data of usual size takes beside its empty process, in megabytes: the least that is advised.
_TRIAL_MEGABYTES = 500
#: How long a dying process may take until its exit code is known.
_DEATH_SECONDS = 5.0
_LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Limits:
    """What one trial may take: wall time in ``seconds``, and resident memory of its process in ``megabytes``."""

    seconds: float | None = None
    megabytes: float | None = None


class TrialEndedError(Exception):
    """Why there will be no result of a trial."""


@dataclass(frozen=True)
class _Reported:
    """What the process sends for each call of ``report``; it gets back whether the trial is pruned."""

    step: int
    value: float


@dataclass(frozen=True)
class _Refused:
    """What the process sends if it cannot be started with what it got."""

    reason: str


class TrialProcess:
    """The process, as this one sees it. Raises ``UsageError`` if it cannot be started with ``judge``."""

    def __init__(self, judge: Judge, limits: Limits) -> None:
        self._limits = limits
        self._looked = -math.inf
        packed = _packed(judge)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        # No daemon: those may have no processes of their own, which loaders of data need.
        self._process = context.Process(target=_serve, args=(theirs,), name=_NAME)
        try:
            with theirs:
                self._process.start()
            self._begin(packed)
        except BaseException:
            self.end(0.0)
            raise

    def _begin(self, packed: memoryview) -> None:
        start, began = Limits(seconds=_START_SECONDS), time.monotonic()
        try:
            self._next(start, began)
            self._connection.send_bytes(packed)
            answer = self._next(start, began)
        except (TrialEndedError, OSError) as error:
            if self._process.exitcode == _UNGUARDED:
                raise _not_started("the process imports the program, which begins the search again") from None
            raise _not_started(f"its own process could not be started ({error})") from error
        if isinstance(answer, _Refused):
            raise _cannot_be_sent(answer.reason)
        limit = self._limits.megabytes
        self._empty = 0.0 if limit is None else self._resident()
        if limit is not None and self._empty >= limit:
            enough = math.ceil((self._empty + _TRIAL_MEGABYTES) / 100) * 100
            raise UsageError(
                f"the process of a trial takes {self._empty:.0f} MB before the trial begins",
                field="trial_memory",
                value=limit,
                remedy=f"Give {enough} or more, which leaves {_TRIAL_MEGABYTES} MB to the trial itself.",
            )

    def judged(self, configuration: Configuration, *, number: int, origin: str, report: Report) -> Trial:
        """The trial. Raises ``TrialEndedError`` if none comes, and what ``report`` or the other judge raises."""
        began = time.monotonic()
        self._send((dict(configuration), number, origin))
        while True:
            answer = self._next(self._limits, began)
            if isinstance(answer, Trial):
                return answer
            if isinstance(answer, MetatuneError):
                raise answer
            assert isinstance(answer, _Reported)
            self._send(_pruned(report, answer))

    def spent(self) -> bool:
        """Whether it died since the last trial, or what earlier trials left in memory takes half of the room."""
        limit = self._limits.megabytes
        if not self._process.is_alive():
            return True
        return limit is not None and self._resident() > (self._empty + limit) / 2

    def end(self, patience: float) -> None:
        """Let the process end by itself within ``patience`` seconds, then kill it and what it started."""
        self._connection.close()
        if self._process.pid is None:
            return
        self._exit_code(patience)
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has no group before its first line
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._process.close()

    def _send(self, what: object) -> None:
        try:
            self._connection.send(what)
        except OSError:  # it died meanwhile
            raise TrialEndedError(self._death()) from None

    def _next(self, limits: Limits, began: float) -> object:
        """What the process sends next. Raises ``TrialEndedError`` when it will send nothing within ``limits``."""
        while True:
            left = math.inf if limits.seconds is None else began + limits.seconds - time.monotonic()
            wait([self._connection, self._process.sentinel], max(0.0, min(_WATCH_SECONDS, left)))
            try:
                answer = self._connection.recv() if self._connection.poll() else None
            except (EOFError, OSError):
                raise TrialEndedError(self._death()) from None
            if answer is None and not self._process.is_alive():
                raise TrialEndedError(self._death())
            if answer is not None and not isinstance(answer, _Reported):
                return answer
            # Also of a trial that reports so often that it is never waited for.
            if left <= 0:
                raise TrialEndedError(f"TimeoutError: it took longer than {limits.seconds:g} s")
            self._look(limits)
            if answer is not None:
                return answer

    def _look(self, limits: Limits) -> None:
        """Look at the memory, unless that was just done. Raises ``TrialEndedError`` if it is too much."""
        if limits.megabytes is None or time.monotonic() - self._looked < _WATCH_SECONDS / 2:
            return
        self._looked = time.monotonic()
        if self._resident() > limits.megabytes:
            raise TrialEndedError(f"MemoryError: its process took more than {limits.megabytes:g} MB")

    def _death(self) -> str:
        code = self._exit_code(_DEATH_SECONDS)
        if code is None:
            return "ChildProcessError: the trial closed the connection of its process"
        if code >= 0:
            return f"ChildProcessError: the process of the trial ended with exit code {code}"
        hint = "; the system does that when memory runs out" if -code == getattr(signal, "SIGKILL", None) else ""
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"ChildProcessError: the process of the trial was ended by {name} ({signal.strsignal(-code)}){hint}"

    def _exit_code(self, patience: float) -> int | None:
        """Its exit code as soon as it has ended, ``None`` if it has not within ``patience`` seconds.

        ``join`` takes a process that closed all its files for ended, and then waits without a limit until it is.
        """
        until = time.monotonic() + patience
        while self._process.exitcode is None and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        return self._process.exitcode

    def _resident(self) -> float:
        """Megabytes of the process that are in memory; 0 when it is gone."""
        pid = self._process.pid
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        except OSError:
            pass
        # Where there is no /proc, as on macOS; kilobytes.
        found = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return float(found.stdout.strip() or 0) * 1024 / 1e6


def _pruned(report: Report, reported: _Reported) -> bool:
    try:
        report(reported.step, reported.value)
    except optuna.TrialPruned:
        return True
    return False


def _not_started(reason: str) -> UsageError:
    return UsageError(
        reason,
        field="isolated",
        value=True,
        remedy="Put what a program does under `if __name__ == '__main__':`, since the process imports it.",
    )


def _packed(judge: Judge) -> memoryview:
    """``judge`` as it is sent. Raises ``UsageError``."""
    try:
        return ForkingPickler.dumps(judge)
    # What the user's objects raise when they are packed may be anything.
    except Exception as error:
        raise _cannot_be_sent(f"{type(error).__name__}: {error}") from error


def _cannot_be_sent(reason: str) -> UsageError:
    return UsageError(
        f"cannot be sent to a process of its own ({reason})",
        field="objective",
        value=reason,
        remedy="Define it at the top of a module (no lambda, no function in a function or a notebook), and open files "
        "and connections in it; or tune without isolated, trial_seconds and trial_memory.",
    )


# --- in the process

_serving = False


def end_unguarded() -> None:
    """End this process if it is one for trials and still imports the user's program, which begins a search again.

    Called where a search begins. Left alone, ``multiprocessing`` would refuse it with a page that explains itself.
    """
    if multiprocessing.current_process().name == _NAME and not _serving:
        sys.exit(_UNGUARDED)


def _serve(connection: Connection) -> None:
    """Judge what comes until the other end closes the connection or dies."""
    global _serving
    _serving = True
    if sys.platform != "win32":
        # Ctrl-C is for the search, which decides about the trial; and all that a trial starts can be killed at once.
        os.setsid()
    end_with_parent(group=True)
    connection.send(True)
    try:
        judge: Judge = connection.recv()
    # Importing the user's modules may raise anything, and the search is to say what it was.
    except Exception as error:
        connection.send(_Refused(f"{type(error).__name__}: {error}"))
        return
    connection.send(True)

    def report(step: int, value: float) -> None:
        connection.send(_Reported(step, value))
        if connection.recv():
            raise optuna.TrialPruned

    while True:
        try:
            configuration, number, origin = connection.recv()
        except EOFError:
            return
        try:
            connection.send(judge(configuration, number=number, origin=origin, report=report))
        except MetatuneError as error:
            connection.send(error)
