"""The local copy of a history: equal to the store after every refresh, whole at every moment."""

import json
import logging
import math
import os
import sys
import threading
from dataclasses import replace

import pytest
from stored_runs import Runs

from metatune import mirror as mirror_module
from metatune import mirror_trials
from metatune.errors import UnknownNameError
from metatune.history import schema
from metatune.history.mlflow_store import MLflowStore
from metatune.metric import Metric
from metatune.mirror import Mirror
from metatune.published import cache_directory
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial

SPACE = SearchSpace({"rate": {"low": 1e-4, "high": 1.0, "log": True}, "booster": ["a", "b"]})


def study(id="s", family="lightgbm", created=1.0, space=SPACE):
    task = TaskRecord(name="t", kind="custom", metric=Metric("loss", "minimize"), fingerprint="f", metafeatures={})
    return StudyRecord(task=task, family=family, space=space, id=id, created=created)


def trial(key, number=0, value=0.5, **configuration):
    status = "failed" if value is None else "complete"
    return Trial(configuration=configuration, status=status, value=value, key=key, number=number, metrics={"m": 1.0})


def expected(*records):
    return Snapshot.of(records).digest


def test_the_copy_is_what_the_records_say(tmp_path):
    late, early = study("late", created=2.0), study("early", created=1.0)
    other = study("other", family="other", created=3.0)
    a, b, c = trial("a", 1, rate=0.1), trial("b", 0, None, booster="b"), trial("c", 0, math.pi, rate=0.3)
    runs = Runs().add(late, a).add(early, c).add(late, b).add(other)
    mirror = Mirror(tmp_path / "mirror")
    found = mirror.refresh(runs)
    assert (found.trials, found.written, found.removed, found.unreadable) == (3, 3, 0, {})
    assert mirror.snapshot().digest == expected((early, [c]), (late, [b, a]), (other, []))
    assert mirror.snapshot(["other"]).families == ("other",)
    with pytest.raises(UnknownNameError, match="lightgmb"):
        mirror.snapshot(["lightgmb"])


def test_nothing_new_reads_no_run_and_writes_no_file(tmp_path):
    runs = Runs().add(study(), trial("a"), trial("b", 1))
    mirror = Mirror(tmp_path)
    mirror.refresh(runs)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    runs.given = 0
    assert mirror.refresh(runs).written == 0
    assert runs.given == 0
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_every_change_arrives(tmp_path):
    one, two = study("one"), study("two", created=2.0)
    a, b, c = trial("a", 0, rate=0.1), trial("b", 1, booster="b"), trial("c", 0)
    runs = Runs().add(one, a, b).add(two, c)
    mirror = Mirror(tmp_path)
    mirror.refresh(runs)

    deleted = runs.runs.pop("run-of-a")  # the only trial with a rate: its column goes too
    assert mirror.refresh(runs).removed == 1
    assert mirror.snapshot().digest == expected((one, [b]), (two, [c]))

    runs.runs["run-of-a"] = deleted
    mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((one, [a, b]), (two, [c]))

    parent = runs.runs.pop("run-of-two")  # the trials of a deleted study are not in the history
    mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((one, [a, b]))
    runs.runs["run-of-two"] = parent
    mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((one, [a, b]), (two, [c]))


def test_edits_are_found_when_everything_is_compared(tmp_path, monkeypatch):
    edited, runs = trial("a", 0, 0.75), Runs().add(study(), trial("a", 0, 0.25), trial("b", 1))
    mirror = Mirror(tmp_path)
    mirror.refresh(runs)
    old = runs.runs["run-of-a"]
    runs.runs["run-of-a"] = replace(old, tags=schema.encode_trial(edited, study()).tags)
    assert mirror.refresh(runs).written == 0
    assert mirror.refresh(runs, everything=True).written == 1
    assert mirror.snapshot().digest == expected((study(), [edited, trial("b", 1)]))

    runs.runs["run-of-a"] = old
    day_after = mirror_module.time.time() + mirror_module.COMPARE_AFTER + 1
    monkeypatch.setattr(mirror_module.time, "time", lambda: day_after)
    assert mirror.refresh(runs).written == 1, "all runs are compared once a day"


class ByTime(Runs):
    """As a server is read: only what ended since, unless everything is compared."""

    def changes(self, record, known, *, since, studies, everything):
        found = super().changes(record, known, since=since, studies=studies, everything=everything)
        return (run for run in found if everything or run.ended >= since)


def test_a_clock_that_was_far_ahead_hides_nothing_once_it_is_set_right(tmp_path, monkeypatch):
    now, year = mirror_module.time.time(), 365 * 24 * 3600.0
    runs = ByTime().add(study(), trial("a"))
    runs.runs["run-of-a"] = replace(runs.runs["run-of-a"], ended=int(1000 * (now + year)))
    mirror = Mirror(tmp_path)
    monkeypatch.setattr(mirror_module.time, "time", lambda: now + year)
    mirror.refresh(runs)
    monkeypatch.setattr(mirror_module.time, "time", lambda: now)
    for number, key in enumerate("bc", 1):
        runs.add(study(), trial(key, number))
        runs.runs[f"run-of-{key}"] = replace(runs.runs[f"run-of-{key}"], ended=int(1000 * now))
        mirror.refresh(runs)
        assert len(mirror.snapshot().family("lightgbm")) == number + 1


def test_trials_are_read_again_when_the_space_of_their_study_changes(tmp_path):
    runs = Runs().add(study(), trial("a", 0, rate=0.5))
    mirror = Mirror(tmp_path)
    mirror.refresh(runs)
    wider = study(space=SearchSpace({"rate": [0.5, 1.0], "booster": ["a", "b"]}))
    runs.runs["run-of-s"] = replace(runs.runs["run-of-s"], ended=1, tags=schema.encode_study(wider).tags)
    mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((wider, [trial("a", 0, rate=0.5)]))


def test_of_two_runs_of_one_trial_the_later_counts_and_the_other_stands_in(tmp_path):
    first, second = trial("a", 0, 0.25), trial("a", 0, 0.75)
    runs = Runs().add(study(), first)
    runs.runs["again"] = replace(runs.runs["run-of-a"], id="again", tags=schema.encode_trial(second, study()).tags)
    runs.runs["again"] = replace(runs.runs["again"], started=runs.runs["run-of-a"].started + 1)
    mirror = Mirror(tmp_path)
    mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((study(), [second]))
    del runs.runs["again"]
    mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((study(), [first]))


def test_unreadable_runs_are_left_out_and_named_once(tmp_path, caplog):
    runs = Runs().add(study(), trial("a"), trial("b", 1))
    broken = runs.runs["run-of-a"]
    runs.runs["run-of-a"] = replace(broken, tags={**broken.tags, f"{schema.DOCUMENT}.0": "{"})
    mirror = Mirror(tmp_path)
    with caplog.at_level(logging.WARNING, "metatune"):
        found = mirror.refresh(runs)
    assert list(found.unreadable) == ["run-of-a"]
    assert caplog.text.count("run-of-a") == 1
    assert mirror.snapshot().digest == expected((study(), [trial("b", 1)]))


@pytest.mark.parametrize(
    ("field", "value"),
    [("number", "first"), ("key", None), ("curve", [0.5, "x"]), ("best_step", 2.5), ("reported", [[2**63, 0.5]]),
     ("metrics", {"m": None}), ("seconds", 10**400), ("origin", 3), ("started", [1]), ("configuration", {"rate": [1]}),
     ("key", "\ud800"), ("origin", "\ud800"), ("metrics", {"\ud800": 1.0})],
)  # fmt: skip
def test_a_trial_with_a_field_of_another_type_takes_no_other_one_with_it(tmp_path, field, value):
    runs = Runs().add(study(), trial("a"), trial("b", 1))
    edited = runs.runs["run-of-a"]
    document = json.loads(edited.tags[f"{schema.DOCUMENT}.0"]) | {field: value}
    runs.runs["run-of-a"] = replace(edited, tags={**edited.tags, f"{schema.DOCUMENT}.0": json.dumps(document)})
    mirror = Mirror(tmp_path)
    found = mirror.refresh(runs)
    assert field in found.unreadable["run-of-a"]
    assert mirror.snapshot().digest == expected((study(), [trial("b", 1)]))


@pytest.mark.parametrize(
    ("field", "value"), [("created", None), ("family", 3), ("metafeatures", {"a": "b"}), ("id", "\ud800")]
)
def test_so_does_no_study(tmp_path, field, value):
    runs = Runs().add(study("one"), trial("a")).add(study("two", created=2.0), trial("b"))
    edited = runs.runs["run-of-one"]
    document = json.loads(edited.tags[f"{schema.DOCUMENT}.0"])
    (document if field in document else document["task"])[field] = value
    runs.runs["run-of-one"] = replace(edited, tags={**edited.tags, f"{schema.DOCUMENT}.0": json.dumps(document)})
    mirror = Mirror(tmp_path)
    assert field in mirror.refresh(runs).unreadable["run-of-one"]
    assert mirror.snapshot().digest == expected((study("two", created=2.0), [trial("b")]))


def test_another_experiment_of_the_same_name_starts_anew(tmp_path):
    mirror = Mirror(tmp_path)
    mirror.refresh(Runs().add(study("old"), trial("a")))
    again = Runs().add(study("new"), trial("b"))
    again.identity = "1/1"
    mirror.refresh(again)
    assert mirror.snapshot().digest == expected((study("new"), [trial("b")]))


def test_many_small_refreshes_leave_few_files(tmp_path):
    runs, trials = Runs().add(study()), [trial(f"k{i:02d}", i) for i in range(40)]
    mirror = Mirror(tmp_path)
    for one in trials:
        runs.add(study(), one)
        mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((study(), trials))
    assert len(list(tmp_path.iterdir())) <= 16


def test_large_histories_are_written_in_segments_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror_trials, "SEGMENT_ROWS", 10)
    monkeypatch.setattr(mirror_trials, "_BATCH", 4)
    trials = [trial(f"k{i:02d}", i) for i in range(35)]
    runs, mirror = Runs().add(study(), *trials), Mirror(tmp_path)
    mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((study(), trials))
    assert len(list(tmp_path.glob("*.parquet"))) >= 4
    del runs.runs["run-of-k07"]
    mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((study(), [t for t in trials if t.number != 7]))


class _Killed(BaseException):
    pass


class _Death:
    """After ``left`` more changes of files, the process changes no file any more: as if it had been killed."""

    EVENTS = ("os.rename", "os.link", "os.remove", "os.mkdir")

    def __init__(self):
        self.left = math.inf
        self.folder = ""
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if self.left != math.inf and (writes or event in self.EVENTS) and str(arguments[0]).startswith(self.folder):
            self.left -= 1
            if self.left < 0:
                raise _Killed


@pytest.fixture(scope="module")
def death():
    hook = _Death()
    yield hook
    hook.left = math.inf


def test_killed_at_any_write_the_copy_is_the_old_or_the_new_one(tmp_path, death):
    one, two = study("one"), study("two", family="other", created=2.0)
    a, b, c = trial("a", 0, rate=0.1), trial("b", 1), trial("c", 0)
    old, new = expected((one, [a, b])), expected((one, [b]), (two, [c]))
    seen = []
    for writes in range(100):
        folder = tmp_path / str(writes)
        runs, mirror = Runs().add(one, a, b), Mirror(folder)
        mirror.refresh(runs)
        del runs.runs["run-of-a"]
        runs.add(two, c)
        death.folder, death.left = str(folder), writes
        try:
            mirror.refresh(runs)
            finished = True
        except _Killed:
            finished = False
        death.left = math.inf
        seen.append(mirror.snapshot().digest)
        mirror.refresh(runs)
        assert mirror.snapshot().digest == new, f"killed after {writes} writes"
        if finished:
            break
    assert seen[0] == old
    assert seen[-1] == new
    assert set(seen) == {old, new}
    assert seen.count(old) >= 4, "every file and the manifest"
    assert seen == sorted(seen, key=[old, new].index)


def test_what_a_killed_process_left_is_cleaned_away(tmp_path, death):
    runs, mirror = Runs().add(study(), trial("a")), Mirror(tmp_path)
    mirror.refresh(runs)
    runs.add(study(), trial("b", 1))
    death.folder, death.left = str(tmp_path), 3
    with pytest.raises(_Killed):
        mirror.refresh(runs)
    death.left = math.inf
    for i in range(3):
        runs.add(study(), trial(f"c{i}", 2 + i))
        mirror.refresh(runs)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_of_two_refreshes_at_once_the_second_starts_over(tmp_path):
    runs = Runs().add(study(), trial("a"))
    mirror = Mirror(tmp_path)

    class Interrupted(Runs):
        def gone(self, record, known, *, everything):
            if record == "trial" and "run-of-b" not in self.runs:
                self.add(study(), trial("b", 1))
                Mirror(tmp_path).refresh(runs.add(study(), trial("b", 1)))
            return super().gone(record, known, everything=everything)

    slow = Interrupted().add(study(), trial("a"))
    mirror.refresh(slow)
    assert mirror.snapshot().digest == expected((study(), [trial("a"), trial("b", 1)]))


def test_many_refreshes_and_readers_at_once(tmp_path):
    trials = [trial(f"k{i:02d}", i) for i in range(24)]
    whole = [expected((study(), trials[: n + 1])) for n in range(24)]
    runs, mirror, failures = Runs().add(study(), trials[0]), Mirror(tmp_path), []
    mirror.refresh(runs)
    done = threading.Event()

    def read():
        while not done.is_set():
            if mirror.snapshot().digest not in whole:
                failures.append("a mixture of versions")

    def write():
        for _ in range(12):
            try:
                Mirror(tmp_path).refresh(runs)
            except Exception as error:  # whatever it is, the test shall report it
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write) for _ in range(2)]
    for thread in (*readers, *writers):
        thread.start()
    for one in trials[1:]:
        runs.add(study(), one)
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    mirror.refresh(runs)
    assert failures == []
    assert mirror.snapshot().digest == whole[-1]


@pytest.mark.parametrize("name", ["manifest-*.json", "*.parquet"])
@pytest.mark.parametrize("harm", ["cut", "deleted", "nonsense"])
def test_a_damaged_copy_is_made_again(tmp_path, caplog, name, harm):
    runs, mirror = Runs().add(study(), trial("a")), Mirror(tmp_path)
    mirror.refresh(runs)
    for path in list(tmp_path.glob(name)):
        if harm == "cut":
            path.write_bytes(path.read_bytes()[:-20])
        elif harm == "nonsense":
            path.write_bytes(b'{"version": 1}')
        else:
            path.unlink()
    with caplog.at_level(logging.WARNING, "metatune"):
        mirror.refresh(runs)
    assert mirror.snapshot().digest == expected((study(), [trial("a")]))
    lost_altogether = name.startswith("manifest") and harm == "deleted"
    assert ("damaged and made again" in caplog.text) is not lost_altogether


def test_only_its_user_may_read_a_copy(tmp_path):
    mirror = Mirror(tmp_path / "mirror")
    mirror.refresh(Runs().add(study(), trial("a")))
    assert os.name != "posix" or mirror.directory.stat().st_mode & 0o077 == 0


def test_the_folder_does_not_depend_on_a_password_and_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("METATUNE_MIRROR", "~/copies")
    monkeypatch.setenv("HOME", str(tmp_path))
    one, other = (mirror_module.mirror_of(MLflowStore(f"postgresql://ann:{word}@db/h")) for word in ("a", "b"))
    assert one.directory == other.directory
    assert one.directory.parent == tmp_path / "copies"
    monkeypatch.delenv("METATUNE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_directory() == tmp_path / "cache" / "metatune"
