"""A process that ends soon after the one that started it, of whatever that one ended."""

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.process import BaseProcess


def end_with_parent(*, group: bool = False) -> None:
    """From now on this process, one of ``multiprocessing``, ends as soon as its parent has ended.

    A parent that is killed tells nobody: a process of a pool would wait for it for ever. ``group``: the process leads a
    group of its own, all of which is killed, where the system has groups.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent, group), name="metatune-orphan", daemon=True).start()


def _end_after(parent: BaseProcess, group: bool) -> None:
    parent.join()
    if group and sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
