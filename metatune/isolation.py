"""``Isolated``: judges configurations in a process of its own, with limits that a trial cannot escape."""

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType

from metatune.errors import UsageError
from metatune.learners.base import Report
from metatune.objective import Judge
from metatune.trial import Configuration, Trial
from metatune.trial_process import Limits, TrialEndedError, TrialProcess

#: How long a process that is not wanted any more may take to end by itself.
_LEAVE_SECONDS = 5.0


@contextlib.contextmanager
def in_own_process(judge: Judge, limits: Limits | None) -> Iterator[Judge]:
    """``judge`` itself without ``limits``, else in a process of its own, which ends with the block.

    Raises ``UsageError`` for a judge that cannot be sent to a process, and for a limit that leaves no room.
    """
    if limits is None:
        yield judge
    else:
        with Isolated(judge, limits) as other:
            yield other


class Isolated:
    """A ``Judge`` that runs another one in a process: order of calls as for a context manager.

    The process is spawned, never forked (threads and connections of this one would be copied in unknown states), and
    serves one trial after the other. When a trial exceeds a limit or its process dies, the trial has failed, what is
    left of the process is killed with all that it started, and the next trial gets a fresh one.

    Memory is what is resident, looked at ten times a second. A limit on the address space would need no looking, but
    counts what is only reserved, of which TensorFlow and the allocators of threads take many gigabytes, and macOS does
    not enforce it.
    """

    def __init__(self, judge: Judge, limits: Limits) -> None:
        self._judge, self._limits = judge, limits
        self._process: TrialProcess | None = None

    @property
    def repeatable(self) -> bool:
        """See ``Judge``."""
        return self._judge.repeatable

    def __enter__(self) -> "Isolated":
        self._process = TrialProcess(self._judge, self._limits)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.end(_LEAVE_SECONDS)
            self._process = None

    def __call__(self, configuration: Configuration, *, number: int, origin: str, report: Report) -> Trial:
        """See ``Judge``."""
        reported: list[tuple[int, float]] = []

        def note(step: int, value: float) -> None:
            reported.append((step, value))
            report(step, value)

        started, start = time.time(), time.perf_counter()
        try:
            return self._fresh().judged(configuration, number=number, origin=origin, report=note)
        except TrialEndedError as reason:
            self._kill()
            return Trial(
                configuration=configuration,
                status="failed",
                value=None,
                number=number,
                origin=origin,
                reported=tuple(reported),
                seconds=time.perf_counter() - start,
                started=started,
                error=str(reason),
            )
        except BaseException:
            self._kill()
            raise

    def _fresh(self) -> "TrialProcess":
        """The process for the next trial: a new one after a death, or if earlier trials left little memory."""
        if self._process is not None and self._process.spent():
            self._process.end(_LEAVE_SECONDS)
            self._process = None
        if self._process is None:
            try:
                self._process = TrialProcess(self._judge, self._limits)
            except UsageError as error:  # it could be started before
                raise TrialEndedError(f"ChildProcessError: {error}") from error
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            self._process.end(0.0)
            self._process = None
