"""``write_ended``: many trials that ended, straight into MLflow's tables, row for row as its API writes them.

MLflow takes a trial in three calls and six transactions, a dozen trials a second; here hundreds are one transaction.
Only for SQLite and PostgreSQL, and only for tables that have exactly the columns which are filled here.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, column, table, text
from sqlalchemy.exc import IntegrityError

from metatune.errors import StoreError
from metatune.history import schema
from metatune.history.address import Address
from metatune.history.mlflow_runs import PARENT, OpenStudy, metric_time
from metatune.history.sql_schema import check, engine_of
from metatune.trial import Trial

#: Columns in which the run of a trial equals that of its study.
_INHERITED = ("experiment_id", "source_type", "source_name", "entry_point_name", "user_id", "source_version")
_POINT = ("run_uuid", "key", "value", "timestamp", "step", "is_nan")
_TEXT = ("run_uuid", "key", "value")
_COLUMNS: Mapping[str, Sequence[str]] = {
    "runs": (
        "run_uuid", "name", "status", "start_time", "end_time", "deleted_time", "lifecycle_stage", "artifact_uri",
        *_INHERITED,
    ),
    "tags": _TEXT,
    "params": _TEXT,
    "metrics": _POINT,
    "latest_metrics": _POINT,
}  # fmt: skip
_INSERTS = {name: table(name, *map(column, columns)).insert() for name, columns in _COLUMNS.items()}
_STUDY = text(f"SELECT artifact_uri, {', '.join(_INHERITED)} FROM runs WHERE run_uuid = :run")
_PRESENT = text("SELECT run_uuid, lifecycle_stage FROM runs WHERE run_uuid IN :runs").bindparams(
    bindparam("runs", expanding=True)
)
_BATCH = 2_000
_ALIKE = 12
_ATTEMPTS = 3
_LOG = logging.getLogger("metatune")

_Rows = dict[str, list[dict[str, Any]]]


def write_ended(address: Address, study: OpenStudy, trials: Sequence[Trial]) -> dict[str, str]:
    """Write ``trials``, of which the store has no runs; gives the runs of those that are there now, by their keys.

    The id of a run is made from the trial's key, so that of several processes only one can write it. A batch of trials
    is written whole or not at all. Left to MLflow's API are trials whose run a user deleted, and all of them where
    the tables are not known, with a warning. Raises what the driver raises.
    """
    if address.file is None and not address.uri.startswith("postgres"):
        return {}
    found: dict[str, str] = {}
    engine = engine_of(address, read_only=False)
    try:
        with engine.connect() as connection:
            columns = {name: frozenset(names) for name, names in _COLUMNS.items()}
            check(connection, address, columns, exact=True, instead="They are written through MLflow's API, slower.")
        for start in range(0, len(trials), _BATCH):
            found |= _written(engine, study, trials[start : start + _BATCH])
    except StoreError as error:
        _LOG.warning("Trials are written through MLflow's API, which is slow: %s", error.problem)
    finally:
        engine.dispose()
    return found


def _written(engine: Engine, study: OpenStudy, trials: Sequence[Trial]) -> dict[str, str]:
    for _ in range(_ATTEMPTS - 1):
        try:
            return _write(engine, study, trials)
        except IntegrityError:  # another process wrote some of them since we looked
            continue
    return _write(engine, study, trials)


def _write(engine: Engine, study: OpenStudy, trials: Sequence[Trial]) -> dict[str, str]:
    with _transaction(engine) as connection:
        shared = dict(connection.execute(_STUDY, {"run": study.run_id}).mappings().one())
        runs = dict(sorted({_run_id(shared["experiment_id"], study, trial): trial for trial in trials}.items()))
        found = connection.execute(_PRESENT, {"runs": [*runs]})
        present: dict[str, str] = {row.run_uuid: row.lifecycle_stage for row in found}
        rows: _Rows = {name: [] for name in _COLUMNS}
        for run, trial in runs.items():
            if run not in present:
                _add_rows(rows, run, trial, study, shared)
        for name, insert in _INSERTS.items():
            if rows[name]:
                connection.execute(insert, rows[name])
    return {schema.token(trial.key): run for run, trial in runs.items() if present.get(run, "active") == "active"}


def _add_rows(rows: _Rows, run: str, trial: Trial, study: OpenStudy, shared: Mapping[str, Any]) -> None:
    data = schema.encode_trial(trial, study.record)
    now = int(1000 * time.time())
    rows["runs"].append({
        **{name: shared[name] for name in _INHERITED},
        "run_uuid": run, "name": data.name, "status": data.status, "start_time": now, "end_time": now,
        "deleted_time": None, "lifecycle_stage": "active",
        "artifact_uri": shared["artifact_uri"].replace(study.run_id, run),
    })  # fmt: skip
    tags = {**data.tags, PARENT: study.run_id, "mlflow.runName": data.name}
    rows["tags"] += [{"run_uuid": run, "key": key, "value": value} for key, value in tags.items()]
    rows["params"] += [{"run_uuid": run, "key": key, "value": value} for key, value in data.params.items()]
    # As MLflow: equal points once, and of each metric the highest step, then value, as the latest.
    points = sorted({(point.name, point.step, point.value) for point in data.metrics})
    metrics = [
        {"run_uuid": run, "key": key, "value": value, "timestamp": metric_time(trial), "step": step, "is_nan": False}
        for key, step, value in points
    ]
    rows["metrics"] += metrics
    rows["latest_metrics"] += {metric["key"]: metric for metric in metrics}.values()


def _run_id(experiment: int, study: OpenStudy, trial: Trial) -> str:
    """The runs of a study begin alike: beside each other in all indexes, they change a tenth of the pages."""
    names = [experiment, study.record.id, trial.key]
    return _digest(names[:2])[:_ALIKE] + _digest(names)[_ALIKE:]


def _digest(names: Sequence[object]) -> str:
    return hashlib.sha256(schema.to_json(names).encode()).hexdigest()[:32]


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # else a lock taken later fails at once, without waiting
        yield connection
