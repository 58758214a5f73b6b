"""Trials written straight into MLflow's tables: the rows of its API, each trial once, and whole at any moment."""

import logging
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from history_cases import new_database, study, trial
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from postgres import cluster, programs
from sqlalchemy import create_engine, text
from strategies import study_records, trials

from metatune.errors import StoreUnavailableError
from metatune.history import sql_schema, sql_writer
from metatune.history.address import Address
from metatune.history.mlflow_store import MLflowStore
from metatune.history.mlflow_upkeep import repair

# MLflow's connections to copied databases live as long as its engines, which is as long as the process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

#: Columns with ids and with the clock.
VARYING = {"run_uuid", "start_time", "end_time", "artifact_uri", "input_uuid", "destination_id", "dataset_uuid",
           "source_id", "creation_time", "last_update_time"}  # fmt: skip

KINDS = [
    trial(0, metrics={"mae": 0.5, "nan": math.nan, "a:b": 2.0}, curve=(0.5, 0.25, 0.5), best_step=2),
    trial(1, status="failed", value=None, error="ValueError: no\nmore"),
    trial(2, status="interrupted", value=None, started=math.nan),
    trial(3, status="pruned", value=0.25, reported=((1, 0.5), (3, 0.25)), fidelity=0.5),
    trial(4, value=-0.0, key="a key with \"quotes\" and 'quotes'", configuration={"rate": 0.1, "booster": "b"}),
    trial(5, metrics={"rmse": 7.0, "long" * 90: 1.0}, error="é" * 9000),
]


def tables(uri):
    """All rows of all tables, but for what is an id or a time."""
    found = {}
    engine = create_engine(uri)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            names = text("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        else:
            names = text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        for name in connection.execute(names).scalars().all():
            rows = connection.execute(text(f'SELECT * FROM "{name}"')).mappings()
            kept = [{k: v for k, v in row.items() if k not in VARYING} for row in rows]
            found[name] = sorted(repr(sorted(_plain(row).items())) for row in kept)
    engine.dispose()
    return found


def _plain(row):
    """Without tags that name another run, or who writes and when."""
    named = ("mlflow.parentRunId", "metatune.owner", "metatune.heartbeat")
    return {**row, "value": ""} if row.get("key") in named else row


def filled(folder, record, those, *, many):
    folder.mkdir()
    store = MLflowStore(new_database(folder))
    store.open_study(record)
    (store.add_many if many else store.add_trials)(record.id, those)
    return store


def test_rows_are_those_of_the_api_in_every_table(tmp_path, monkeypatch):
    by_api = filled(tmp_path / "api", study(), KINDS, many=False)
    monkeypatch.setattr(MLflowStore, "_add", None)  # nothing is left to the API
    by_tables = filled(tmp_path / "sql", study(), KINDS, many=True)
    expected = tables(by_api.uri)
    assert len(expected["runs"]) == 1 + len(KINDS)
    assert len(expected["metrics"]) > len(expected["latest_metrics"]) > 0
    assert tables(by_tables.uri) == {
        name: [row.replace(str(tmp_path / "api"), str(tmp_path / "sql")) for row in rows]
        for name, rows in expected.items()
    }
    client = MlflowClient(tracking_uri=by_tables.uri)
    with by_tables.runs() as find:
        (parent,) = find("study")
        for run in find("trial"):
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert run.info.artifact_uri == parent.info.artifact_uri.replace(parent.info.run_id, run.info.run_id)
            assert abs(run.info.end_time / 1000 - time.time()) < 60
            client.set_tag(run.info.run_id, "note", "MLflow goes on with it")


@settings(max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_trials_there_are_their_rows_are_those_of_the_api(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    record = data.draw(study_records())
    those = [replace(one, key=f"k{i}") for i, one in enumerate(data.draw(st.lists(trials(record.space), max_size=4)))]
    stores = [filled(folder / way, record, those, many=way == "sql") for way in ("api", "sql")]
    api, sql = ({k: v for k, v in tables(store.uri).items() if k != "experiments"} for store in stores)
    assert sql == api


def test_a_trial_is_written_once_whoever_writes_it_how_often(tmp_path):
    store = filled(tmp_path / "db", study(), KINDS[:2], many=False)
    store.add_many("study-1", KINDS)
    store.add_many("study-1", KINDS)
    store.add_trials("study-1", KINDS)
    other = MLflowStore(store.uri)
    other.add_many("study-1", [*KINDS, trial(9)])
    store.add_many("study-1", [trial(9), trial(9)])
    with store.runs() as find:
        assert len(list(find("trial"))) == len(KINDS) + 1
    assert store.trials("study-1") == other.trials("study-1")
    assert not repair(store).doubled


def test_what_was_written_before_a_failure_is_not_written_again_through_the_api(tmp_path, monkeypatch):
    store = filled(tmp_path / "db", study(), [], many=True)
    write, batches = sql_writer._write, []

    def locked(*arguments):
        batches.append(arguments)
        if len(batches) == 2:
            raise sqlite3.OperationalError("database is locked")
        return write(*arguments)

    monkeypatch.setattr(sql_writer, "_write", locked)
    monkeypatch.setattr(sql_writer, "_BATCH", 2)
    with pytest.raises(StoreUnavailableError):
        store.add_many("study-1", KINDS)
    store.add_trials("study-1", KINDS)
    assert len(store.trials("study-1")) == len(KINDS)
    assert not repair(store).doubled


def test_studies_and_experiments_of_one_database_do_not_share_runs(tmp_path):
    uri = new_database(tmp_path)
    for experiment in ("one", "two"):
        store = MLflowStore(uri, experiment)
        for record in (study("a"), study("b")):
            store.open_study(record)
            store.add_many(record.id, [trial(0)])
            assert len(store.trials(record.id)) == 1


def test_runs_that_a_user_deleted_are_written_anew_and_half_written_ones_ended(tmp_path):
    store = filled(tmp_path / "db", study(), [trial(0), trial(1)], many=True)
    client = MlflowClient(tracking_uri=store.uri)
    with store.runs() as find:
        first, second = find("trial")
    client.delete_run(first.info.run_id)
    client.update_run(second.info.run_id, status="RUNNING")
    again = MLflowStore(store.uri)
    again.add_many("study-1", [trial(0), trial(1)])
    assert len(again.trials("study-1")) == 2
    with again.runs() as find:
        assert {run.info.status for run in find("trial")} == {"FINISHED"}


@pytest.mark.parametrize("change", ["version", "column", "server"])
def test_where_the_tables_are_not_known_the_api_writes(tmp_path, caplog, monkeypatch, change):
    store = filled(tmp_path / "db", study(), [], many=True)
    if change == "version":
        monkeypatch.setattr(sql_schema, "KNOWN_VERSIONS", frozenset({"other"}))
    elif change == "column":
        with sqlite3.connect(tmp_path / "db" / "mlflow.db") as connection:
            connection.execute("ALTER TABLE runs ADD COLUMN newer INTEGER")
        connection.close()
    else:
        monkeypatch.setattr(store, "_address", replace(store._address, uri="http://server", file=None))
        monkeypatch.setattr(Address, "reach", lambda address: None)  # MLflow's client still has the file
    monkeypatch.setattr(sql_writer, "_write", None)
    with caplog.at_level(logging.WARNING, "metatune"):
        store.add_many("study-1", [trial(0)])
    assert [one.key for one in store.trials("study-1")] == ["key-0"]
    assert [record.getMessage()[:39] for record in caplog.records] == (
        [] if change == "server" else ["Trials are written through MLflow's API"]
    )


_WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from history_cases import study, trial
from metatune.history import sql_writer
from metatune.history.mlflow_store import MLflowStore
sql_writer._BATCH = 20
store = MLflowStore(sys.argv[2])
store.open_study(study())
print("open", flush=True)
store.add_many("study-1", [trial(i, curve=(0.5,) * 20) for i in range(2000)])
print("done", flush=True)
"""


def writer(uri):
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(Path(__file__).parent), uri], stdout=subprocess.PIPE, env={**os.environ}
    )


def test_two_processes_at_once_one_of_them_killed_leave_whole_batches_and_each_trial_once(tmp_path):
    store = MLflowStore(new_database(tmp_path))
    store.open_study(study())
    killed, other = writer(store.uri), writer(store.uri)
    assert killed.stdout.readline() == b"open\n"
    time.sleep(random.Random(0).uniform(0.05, 0.4))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert b"done" in other.communicate(timeout=60)[0]
    assert sorted(one.key for one in store.trials("study-1")) == sorted(f"key-{i}" for i in range(2000))
    found = repair(store)
    assert not found.doubled
    assert not found.half_written
    counts = tables(store.uri)
    assert len(counts["metrics"]) == 2000 * 21
    assert len(counts["params"]) == 2000 * 2


@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")
def test_postgresql_gets_the_same_rows():
    with cluster() as uri:
        by_api, by_tables = MLflowStore(uri, "api"), MLflowStore(uri, "sql")
        for store in (by_api, by_tables):
            store.open_study(study())
        by_api.add_trials("study-1", KINDS)
        by_tables.add_many("study-1", KINDS)
        assert by_tables.trials("study-1") == by_api.trials("study-1")
        rows = tables(uri)
        assert all(rows[name][::2] == rows[name][1::2] for name in ("params", "metrics", "latest_metrics"))
        assert {len(rows[name]) % 2 for name in ("runs", "tags")} == {0}
        with by_tables.runs() as find:
            assert len(list(find("trial"))) == len(KINDS)
        by_tables.add_many("study-1", [trial(7), *KINDS])
        assert len(by_tables.trials("study-1")) == len(KINDS) + 1
        assert not repair(by_tables).doubled
