"""``Disk``: confirms that what was written is on the disk, without making the writer wait long."""

import contextlib
import threading
import time
from collections.abc import Callable

#: Of the latest confirmation in the moving average of their seconds.
_WEIGHT = 0.3


class Disk:
    """Has the disk confirm what was written, in a thread of its own: slow disks take longer than a trial may lose."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._wanted = self._confirmed = 0
        self._stopped = False
        self._usual = 0.0
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="metatune-disk", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Ask for a confirmation of all that was written, and wait for it if the disk usually takes no longer than
        ``seconds``; at most so long.
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
            # A disk that fails here fails when the next trial is written too, and that is said.
            with contextlib.suppress(OSError):
                self._sync()
            with self._changed:
                self._confirmed = wanted
                self._usual += _WEIGHT * (time.perf_counter() - began - self._usual)
                self._changed.notify_all()
