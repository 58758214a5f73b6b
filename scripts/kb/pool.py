"""Worker processes that cannot stall the build: each trial has a time limit, and the limit is enforced from outside.

A fit that is inside compiled code answers to no signal of Python, so a worker that exceeds the limit is killed; its
trial becomes a failed one, and the rest of its unit goes to a new process. The limit is on processor time and kept
by the kernel: what else runs on the machine makes no trial fail. A worker whose builder was killed ends by
itself, in the middle of a trial too.
"""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from kb.design import Unit, trial_key
from kb.worker import Broken, Done, Ended, Message, Started, serve
from metatune.trial import Trial

#: A trial that takes so many times its limit by the clock does not compute but hangs.
PATIENCE = 10.0
#: Starting a process and reading a dataset also takes time, but no more than this.
SECONDS_BETWEEN_TRIALS = 180.0


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    unit: Unit | None = None
    left: list[int] = field(default_factory=list)
    ended: list[Trial] = field(default_factory=list)
    running: Started | None = None
    since: float = 0.0

    def give(self, unit: Unit) -> None:
        self.pipe.send(unit)
        self.unit, self.left, self.ended = unit, list(unit.numbers), []
        self.running, self.since = None, time.monotonic()

    def note(self, message: Message) -> None:
        self.since = time.monotonic()
        if isinstance(message, Started):
            self.running = message
        elif isinstance(message, Ended):
            self.running = None
            self.left.remove(message.trial.number)
            self.ended.append(message.trial)
        elif isinstance(message, Broken | Done):
            self.unit = None


def run_units(units: Sequence[Unit], *, workers: int, folder: str, limit: float) -> Iterator[tuple[Unit, Message]]:
    """Run ``units`` in ``workers`` processes, in order; what they report, as it comes.

    ``folder`` is where the archives are, ``limit`` the seconds of processor time that one trial may take. For each
    unit: ``Opened`` with its study, ``Ended`` for each trial, ``Done``; or ``Broken`` when its dataset is unusable.
    """
    waiting = deque(units)
    crew = [_hire(folder, limit) for _ in range(min(workers, len(units)))]
    try:
        while True:
            for worker in crew:
                if worker.unit is None and waiting:
                    worker.give(waiting.popleft())
            busy = [worker for worker in crew if worker.unit is not None]
            if not busy:
                return
            ready = set(wait([worker.pipe for worker in busy], timeout=min(limit, 1.0)))
            for worker in busy:
                unit = worker.unit
                assert unit is not None
                message = _receive(worker, limit) if worker.pipe in ready else _overdue(worker, limit)
                if isinstance(message, str):
                    crew[crew.index(worker)] = _hire(folder, limit)
                    for last in _bury(worker, message, waiting):
                        yield unit, last
                elif message is not None:
                    yield unit, message
    finally:
        for worker in crew:
            worker.process.kill()


def _hire(folder: str, limit: float) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, folder, limit), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _receive(worker: _Worker, limit: float) -> Message | str:
    """The next message of ``worker``, or the reason why there will be none."""
    try:
        message: Message = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(10.0)
        if worker.process.exitcode == -signal.SIGXCPU:
            return f"TimeoutError: more than {limit:.0f} s of processor time"
        return f"ProcessDied: exit code {worker.process.exitcode}"
    worker.note(message)
    return message


def _overdue(worker: _Worker, limit: float) -> str | None:
    allowed = SECONDS_BETWEEN_TRIALS if worker.running is None else limit * PATIENCE
    if time.monotonic() - worker.since <= allowed:
        return None
    return f"TimeoutError: more than {allowed:.0f} s"


def _bury(worker: _Worker, reason: str, waiting: deque[Unit]) -> list[Message]:
    """End ``worker``; its running trial has failed, and what it had left goes first in the queue.

    Returns what is left to report: the failed trial, and the end of the unit where that was its last one.
    """
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()
    unit, running = worker.unit, worker.running
    assert unit is not None
    if running is None:
        return [Broken(reason)]
    left = tuple(other for other in worker.left if other != running.number)
    failed = failed_trial(unit, running, reason, seconds=time.monotonic() - worker.since)
    if not left:
        return [Ended(failed), Done()]
    waiting.appendleft(unit.going_on(left, [*worker.ended, failed]))
    return [Ended(failed)]


def failed_trial(unit: Unit, running: Started, reason: str, *, seconds: float) -> Trial:
    """The trial of ``unit`` that ended without a result because its process did."""
    return Trial(
        configuration=running.configuration,
        status="failed",
        value=None,
        number=running.number,
        key=trial_key(unit.study_id, running.number),
        seconds=seconds,
        origin=running.origin,
        error=reason,
        started=time.time() - seconds,
    )
