"""Replays: one search on one left-out task, or many of them in a pool of processes."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from warnings import simplefilter

import numpy as np

from metatune.backtest.coverage import drawn
from metatune.backtest.fold import Fold, Problem
from metatune.backtest.method import Search
from metatune.backtest.registry import METHODS, available
from metatune.backtest.run import Journal, Key, Protocol, Run
from metatune.backtest.table import ReplayTable
from metatune.errors import SearchError, UsageError
from metatune.orphan import end_with_parent
from metatune.version import __version__

#: Called in the parent as runs end: with those that just ended, how many ended so far, and how many there are.
Progress = Callable[[Sequence[Run], int, int], None]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
#: Windows has none.
_HAS_MASK = hasattr(signal, "pthread_sigmask")
#: Units handed to the pool per process: enough to keep it busy, few enough to stop soon.
_AHEAD = 2


def replay(problem: Problem, method: str, n: int = 50) -> Run:
    """The search on ``problem`` by ``method``, for ``n`` evaluations or the whole pool.

    What the past tasks' surfaces cost belongs to training and is not in ``seconds``; what the method does before its
    first proposal is in the first of them. An exception of the method ends the search and is recorded.
    Raises ``UnknownNameError``.
    """
    available(method)
    fold = problem.fold
    protocol = Protocol(n, fold.history_rows, fold.stress, fold.n_history, fold.whole)
    _ = problem.predicted  # before the clock starts
    observed: list[tuple[int, float]] = []
    seconds: list[float] = []
    error = None
    try:
        search: Search | None = None
        for _ in range(min(n, len(problem.rows))):
            start = time.perf_counter()
            if search is None:
                search = METHODS[method](problem, _seed(problem))
            position = search.ask(observed)
            seconds.append(time.perf_counter() - start)
            _check(position, problem, observed)
            observed.append((position, float(problem.score[position])))
    except Exception as raised:  # a released package may raise anything, and the others must go on
        error = f"{type(raised).__name__}: {raised}"
    regret = problem.regret([score for _, score in observed]) if observed else np.empty(0)
    if len(regret):
        regret = np.pad(regret, (0, min(n, len(problem.rows)) - len(regret)), mode="edge")
    spent = np.array(seconds[: len(observed)])
    table = fold.table
    return Run(
        table.name, table.labels[problem.task], fold.seed, method, protocol, _rounded(regret), _rounded(spent), error,
        digest=table.digest, version=__version__,
    )  # fmt: skip


def _seed(problem: Problem) -> int:
    """A seed of its own for every task of a fold, the same for all methods."""
    return int(np.random.SeedSequence([problem.fold.seed, problem.task]).generate_state(1)[0])


def _check(position: int, problem: Problem, observed: list[tuple[int, float]]) -> None:
    if not 0 <= position < len(problem.rows) or position in {done for done, _ in observed}:
        raise SearchError(
            "not a row of the pool that is left",
            field="position",
            value=position,
            remedy="A method asks for every row once at most.",
        )


def _rounded(values: np.ndarray) -> np.ndarray:
    """Six digits: what files keep, so that a resumed replay gives what an uninterrupted one does."""
    return np.array([float(f"{value:.6g}") for value in values])


@dataclass(frozen=True)
class _Unit:
    """The searches on one left-out task that are still to be run."""

    table: int
    seed: int
    task: int
    methods: tuple[str, ...]


def run_all(
    tables: Sequence[ReplayTable],
    methods: Sequence[str],
    seeds: Sequence[int],
    *,
    protocol: Protocol | None = None,
    workers: int = 1,
    directory: str | Path | None = None,
    progress: Progress | None = None,
    tasks: int | None = None,
) -> list[Run]:
    """Replay every method on every task of every table with every seed, in ``workers`` processes of one thread each.

    ``protocol``: ``Protocol()`` unless given. ``directory``: runs that ended are kept there and not run again, so that
    an interrupted replay can be taken up; failed ones, and those of a table with other content or by another version
    of metatune, are. ``tasks``: only so many of each table, evenly spread. The caller's module is imported by the
    processes: protect a script by ``if __name__ == "__main__"``.

    The runs come in the order of the arguments. Raises ``UnknownNameError`` for a method, ``UsageError`` for tables of
    one name, ``SearchError`` when a process died.
    """
    protocol = protocol or Protocol()
    for method in methods:
        available(method)
    if len({table.name for table in tables}) < len(tables):
        raise UsageError(
            "two tables share a name", field="tables", value=[t.name for t in tables], remedy="Rename one of them."
        )
    journal = Journal(Path(directory)) if directory is not None else None
    done = _finished(journal, tables, methods)
    wanted: list[Key] = []
    units: deque[_Unit] = deque()
    for unit in _units(tables, methods, seeds, tasks, whole=protocol.whole):
        table = tables[unit.table]
        task = table.labels[unit.task]
        keys = [Key(table.name, table.digest, task, unit.seed, m, protocol, __version__) for m in unit.methods]
        wanted += keys
        left = tuple(key.method for key in keys if key not in done)
        if left:
            units.append(_Unit(unit.table, unit.seed, unit.task, left))
    total, ended = len(wanted), sum(key in done for key in wanted)
    for runs in _in_pool(tables, units, protocol, workers):
        if journal is not None:
            journal.append(runs)
        done.update((run.key, run) for run in runs)
        ended += len(runs)
        if progress is not None:
            progress(runs, ended, total)
    return [done[key] for key in wanted if key in done]


def _finished(journal: Journal | None, tables: Sequence[ReplayTable], methods: Sequence[str]) -> dict[Key, Run]:
    if journal is None:
        return {}
    runs = [run for table in tables for method in methods for run in journal.read(table.name, method)]
    return {run.key: run for run in runs if run.error is None}


def _units(
    tables: Sequence[ReplayTable], methods: Sequence[str], seeds: Sequence[int], tasks: int | None, *, whole: bool
) -> Iterator[_Unit]:
    """Table by table and seed by seed, so that each process needs one fold at a time."""
    for index, table in enumerate(tables):
        for seed in seeds:
            for task in drawn(Fold(table, seed, whole=whole), tasks):
                yield _Unit(index, seed, task, tuple(methods))


class _Worker:
    """What one process keeps between units: the tables, and the fold in use."""

    def __init__(self, tables: Sequence[ReplayTable], protocol: Protocol) -> None:
        self._tables, self._protocol = tables, protocol
        self._folds: dict[tuple[int, int], Fold] = {}

    def run(self, unit: _Unit) -> list[Run]:
        where = (unit.table, unit.seed)
        if where not in self._folds:
            p = self._protocol
            fold = Fold(
                self._tables[unit.table],
                unit.seed,
                history_rows=p.history_rows,
                stress=p.stress,
                n_history=p.n_history,
                whole=p.whole,
            )
            self._folds = {where: fold}
        problem = self._folds[where].problem(unit.task)
        return [replay(problem, method, self._protocol.n) for method in unit.methods]


#: The worker of this process, where it is one of a pool.
_worker: list[_Worker] = []


def _begin(tables: Sequence[ReplayTable], protocol: Protocol) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback of every process would hide what the parent says
    if _HAS_MASK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    simplefilter("ignore")  # of released packages, hundreds of times over
    _worker.append(_Worker(tables, protocol))


def _run(unit: _Unit) -> list[Run]:
    return _worker[0].run(unit)


def _in_pool(
    tables: Sequence[ReplayTable], units: deque[_Unit], protocol: Protocol, workers: int
) -> Iterator[list[Run]]:
    """The runs of every unit, as units end. Raises ``SearchError`` when a process died."""
    if not units:
        return
    with _one_thread():
        # Not forked: threads of the libraries loaded here would be lost in the middle of what they do.
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(tables, protocol))
        running: set[Future[list[Run]]] = set()
        try:
            while units or running:
                while units and len(running) < _AHEAD * workers:
                    with _uninterrupted():
                        running.add(pool.submit(_run, units.popleft()))
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
        except BrokenProcessPool as error:
            raise SearchError(
                "a process of the replay died",
                field="workers",
                value=workers,
                remedy="Run it again with the same directory: what ended is kept. Fewer workers need less memory.",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt waits until this is over, and in processes that are started meanwhile until they unblock it."""
    if not _HAS_MASK:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started meanwhile use one thread each: libraries read these variables when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
