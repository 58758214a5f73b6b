"""Runs by SQL and by MLflow's API: both give the history exactly as the store's own methods do."""

import logging
import shutil
import sqlite3
import uuid
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from strategies import study_records, trials
from test_mirror import study, trial

from metatune.errors import StoreError
from metatune.history import schema, sql_schema
from metatune.history.address import Address
from metatune.history.api_reader import ApiReader
from metatune.history.mlflow_runs import Find
from metatune.history.mlflow_store import MLflowStore
from metatune.history.reader import open_reader
from metatune.history.runs import KNOWN
from metatune.history.sql_reader import SqlReader
from metatune.mirror import Mirror, mirror_of, refreshed_snapshot
from metatune.snapshot import snapshot_of
from metatune.space import SearchSpace

# MLflow's connections to copied databases live as long as its engines, which is as long as the process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

PATHS = ["sql", "api"]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An MLflow database whose experiment is empty; making one takes seconds."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    MLflowStore(f"sqlite:///{file}").open_study(study())
    connection = sqlite3.connect(file)
    for table in ("tags", "inputs", "datasets", "runs"):
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file


@pytest.fixture
def store(template, tmp_path):
    shutil.copy(template, tmp_path / "mlflow.db")
    return MLflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}")


def recorded(store, record, *those):
    store.open_study(record)
    store.add_trials(record.id, those)


def run_ids(store, record="trial"):
    return {run.data.tags.get("metatune.number"): run.info.run_id for run in all_runs(store, record)}


def all_runs(store, record="trial"):
    with store.runs() as find:
        return find.page(f"tags.`metatune.record` = '{record}'", order="start_time", limit=1000)


def alter(store, statement, *values):
    with sqlite3.connect(Address.of(store.uri).file) as connection:
        connection.execute(statement, values)
    connection.close()


@given(data=st.data())
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_both_paths_give_the_history_exactly_whatever_was_recorded(template, data):
    with TemporaryDirectory() as folder:
        shutil.copy(template, Path(folder) / "mlflow.db")
        store = MLflowStore(f"sqlite:///{folder}/mlflow.db")
        deleted: set[str] = set()
        kept: dict[str, set[str]] = {}
        for _ in range(data.draw(st.integers(1, 2))):
            record = replace(data.draw(study_records()), id=uuid.uuid4().hex)
            those = data.draw(st.lists(trials(record.space), max_size=4))
            named = [replace(one, key=uuid.uuid4().hex) for one in those]
            recorded(store, record, *named)
            gone = data.draw(st.sets(st.sampled_from(range(len(named))))) if named else ()
            deleted |= {named[place].key for place in gone}
            kept[record.id] = {one.key for one in named} - deleted
        for run in all_runs(store):
            if run.data.tags[schema.TRIAL_KEY] in deleted:
                MlflowClient(store.uri).delete_run(run.info.run_id)
        assert {study: store.keys(study) for study in kept} == kept
        snapshot = snapshot_of(store)
        for path in PATHS:
            mirror = Mirror(Path(folder) / path)
            with open_reader(store, path=path) as reader:
                mirror.refresh(reader)
            assert mirror.snapshot().digest == snapshot.digest, path


ODD = [
    trial("plain", 0, rate=0.1),
    trial("failed", 1, None, rate=float("nan"), booster="☃'\"%_\\\n"),
    trial("long", 2, rate=float("inf"), booster="x" * 30_000, unknown=2**70),
]


@pytest.mark.parametrize("path", PATHS)
def test_the_copy_follows_the_store(store, tmp_path, path):
    mirror = Mirror(tmp_path / "mirror")

    def refreshed(**options):
        with open_reader(store, path=path) as reader:
            found = mirror.refresh(reader, **options)
        assert mirror.snapshot().digest == snapshot_of(store).digest
        return found

    assert refreshed().trials == 0
    recorded(store, study("one"), *ODD)
    assert refreshed().written == 3
    recorded(store, study("two", family="other", created=0.5), trial("later", 0))
    recorded(store, study("one"), trial("next", 3))
    # A writer died between making the run and ending it: the trial is in the history, the run goes on for ever.
    alter(store, "UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?", run_ids(store)["3"])
    assert refreshed().written == 2
    assert refreshed().written == 0
    MlflowClient(store.uri).set_terminated(run_ids(store)["3"])
    MlflowClient(store.uri).delete_run(run_ids(store)["1"])
    found = refreshed()
    assert (found.written, found.removed, found.trials) == (1, 1, 4)
    alter(store, "UPDATE runs SET lifecycle_stage = 'active'")
    assert refreshed(everything=path == "api").written == 1
    MlflowClient(store.uri).delete_run(next(run.info.run_id for run in all_runs(store, "study")))
    refreshed()
    alter(store, "DELETE FROM tags")
    alter(store, "DELETE FROM runs")
    assert refreshed(everything=True).trials == 0


@pytest.mark.parametrize("path", PATHS)
def test_the_copy_has_the_space_that_was_settled_while_the_study_runs(store, tmp_path, path):
    mirror = Mirror(tmp_path / "mirror")
    for space in (SearchSpace({"rate": [None]}), SearchSpace({"rate": {"low": 0.0, "high": 1.0}})):
        store.open_study(study("one", space=space))
        with open_reader(store, path=path) as reader:
            mirror.refresh(reader)
        assert mirror.snapshot().digest == snapshot_of(store).digest
    assert mirror.snapshot().studies[0].space == space


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("hours", "at_once"), [(-1, True), (1, True), (-5, False), (5, True)])
def test_a_clock_that_is_an_hour_off_hides_no_trial_and_a_worse_one_for_a_day_at_most(
    store, tmp_path, path, hours, at_once
):
    """A trial of that machine comes after another one, and is followed by one."""
    mirror = Mirror(tmp_path / "mirror")

    def seen(**options):
        with open_reader(store, path=path) as reader:
            return mirror.refresh(reader, **options).trials

    recorded(store, study(), trial("first", 0))
    assert seen() == 1
    recorded(store, study(), trial("off", 1))
    alter(store, "UPDATE runs SET end_time = end_time + ? WHERE run_uuid = ?", hours * 3_600_000, run_ids(store)["1"])
    alter(store, "UPDATE runs SET status = 'FINISHED'")
    there = at_once or path == "sql"
    assert seen() == 1 + there
    recorded(store, study(), trial("next", 2))
    assert seen() == 2 + there
    assert seen(everything=True) == 3


def test_runs_that_ended_in_one_millisecond_are_found_however_many_they_are(store):
    recorded(store, study(), *(trial(f"k{i}", i) for i in range(13)))
    alter(store, "UPDATE runs SET end_time = 1700000000000, start_time = 1600000000000")
    expected = {run.info.run_id for run in all_runs(store)}
    reader = ApiReader(store, page=3)
    for everything in (False, True):
        found = reader.changes("trial", KNOWN.empty_table(), since=0, studies=(), everything=everything)
        ids = [run.id for run in found]
        assert len(ids) == 13
        assert set(ids) == expected


def test_a_run_written_or_deleted_between_two_pages_neither_repeats_nor_hides_another(store, monkeypatch):
    recorded(store, study(), *(trial(f"k{i}", i) for i in range(10)))
    for i, run in run_ids(store).items():
        alter(store, "UPDATE runs SET end_time = ? WHERE run_uuid = ?", 1_700_000_000_000 + int(i), run)
    before, search, calls = run_ids(store), Find.page, []

    def busy(find, *arguments, **options):
        page = search(find, *arguments, **options)
        calls.append(page)
        if len(calls) == 3:  # after the search for those that run and two full pages
            monkeypatch.undo()  # only the reader's own searches are to be disturbed
            MlflowClient(store.uri).delete_run(before["0"])
            recorded(store, study(), trial("new", 10))
            alter(store, "UPDATE runs SET end_time = 1600000000000 WHERE run_uuid = ?", run_ids(store)["10"])
            monkeypatch.setattr(Find, "page", busy)
        return page

    monkeypatch.setattr(Find, "page", busy)
    found = ApiReader(store, page=3).changes("trial", KNOWN.empty_table(), since=0, studies=(), everything=False)
    ids = [run.id for run in found]
    assert len(calls) > 4
    assert ids == [before[str(i)] for i in range(10)]


def test_sql_reads_the_tables_of_the_installed_mlflow_and_cannot_write(store):
    recorded(store, study(), *ODD)
    with SqlReader(Address.of(store.uri), store.experiment) as reader:
        assert reader.experiment() == store.identity()
        with pytest.raises(OperationalError, match="readonly"):
            reader._connection.execute(text("DELETE FROM runs"))
    with open_reader(store) as reader:
        assert reader.path == "sql"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = 'of the future'",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
        "ALTER TABLE tags RENAME COLUMN value TO content",
        "ALTER TABLE runs RENAME TO flights",
    ],
)
def test_tables_that_are_not_known_are_read_by_the_api_with_a_warning(store, caplog, statement):
    alter(store, statement)
    with caplog.at_level(logging.WARNING, "metatune"), open_reader(store) as reader:
        assert reader.path == "api"
    assert "through MLflow's API, which is slow" in caplog.text
    with pytest.raises(StoreError, match="API"), open_reader(store, path="sql"):
        pass


def test_the_keys_of_a_study_by_either_way(store, tmp_path, monkeypatch):
    recorded(store, study("one"), *ODD)
    recorded(store, study("two", family="other"), trial("unlike / any other", 0))
    MlflowClient(store.uri).delete_run(run_ids(store)["1"])
    expected = {schema.token(one.key) for one in ODD if one.number != 1}
    for _ in range(2):
        assert store.keys("one") == expected
        assert store.keys("two") == {schema.token("unlike / any other")}
        assert store.keys("three") == set()
        monkeypatch.setattr(sql_schema, "KNOWN_VERSIONS", frozenset())
    assert MLflowStore(f"sqlite:///{tmp_path / 'none.db'}").keys("one") == set()
    assert not (tmp_path / "none.db").exists()


def test_a_history_that_does_not_exist_yet_is_empty_and_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("METATUNE_MIRROR", str(tmp_path / "mirror"))
    store = MLflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert refreshed_snapshot(store).studies == ()
    assert not (tmp_path / "mlflow.db").exists()


def test_stores_and_experiments_have_copies_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("METATUNE_MIRROR", str(tmp_path))
    uris = [f"sqlite:///{tmp_path}/{name}.db" for name in "ab"]
    folders = {mirror_of(MLflowStore(uri, name)).directory for uri in uris for name in ("one", "two")}
    assert len(folders) == 4
    assert {folder.parent for folder in folders} == {tmp_path}


def test_a_deleted_experiment_is_said(store):
    recorded(store, study())
    alter(store, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'metatune'")
    for path in PATHS:
        again = MLflowStore(store.uri)
        with pytest.raises(StoreError, match="deleted"), open_reader(again, path=path) as reader:
            reader.experiment()


def test_where_no_copy_can_be_kept_the_history_is_read_all_the_same(store, tmp_path, monkeypatch, caplog):
    recorded(store, study(), *ODD)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("METATUNE_MIRROR", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "metatune"):
        assert refreshed_snapshot(store).digest == snapshot_of(store).digest
    assert "METATUNE_MIRROR" in caplog.text
