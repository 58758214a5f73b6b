"""``Pace``: how eagerly the background thread of an ``Outbox`` works."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How the background thread works; all in seconds but ``batch``, the entries that a store gets in one call.

    It sends when nothing was added for ``quiet``, so that it does not compete with the thread that trains. Where
    trials end faster than the store takes them, it waits for a ``pause`` in them, but sends one every ``patience``.
    After a failure it waits ``retry``, twice as long after each further one, up to ``retry_most``. ``durable`` is
    how long ``add_trial`` waits for a disk that usually confirms so quickly. What no disk took is tried again after
    ``disk``. At the exit of the process the rest is sent: for ``leave`` at most, not ``stall`` without progress,
    and not after ``attempts`` failures. With nothing to do for ``linger`` the thread ends; the next trial starts
    another.
    """

    quiet: float = 0.02
    pause: float = 0.5
    patience: float = 5.0
    batch: int = 20
    retry: float = 1.0
    retry_most: float = 30.0
    durable: float = 0.0015
    disk: float = 5.0
    heartbeat: float = 300.0
    linger: float = 1.0
    leave: float = 60.0
    stall: float = 20.0
    attempts: int = 2
