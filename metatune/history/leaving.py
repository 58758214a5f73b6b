"""The end of a process, and its forks: what has something to do then is told."""

import atexit
import multiprocessing
import multiprocessing.util
import os
import weakref
from typing import Protocol


class Process(Protocol):
    """Something that is bound to one process."""

    def leave(self) -> None:
        """The process ends."""

    def after_fork(self) -> None:
        """This is a new process, a copy of the one before."""


def watch(one: Process) -> None:
    """Tell ``one`` of forks, and of the end of every process that called ``leave_at_exit``."""
    _ALL.add(one)


_ALL: "weakref.WeakSet[Process]" = weakref.WeakSet()
_LEAVING: set[int] = set()


def _leave_all() -> None:
    for one in list(_ALL):
        one.leave()


def leave_at_exit() -> None:
    """See to it that this process flushes when it ends. Child processes of ``multiprocessing`` know no ``atexit``."""
    if os.getpid() not in _LEAVING:
        _LEAVING.clear()
        _LEAVING.add(os.getpid())
        if multiprocessing.parent_process() is None:
            atexit.register(_leave_all)
        else:
            multiprocessing.util.Finalize(None, _leave_all, exitpriority=0)


def _after_fork() -> None:
    for one in list(_ALL):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
