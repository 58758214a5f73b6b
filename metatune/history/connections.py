"""Connections to databases and forks: none is open while this process is forked.

What SQLite knows of its locks is per process and copied by a fork, the locks themselves are not: a child that goes on
with a connection of its parent, or merely opens the file while the parent has it open, destroys the database ("How To
Corrupt An SQLite Database File", sqlite.org, section 2.6). To a connection with a server both would write.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from metatune.errors import StoreUnavailableError
from metatune.history.address import Address
from metatune.redaction import redacted

#: How long a fork waits for the threads that use a database. MLflow takes milliseconds, a locked database longer.
FORK_SECONDS = 2.0
#: Modules of MLflow, if they are loaded, whose ``SqlAlchemyStore`` keeps the engine of every database it used.
_KEEPERS = ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store")


class _Uses:
    """Which threads use databases now."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.threads: dict[object, int] = {}
        self.forking = False
        #: Whether this process was forked while a database was in use, so that it must not touch one.
        self.unsafe = False


_NOW = _Uses()


@contextmanager
def in_use(address: Address) -> Iterator[None]:
    """Around all that opens or uses connections to ``address``; a fork waits for its end, for a bounded time.

    May be nested. Raises ``StoreUnavailableError`` in a process that was forked while a database was in use.
    """
    if address.uri.startswith("http"):
        yield
        return
    if _NOW.unsafe:
        raise StoreUnavailableError(
            "this process was forked from one that was using a database, and must leave databases alone",
            field="store",
            value=redacted(address.uri),
            remedy="Start processes by spawn or forkserver; trials wait in the spool for `metatune sync`.",
        )
    token, me, uses = object(), threading.get_ident(), _NOW
    with uses.changed:
        uses.changed.wait_for(lambda: not uses.forking or me in uses.threads.values())
        uses.threads[token] = me
    try:
        yield
    finally:
        with uses.changed:
            uses.threads.pop(token, None)
            uses.changed.notify_all()


def _before_fork() -> None:
    """Wait until no thread uses a database, keep others from beginning, and close the connections that are kept."""
    _NOW.changed.acquire()
    _NOW.changed.wait_for(lambda: not _NOW.forking)
    _NOW.forking = True
    me = threading.get_ident()
    _NOW.changed.wait_for(lambda: all(one == me for one in _NOW.threads.values()), FORK_SECONDS)
    for name in _KEEPERS:
        if name in sys.modules:
            for engine in list(sys.modules[name].SqlAlchemyStore._engine_map.values()):
                if engine.url.database not in (None, "", ":memory:"):  # of somebody else: it would be lost
                    engine.dispose()


def _in_parent() -> None:
    _NOW.forking = False
    _NOW.changed.notify_all()
    _NOW.changed.release()


def _in_child() -> None:
    global _NOW
    before, _NOW = _NOW, _Uses()
    _NOW.unsafe = before.unsafe or bool(before.threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
