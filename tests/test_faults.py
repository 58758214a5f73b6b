"""Faults, injected for real into searches that record in MLflow: nothing is lost, nothing doubled, nothing waits."""

import http.server
import json
import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import contextmanager

import pytest
from history_cases import new_database, runs, study, trial
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from metatune.doctor import examine
from metatune.errors import StoreError, StoreUnavailableError
from metatune.history import address, mlflow_runs, mlflow_upkeep, schema, spool
from metatune.history.mlflow_runs import HEARTBEAT, OWNER
from metatune.history.mlflow_store import MLflowStore
from metatune.history.outbox import Outbox
from metatune.history.owner import Owner
from metatune.history.pace import Pace
from metatune.history.replay import sync
from metatune.history.spool import Entry, SpoolFile, folders
from metatune.knowledge import starter_directory

# MLflow's connections to copied databases live as long as its engines, which is as long as the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
QUICK = Pace(quiet=0.0, retry=0.05, retry_most=0.2, leave=10.0, stall=5.0, linger=0.05)


@pytest.fixture
def uri(tmp_path):
    return new_database(tmp_path)


def numbers(uri):
    """The numbers of the trials in the store, by their runs: whatever is there twice shows."""
    return sorted(int(run.data.tags["metatune.number"]) for run in runs(uri))


def synced(uri):
    return list(sync(folders(), lambda destination: MLflowStore(uri)))


def checks(uri, **options):
    return {check.name: check for check in examine(MLflowStore(uri), starter_directory(), **options)}


def whole(uri):
    found = checks(uri)
    broken = {"abandoned studies", "half-written trials", "doubled runs", "lost trials", "unreadable runs", "spool"}
    return found["history"].state == "ok" and not {n for n in broken & set(found) if found[n].state != "ok"}


# --- kills


def runs_if_any(uri, record):
    """The states of the runs; nothing is there where the process was killed before its first write."""
    known = MlflowClient(tracking_uri=uri).get_experiment_by_name("metatune")
    return [run.info.status for run in runs(uri, record)] if known else []


def killed_worker(uri, n, die):
    """A forked process records ``n`` trials and is killed by ``die``; the numbers for which ``add_trial`` returned."""
    ended, acknowledged = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            die()
            outbox = Outbox(MLflowStore(uri), pace=QUICK)
            outbox.open_study(study())
            for i in range(n):
                outbox.add_trial("study-1", trial(i, curve=(1.0, 0.5)))
                os.write(acknowledged, bytes([i]))
                time.sleep(0.01)
            outbox.close_study("study-1", "finished", {"result.json": "{}"})
            outbox.leave()
        finally:
            os._exit(0)
    os.close(acknowledged)
    with os.fdopen(ended, "rb") as pipe:
        added = list(pipe.read())
    os.waitpid(pid, 0)
    return added


def assert_nothing_lost(uri, added):
    synced(uri)
    mlflow_upkeep.repair(MLflowStore(uri))
    found = numbers(uri)
    assert found == list(range(len(found)))  # each once
    assert found[: len(added)] == added
    assert len(found) <= len(added) + 1
    assert whole(uri)
    assert synced(uri) == []
    assert all(run.info.status != "RUNNING" for run in (*runs(uri), *runs(uri, "study")))


def dies_before_write(at):
    """The process is killed just before its change number ``at`` of a database, or before that is committed."""
    writes, changed = 0, False

    def write(change):
        nonlocal writes, changed
        if change or changed:
            writes += 1
            if writes == at:
                os.kill(os.getpid(), signal.SIGKILL)
        changed = change

    def execute(connection, cursor, statement, *_):
        if statement.split()[0] in ("INSERT", "UPDATE", "DELETE"):
            write(True)

    event.listen(Engine, "before_cursor_execute", execute)
    event.listen(Engine, "commit", lambda connection: write(False))


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_every_write_to_the_store(folder, tmp_path, step):
    asked, at = 3, 1
    while True:
        place = tmp_path / str(at)
        place.mkdir()
        uri = new_database(place)
        added = killed_worker(uri, asked, lambda: dies_before_write(at))  # noqa: B023
        over = runs_if_any(uri, "study") == ["FINISHED"]
        assert_nothing_lost(uri, added)
        if over:
            break
        at += step
    assert added == list(range(asked))
    assert at > 10 * asked  # parts of each trial


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_random(folder, uri, seed):
    moment = random.Random(seed).uniform(0.0, 1.0)

    def die():
        signal.setitimer(signal.ITIMER_REAL, moment)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert_nothing_lost(uri, killed_worker(uri, 30, die))


def test_ctrl_c_closes_the_study_and_keeps_all(folder, uri):
    def interrupted():
        store = MLflowStore(uri)
        from metatune.task import Task
        from metatune.tuner import tune

        def objective(configuration):
            if len(list(configuration)) and time.monotonic() - began > 0.3:
                os.kill(os.getpid(), signal.SIGINT)
            return configuration["rate"]

        began = time.monotonic()
        task = Task.custom("t", metric="m", direction="maximize")
        result = tune(
            task, "f", objective=objective, space=study().space, strategy="random", n_trials=10**4, store=store
        )
        assert result.interrupted
        assert store.trials(result.study_id) == list(result.trials)
        os._exit(0)

    pid = os.fork()
    if pid == 0:
        try:
            interrupted()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [run.info.status for run in runs(uri, "study")] == ["KILLED"]
    assert sum(run.info.status == "KILLED" for run in runs(uri)) == 1
    assert whole(uri)


# --- stores that are away


def recorded(store, n=6, pause=0.02):
    """Record trials as a search does; the outbox, and the longest that a trial waited."""
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    longest = 0.0
    for i in range(n):
        began = time.monotonic()
        outbox.add_trial("study-1", trial(i))
        longest = max(longest, time.monotonic() - began)
        time.sleep(pause)
    return outbox, longest


@pytest.mark.parametrize("seconds", [1.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_a_locked_database(folder, uri, monkeypatch, seconds):
    monkeypatch.setattr(address, "BUSY_SECONDS", 0.2)
    connection = sqlite3.connect(uri.removeprefix("sqlite:///"), check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(seconds, connection.rollback)
    release.start()
    outbox, longest = recorded(MLflowStore(uri))
    assert longest < 2.0
    assert len(outbox.waiting()) == 6
    release.join()
    for _ in range(5):
        outbox.flush()
    outbox.drop()
    connection.close()
    assert numbers(uri) == list(range(6))


class Fake(http.server.BaseHTTPRequestHandler):
    """A server that answers everything in one way."""

    status, kind, body, delay = 500, "text/plain", b"broken", 0.0

    def do_GET(self):
        time.sleep(self.delay)
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_HEAD = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *args):
        pass


@contextmanager
def server(**answer):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (Fake,), answer)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


ANSWERS = {
    "500": {},
    "html": {"status": 200, "kind": "text/html", "body": b"<html><body>Please log in</body></html>"},
    "404": {"status": 404},
    "slow": {"status": 503, "delay": 1.0},
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_answers_nonsense(folder, uri, answer, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with server(**ANSWERS[answer]) as wrong:
        outbox, longest = recorded(MLflowStore(wrong), n=4)
        assert longest < 2.0
        if answer != "slow":
            assert not outbox.flush()
        assert len(outbox.waiting()) == 4
        (path,) = folder.glob("*.jsonl")
        copy = path.read_bytes()
        outbox.drop()
    # What waits for one address can be sent to another: the history moved.
    path.write_bytes(copy)
    done = synced(uri)
    assert [(one.sent, one.waiting) for one in done] == [(4, 0)]
    assert numbers(uri) == list(range(4))


def test_which_failures_pass(tmp_path, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for answer, kind in (("500", StoreUnavailableError), ("html", StoreError), ("404", StoreError)):
        with server(**ANSWERS[answer]) as wrong, pytest.raises(StoreError) as raised:
            MLflowStore(wrong).open_study(study())
        assert type(raised.value) is kind
    with pytest.raises(StoreUnavailableError):
        MLflowStore("http://127.0.0.1:9").open_study(study())
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(StoreError) as raised:
        MLflowStore(f"sqlite:///{tmp_path / 'text.db'}").open_study(study())
    assert type(raised.value) is StoreError


def test_credentials_are_in_no_message(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreError) as raised:
        MLflowStore("http://ann:s3cret@127.0.0.1:9").open_study(study())
    assert "s3cret" not in str(raised.value)


# --- requests of which the answer was lost


def test_a_run_that_was_made_though_the_call_failed(uri, monkeypatch):
    store = MLflowStore(uri)
    store.open_study(study())
    real = MlflowClient.create_run

    def lost(*args, **options):
        real(*args, **options)
        raise OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", lost)
        with pytest.raises(StoreError):
            store.add_trials("study-1", [trial(0)])
    store.add_trials("study-1", [trial(0), trial(1)])
    assert numbers(uri) == [0, 1]
    assert {run.info.status for run in runs(uri)} == {"FINISHED"}


def test_a_slow_request_that_was_answered_twice(uri, monkeypatch):
    monkeypatch.setattr("metatune.history.mlflow_store._SLOW_SECONDS", 0.0)
    store = MLflowStore(uri)
    store.open_study(study())
    real = MlflowClient.create_run

    def twice(*args, **options):
        real(*args, **options)
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", twice)
        store.add_trials("study-1", [trial(0), trial(1)])
    assert numbers(uri) == [0, 1]
    assert MLflowStore(uri).trials("study-1") == [trial(0), trial(1)]


def test_processes_that_begin_one_study_at_once_share_its_run(uri):
    first, second = MLflowStore(uri), MLflowStore(uri)
    with first._place.client() as client:
        data = first._created(client, study())
    with second._place.client() as client:  # it looked before the first had made its run
        assert second._created(client, study()).run_id == data.run_id
    assert len(runs(uri, "study")) == 1


# --- what dead processes leave


def abandoned(uri, **tags):
    """A study that is marked as running, with one whole and one half-written trial, and the tags of its owner."""
    store = MLflowStore(uri)
    store.open_study(study())
    store.add_trials("study-1", [trial(0), trial(1)])
    client = MlflowClient(tracking_uri=uri)
    (parent,) = runs(uri, "study")
    half = next(run for run in runs(uri) if run.data.tags["metatune.number"] == "1")
    client.update_run(half.info.run_id, status="RUNNING")
    for name, value in tags.items():
        client.set_tag(parent.info.run_id, f"metatune.{name}", str(value))


def other_pid(owner):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return str(Owner(owner.machine, owner.session, child, owner.started))


def test_studies_of_dead_processes_are_ended(uri):
    assert (OWNER, HEARTBEAT) == ("metatune.owner", "metatune.heartbeat")
    abandoned(uri, owner=other_pid(Owner.current()))
    found = checks(uri)
    assert "study-1" in found["abandoned studies"].found
    assert "key-1" in found["half-written trials"].found
    assert checks(uri, repair=True)["abandoned studies"].state == "ok"
    assert [run.info.status for run in runs(uri, "study")] == ["KILLED"]
    assert {run.info.status for run in runs(uri)} == {"FINISHED"}
    assert MLflowStore(uri).trials("study-1") == [trial(0), trial(1)]
    assert whole(uri)


def test_studies_of_living_processes_are_left_alone(uri):
    abandoned(uri, heartbeat=0)  # its clock is years behind
    assert not mlflow_upkeep.repair(MLflowStore(uri))
    assert [run.info.status for run in runs(uri, "study")] == ["RUNNING"]


@pytest.mark.parametrize(
    ("age", "ended"), [(-3_600, False), (3_600, False), (80_000, False), (100_000, True)], ids=lambda value: str(value)
)
def test_studies_on_other_machines_are_ended_by_age_alone(uri, age, ended):
    """An hour by which the clocks differ, either way, makes nobody dead."""
    abandoned(uri, owner="0123:4567:1:1", heartbeat=int(time.time() - age))
    assert bool(mlflow_upkeep.repair(MLflowStore(uri)).abandoned) == ended
    assert [run.info.status for run in runs(uri, "study")] == ["KILLED" if ended else "RUNNING"]


def test_a_process_that_got_the_number_of_a_dead_one_is_not_it():
    owner = Owner.current()
    assert owner.alive() is True
    assert Owner.parse(str(owner)) == owner
    assert Owner(owner.machine, owner.session, owner.pid, "1").alive() is False
    assert Owner("elsewhere", owner.session, owner.pid, owner.started).alive() is None
    assert Owner.parse("nonsense") is None


def test_the_heartbeat_of_a_running_search(uri):
    store = MLflowStore(uri)
    outbox = Outbox(store, pace=Pace(quiet=0.0, heartbeat=0.05, linger=0.05))
    outbox.open_study(study())
    outbox.flush()
    (before,) = runs(uri, "study")
    MlflowClient(tracking_uri=uri).set_tag(before.info.run_id, HEARTBEAT, "0")
    deadline = time.monotonic() + 10
    while runs(uri, "study")[0].data.tags[HEARTBEAT] == "0":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    outbox.drop()


def test_of_equal_keys_the_half_written_one_is_completed(uri):
    store = MLflowStore(uri)
    for id in ("study-1", "study-2"):
        store.open_study(study(id))
        store.add_trials(id, [trial(0)])
        store.close_study(id, status="finished")
    client = MlflowClient(tracking_uri=uri)
    for half in runs(uri):
        client.update_run(half.info.run_id, status="RUNNING")
        assert mlflow_upkeep.repair(MLflowStore(uri)).half_written == ("key-0",)
        assert {run.info.status for run in runs(uri)} == {"FINISHED"}


def test_tables_tell_what_is_not_whole_as_the_api_does(uri, monkeypatch):
    abandoned(uri, owner=other_pid(Owner.current()))
    store, client = MLflowStore(uri), MlflowClient(tracking_uri=uri)
    for id in ("study-2", "study 3"):
        store.open_study(study(id))
        store.add_trials(id, [trial(n) for n in range(10)])
        store.close_study(id, status="finished")
    for record, name in (("study", "study-2"), ("trial", "study-2"), ("trial", schema.token("study 3"))):
        one = next(run for run in runs(uri, record) if run.data.tags[schema.STUDY_ID] == name)
        client.create_run(one.info.experiment_id, tags=one.data.tags)
    gone = next(run for run in runs(uri, "study") if run.data.tags[schema.STUDY_ID] == schema.token("study 3"))
    client.delete_run(gone.info.run_id)
    read = []
    with monkeypatch.context() as patch:
        search = mlflow_runs.search
        patch.setattr(mlflow_runs, "search", lambda *a, **o: (read.append(run) or run for run in search(*a, **o)))
        by_tables = mlflow_upkeep.defects(MLflowStore(uri), silent=0.0)
    assert len({run.info.run_id for run in read}) < 10  # those in doubt, of 27
    with monkeypatch.context() as patch:
        patch.setattr(mlflow_upkeep, "uneven", lambda store: None)
        by_api = mlflow_upkeep.defects(MLflowStore(uri), silent=0.0)
    assert by_tables.abandoned == by_api.abandoned == ("study-1",)
    for name in ("half_written", "doubled", "lost"):
        assert sorted(getattr(by_tables, name)) == sorted(getattr(by_api, name)), name
    assert len(by_api.doubled) == 3
    assert set(by_api.lost) == {f"key-{n}" for n in range(10)}
    mlflow_upkeep.repair(MLflowStore(uri))
    left = mlflow_upkeep.defects(MLflowStore(uri))
    assert (left.abandoned, left.half_written, left.doubled) == ((), (), ())
    assert set(left.lost) == set(by_api.lost)


def test_runs_of_others_are_left_alone(uri):
    MLflowStore(uri).open_study(study())
    client = MlflowClient(tracking_uri=uri)
    run = client.create_run(client.get_experiment_by_name("metatune").experiment_id, start_time=0)
    mlflow_upkeep.repair(MLflowStore(uri), silent=0.0)
    assert client.get_run(run.info.run_id).info.status == "RUNNING"


def test_a_trial_is_found_by_its_key_in_a_spool_of_another_clock(folder, uri):
    store = MLflowStore(uri)
    store.open_study(study())
    store.add_trials("study-1", [trial(0)])
    file = SpoolFile(folder, spool.Destination.of(store))
    for entry in (Entry("study-1", study()), Entry("study-1", trial(0)), Entry("study-1", trial(1, started=9e9))):
        file.append(entry)
    file.close(remove=False)
    os.utime(file.path, (2**31, 2**31))
    assert [one.sent for one in synced(uri)] == [2]
    assert numbers(uri) == [0, 1]
    assert json.loads(json.dumps(MLflowStore(uri).trials("study-1")[1].started)) == 9e9
