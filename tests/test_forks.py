"""Processes that are forked from one that uses a database leave it whole, and lose nothing."""

import logging
import multiprocessing
import os
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from history_cases import new_database, runs, study, trial
from open_files import count_open

from metatune.errors import StoreUnavailableError
from metatune.history import connections, mlflow_database
from metatune.history.address import Address
from metatune.history.connections import in_use
from metatune.history.mlflow_store import MLflowStore

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def uri(tmp_path):
    return new_database(tmp_path)


def added(uri, numbers):
    store = MLflowStore(uri)
    for number in numbers:
        store.add_trials("study-1", [trial(number)])


def told(action):
    """What ``action`` gave in a forked process, or the kind of error that it raised, as text."""
    answered, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = str(action())
        except Exception as error:
            text = type(error).__name__
        os.write(answer, text.encode())
        os._exit(0)
    os.close(answer)
    with os.fdopen(answered, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(pid, 0)
    return text


def test_children_and_their_parent_write_to_one_file(uri):
    store = MLflowStore(uri)
    store.open_study(study())
    store.add_trials("study-1", [trial(0)])
    workers = [FORK.Process(target=added, args=(uri, range(10 * i, 10 * i + 10))) for i in range(1, 5)]
    for number, worker in enumerate(workers, start=1):
        worker.start()
        store.add_trials("study-1", [trial(number)])
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    with closing(sqlite3.connect(Address.of(uri).file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert sorted(int(run.data.tags["metatune.number"]) for run in runs(uri)) == [*range(5), *range(10, 50)]


def test_no_file_of_the_database_is_open_in_a_child(uri):
    store = MLflowStore(uri)
    store.open_study(study())
    name = Address.of(uri).file.name
    assert count_open(name) > 0  # MLflow keeps its connections: there is something to close
    assert told(lambda: count_open(name)) == "0"
    store.add_trials("study-1", [trial(1)])
    assert len(runs(uri)) == 1


class Use:
    """A thread that uses the database until it is told to end."""

    def __init__(self, address):
        self.begun, self.end = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.work, args=(address,))

    def work(self, address):
        with in_use(address):
            self.begun.set()
            self.end.wait(30)

    def __enter__(self):
        self.thread.start()
        assert self.begun.wait(10)
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


def test_a_fork_waits_for_other_threads(uri):
    address = Address.of(uri)
    with Use(address) as use:
        threading.Timer(0.2, use.end.set).start()
        assert told(lambda: MLflowStore(uri).studies()) == "[]"
        assert use.end.is_set()


def test_a_child_of_a_busy_process_leaves_the_database_alone(uri, monkeypatch):
    monkeypatch.setattr(connections, "FORK_SECONDS", 0.1)
    with Use(Address.of(uri)):
        began = time.monotonic()
        assert told(lambda: MLflowStore(uri).studies()) == StoreUnavailableError.__name__
        assert time.monotonic() - began < 5
        assert told(lambda: told(lambda: MLflowStore(uri).studies())) == StoreUnavailableError.__name__
        assert MLflowStore(uri).studies() == []  # the parent goes on
    assert told(lambda: MLflowStore(uri).studies()) == "[]"


def test_a_process_that_forks_while_it_reads_itself(uri):
    with in_use(Address.of(uri)):
        assert told(lambda: MLflowStore(uri).studies()) == StoreUnavailableError.__name__
        with in_use(Address.of(uri)):
            assert MLflowStore(uri).studies() == []


def test_servers_are_asked_over_new_connections_anyway(uri):
    with in_use(Address.of("http://127.0.0.1:9")):
        assert told(lambda: MLflowStore(uri).studies()) == "[]"


def test_a_fork_while_other_threads_silence_what_mlflow_logs():
    """As all that use a server do, for which no fork waits."""
    logger = logging.getLogger("mlflow.store.db.utils")
    level = logger.level

    def after():
        free = mlflow_database._SILENCE.acquire(timeout=1)
        mlflow_database._SILENCE.release()
        return free, logger.level == level

    with mlflow_database.quiet():
        assert logger.level != level
        with mlflow_database._SILENCE:
            assert told(after) == "(True, True)"
    assert logger.level == level
