"""How long a history takes to be copied from MLflow into a snapshot, and how much memory that needs.

    python scripts/benchmark_sync.py copy --trials 100000          # by SQL, then with nothing new
    python scripts/benchmark_sync.py copy --trials 100000 --path api
    python scripts/benchmark_sync.py load --trials 1000000         # a copy of this size becomes a snapshot
    python scripts/benchmark_sync.py import --trials 100000        # `metatune import mlflow` of hand-logged runs

Each prints one JSON document. The store is filled by SQL inserts, row for row what metatune writes through MLflow.
"""

import argparse
import itertools
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from metatune.history import schema
from metatune.history.mlflow_store import MLflowStore
from metatune.history.reader import open_reader
from metatune.history.runs import StoredRun
from metatune.importers.mapping import RunMapping
from metatune.importers.mlflow_runs import import_mlflow
from metatune.metric import Metric
from metatune.mirror import Mirror
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Configuration, Trial

TRIALS_PER_STUDY = 200
BEGIN = 1.7e9
SPACE = SearchSpace(
    {
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "num_leaves": {"type": "int", "low": 2, "high": 4096, "log": True},
        "min_child_samples": {"type": "int", "low": 1, "high": 500, "log": True},
        "subsample": {"low": 0.1, "high": 1.0},
        "colsample_bytree": {"low": 0.1, "high": 1.0},
        "reg_lambda": {"low": 1e-8, "high": 1e3, "log": True},
        "max_bin": {"type": "int", "low": 15, "high": 1023},
        "boosting": ["gbdt", "dart", "goss"],
    }
)


def studies(n_trials: int) -> Iterator[tuple[StudyRecord, list[Trial]]]:
    """Studies of 200 trials each, of four families, with meta-features."""
    rng = np.random.default_rng(0)
    for i, first in enumerate(range(0, n_trials, TRIALS_PER_STUDY)):
        task = TaskRecord(
            name=f"task {i}",
            kind="regression",
            metric=Metric.of("rmse", "regression"),
            fingerprint=uuid.UUID(int=i).hex,
            metafeatures={f"feature_{k}": float(v) for k, v in enumerate(rng.normal(size=60))},
        )
        study = StudyRecord(
            task=task, family=f"family-{i % 4}", space=SPACE, id=f"study-{i:06d}", created=BEGIN + 2_000 * i
        )
        configurations = SPACE.sample(min(TRIALS_PER_STUDY, n_trials - first), rng)
        yield study, [_trial(rng, study, number, values) for number, values in enumerate(configurations)]


def _trial(rng: np.random.Generator, study: StudyRecord, number: int, values: Configuration) -> Trial:
    failed = number % 20 == 19
    return Trial(
        configuration=values,
        status="failed" if failed else "complete",
        value=None if failed else float(rng.random()),
        metrics={} if failed else {name: float(rng.random()) for name in ("mae", "r2", "mape")},
        error="ValueError: the objective failed" if failed else None,
        number=number,
        key=f"{study.id}-{number}",
        seconds=float(rng.random()),
        origin="model",
        started=study.created + 10 * number,
    )


Row = tuple[StoredRun, schema.RunData, str | None]


def runs(n_trials: int) -> Iterator[Row]:
    """What MLflow holds of ``studies``: a run with what it was made of, and the run of its study."""
    for study, trials in studies(n_trials):
        data = schema.encode_study(study)
        started = int(1000 * study.created)
        parent = uuid.uuid4().hex
        yield StoredRun(parent, started, started + 2_000_000, data.tags), data, None
        for trial in trials:
            data = schema.encode_trial(trial, study)
            started = int(1000 * trial.started)
            yield StoredRun(uuid.uuid4().hex, started, started + 1500, data.tags), data, parent


def fill(file: Path, n_trials: int) -> None:
    """An MLflow database with the trials of ``studies`` in the experiment ``metatune``."""
    store = MLflowStore(f"sqlite:///{file}")
    store.open_study(next(iter(studies(1)))[0])
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA synchronous = OFF")
    (experiment,) = connection.execute("SELECT experiment_id FROM experiments WHERE name = 'metatune'").fetchone()
    connection.execute("DELETE FROM tags")
    connection.execute("DELETE FROM runs")
    for rows in _batches(runs(n_trials), 5_000):
        _insert(connection, rows, experiment)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def fill_foreign(file: Path, n_trials: int) -> None:
    """An MLflow database with the runs of ``studies`` as a team logs them by hand, 5,000 in an experiment."""
    fill(file, n_trials)
    connection = sqlite3.connect(file)
    connection.execute("DELETE FROM runs WHERE name NOT LIKE 'trial %'")
    connection.execute("DELETE FROM tags WHERE key != 'mlflow.runName'")
    connection.execute("DELETE FROM tags WHERE run_uuid NOT IN (SELECT run_uuid FROM runs)")
    for k in range(-(-n_trials // 5_000)):
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)"
            " VALUES (?, ?, '', 'active')",
            (100 + k, f"by hand {k}"),
        )
        connection.execute(
            "UPDATE runs SET experiment_id = ? WHERE run_uuid IN"
            " (SELECT run_uuid FROM runs WHERE experiment_id < 100 LIMIT 5000)",
            (100 + k,),
        )
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def import_runs(folder: Path, n_trials: int) -> dict[str, object]:
    """Import ``n_trials`` runs into an empty history, and then once more."""
    source, target = folder / "foreign.db", folder / "history.db"
    if not source.exists():
        fill_foreign(source, n_trials)
    target.unlink(missing_ok=True)
    figures: dict[str, object] = {"trials": n_trials}
    for name in ("first", "second"):
        start, cpu = time.perf_counter(), time.process_time()
        mapping = RunMapping(metric="rmse", direction="minimize")
        found = import_mlflow(f"sqlite:///{source}", MLflowStore(f"sqlite:///{target}"), mappings=[mapping])
        figures |= {f"{name}_seconds": time.perf_counter() - start, f"{name}_cpu_seconds": time.process_time() - cpu}
        figures |= {f"{name}_imported": found.imported, f"{name}_known": found.known, f"{name}_merged": found.merged}
        figures |= {f"{name}_skipped": sum(found.skipped.values()), f"{name}_studies": len(found.studies)}
    return {**figures, "peak_megabytes": _peak()}


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while batch := list(itertools.islice(rows, size)):
        yield batch


def _insert(connection: sqlite3.Connection, rows: list[Row], experiment: int) -> None:
    connection.executemany(
        "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage,"
        " artifact_uri, experiment_id) VALUES (?, ?, 'UNKNOWN', 'user', ?, ?, ?, 'active', '', ?)",
        [(run.id, data.name, data.status or "FINISHED", run.started, run.ended, experiment) for run, data, _ in rows],
    )
    tags, params, metrics = [], [], []
    for run, data, parent in rows:
        own = {**data.tags, "mlflow.runName": data.name} | ({"mlflow.parentRunId": parent} if parent else {})
        tags += [(name, value, run.id) for name, value in own.items()]
        params += [(name, value, run.id) for name, value in data.params.items()]
        metrics += [(point.name, point.value, run.started, point.step, run.id) for point in data.metrics]
    connection.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", tags)
    connection.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", params)
    for table in ("metrics", "latest_metrics"):
        connection.executemany(
            f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)", metrics
        )


def copy(folder: Path, n_trials: int, path: str) -> dict[str, object]:
    """Copy a store of ``n_trials`` for the first time, with nothing new, with one new run, and without one."""
    file = folder / "mlflow.db"
    start = time.perf_counter()
    if not file.exists():
        fill(file, n_trials)
    filled = time.perf_counter() - start
    mirror = Mirror(folder / f"mirror-{path}")
    store = MLflowStore(f"sqlite:///{file}")
    figures: dict[str, object] = {"path": path, "trials": n_trials, "fill_seconds": filled}
    figures["database_megabytes"] = file.stat().st_size / 1e6
    for name in ("first", "nothing_new"):
        start, cpu = time.perf_counter(), time.process_time()
        with open_reader(store, path=path) as reader:  # type: ignore[arg-type]
            found = mirror.refresh(reader)
        figures |= {f"{name}_seconds": time.perf_counter() - start, f"{name}_cpu_seconds": time.process_time() - cpu}
        figures[f"{name}_written"] = found.written
    start = time.perf_counter()
    rows = sum(len(mirror.snapshot([family]).family(family)) for family in mirror.snapshot().families)
    figures |= {"rows": rows, "snapshot_seconds": time.perf_counter() - start, "peak_megabytes": _peak()}
    return figures


class _Generated:
    """A reader of ``runs`` that exist nowhere."""

    path = "sql"

    def __init__(self, n_trials: int) -> None:
        self._n_trials = n_trials

    def experiment(self) -> str:
        return "generated"

    def changes(self, record: str, known: object, **_: object) -> Iterator[StoredRun]:
        return (run for run, _, _ in runs(self._n_trials) if run.tags[schema.RECORD] == record)

    def gone(self, record: str, known: object, *, everything: bool) -> set[str]:
        return set()


def load(folder: Path, n_trials: int) -> dict[str, object]:
    """Time and memory of the snapshot from a copy of ``n_trials``, in a process of its own; likewise of making it."""
    mirror = Mirror(folder / "mirror-generated")
    start = time.perf_counter()
    made: dict[str, object] = {}
    if not mirror.directory.exists():
        mirror.refresh(_Generated(n_trials))  # type: ignore[arg-type]
        made = {"make_seconds": time.perf_counter() - start, "make_peak_megabytes": _peak()}
    code = (
        "import resource, sys, time; from pathlib import Path; from metatune.mirror import Mirror;"
        "start = time.perf_counter(); snapshot = Mirror(Path(sys.argv[1])).snapshot();"
        "rows = sum(len(snapshot.family(name)) for name in snapshot.families);"
        "print(rows, len(snapshot.studies), time.perf_counter() - start,"
        " resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(mirror.directory)], capture_output=True, text=True, check=True
    )
    rows, n_studies, seconds, peak = map(float, done.stdout.split())
    size = sum(path.stat().st_size for path in mirror.directory.iterdir()) / 1e6
    loaded = {"rows": rows, "studies": n_studies, "load_seconds": seconds, "load_peak_megabytes": peak}
    return {**made, **loaded, "megabytes_on_disk": size}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["copy", "load", "import"])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--path", choices=["sql", "api"], default="sql")
    parser.add_argument("--directory", type=Path, help="Keep store and copy here; a store that is there is used.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.directory or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.what == "copy":
            figures = copy(folder, arguments.trials, arguments.path)
        elif arguments.what == "import":
            figures = import_runs(folder, arguments.trials)
        else:
            figures = load(folder, arguments.trials)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
