"""Real disks that are full or read-only, under the history, the spool and the knowledge: nothing is lost."""

import json
import time

import pytest
from disks import allow_writing, fill, mounted
from history_cases import new_database, runs, study, trial
from memory_store import custom
from planted import planted_snapshot
from typer.testing import CliRunner

from metatune.cli.main import app
from metatune.doctor import examine
from metatune.errors import StoreError
from metatune.history import spool
from metatune.history.mlflow_store import MLflowStore
from metatune.history.outbox import Outbox
from metatune.history.pace import Pace
from metatune.history.replay import sync
from metatune.history.spool import folders
from metatune.history.spool_reader import read
from metatune.knowledge import Knowledge, starter_directory
from metatune.tuner import tune

# MLflow's connections to copied databases live as long as its engines, which is as long as the process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
QUICK = Pace(quiet=0.0, retry=0.05, retry_most=0.2, leave=10.0, stall=5.0, linger=0.05)


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", "8m") as place:
        yield place


def full(disk):
    filler = fill(disk)
    return filler.unlink


def read_only(disk):
    allow_writing(disk, False)
    return lambda: allow_writing(disk, True)


def test_a_history_whose_disk_is_full_in_mid_run(folder, disk):
    uri = new_database(disk)
    outbox = Outbox(MLflowStore(uri), pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    assert outbox.flush()
    filler = fill(disk)
    for i in range(1, 30):
        began = time.monotonic()
        # Too long for a page of the database that happens to have room.
        outbox.add_trial("study-1", trial(i, curve=tuple(0.5 + n for n in range(200))))
        assert time.monotonic() - began < 2.0
    assert not outbox.flush()
    waiting = outbox.waiting()
    assert waiting
    (path,) = folder.glob("*.jsonl")
    assert {one.number for one in waiting} <= {getattr(entry.what, "number", None) for entry in read(path).entries}
    filler.unlink()
    outbox.close_study("study-1", "finished", {})
    for _ in range(20):
        if outbox.flush():
            break
    outbox.leave()
    assert outbox.waiting() == ()
    assert sorted(int(run.data.tags["metatune.number"]) for run in runs(uri)) == list(range(30))
    assert list(sync(folders(), lambda destination: MLflowStore(uri))) == []
    found = {check.name: check.state for check in examine(MLflowStore(uri), starter_directory())}
    assert (found["history"], found["spool"]) == ("ok", "ok")
    assert not {"abandoned studies", "half-written trials", "doubled runs", "lost trials"} & set(found)


@pytest.mark.parametrize("there", [False, True])
def test_a_history_on_a_read_only_disk_is_told_before_anything_is_trained(folder, disk, tmp_path, there):
    uri = new_database(disk) if there else f"sqlite:///{disk / 'mlflow.db'}"
    allow_writing(disk, False)
    with pytest.raises(StoreError, match="permissions"):
        tune(
            custom(), "f", objective=lambda configuration: pytest.fail("trained"), space=study().space, n_trials=1,
            strategy="random", store=MLflowStore(uri),
        )  # fmt: skip
    assert not list(folder.glob("*"))


def test_a_spool_on_a_read_only_disk_goes_elsewhere(disk, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("METATUNE_SPOOL", str(disk / "spool"))
    monkeypatch.setattr(spool, "fallback_folder", lambda: tmp_path / "fallback")
    allow_writing(disk, False)
    outbox = Outbox(MLflowStore("http://127.0.0.1:9"), pace=QUICK)
    outbox.open_study(study())
    outbox.add_trial("study-1", trial(0))
    (path,) = (tmp_path / "fallback").glob("*.jsonl")
    assert read(path).trials == 1
    assert str(tmp_path / "fallback") in caplog.text
    outbox.drop()


@pytest.mark.parametrize("fault", [full, read_only])
def test_a_knowledge_that_cannot_be_replaced_stays_as_it_was(disk, fault):
    known = Knowledge.build(planted_snapshot(tasks=2, trials=12))
    known.save(disk / "k")
    mend = fault(disk)
    with pytest.raises(OSError, match=r"No space left|Read-only"):
        Knowledge.build(planted_snapshot(tasks=3, trials=12)).save(disk / "k")
    assert Knowledge.load(disk / "k").snapshot.digest == known.snapshot.digest
    mend()
    assert [path.name for path in disk.iterdir()] == ["k"]


@pytest.mark.parametrize("fault", [full, read_only])
def test_a_command_says_that_the_disk_takes_nothing(disk, tmp_path, monkeypatch, fault):
    monkeypatch.setenv("METATUNE_MIRROR", str(tmp_path / "mirror"))
    uri = new_database(tmp_path)
    MLflowStore(uri).open_study(study())
    fault(disk)
    said = CliRunner().invoke(app, ["export", str(disk / "out"), "--tracking-uri", uri, "--json"])
    assert said.exit_code == 4
    error = json.loads(said.stdout)["error"]
    assert any(reason in error["problem"] for reason in ("No space left", "Read-only"))
    assert "free space" in error["remedy"]
    assert "Internal" not in said.output
