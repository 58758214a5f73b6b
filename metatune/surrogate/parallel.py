"""Independent fits side by side in threads: LightGBM and BLAS let go of the interpreter while they compute."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: More threads than this wait for each other's memory.
_MOST = 16


def threads() -> int:
    """What ``OMP_NUM_THREADS`` says (worker processes set it to 1), else the cores that this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if named.isdigit() and int(named):
        return int(named)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST)


def each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``function`` of each item, in order, in up to ``threads()`` threads; raises what the first failing call raised.

    ``function`` must use one thread itself, so that the results do not depend on how many there are.
    """
    workers = min(threads(), len(items))
    if workers < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))
