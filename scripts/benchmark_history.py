"""What remembering costs, and what it survives.

    python scripts/benchmark_history.py logging [--trials 1000 --seconds 0.05] [--away]
    python scripts/benchmark_history.py kills [--kills 200]
    python scripts/benchmark_history.py outage [--away 60]

``logging``: what a trial waits for being recorded, and how memory grows with the trials; for comparison, what .25 ms
of computing take where nothing is recorded, and a line that is written and confirmed by the disk. ``kills``: a process
that records trials is killed at random moments; how many ended trials are lost or doubled. ``outage``: the MLflow
server of a running search is killed and comes back; what the search waits for it, and what is lost. Each prints rows
of a table in Markdown.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from mlflow_server import MLflowServer

from metatune.history.mlflow_store import MLflowStore
from metatune.history.mlflow_upkeep import repair
from metatune.history.outbox import Outbox
from metatune.history.pace import Pace
from metatune.history.replay import sync
from metatune.history.spool import SPOOL_VARIABLE, folders
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import Task, TaskRecord
from metatune.trial import Trial
from metatune.tuner import tune

_NOBODY = "http://127.0.0.1:9"


def study(id: str) -> StudyRecord:
    task = TaskRecord(name="t", kind="custom", metric=Metric("score", "maximize"), fingerprint="f" * 32)
    return StudyRecord(task=task, family="f", space=SearchSpace({"x": {"low": 0.0, "high": 1.0}}), id=id)


def trial(number: int) -> Trial:
    return Trial(
        configuration={"x": 0.5}, status="complete", value=0.5, number=number, key=f"key{number}",
        curve=tuple(np.linspace(0, 1, 20).tolist()), seconds=0.1, started=time.time(),
    )  # fmt: skip


def train(seconds: float) -> None:
    """What a trial does for ``seconds``: products of matrices, with some Python between them."""
    end, a = time.perf_counter() + seconds, np.ones((150, 150))
    while time.perf_counter() < end:
        a = a @ a / 150


def resident() -> float:
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def compared(folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """The p95, in milliseconds, of a bit of computing and of an ``fsync`` after as much training as in a trial."""
    computing, confirming = [], []
    with (folder / "line").open("ab", buffering=0) as file:
        for i in range(200):
            train(options.seconds)
            began, cpu = time.perf_counter(), time.thread_time()
            if i % 2:
                file.write(b"x" * 600)
                os.fsync(file.fileno())
            else:
                while time.thread_time() - cpu < 0.00025:
                    pass
            (confirming if i % 2 else computing).append(1000 * (time.perf_counter() - began))
    return statistics.quantiles(computing, n=20)[-1], statistics.quantiles(confirming, n=20)[-1]


def measure_logging(folder: Path, options: argparse.Namespace) -> None:
    store = MLflowStore(_NOBODY if options.away else f"sqlite:///{folder / 'mlflow.db'}")
    computing, confirming = compared(folder, options)
    outbox = Outbox(store, pace=Pace(leave=3600.0, stall=120.0))
    outbox.open_study(study("bench"))
    outbox.attempt(60.0)
    waits, cpus, sizes = [], [], []
    for i in range(options.trials):
        train(options.seconds)
        ended = trial(i)
        began, cpu = time.perf_counter(), time.thread_time()
        outbox.add_trial("bench", ended)
        waits.append(1000 * (time.perf_counter() - began))
        cpus.append(1000 * (time.thread_time() - cpu))
        sizes.append(resident())
    lag = len(outbox.waiting())
    began = time.perf_counter()
    outbox.close_study("bench", "finished", {})
    flushed = outbox.flush()
    seconds = time.perf_counter() - began
    cuts = statistics.quantiles(waits, n=100)
    before = sizes[min(50, len(sizes) - 1)]
    grown, after, where = sizes[-1] - before, resident() - before, "away" if options.away else "SQLite"
    print(
        "| store | trials | s a trial | p50 ms | p95 ms | p99 ms | most ms | p95 ms of CPU | p95 ms of computing "
        "| p95 ms of fsync | MB grown | when sent | left at the end | s to send |"
    )
    print("|---" * 14 + "|")
    print(
        f"| {where} | {options.trials} | {options.seconds} | {cuts[49]:.2f} | {cuts[94]:.2f} | {cuts[98]:.2f} "
        f"| {max(waits):.1f} | {statistics.quantiles(cpus, n=20)[-1]:.2f} | {computing:.2f} | {confirming:.1f} "
        f"| {grown:.1f} | {after:.1f} | {lag} | {f'{seconds:.1f}' if flushed else 'not'} |"
    )
    outbox.drop()


def work(uri: str, id: str, acknowledged: Connection) -> None:
    """Record trials until somebody kills the process, and tell of each that ended."""
    outbox = Outbox(MLflowStore(uri))
    outbox.open_study(study(id))
    for i in itertools.count():
        outbox.add_trial(id, trial(i))
        acknowledged.send_bytes(b".")
        time.sleep(0.02)


def killed(uri: str, id: str, moment: float) -> int:
    """Record trials in a process that is killed after ``moment`` seconds; how many had ended by then."""
    # A server that has imported everything and opened nothing: each process begins at once, and shares no connection.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["metatune.history.mlflow_store"])
    ended, acknowledged = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(uri, id, acknowledged))
    process.start()
    acknowledged.close()
    time.sleep(moment)
    process.kill()
    process.join()
    count = 0
    with ended, contextlib.suppress(EOFError):
        while ended.recv_bytes():
            count += 1
    return count


def intact(uri: str) -> bool:
    """Whether SQLite finds nothing wrong in its file."""
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def measure_kills(folder: Path, options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)
    ended = lost = doubled = broken = half = 0
    for n in range(options.kills):
        # Looking at all of a store after each kill takes longer, the more is in it.
        uri = f"sqlite:///{folder / f'{n // options.kills_of_a_store}.db'}"
        store = MLflowStore(uri)
        if n % options.kills_of_a_store == 0:
            store.open_study(study("first"))
        added = killed(uri, f"study{n}", rng.uniform(0.0, options.seconds))
        list(sync(folders(), lambda destination, store=store: store))
        found = repair(store)
        half, doubled = half + len(found.half_written), doubled + len(found.doubled)
        broken += bool(repair(store)) + len(store.unreadable) + (not intact(uri))
        kept = {one.key for known, trials in store.records() if known.id == f"study{n}" for one in trials}
        lost += sum(f"key{i}" not in kept for i in range(added))
        with store.runs() as find:
            keys = [
                run.data.tags["metatune.trial_key"]
                for run in find("trial")
                if run.data.tags["metatune.study"] == f"study{n}"
            ]
        doubled += len(keys) - len(set(keys))
        ended += added
        print(f"{n + 1}: {added} ended, {lost} lost, {doubled} doubled, {broken} broken", file=sys.stderr)
    print("| kills | ended trials | lost | doubled | half written, completed | store not whole |")
    print("|---|---|---|---|---|---|")
    print(f"| {options.kills} | {ended} | {lost} | {doubled} | {half} | {broken} |")


def measure_outage(folder: Path, options: argparse.Namespace) -> None:
    ends: list[float] = []
    waits: list[float] = []

    def objective(configuration: dict[str, float]) -> float:
        if ends:
            waits.append(time.perf_counter() - ends[-1])
        train(options.seconds)
        ends.append(time.perf_counter())
        return configuration["x"]

    def outage() -> None:
        time.sleep(options.around)
        server.kill()
        time.sleep(options.away)
        server.start()
        back.append(time.perf_counter())
        print(f"back after {len(ends)} trials", file=sys.stderr)

    back: list[float] = []
    database = f"sqlite:///{folder / 'mlflow.db'}"
    task = Task.custom("t", metric="score", direction="maximize")
    with MLflowServer(database, folder) as server:
        server.start()
        store = MLflowStore(server.uri)
        store.open_study(study("first"))  # what is made once
        thread = threading.Thread(target=outage)
        thread.start()
        began = time.perf_counter()
        result = tune(
            task, "f", objective=objective, space=study("").space, strategy="random", n_trials=10**6, knowledge=False,
            timeout=options.away + 3 * options.around, store=store,
        )  # fmt: skip
        left, seconds = len(result.unsaved), time.perf_counter() - began
        thread.join()
        list(sync(folders(), lambda destination: store))
        known = store.trials(result.study_id)
        with store.runs() as find:
            keys = [run.data.tags["metatune.trial_key"] for run in find("trial")]
    lost = len({trial.key for trial in result.trials} - {trial.key for trial in known})
    waits.sort()
    print("| s away | trials | lost | doubled | p50 ms between trials | most ms | left at the end | s in all |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {options.away} | {len(result.trials)} | {lost} | {len(keys) - len(set(keys))} "
        f"| {1000 * waits[len(waits) // 2]:.1f} | {1000 * waits[-1]:.0f} | {left} | {seconds:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    logging = commands.add_parser("logging")
    logging.add_argument("--trials", type=int, default=1000)
    logging.add_argument("--seconds", type=float, default=0.05, help="of training in each trial")
    logging.add_argument("--away", action="store_true", help="with a store that never answers")
    logging.set_defaults(measure=measure_logging)
    kills = commands.add_parser("kills")
    kills.add_argument("--kills", type=int, default=20)
    kills.add_argument("--seconds", type=float, default=1.5, help="within which a process is killed")
    kills.add_argument("--kills-of-a-store", type=int, default=20, help="before another one is begun")
    kills.add_argument("--seed", type=int, default=0)
    kills.set_defaults(measure=measure_kills)
    outage = commands.add_parser("outage")
    outage.add_argument("--away", type=float, default=60.0, help="seconds for which the server is dead")
    outage.add_argument("--around", type=float, default=20.0, help="seconds before, and a half of those after it")
    outage.add_argument("--seconds", type=float, default=0.2, help="of training in each trial")
    outage.set_defaults(measure=measure_outage)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[SPOOL_VARIABLE] = str(Path(folder) / "spool")
        options.measure(Path(folder), options)


if __name__ == "__main__":
    main()
