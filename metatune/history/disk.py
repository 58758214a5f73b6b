"""``Disk``: confirms that what was written is on the disk, without making the writer wait long."""

import errno
import os
import sys
import threading
import time
from collections.abc import Callable

if sys.platform != "win32":
    import fcntl

#: Of the latest confirmation in the moving average of their seconds.
_WEIGHT = 0.3

#: What file systems answer that know no more than ``fsync``.
_UNKNOWN = (errno.EINVAL, errno.ENOTSUP, errno.ENOTTY)


def confirm(fd: int) -> None:
    """Wait until the disk has what was written to the open file ``fd``. Raises ``OSError``."""
    # On macOS, fsync leaves it in the memory of the drive (fsync(2) there), and fcntl knows better.
    if sys.platform != "win32" and hasattr(fcntl, "F_FULLFSYNC"):
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
    os.fsync(fd)


class Disk:
    """Has the disk confirm what was written, in a thread of its own: slow disks take longer than a trial may lose.

    ``sync`` waits for the disk. ``heard`` is called in that thread with what came of it: ``None``, or the ``OSError``
    that ``sync`` raised, after which nobody knows what of the file is on the disk, whatever a later ``sync`` says:
    systems drop what they could not write. It is not called for what a ``stop`` overtook.
    """

    def __init__(self, sync: Callable[[], None], heard: Callable[[OSError | None], None]) -> None:
        self._sync, self._heard = sync, heard
        self._wanted = self._confirmed = 0
        self._stopped = False
        self._usual = 0.0
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="metatune-disk", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Ask for a confirmation of all that was written, and wait for an answer if the disk usually takes no longer
        than ``seconds``; at most so long.
        """
        with self._changed:
            self._wanted += 1
            wanted = self._wanted
            self._changed.notify_all()
            if self._usual <= seconds:
                self._changed.wait_for(lambda: self._stopped or self._confirmed >= wanted, seconds)

    def stop(self) -> None:
        """Confirm nothing further."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._wanted > self._confirmed)
                if self._stopped:
                    return
                wanted = self._wanted
            began = time.perf_counter()
            problem = None
            try:
                self._sync()
            except OSError as error:
                problem = error
            with self._changed:
                if self._stopped:  # and the file closed, perhaps before it was asked for
                    return
                seconds = time.perf_counter() - began
            self._heard(problem)
            with self._changed:
                self._confirmed = wanted
                self._usual += _WEIGHT * (seconds - self._usual)
                self._changed.notify_all()
