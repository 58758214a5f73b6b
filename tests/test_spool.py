"""The spool and the outbox: what was added is on disk, reaches the store exactly once, and no trial waits for it."""

import errno
import fcntl
import logging
import math
import os
import resource
import signal
import stat
import threading
import time
from dataclasses import replace

import pytest
from disks import fill, mounted
from history_cases import new_database, study, trial
from memory_store import MemoryStore
from open_files import count_open

from metatune.doctor import _spool
from metatune.errors import StoreError, StoreUnavailableError
from metatune.history import spool
from metatune.history.address import Address, without_secrets
from metatune.history.mlflow_store import MLflowStore
from metatune.history.outbox import Outbox, catch_up
from metatune.history.pace import Pace
from metatune.history.replay import look, send_orphans, sync
from metatune.history.spool import Destination, Ended, Entry, SpoolFile
from metatune.history.spool_reader import read
from metatune.recording import Recorder

QUICK = Pace(quiet=0.0, retry=0.02, retry_most=0.1, leave=5.0, stall=1.0, linger=0.05, disk=0.05)
PLACE = Destination("memory", "metatune")


def files(folder):
    return sorted(folder.glob("*.jsonl"))


def left_behind(folder, *entries):
    """The spool file of a process that died: nobody holds its lock."""
    file = SpoolFile(folder, PLACE)
    for entry in entries:
        file.append(entry)
    file.close(remove=False)
    return file.path


def dead(folder, n=3):
    return left_behind(folder, Entry("study-1", study()), *(Entry("study-1", trial(i)) for i in range(n)))


def failing_store():
    store = MemoryStore()
    store.failing = True
    return store


# --- the file


def test_what_was_written_is_read_back(folder):
    odd = trial(1, status="failed", value=None, error="böse\nZeile ✓", curve=(1.0, math.nan, math.inf))
    path = left_behind(
        folder, Entry("study-1", study()), Entry("study-1", trial(0)), Entry("study-1", odd),
        Entry("study-1", Ended("finished", {"result.json": "{}\n"})),
    )  # fmt: skip
    content = read(path)
    assert content.destination == PLACE
    assert [entry.what for entry in content.entries[1:]] == [trial(0), odd, Ended("finished", {"result.json": "{}\n"})]
    assert content.studies["study-1"].space == study().space
    assert content.trials == 2
    assert not content.unreadable


def test_it_is_for_this_user_alone(folder):
    path = left_behind(folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://ann:s3cret@db.example:5432/x?sslmode=require", "postgresql://db.example:5432/x?sslmode=require"),
        ("https://ann:s3cret@mlflow.example/a?api_token=s3cret", "https://mlflow.example/a"),
        ("postgresql://db/x?password=s3cret&user=ann", "postgresql://db/x"),
        ("sqlite:////tmp/a b.db", "sqlite:////tmp/a b.db"),
    ],
)
def test_no_credentials_are_written_down(folder, uri, shown):
    store = failing_store()
    store.uri = uri
    outbox = Outbox(store, pace=QUICK)
    outbox.add_trial("study-1", trial(0))
    (path,) = files(folder)
    assert b"s3cret" not in path.read_bytes()
    assert without_secrets(uri) == shown == read(path).destination.store
    outbox.drop()


def test_a_cut_last_line_is_no_trial_and_hurts_none(folder):
    path = dead(folder)
    whole = path.read_bytes()
    last = len(whole.rsplit(b"\n", 2)[1]) + 1
    for cut in (1, 2, last // 2, last - 1):
        path.write_bytes(whole[:-cut])
        content = read(path)
        assert content.trials == (3 if cut == 1 else 2)
        assert content.cut == (cut > 1)
        assert not content.unreadable


def test_damaged_lines_are_set_aside_and_the_rest_is_sent(folder):
    path = dead(folder)
    lines = path.read_bytes().split(b"\n")
    lines[3:3] = [b'{"n":77,"of":"study-1","trial":{"nonsense":1}}', b"\xff\x00 garbage", b"[]", b"3"]
    path.write_bytes(b"\n".join(lines))
    store = MemoryStore()
    (done,) = sync([folder], lambda destination: store)
    assert (done.sent, done.waiting, done.unreadable) == (3, 0, 4)
    assert store.trials("study-1") == [trial(0), trial(1), trial(2)]
    assert not files(folder)
    assert [one.unreadable for one in look([folder])] == [4]


@pytest.mark.parametrize("end", ['"close":"finishfd","artifacts":{}', r'"close":"finished","artifacts":{"a":"\ud800"}'])
def test_a_damaged_end_of_a_study_keeps_no_other_file_back(folder, tmp_path, end):
    path = dead(folder)
    path.write_bytes(path.read_bytes() + b'{"n":9,"of":"study-1",' + end.encode() + b"}\n")
    os.utime(path, (1, 1))
    left_behind(folder, Entry("study-2", study("study-2")), Entry("study-2", trial(7)))
    store = MLflowStore(new_database(tmp_path))
    done = list(sync([folder], lambda destination: store))
    assert [(one.sent, one.waiting, one.unreadable) for one in done] == [(3, 0, 1), (1, 0, 0)]
    assert not store.unfinished()


@pytest.mark.parametrize("first", [b"", b"{}", b'{"spool": 99, "store": "memory", "experiment": "x"}', b"\xff"])
def test_a_file_that_is_no_spool_of_ours_is_left_alone(folder, first):
    path = dead(folder)
    path.write_bytes(first + b"\n" + path.read_bytes().split(b"\n", 1)[1])
    before = path.read_bytes()
    (done,) = sync([folder], lambda destination: MemoryStore())
    assert done.destination is None
    assert done.reason
    assert path.read_bytes() == before


def test_artifacts_cannot_leave_their_folder(folder, tmp_path):
    left_behind(
        folder, Entry("study-1", study()), Entry("study-1", Ended("finished", {"../../../evil": "x", "a/b.txt": "y"}))
    )
    store = MemoryStore()
    list(sync([folder], lambda destination: store))
    assert store.artifacts["study-1"] == ["x", "y"]
    assert not list(tmp_path.rglob("evil"))


# --- replay


def test_replaying_twice_changes_nothing(folder):
    path = dead(folder)
    copy = path.read_bytes()
    store = MemoryStore()
    for _ in range(2):
        path.write_bytes(copy)
        (done,) = sync([folder], lambda destination: store)
        assert (done.sent, done.waiting) == (3, 0)
        assert not path.exists()
    assert store.trials("study-1") == [trial(0), trial(1), trial(2)]


def test_a_refused_study_keeps_no_other_back(folder):
    class Picky(MemoryStore):
        def add_trials(self, study_id, trials):
            if study_id == "bad":
                raise StoreError("no", field="study", value=study_id, remedy="None.")
            super().add_trials(study_id, trials)

    path = left_behind(
        folder, Entry("bad", study("bad")), Entry("bad", trial(9)), Entry("study-1", study()),
        *(Entry("study-1", trial(i)) for i in range(3)),
    )  # fmt: skip
    store = Picky()
    (done,) = sync([folder], lambda destination: store)
    assert (done.sent, done.waiting) == (3, 1)
    assert done.reason.startswith("no")
    assert [entry.what for entry in read(path).entries if entry.study_id == "study-1"] == []
    assert read(path).trials == 1


def test_the_file_of_a_living_process_is_left_to_it(folder):
    file = SpoolFile(folder, PLACE)
    file.append(Entry("study-1", trial(0)))
    (done,) = sync([folder], lambda destination: pytest.fail("opened"))
    assert done.owned
    assert (done.sent, done.waiting) == (0, 1)
    assert [one.owned for one in look([folder])] == [True]
    file.close(remove=True)


def test_two_replays_at_once_send_once(folder):
    for _ in range(4):
        dead(folder)
    calls = []

    class Counting(MemoryStore):
        def add_trials(self, study_id, trials):
            calls.append(len(trials))
            time.sleep(0.01)
            super().add_trials(study_id, trials)

    store = Counting()
    threads = [threading.Thread(target=lambda: list(sync([folder], lambda d: store))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(calls) == 12
    assert not files(folder)


def test_what_a_dead_process_left_goes_with_the_next_search(folder):
    dead(folder)
    store = MemoryStore()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study("study-2"))
    deadline = time.monotonic() + 5
    while files(folder) and len(store.kept.get("study-1", ())) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.trials("study-1") == [trial(0), trial(1), trial(2)]


def test_only_what_waits_for_a_store_goes_there(folder):
    dead(folder)
    other = MemoryStore()
    other.uri = "elsewhere"
    assert send_orphans(other, [folder], stop=lambda: False) == []
    assert len(files(folder)) == 1


# --- the outbox


def test_everything_reaches_the_store_once_and_the_file_goes(folder):
    store = MemoryStore()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    for i in range(200):
        outbox.add_trial("study-1", trial(i))
    outbox.close_study("study-1", "finished", {"result.json": "{}"})
    assert outbox.flush()
    assert store.trials("study-1") == [trial(i) for i in range(200)]
    assert store.status == {"study-1": "finished"}
    assert store.artifacts == {"study-1": ["{}"]}
    assert outbox.waiting() == ()
    deadline = time.monotonic() + 5
    while files(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not files(folder)  # with its thread


def test_sent_lines_are_compacted_away(folder):
    store = MemoryStore()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    assert outbox.flush()
    (path,) = files(folder)
    size = path.stat().st_size
    for i in range(20):
        outbox.add_trial("study-1", trial(i))
        outbox.flush()
    assert path.stat().st_size == size
    assert read(path).entries == ()
    assert "study-1" in read(path).studies
    outbox.drop()


def test_a_trial_is_on_disk_when_add_returns_whatever_the_store_does(folder):
    stuck = threading.Event()

    class Stuck(MemoryStore):
        def add_trials(self, study_id, trials):
            stuck.wait(30)
            super().add_trials(study_id, trials)

    store = Stuck()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    for i in range(5):
        began = time.monotonic()
        outbox.add_trial("study-1", trial(i))
        assert time.monotonic() - began < 1
        (path,) = files(folder)
        assert [e.what for e in read(path).entries if isinstance(e.what, type(trial(0)))][-1] == trial(i)
    began = time.monotonic()
    assert not outbox.flush()
    assert time.monotonic() - began < 3
    stuck.set()
    assert outbox.flush()
    assert store.trials("study-1") == [trial(i) for i in range(5)]
    outbox.drop()


def test_a_store_that_fails_for_a_while(folder, caplog):
    store = failing_store()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    for i in range(5):
        outbox.add_trial("study-1", trial(i))
    assert not outbox.flush()
    assert outbox.waiting("study-1") == tuple(trial(i) for i in range(5))
    failure = outbox.problem
    assert isinstance(failure, StoreError)
    store.failing = False
    assert outbox.flush()
    assert outbox.problem is None
    (said,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]  # once
    assert said.endswith(f"{failure.problem} ({failure.value}).")  # to run the search again is no remedy
    assert store.trials("study-1") == [trial(i) for i in range(5)]
    outbox.drop()


def test_a_store_that_raises_anything(folder):
    class Wild(MemoryStore):
        def add_trials(self, study_id, trials):
            raise ZeroDivisionError("wild")

    outbox = Outbox(Wild(), pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    assert not outbox.flush()
    assert "ZeroDivisionError: wild" in str(outbox.problem)
    assert len(outbox.waiting()) == 1
    outbox.drop()


@pytest.mark.parametrize("method", ["beat", "open_study"])
def test_a_store_that_raises_anything_while_nothing_waits(folder, method):
    store, raised = MemoryStore(), threading.Event()
    work = getattr(store, method)

    def fails(what):
        if method == "beat" or what.id == "orphan":
            raised.set()
            raise RuntimeError("not expected")
        work(what)

    setattr(store, method, fails)
    left_behind(folder, Entry("orphan", study("orphan")))
    outbox = Outbox(store, folder=folder, pace=replace(QUICK, heartbeat=0.05))
    outbox.open_study(study())
    assert raised.wait(5)
    outbox.add_trial("study-1", trial(0))
    assert outbox.flush()
    assert store.trials("study-1") == [trial(0)]
    outbox.drop()


def test_what_cannot_be_written_down_keeps_nothing_back(folder, caplog):
    store = MemoryStore()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0, configuration={"odd": object()}))
    outbox.add_trial("study-1", trial(1))
    assert outbox.flush()
    assert [one.number for one in store.trials("study-1")] == [1]
    assert "left out" in caplog.text
    outbox.leave()


def test_many_threads(folder):
    store = MemoryStore()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())

    def work(first):
        for i in range(first, first + 50):
            outbox.add_trial("study-1", trial(i))

    threads = [threading.Thread(target=work, args=(50 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outbox.flush()
    assert store.trials("study-1") == [trial(i) for i in range(400)]
    outbox.drop()


def test_what_waits_at_the_exit_is_said_and_stays(folder, caplog):
    outbox = Outbox(failing_store(), pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    outbox.leave()
    assert any("1 trial " in r.getMessage() and "metatune sync" in r.getMessage() for r in caplog.records)
    store = MemoryStore()
    (done,) = sync([folder], lambda destination: store)
    assert done.sent == 1
    outbox.drop()


def test_what_stays_at_the_exit_is_confirmed_by_a_slow_disk(folder, monkeypatch):
    confirmed = {}

    def slow(fd):
        about = os.fstat(fd)
        time.sleep(0.1)
        confirmed[about.st_ino] = about.st_size

    monkeypatch.setattr(spool, "confirm", slow)
    outbox = Outbox(failing_store(), folder=folder, pace=QUICK)
    outbox.open_study(study())
    for i in range(5):
        outbox.add_trial("study-1", trial(i))
    outbox.leave()
    (path,) = files(folder)
    assert read(path).trials == 5
    assert confirmed[path.stat().st_ino] == path.stat().st_size
    outbox.drop()


def test_a_trial_that_ends_while_the_process_leaves_stays_on_disk(folder, monkeypatch):
    store = MemoryStore()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    flush = outbox.flush

    def flush_and_one_more():
        done = flush()
        store.failing = True
        outbox.add_trial("study-1", trial(0))
        return done

    monkeypatch.setattr(outbox, "flush", flush_and_one_more)
    outbox.leave()
    (path,) = files(folder)
    assert [entry.what for entry in read(path).entries] == [trial(0)]
    outbox.drop()


def test_catching_up_sends_what_this_process_still_has(folder):
    store = failing_store()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    outbox.flush()
    store.failing = False
    catch_up(store)
    assert store.trials("study-1") == [trial(0)]
    outbox.drop()


# --- disks


def test_a_folder_that_cannot_be_written(folder, caplog):
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")  # root may write into read-only folders
    store = failing_store()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    fallback = folder.parent / "fallback"
    assert read(files(fallback)[0]).trials == 1
    assert any(str(fallback) in record.getMessage() for record in caplog.records)
    outbox.leave()
    good = MemoryStore()
    assert [one.sent for one in sync(spool.folders(), lambda destination: good)] == [1]
    outbox.drop()


def test_no_folder_at_all_keeps_the_trials_in_memory(folder, monkeypatch, caplog):
    folder.write_text("")
    monkeypatch.setattr(spool, "fallback_folder", lambda: folder / "below")
    store = MemoryStore()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    assert outbox.flush()
    assert store.trials("study-1") == [trial(0)]
    assert any("in memory" in record.getMessage() for record in caplog.records)
    outbox.drop()


def test_somebody_elses_folder_is_not_used(folder, tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "fallback").symlink_to(target)
    with pytest.raises(PermissionError):
        SpoolFile(tmp_path / "fallback", PLACE)


def child(function):
    """Run ``function`` in a forked process that ends without clearing up; its exit code, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_full_disk_loses_nothing(folder):
    """With a limit on the size of files: some lines fit, one is half written, and later there is room again."""

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = failing_store()
        outbox = Outbox(store, pace=QUICK)
        outbox.open_study(study())
        outbox.add_trial("study-1", trial(0))
        (path,) = files(folder)
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, resource.RLIM_INFINITY))
        for i in range(1, 6):
            outbox.add_trial("study-1", trial(i))
        assert outbox.disk_problem
        assert len(outbox.waiting()) == 6
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        outbox.add_trial("study-1", trial(6))
        assert outbox.disk_problem is None
        assert [e.what for e in read(path).entries][1:] == [trial(i) for i in range(7)]
        assert not read(path).unreadable
        os._exit(0)

    assert child(work) == 0


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", "64k") as place:
        yield place


@pytest.mark.parametrize("another", [False, True], ids=["time passes", "another trial"])
def test_a_real_disk_that_is_full(small_disk, monkeypatch, caplog, another):
    monkeypatch.setenv("METATUNE_SPOOL", str(small_disk / "spool"))
    monkeypatch.setattr(spool, "fallback_folder", lambda: small_disk / "fallback")
    store = failing_store()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    assert outbox.kept
    filler = fill(small_disk)
    for i in range(1, 40):
        outbox.add_trial("study-1", trial(i))
    assert "No space left" in outbox.disk_problem
    assert not outbox.kept
    (check,) = (check for check in _spool() if check.name == "spool disk")
    assert check.state == "problem"
    assert "No space left" in check.found
    filler.unlink()
    if another:
        outbox.add_trial("study-1", trial(40))
    else:  # the search is over, and nothing but time passes
        soon(lambda: outbox.kept)
    assert outbox.kept
    assert outbox.disk_problem is None
    told = [r.getMessage() for r in caplog.records if "in memory" in r.getMessage()]
    assert [text.split(":")[0] for text in told] == [
        "Trials cannot be written to the local spool, they are kept in memory", "No trial is in memory only any more."
    ]  # fmt: skip
    (path,) = files(small_disk / "spool")
    numbers = list(range(40 + another))
    assert [entry.what.number for entry in read(path).entries[1:]] == numbers
    outbox.leave()
    good, added = MemoryStore(), []
    add = good.add_trials
    good.add_trials = lambda id, trials: (added.extend(one.number for one in trials), add(id, trials))
    assert [one.waiting for one in sync(spool.folders(), lambda destination: good)] == [0]
    assert added == numbers
    assert not list(sync(spool.folders(), lambda destination: good))
    outbox.drop()


def test_a_store_that_takes_what_the_disk_does_not_makes_it_safe(small_disk, monkeypatch, caplog):
    monkeypatch.setenv("METATUNE_SPOOL", str(small_disk / "spool"))
    monkeypatch.setattr(spool, "fallback_folder", lambda: small_disk / "fallback")
    fill(small_disk)
    store = failing_store()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    assert not outbox.kept
    store.failing = False
    assert outbox.flush()
    assert store.trials("study-1") == [trial(0)]
    assert outbox.disk_problem is None
    assert any("any more" in record.getMessage() for record in caplog.records)
    outbox.drop()


def test_what_no_disk_took_is_said_at_the_exit(folder, monkeypatch, caplog):
    folder.write_text("")
    monkeypatch.setattr(spool, "fallback_folder", lambda: folder / "below")
    outbox = Outbox(failing_store(), pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    outbox.leave()
    assert any("lost when this process ends" in record.getMessage() for record in caplog.records)
    outbox.drop()


def soon(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Unreliable:
    """Takes the place of ``disk.confirm``, or of ``os.fsync``, and fails while it is told to."""

    def __init__(self):
        self.failing = False
        self.calls = 0

    def __call__(self, fd):
        self.calls += 1
        if self.failing:
            raise OSError(errno.EIO, "Input/output error")


def test_a_disk_that_does_not_confirm(folder, monkeypatch, caplog):
    disk = Unreliable()
    monkeypatch.setattr(spool, "confirm", disk)
    outbox = Outbox(failing_store(), pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    soon(lambda: disk.calls >= 2)  # the file and its folder
    assert outbox.disk_problem is None
    (first,) = files(folder)
    disk.failing = True
    for i in range(1, 4):
        before = disk.calls
        outbox.add_trial("study-1", trial(i))
        soon(lambda: outbox.disk_problem and disk.calls > before)  # noqa: B023
    assert "Input/output error" in outbox.disk_problem
    (check,) = (check for check in _spool() if check.name == "spool disk")
    assert "Input/output error" in check.found
    assert len([r for r in caplog.records if "does not confirm" in r.getMessage()]) == 1
    # What could not be written may be dropped by the system, so that the same file would be confirmed without it.
    disk.failing = False
    outbox.add_trial("study-1", trial(4))
    soon(lambda: outbox.disk_problem is None)
    (path,) = files(folder)
    assert path != first
    assert [entry.what.number for entry in read(path).entries[1:]] == list(range(5))
    assert [check.name for check in _spool()] == ["spool"]
    outbox.store.failing = False
    assert outbox.flush()
    assert outbox.store.trials("study-1") == [trial(i) for i in range(5)]
    outbox.drop()


def test_where_fsync_does_not_reach_the_disk_a_stronger_call_does(folder, monkeypatch):
    """As on macOS."""
    answers, asked = [None, errno.ENOTSUP, errno.EIO], []

    def full(fd, command):
        asked.append(command)
        if (problem := answers.pop(0)) is not None:
            raise OSError(problem, os.strerror(problem))

    disk = Unreliable()
    monkeypatch.setattr(os, "fsync", disk)
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", full)
    folder.mkdir()
    spool.probe(folder)
    assert disk.calls == 0
    spool.probe(folder)  # a file system that does not know it
    assert disk.calls == 1
    with pytest.raises(OSError, match="Input/output error"):
        spool.probe(folder)
    assert asked == [51] * 3
    assert not list(folder.iterdir())


def test_the_disk_is_in_doubt_until_another_file_is_confirmed(folder, monkeypatch):
    disk = Unreliable()
    monkeypatch.setattr(spool, "confirm", disk)
    outbox = Outbox(failing_store(), pace=QUICK)
    outbox.open_study(study())
    disk.failing = True
    outbox.add_trial("study-1", trial(0))
    soon(lambda: outbox.disk_problem)
    disk.failing = False
    outbox._journal.confirmed(1.0)  # the same file
    assert outbox.disk_problem
    outbox.drop()


def test_no_new_file_can_be_made_for_a_disk_that_does_not_confirm(folder, monkeypatch):
    disk = Unreliable()
    monkeypatch.setattr(spool, "confirm", disk)
    outbox = Outbox(failing_store(), pace=QUICK)
    outbox.open_study(study())
    disk.failing = True
    outbox.add_trial("study-1", trial(0))
    soon(lambda: outbox.disk_problem)

    def full(self, folder, destination):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "__init__", full)
        outbox.add_trial("study-1", trial(1))
    assert outbox.kept
    (path,) = files(folder)
    assert [entry.what.number for entry in read(path).entries[1:]] == [0, 1]
    outbox.drop()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_files_that_cannot_be_begun_do_not_pile_up(folder, monkeypatch):
    outbox = Outbox(MemoryStore(), folder=folder, pace=QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(spool, "_lock", lambda fd: os.write(-1, b""))  # no file at all
        outbox.open_study(study())
        assert outbox.flush()
    outbox.store.failing = True

    def full(self, studies):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "compact", full)
        for i in range(5):
            outbox.add_trial("study-1", trial(i))
        assert "No space left" in outbox.disk_problem
        # The outbox tries again and again: for a moment there may be one, but there never stay any.
        soon(lambda: count_open(str(folder)) == 0 and not files(folder))
    outbox.add_trial("study-1", trial(5))
    (path,) = files(folder)
    assert [entry.what.number for entry in read(path).entries] == list(range(6))
    outbox.drop()


def test_a_forked_process_has_a_file_of_its_own(folder):
    store = failing_store()
    outbox = Outbox(store, pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))

    def work():
        outbox.open_study(study())
        outbox.add_trial("study-1", trial(1))
        assert len(files(folder)) == 2
        os._exit(0)

    assert child(work) == 0
    good = MemoryStore()
    assert sorted((one.owned, one.sent) for one in sync([folder], lambda d: good)) == [(False, 1), (True, 0)]
    assert good.trials("study-1") == [trial(1)]
    outbox.drop()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("at", range(1, 16, 2))
@pytest.mark.parametrize("half", [False, True])
def test_killed_at_every_write(folder, monkeypatch, at, half):
    """A process is killed during its write number ``at``; what ``add_trial`` returned for is there, and once."""
    ended, acknowledged = os.pipe()
    real, calls = os.write, [0]

    def work():
        def write(fd, content):
            if fd == acknowledged:
                return real(fd, content)
            calls[0] += 1
            if calls[0] == at:
                if half:
                    real(fd, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(fd, content)

        os.write = write
        outbox = Outbox(failing_store(), pace=QUICK)
        outbox.open_study(study())
        for i in range(20):
            outbox.add_trial("study-1", trial(i))
            real(acknowledged, bytes([i]))

    assert child(work) == -signal.SIGKILL
    os.close(acknowledged)
    with os.fdopen(ended, "rb") as pipe:
        added = list(pipe.read())
    store = MemoryStore()
    for _ in range(2):
        list(sync([folder], lambda destination: store))
    kept = [one.number for one in store.trials("study-1")] if "study-1" in store.kept else []
    assert kept[: len(added)] == added
    assert len(kept) <= len(added) + 1  # the last was whole, but add_trial had not returned
    assert not files(folder)


# --- the recorder


@pytest.mark.parametrize(
    ("code", "passes"), [(401, False), (404, False), (408, True), (429, True), (500, True), (503, True)]
)
def test_which_answers_of_a_server_pass(code, passes):
    reason = f"API request to endpoint /api failed with error code {code} != 200."
    assert Address.of("http://127.0.0.1:9").passing(reason) is passes


def test_an_unusable_store_stops_the_search_and_one_that_is_away_does_not(folder):
    recorder = Recorder(failing_store(), study(), pace=QUICK)
    with pytest.raises(StoreError, match="gone"):
        recorder.open()
    assert not files(folder)

    class Away(MemoryStore):
        def open_study(self, record):
            raise StoreUnavailableError("away", field="store", value=self.uri, remedy="Wait.")

    recorder = Recorder(Away(), study(), pace=QUICK)
    recorder.open()
    recorder.add(trial(0))
    recorder.close("finished")
    assert recorder.unsaved == (trial(0),)
    assert recorder.kept
    assert "away" in str(recorder.problem)


def test_ctrl_c_while_the_rest_is_sent_leaves_it_in_the_spool(folder, caplog):
    store = failing_store()
    recorder = Recorder(store, study(), pace=Pace(stall=30.0, attempts=10**6))
    recorder.add(trial(0))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    recorder.close("finished")
    assert recorder.unsaved == (trial(0),)
    assert any("metatune sync" in record.getMessage() for record in caplog.records)
    recorder._outbox.drop()


def test_locks_are_those_of_the_system(folder):
    """The lock goes with the process, however it ends; no clock decides about it."""
    path = dead(folder)
    with spool.locked(path) as fd:
        assert fd is not None
        other = os.open(path, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
    os.utime(path, (0, 2**31))  # a clock that is years off
    with spool.locked(path) as fd:
        assert fd is not None
