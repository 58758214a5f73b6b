"""``metatune sync`` and what ``metatune doctor`` says of the spool."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading

import pytest
from history_cases import new_database, runs, study, trial
from mlflow import MlflowClient
from typer.testing import CliRunner

from metatune.cli.main import app
from metatune.history import spool
from metatune.history.mlflow_runs import HEARTBEAT, OWNER
from metatune.history.mlflow_store import MLflowStore
from metatune.history.owner import Owner
from metatune.history.spool import Destination, Entry, SpoolFile

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


@pytest.fixture
def uri(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METATUNE_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(spool, "fallback_folder", lambda: tmp_path / "fallback")
    return new_database(tmp_path)


def left_behind(destination, n=3):
    file = SpoolFile(spool.folder_of_user(), Destination(destination, "metatune"))
    for entry in (Entry("study-1", study()), *(Entry("study-1", trial(i)) for i in range(n))):
        file.append(entry)
    file.close(remove=False)
    return file.path


def run(*words):
    done = CliRunner().invoke(app, [*words, "--json"])
    return done.exit_code, json.loads(done.stdout)


def doctor():
    return {check["name"]: check for check in run("doctor", "--knowledge", "starter")[1]["checks"]}


def test_what_waits_is_sent_and_said(uri):
    path = left_behind(uri)
    assert doctor()["spool"]["state"] == "warning"
    assert "3 trials wait" in doctor()["spool"]["found"]
    code, found = run("sync")
    assert (code, found["sent"], found["waiting"]) == (0, 3, 0)
    assert MLflowStore(uri).trials("study-1") == [trial(0), trial(1), trial(2)]
    assert not path.exists()
    assert run("sync")[1]["sent"] == 0
    assert doctor()["spool"]["state"] == "ok"
    assert "Nothing waits" in CliRunner().invoke(app, ["sync"]).stdout


def test_studies_of_dead_processes_are_ended_wherever_something_was_sent(uri, tmp_path):
    (tmp_path / "other").mkdir()
    other = new_database(tmp_path / "other")
    for address in (uri, other):
        MLflowStore(address).open_study(study("study-2"))
        for run_of_study in runs(address, "study"):
            MlflowClient(address).set_tag(run_of_study.info.run_id, OWNER, str(Owner("m", "s", 1, "")))
            MlflowClient(address).set_tag(run_of_study.info.run_id, HEARTBEAT, "0")
    left_behind(other)
    assert run("sync")[1]["abandoned"] == ["study-2", "study-2"]
    assert {one.info.status for address in (uri, other) for one in runs(address, "study")} == {"KILLED"}


def test_what_cannot_be_sent_stays_and_exits_with_6(uri):
    path = left_behind("http://127.0.0.1:9")
    code, found = run("sync")
    assert (code, found["sent"], found["waiting"]) == (6, 0, 3)
    assert "server" in found["reasons"][0]
    assert path.exists()
    # The history moved.
    code, found = run("sync", "--from", "http://127.0.0.1:9", "--tracking-uri", uri)
    assert (code, found["sent"]) == (0, 3)
    assert len(MLflowStore(uri).trials("study-1")) == 3


def test_only_what_waits_for_the_address_that_was_given(uri):
    path = left_behind("http://127.0.0.1:9")
    code, found = run("sync", "--tracking-uri", uri)
    assert (code, found["sent"], found["waiting"]) == (0, 0, 0)
    assert path.exists()


def test_credentials_come_from_the_environment(uri, monkeypatch):
    left_behind("http://127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:s3cret@127.0.0.1:9/")
    opened = []
    real = MLflowStore.__init__

    def noted(self, uri=None, experiment="metatune"):
        opened.append(uri)
        real(self, uri, experiment)

    monkeypatch.setattr(MLflowStore, "__init__", noted)
    done = CliRunner().invoke(app, ["sync"])
    assert done.exit_code == 6
    assert "http://ann:s3cret@127.0.0.1:9/" in opened
    assert "s3cret" not in done.output


@contextlib.contextmanager
def nobody():
    """The port of a server that ends every connection, and a list with one entry for each."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        calls = []

        def hang_up():
            with contextlib.suppress(OSError):  # the test is over
                while True:
                    calls.append(listening.accept()[0].close())

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield listening.getsockname()[1], calls
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(("command", "code"), [("sync", 0), ("history", 4)])
def test_a_database_that_is_away_is_waited_for_once(uri, command, code):
    with nobody() as (port, calls):
        address = f"postgresql://127.0.0.1:{port}/history?sslmode=disable&gssencmode=disable"
        done = CliRunner().invoke(app, [command, "--tracking-uri", address, "--json"])
    assert done.exit_code == code
    assert "server closed the connection" in done.stdout  # in the document, too
    assert len(calls) == 1


def test_damaged_lines_are_said(uri):
    path = left_behind(uri)
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    code, found = run("sync")
    assert (code, found["sent"], found["unreadable"]) == (0, 3, 1)
    assert doctor()["unreadable spool"]["state"] == "warning"
    assert path.with_suffix(".unreadable").read_text() == "nonsense\n"


def test_where_nothing_is_to_be_done_mlflow_is_not_loaded(uri):
    """It takes seconds, and tables can be read without."""
    store = MLflowStore(uri)
    store.open_study(study())
    store.add_trials("study-1", [trial(0)])
    store.close_study("study-1", status="finished")
    code = (
        "import sys; from metatune.cli.main import app\n"
        "for command in (['sync'], ['pull'], ['history', 'studies']):\n"
        "    try: app([*command, '--json'])\n"
        "    except SystemExit as end: assert not end.code, command\n"
        "sys.exit(', '.join({'mlflow', 'sklearn', 'lightgbm'} & set(sys.modules)) or 0)"
    )
    environment = {**os.environ, "METATUNE_MIRROR": str(spool.folder_of_user().parent / "mirror")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert '"trials": 1' in done.stdout
