"""A real MLflow server that is away, comes back, answers slowly or nonsense: nothing is lost, and no trial waits."""

import contextlib
import http.server
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from history_cases import new_database, runs, study, trial

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from mlflow_server import MLflowServer

from metatune.doctor import examine
from metatune.history.mlflow_store import MLflowStore
from metatune.history.outbox import Outbox
from metatune.history.pace import Pace
from metatune.knowledge import starter_directory

pytestmark = [
    pytest.mark.slow,
    # MLflow's connections to copied databases live as long as its engines, which is as long as the process.
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]
QUICK = Pace(quiet=0.0, retry=0.1, retry_most=1.0, leave=20.0, stall=20.0)


@pytest.fixture(autouse=True)
def patience(folder, monkeypatch):
    # Of the request that is under way when the server dies; MLflow's seven take two minutes.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = tmp_path_factory.mktemp("server")
    with MLflowServer(new_database(place), place) as running:
        running.database = f"sqlite:///{place / 'mlflow.db'}"
        running.start()
        yield running


def recorded(uri, id, *, until, pause=0.05):
    """Record trials until the event is set and a few more; how many, and the longest that one waited."""
    outbox = Outbox(MLflowStore(uri), pace=QUICK)
    outbox.open_study(study(id))
    longest, n, more = 0.0, 0, 0
    while more < 5:
        began = time.monotonic()
        outbox.add_trial(id, trial(n, key=f"{id}-{n}"))
        longest = max(longest, time.monotonic() - began)
        n, more = n + 1, more + until.is_set()
        time.sleep(pause)
    outbox.close_study(id, "finished", {"result.json": "{}"})
    deadline = time.monotonic() + 120
    while not outbox.flush():
        assert time.monotonic() < deadline, outbox.problem
    assert outbox.problem is None
    outbox.leave()
    return n, longest


def assert_complete(server, id, n, longest):
    assert longest < 2.0
    mine = [run for run in runs(server.database) if run.data.tags["metatune.study"] == id]
    assert sorted(run.data.tags["metatune.trial_key"] for run in mine) == sorted(f"{id}-{i}" for i in range(n))
    assert {run.info.status for run in mine} == {"FINISHED"}
    assert MLflowStore(server.uri).trials(id) == [trial(i, key=f"{id}-{i}") for i in range(n)]
    found = {check.name: check.state for check in examine(MLflowStore(server.uri), starter_directory())}
    assert found["history"] == found["spool"] == "ok"
    assert not {"abandoned studies", "half-written trials", "doubled runs", "lost trials"} & set(found)


@contextlib.contextmanager
def meanwhile(work):
    """Run ``work`` in a thread; an event that is set when it ended. What it raised is raised at the end."""
    done, problems = threading.Event(), []

    def target():
        try:
            work()
        except BaseException as error:
            problems.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=target)
    thread.start()
    yield done
    thread.join()
    if problems:
        raise problems[0]


def test_what_a_server_that_cannot_start_says_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="nonsense"), MLflowServer("nonsense://", tmp_path) as broken:
        broken.start()


def test_killed_in_mid_run_and_back_after_a_minute(server):
    def outage():
        time.sleep(2)
        server.kill()
        time.sleep(60)
        server.start()

    with meanwhile(outage) as over:
        n, longest = recorded(server.uri, "killed", until=over, pause=0.5)
    assert n > 100
    assert_complete(server, "killed", n, longest)


def test_away_at_the_start(server):
    server.kill()

    def late():
        time.sleep(3)
        server.start()

    with meanwhile(late) as over:
        n, longest = recorded(server.uri, "late", until=over, pause=0.5)
    assert_complete(server, "late", n, longest)


class Proxy(http.server.BaseHTTPRequestHandler):
    """Hands everything on to the server; ``way`` is how it fails."""

    target, way = "", "pass"

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        way = type(self).way
        if way == "500":
            return self.reply(500, "text/plain", b"broken")
        if way == "html":
            return self.reply(200, "text/html", b"<html><body>Please log in</body></html>")
        if way == "slow":
            time.sleep(1.0)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        answer = requests.request(self.command, self.target + self.path, headers=headers, data=body, timeout=60)
        if way == "lost":  # it was done, and nobody hears of it
            return self.connection.close()
        return self.reply(answer.status_code, answer.headers.get("Content-Type", "text/plain"), answer.content)

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = forward  # noqa: N815

    def handle(self):
        with contextlib.suppress(OSError, ValueError):  # of a connection that was closed on purpose
            super().handle()

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *args):
        pass


@pytest.mark.parametrize("way", ["500", "html", "lost", "slow"])
def test_in_mid_run_it(server, way):
    """For three seconds every answer fails, is lost, or takes a second."""
    handler = type("Handler", (Proxy,), {"target": server.uri})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

        def fault():
            time.sleep(1)
            handler.way = way
            time.sleep(3)
            handler.way = "pass"

        with meanwhile(fault) as over:
            n, longest = recorded(f"http://127.0.0.1:{proxy.server_port}", way, until=over, pause=0.1)
        proxy.shutdown()
    assert_complete(server, way, n, longest)
