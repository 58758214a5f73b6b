"""``read``: runs that metatune did not write, straight from MLflow's tables; many times as fast as its API.

Only for SQLite and PostgreSQL, and only for versions of the tables whose parts used here have been checked.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text

from metatune.history import schema
from metatune.history.address import Address
from metatune.history.connections import in_use
from metatune.history.foreign_run import TRAINED_ON, ForeignRun, foreign_run
from metatune.history.sql_schema import check, engine_of

_COLUMNS = {
    "runs": {"run_uuid", "experiment_id", "name", "status", "lifecycle_stage", "start_time", "end_time"},
    "params": {"run_uuid", "key", "value"},
    "latest_metrics": {"run_uuid", "key", "value", "is_nan"},
    "tags": {"run_uuid", "key", "value"},
    "inputs": {"input_uuid", "source_id", "destination_type", "destination_id"},
    "input_tags": {"input_uuid", "name", "value"},
    "datasets": {"dataset_uuid", "name", "digest"},
}
_INSTEAD = "They are read through MLflow's API, slower."
_RUN_NAME = "mlflow.runName"
_CHUNK = 500


def _of_runs(query: str) -> TextClause:
    return text(query).bindparams(bindparam("runs", expanding=True))


_RUNS = text(
    "SELECT run_uuid, name, status, start_time, end_time FROM runs "
    "WHERE experiment_id = :experiment AND lifecycle_stage = 'active' "
    "AND NOT EXISTS (SELECT 1 FROM tags WHERE tags.run_uuid = runs.run_uuid AND tags.key = :ours) "
    "ORDER BY start_time, run_uuid"
)
_PARAMS = _of_runs("SELECT run_uuid, key, value FROM params WHERE run_uuid IN :runs")
_TAGS = _of_runs("SELECT run_uuid, key, value FROM tags WHERE run_uuid IN :runs AND value IS NOT NULL")
_METRICS = _of_runs("SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN :runs")
_DATASETS = _of_runs(
    "SELECT destination_id, datasets.name, datasets.digest, input_tags.value FROM inputs "
    "JOIN datasets ON source_id = dataset_uuid "
    "LEFT JOIN input_tags ON input_tags.input_uuid = inputs.input_uuid AND input_tags.name = :context "
    "WHERE destination_type = 'RUN' AND destination_id IN :runs ORDER BY destination_id"
)


def read(address: Address, experiment: str, id: int) -> list[ForeignRun]:
    """The undeleted runs of the experiment with this ``id``, oldest first; those of metatune are left out.

    Raises ``StoreError`` for tables of another version, and what the driver raises.
    """
    with in_use(address):
        engine = engine_of(address, read_only=True)
        try:
            with engine.connect() as connection:
                if address.file is not None:
                    connection.exec_driver_sql("BEGIN")
                check(connection, address, _COLUMNS, instead=_INSTEAD)
                rows = connection.execute(_RUNS, {"experiment": id, "ours": schema.SCHEMA}).all()
                chunks = (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
                return [run for chunk in chunks for run in _read(connection, experiment, chunk)]
        finally:
            engine.dispose()


def _read(connection: Connection, experiment: str, rows: Sequence[Any]) -> list[ForeignRun]:
    runs = {"runs": [row.run_uuid for row in rows]}
    params: defaultdict[str, dict[str, str]] = defaultdict(dict)
    metrics: defaultdict[str, dict[str, float]] = defaultdict(dict)
    tags: defaultdict[str, dict[str, str]] = defaultdict(dict)
    datasets: defaultdict[str, list[tuple[str, str, bool]]] = defaultdict(list)
    for run, key, value in connection.execute(_PARAMS, runs):
        params[run][key] = value
    for run, key, value in connection.execute(_TAGS, runs):
        tags[run][key] = value
    for run, key, value, is_nan in connection.execute(_METRICS, runs):
        metrics[run][key] = math.nan if is_nan else value
    for run, name, digest, context in connection.execute(_DATASETS, {**runs, "context": TRAINED_ON[0]}):
        datasets[run].append((name, digest, context == TRAINED_ON[1]))
    return [
        foreign_run(
            id=row.run_uuid,
            name=row.name or tags[row.run_uuid].get(_RUN_NAME),
            experiment=experiment,
            status=row.status,
            times=(row.start_time, row.end_time),
            params=params[row.run_uuid],
            metrics=metrics[row.run_uuid],
            tags=tags[row.run_uuid],
            datasets=datasets[row.run_uuid],
        )
        for row in rows
    ]
