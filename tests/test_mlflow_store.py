"""The history in a real MLflow on SQLite files; making one takes seconds, so the tests copy one that was made once."""

import http.server
import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from memory_store import PLANE, custom
from mlflow import MlflowClient
from mlflow.entities import ViewType

from metatune.doctor import examine
from metatune.errors import StoreError, UsageError
from metatune.history import address, schema
from metatune.history.defects import Defects
from metatune.history.forgetting import erase, find
from metatune.history.mlflow_store import MLflowStore
from metatune.history.mlflow_upkeep import defects
from metatune.knowledge import starter_directory
from metatune.metric import Metric
from metatune.snapshot import snapshot_of
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial
from metatune.tuner import tune

# MLflow's connections to copied databases live as long as its engines, which is as long as the process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An empty MLflow database."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    store = MLflowStore(f"sqlite:///{file}")
    store.open_study(study("template"))
    with sqlite3.connect(file) as connection:
        for table in ("tags", "inputs", "datasets", "runs", "experiment_tags"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM experiments WHERE name = 'metatune'")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file


@pytest.fixture
def uri(template, tmp_path):
    shutil.copy(template, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def study(id="study-1", space=None, **task):
    fields = {
        "name": "wine",
        "kind": "regression",
        "metric": Metric.of("rmse", "regression"),
        "fingerprint": "0123456789abcdef" * 2,
        "metafeatures": {"n_rows": 178.0, "skew": math.nan},
    } | task
    space = space or SearchSpace({"rate": {"low": 1e-4, "high": 1.0, "log": True}, "booster": ["a", "b"]})
    return StudyRecord(task=TaskRecord(**fields), family="lightgbm", space=space, id=id, created=1.7e9)


def trial(number, **fields):
    fields = {"status": "complete", "value": 0.1 + number, "started": 1.7e9 + number, "seconds": 0.25} | fields
    fields = {"configuration": {"rate": 0.1, "booster": "a"}, "number": number} | fields
    return Trial(key=f"key-{number}", **fields)


def runs(uri, record="trial", view=ViewType.ACTIVE_ONLY):
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("metatune").experiment_id
    return list(client.search_runs([experiment], f"tags.`metatune.record` = '{record}'", view))


def test_round_trip(uri):
    store = MLflowStore(uri)
    record, second = study(), study("study-2", name="iris")
    trials = [
        trial(0, metrics={"r2": 0.5}, curve=(3.0, math.nan, 1.0), origin="default"),
        trial(1, status="failed", value=None, error="boom\nline two"),
        trial(2, status="pruned", fidelity=0.5),
    ]
    store.open_study(record)
    store.open_study(second)
    store.add_trials(record.id, trials)
    store.add_trials(second.id, [trial(7)])
    store.close_study(record.id, status="finished")

    fresh = MLflowStore(uri)
    assert [found.id for found in fresh.studies()] == ["study-1", "study-2"]
    assert schema.study_document(fresh.study(record.id)) == schema.study_document(record)
    assert fresh.trials(record.id) == trials
    assert [(found.id, those) for found, those in fresh.records()] == [("study-1", trials), ("study-2", [trial(7)])]
    assert [those for _, those in snapshot_of(fresh).records()] == [tuple(trials), (trial(7),)]


def test_what_mlflow_shows(uri, tmp_path):
    store = MLflowStore(uri)
    page = tmp_path / "report.html"
    page.write_text("<p>report</p>")
    store.open_study(study())
    store.add_trials("study-1", [trial(0, curve=(2.0, 1.0)), trial(1, status="failed", value=None)])
    store.close_study("study-1", status="interrupted", artifacts=[page])

    (parent,) = runs(uri, "study")
    first, second = sorted(runs(uri), key=lambda run: run.data.tags["metatune.number"])
    assert parent.info.status == "KILLED"
    assert parent.inputs.dataset_inputs[0].dataset.name == "wine"
    assert parent.inputs.dataset_inputs[0].dataset.digest == study().task.fingerprint
    assert {run.data.tags["mlflow.parentRunId"] for run in (first, second)} == {parent.info.run_id}
    assert first.data.params == {"rate": "0.1", "booster": "a"}
    assert first.data.metrics == {"rmse": 0.1, "curve/rmse": 1.0}
    assert (first.info.status, second.info.status) == ("FINISHED", "FAILED")
    history = MlflowClient(tracking_uri=uri).get_metric_history(first.info.run_id, "curve/rmse")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0)]
    assert len(list((tmp_path / "mlartifacts" / "metatune").rglob("report.html"))) == 1


def test_adding_again_changes_nothing(uri):
    store = MLflowStore(uri)
    ended = []
    for _ in range(2):
        store.open_study(study())
        store.add_trials("study-1", [trial(0), trial(1)])
        ended.append([run.info.end_time for run in runs(uri)])
    assert ended[0] == ended[1]
    MLflowStore(uri).add_trials("study-1", [trial(1), trial(2)])
    assert len(runs(uri)) == 3
    assert len(runs(uri, "study")) == 1
    assert store.trials("study-1") == [trial(0), trial(1), trial(2)]


def test_trials_that_outlived_the_run_of_their_study_are_not_added_again(uri):
    store = MLflowStore(uri)
    store.open_study(study())
    store.add_trials("study-1", [trial(0), trial(1)])
    [parent] = runs(uri, "study")
    MlflowClient(uri).delete_run(parent.info.run_id)
    again = MLflowStore(uri)
    again.open_study(study())
    again.add_trials("study-1", [trial(0), trial(1), trial(2)])
    assert len(runs(uri)) == 3
    assert [kept.number for kept in again.trials("study-1")] == [0, 1, 2]


@pytest.mark.parametrize(
    "then",
    [
        lambda store: store.add_trials("study-1", [trial(1)]),
        lambda store: store.add_many("study-1", [trial(1)]),
        lambda store: store.close_study("study-1", status="finished"),
    ],
    ids=["trial", "trials", "end"],
)
def test_a_study_whose_run_is_deleted_meanwhile_gets_a_new_one(uri, then, caplog):
    store = MLflowStore(uri)
    store.open_study(study())
    store.add_trials("study-1", [trial(0)])
    [deleted] = runs(uri, "study")
    MlflowClient(uri).delete_run(deleted.info.run_id)
    then(store)
    store.add_trials("study-1", [trial(0), trial(1), trial(2)])
    store.close_study("study-1", status="finished")
    [(record, trials)] = MLflowStore(uri).records()
    assert (record.id, trials) == ("study-1", [trial(0), trial(1), trial(2)])
    [run] = runs(uri, "study")
    assert (run.info.status, run.info.run_id != deleted.info.run_id) == ("FINISHED", True)
    parents = {trial.data.tags["metatune.number"]: trial.data.tags["mlflow.parentRunId"] for trial in runs(uri)}
    assert parents["2"] == run.info.run_id
    assert defects(store) == Defects()
    assert caplog.text.count("study-1 was deleted in MLflow") == 1


def test_a_sign_of_life_does_not_bring_back_a_deleted_study(uri):
    store = MLflowStore(uri)
    store.open_study(study())
    [deleted] = runs(uri, "study")
    MlflowClient(uri).delete_run(deleted.info.run_id)
    store.beat("study-1")
    assert runs(uri, "study") == []
    store.add_trials("study-1", [trial(0)])
    assert [trials for _, trials in MLflowStore(uri).records()] == [[trial(0)]]


def test_a_study_that_is_gone_for_good_meanwhile_gets_a_new_run(uri):
    store = MLflowStore(uri)
    store.open_study(study())
    store.add_trials("study-1", [trial(0)])
    erase(uri, find(uri, "metatune", lambda record: True))
    store.add_trials("study-1", [trial(1)])
    assert [trials for _, trials in MLflowStore(uri).records()] == [[trial(1)]]


def test_a_search_whose_run_is_deleted_meanwhile_loses_no_trial(uri):
    def objective(configuration):
        if len(calls) == 3:
            [run] = runs(uri, "study")
            MlflowClient(uri).delete_run(run.info.run_id)
        calls.append(configuration)
        return configuration["x"]

    calls = []
    store = MLflowStore(uri)
    result = tune(custom(), "own", objective=objective, space=PLANE, n_trials=6, strategy="random", store=store)
    assert (len(calls), result.warnings, result.unsaved) == (6, (), ())
    assert tuple(MLflowStore(uri).trials(result.study_id)) == result.trials
    assert [record.id for record in MLflowStore(uri).studies()] == [result.study_id]
    assert not MLflowStore(uri).unfinished()


def test_a_resumed_study_runs_again(uri):
    store = MLflowStore(uri)
    store.open_study(study())
    store.close_study("study-1", status="interrupted")
    MLflowStore(uri).open_study(study())
    assert [run.info.status for run in runs(uri, "study")] == ["RUNNING"]


def test_a_space_with_a_parameter_that_was_only_none_is_settled_once(uri):
    def known_as(**parameters):
        return study(space=SearchSpace(parameters))

    rate = {"low": 1e-3, "high": 1.0, "log": True}
    unsettled, settled = known_as(rate=[None], booster=["a"]), known_as(rate=rate, booster=["a"])
    store = MLflowStore(uri)
    store.open_study(unsettled)
    store.add_trials("study-1", [trial(0, configuration={"rate": None, "booster": "a"})])
    MLflowStore(uri).open_study(settled)
    assert store.study("study-1") == settled
    for other in (unsettled, known_as(rate=[0.1], booster=["a"]), known_as(rate=rate, booster=["a", "b"])):
        store.open_study(other)
        assert store.study("study-1") == settled
    assert [one.key for one in store.trials("study-1")] == ["key-0"]


def test_several_new_databases_at_once(tmp_path):
    stores = [MLflowStore(f"sqlite:///{tmp_path / name}.db") for name in ("a", "b", "b")]
    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(lambda store: store.open_study(study()), stores))
    assert all(len(store.studies()) == 1 for store in stores)


def test_a_trial_half_written_by_a_killed_process_is_completed(uri, monkeypatch):
    store = MLflowStore(uri)
    store.open_study(study())

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            store.add_trials("study-1", [trial(0)])
    again = MLflowStore(uri)
    assert again.trials("study-1") == [trial(0)]
    again.add_trials("study-1", [trial(0)])
    assert [(run.info.status, run.data.metrics) for run in runs(uri)] == [("FINISHED", {"rmse": 0.1})]


def test_deleted_runs_are_not_listed(uri):
    store = MLflowStore(uri)
    store.open_study(study())
    store.open_study(study("study-2"))
    store.add_trials("study-1", [trial(0), trial(1)])
    store.add_trials("study-2", [trial(2)])
    client = MlflowClient(tracking_uri=uri)
    for run in (*runs(uri), *runs(uri, "study")):
        if run.data.tags.get("metatune.number") == "0" or run.data.tags["metatune.study"] == "study-2":
            client.delete_run(run.info.run_id)
    assert [found.id for found in store.studies()] == ["study-1"]
    assert store.trials("study-1") == [trial(1)]
    assert [those for _, those in store.records()] == [[trial(1)]]


def test_awkward_names_and_many_parameters(uri):
    names = ["a b", "naïve ✓", "a/b", "../up", "x" * 300, "quote\"'`%", "new\nline"]
    space = SearchSpace({name: {"low": 0.0, "high": 1.0} for name in [*names, *(f"p{i}" for i in range(150))]})
    record = study("it's `odd`", space=space, name="näme '\"✓" * 100, metric=Metric("lo/ss ✓", "minimize"))
    odd = trial(0, configuration=dict.fromkeys(space, 0.5), curve=tuple(map(float, range(1500))), metrics={"": 1.0})
    store = MLflowStore(uri)
    store.open_study(record)
    store.add_trials(record.id, [odd])
    fresh = MLflowStore(uri)
    assert fresh.trials(record.id) == [odd]
    assert schema.study_document(fresh.study("it's")) == schema.study_document(record)
    (run,) = runs(uri)
    assert len(run.data.params) == len(space)
    assert {schema.original_name(name) for name in run.data.params} >= set(names) - {"x" * 300}


def test_studies_are_found_by_the_beginning_of_their_id(uri):
    store = MLflowStore(uri)
    for id in ("abc", "abd", "ab"):
        store.open_study(study(id))
    assert store.study("abc").id == "abc"
    assert store.study("ab").id == "ab"
    with pytest.raises(UsageError, match="3 studies"):
        store.study("a")
    with pytest.raises(UsageError, match="no study"):
        store.study("x")


def test_trials_of_an_unknown_study_are_refused(uri):
    with pytest.raises(StoreError, match="open_study"):
        MLflowStore(uri).add_trials("nowhere", [trial(0)])
    assert MLflowStore(uri).trials("nowhere") == []


def test_other_runs_of_the_experiment_are_left_alone(uri):
    store = MLflowStore(uri)
    store.open_study(study())
    client = MlflowClient(tracking_uri=uri)
    client.create_run(client.get_experiment_by_name("metatune").experiment_id, tags={"somebody": "else"})
    assert [those for _, those in store.records()] == [[]]


def test_runs_that_cannot_be_read_are_named_once_and_left_out(uri, caplog):
    store = MLflowStore(uri)
    for name in ("study-1", "study-2"):
        store.open_study(study(name))
        store.add_trials(name, [trial(0), trial(1)])
    damaged = next(run for run in runs(uri) if run.data.tags[schema.STUDY_ID] == "study-1")
    newer = next(run for run in runs(uri, "study") if run.data.tags[schema.STUDY_ID] == "study-2")
    client = MlflowClient(tracking_uri=uri)
    client.set_tag(damaged.info.run_id, "metatune.document.0", "{")
    client.set_tag(newer.info.run_id, "metatune.schema", "2")

    fresh = MLflowStore(uri)
    left = [trial(n) for n in (0, 1) if str(n) != damaged.data.tags["metatune.number"]]
    assert fresh.trials("study-1") == left
    assert [(found.id, those) for found, those in fresh.records()] == [("study-1", left)]
    assert [found.id for found in fresh.studies()] == fresh.unfinished() == ["study-1"]
    assert set(fresh.unreadable) == {damaged.info.run_id, newer.info.run_id}
    warnings = [record.getMessage() for record in caplog.records if record.name == "metatune"]
    assert len(warnings) == 2
    assert all(sum(run_id in warning for warning in warnings) == 1 for run_id in fresh.unreadable)
    assert "left out: 1 (" in warnings[0]
    (check,) = (check for check in examine(MLflowStore(uri), starter_directory()) if check.name == "unreadable runs")
    assert check.state == "warning"
    assert damaged.info.run_id in check.found
    assert newer.info.run_id in check.found


def test_a_study_that_cannot_be_read_is_not_written_to(uri):
    MLflowStore(uri).open_study(study())
    (run,) = runs(uri, "study")
    MlflowClient(tracking_uri=uri).set_tag(run.info.run_id, "metatune.schema", "2")
    with pytest.raises(StoreError, match=run.info.run_id):
        MLflowStore(uri).add_trials("study-1", [trial(0)])


def test_deleted_experiment_is_reported(uri):
    MLflowStore(uri).open_study(study())
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.get_experiment_by_name("metatune").experiment_id)
    with pytest.raises(StoreError, match="restore"):
        MLflowStore(uri).studies()


def test_sqlite_is_in_wal_mode(uri, tmp_path):
    MLflowStore(uri).studies()
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_locked_database_is_reported(uri, tmp_path, monkeypatch):
    monkeypatch.setattr(address, "BUSY_SECONDS", 0.1)
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    connection.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"locked.*mlflow\.db.*Another program"):
        MLflowStore(uri).studies()
    assert time.monotonic() - began < 5
    connection.close()


@pytest.mark.slow
def test_database_locked_while_in_use_is_reported(uri, tmp_path):
    store = MLflowStore(uri)
    store.open_study(study())
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="Another program"):
        store.add_trials("study-1", [trial(0)])
    connection.rollback()
    connection.close()
    store.add_trials("study-1", [trial(0)])
    assert store.trials("study-1") == [trial(0)]


def test_a_file_that_is_no_database_is_reported(tmp_path):
    (tmp_path / "notes.db").write_text("not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="give another one"):
        MLflowStore(f"sqlite:///{tmp_path / 'notes.db'}").studies()


def test_a_place_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="permissions"):
        MLflowStore(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}").open_study(study())


def test_reading_makes_no_database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = MLflowStore()
    assert store.uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert (store.studies(), store.trials("x"), list(store.records())) == ([], [], [])
    assert list(tmp_path.iterdir()) == []


def test_address_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    assert MLflowStore().uri == "http://tracking.example:5000"
    assert MLflowStore(f"sqlite:///{tmp_path}/a.db").uri == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize("uri", ["localhost:5000", "./mlruns", "file:./mlruns", "mlflow.db", "sqlite://", "ftp://a/b"])
def test_what_is_no_address_is_refused(uri):
    with pytest.raises(UsageError, match="sqlite:///<file>"):
        MLflowStore(uri)


def test_folders_of_runs_are_explained():
    with pytest.raises(UsageError, match="migrate-filestore"):
        MLflowStore("file:./mlruns")


def test_unreachable_server_is_reported_at_once():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(StoreError, match=f"{port}.*server runs"):
        MLflowStore(f"http://127.0.0.1:{port}").studies()
    assert time.monotonic() - began < 5


def test_silent_server_is_reported(monkeypatch):
    monkeypatch.setattr(address, "REACH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(StoreError, match="server runs"):
            MLflowStore(f"http://127.0.0.1:{silent.getsockname()[1]}").studies()
        assert time.monotonic() - began < 5


def test_a_server_of_something_else_is_reported():
    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(StoreError, match="address is right"):
            MLflowStore(f"http://127.0.0.1:{server.server_port}").studies()
        server.shutdown()


FIRST_USE = """
import sys
from test_mlflow_store import MLflowStore, study, trial
store = MLflowStore(sys.argv[1])
store.open_study(study(sys.argv[2]))
store.add_trials(sys.argv[2], [trial(int(sys.argv[3]))])
"""


def test_two_processes_may_begin_a_history_at_once_and_quietly(tmp_path):
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, uri, f"study-{i}", str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "", "HOME": str(tmp_path)},
        )
        for i in range(2)
    ]
    assert [process.communicate()[0] for process in processes] == ["", ""]
    found = {record.id: those for record, those in MLflowStore(uri).records()}
    assert found == {"study-0": [trial(0)], "study-1": [trial(1)]}
    assert {path.name.split("-")[0] for path in (tmp_path / "new").iterdir()} == {"mlflow.db"}


@pytest.mark.slow
def test_round_trip_through_a_server(template, tmp_path, monkeypatch, capfd):
    shutil.copy(template, tmp_path / "server.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(
        [sys.executable, *command, "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        store = MLflowStore(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 240
        while True:
            try:
                assert store.studies() == []
                break
            except StoreError:
                assert time.monotonic() < deadline
                time.sleep(1)
        page = tmp_path / "report.html"
        page.write_text("<p>report</p>")
        trials = [trial(i, curve=(1.0, 0.5)) for i in range(3)]
        store.open_study(study())
        store.add_trials("study-1", trials)
        store.close_study("study-1", status="finished", artifacts=[page])
        assert MLflowStore(store.uri).trials("study-1") == trials
        assert "View run" not in capfd.readouterr().out
    finally:
        # The command leaves its server running when only it is ended.
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(120)
