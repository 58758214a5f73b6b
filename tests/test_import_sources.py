"""Importing Optuna, KerasTuner, Ray Tune and tables; the folders in ``tests/data`` were written by the tools."""

import contextlib
import getpass
import json
import math
import shutil
import sqlite3
import time
import warnings
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from memory_store import MemoryStore
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sklearn.datasets import load_iris

from metatune.errors import DataError, StoreError, UnknownNameError, UsageError
from metatune.importers import Names, import_kerastuner, import_optuna, import_ray, import_table
from metatune.knowledge import Knowledge
from metatune.metric import Metric
from metatune.notebook import notebook_of
from metatune.optuna_trials import OptunaCollector
from metatune.provenance import PROVENANCE_VARIABLE
from metatune.recommender import recommend_for
from metatune.snapshot import snapshot_of
from metatune.space import Condition
from metatune.task import Task, TaskRecord

DATA = Path(__file__).with_name("data")


def taken(read, source, **options):
    store = MemoryStore()
    report = read(source, store, **options)
    again = read(source, store, **options)
    assert (again.imported, again.known) == (0, report.imported)
    return report, {study.family: (study, store.trials(study.id)) for study in store.studies()}


# --- Optuna


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("lr", 1e-4, 1.0, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b", None])
    depth = trial.suggest_int("depth", 2, 8, step=2) if kind == "a" else 0
    for step in range(3):
        trial.report(x + step, step)
        if trial.number == 3:
            raise optuna.TrialPruned
    if trial.number == 4:
        raise ValueError("diverged")
    return x + depth


def filled(storage) -> None:
    study = optuna.create_study(storage=storage, study_name="mine", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, n_trials=8, catch=ValueError)
    study.ask()
    both = optuna.create_study(storage=storage, study_name="both", directions=["minimize", "maximize"])
    both.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=2)


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if request.param == "journal":
            filled(JournalStorage(JournalFileBackend(str(tmp_path / "study.log"))))
            return str(tmp_path / "study.log")
        filled(f"sqlite:///{tmp_path}/study.db")
        return f"sqlite:///{tmp_path}/study.db"


def test_an_optuna_study_is_imported_whole(storage: str) -> None:
    report, found = taken(import_optuna, storage, metric="rmse", family="tree")
    study, trials = found["tree"]
    assert report.skipped == {
        "several objectives: metatune learns from one": 2,
        "not finished: waiting or running": 1,
    }
    assert (study.task.name, study.task.metric.name, study.task.metric.direction) == ("mine", "rmse", "minimize")
    assert list(study.space) == ["learning_rate", "kind", "max_depth"]
    assert (study.space["learning_rate"].low, study.space["learning_rate"].log) == (1e-4, True)
    assert study.space["kind"].choices == ("a", "b", None)
    assert study.space["max_depth"].step == 2
    assert [trial.status for trial in trials] == ["complete"] * 3 + ["pruned", "failed"] + ["complete"] * 3
    first, pruned, failed = trials[0], trials[3], trials[4]
    rate = first.configuration["learning_rate"]
    assert first.value == rate + first.configuration.get("max_depth", 0)
    assert first.curve == (rate, rate + 1, rate + 2)
    assert pruned.value == pruned.configuration["learning_rate"]
    assert pruned.reported == ((0, pruned.value),)
    assert failed.value is None
    assert first.seconds >= 0
    assert first.started > 1e9


def test_a_study_whose_space_cannot_be_held_keeps_no_other_one_back(storage: str) -> None:
    opened = JournalStorage(JournalFileBackend(storage)) if "://" not in storage else storage
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        odd = optuna.create_study(storage=opened, study_name="odd")
    odd.optimize(lambda trial: float(trial.suggest_categorical("a", [1, 1.0])), n_trials=1)
    report, found = taken(import_optuna, storage)
    assert (set(found), report.imported) == ({"mine"}, 8)
    assert any("there twice" in reason for reason in report.skipped)


def test_a_study_that_is_not_there_is_named(storage: str) -> None:
    with pytest.raises(UnknownNameError, match="mine"):
        import_optuna(storage, MemoryStore(), studies=["mime"])


@pytest.mark.parametrize("address", ["none.log", "sqlite:///none.db", "sqlite:///text.db", "nonsense://x"])
def test_what_is_no_optuna_storage_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("a text, not a database, of some length" * 40)
    with pytest.raises(StoreError, match="storage"):
        import_optuna(address, MemoryStore())
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_database_of_something_else_is_left_as_it_is(tmp_path: Path, dry_run: bool) -> None:
    file = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    before = file.read_bytes()
    with pytest.raises(StoreError, match="no table"):
        import_optuna(f"sqlite:///{file}", MemoryStore(), dry_run=dry_run)
    assert file.read_bytes() == before


def test_importing_leaves_the_storage_as_it_is(storage: str) -> None:
    file = Path(storage.removeprefix("sqlite:///"))
    before = file.read_bytes()
    file.chmod(0o444 if "://" in storage else 0o644)
    assert import_optuna(storage, MemoryStore()).imported == 8
    assert file.read_bytes() == before


@pytest.mark.parametrize("address", ["nonsense://me:secret@host/db", "nonsense://me:secret@host:port/db", "://"])
def test_the_password_of_a_storage_is_not_shown(address: str) -> None:
    with pytest.raises(StoreError, match="storage") as caught:
        import_optuna(address, MemoryStore())
    assert "secret" not in f"{caught.value} {caught.value.value}"


def test_a_storage_that_fails_while_it_is_read_is_refused(tmp_path: Path) -> None:
    filled(f"sqlite:///{tmp_path}/study.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute("ALTER TABLE trials RENAME TO lost")
    with pytest.raises(StoreError, match="can be read"):
        import_optuna(f"sqlite:///{tmp_path}/study.db", MemoryStore())


def test_a_trial_that_was_collected_is_not_imported_again(tmp_path: Path) -> None:
    address, store = f"sqlite:///{tmp_path}/study.db", MemoryStore()
    study = optuna.create_study(storage=address, study_name="mine")
    study.optimize(objective, n_trials=6, catch=ValueError, callbacks=[OptunaCollector("t", "f", store=store)])
    study.optimize(objective, n_trials=2)  # nobody collected these
    notebook_of(store).flush()
    report = import_optuna(address, store, metric="rmse", family="f", task="t")
    assert (report.imported, report.known) == (2, 6)
    assert import_optuna(address, store, family="f", task="another").imported == 8


# --- KerasTuner


def test_a_search_of_kerastuner_is_imported_with_space_and_scores() -> None:
    report, found = taken(import_kerastuner, DATA / "kerastuner" / "random")
    study, trials = found["random"]
    assert (study.task.metric.name, study.task.metric.direction) == ("accuracy", "maximize")
    assert [trial.status for trial in trials].count("failed") == 1
    assert report.aliases == {"random": {"layers": "n_layers", "lr": "learning_rate"}}
    assert study.space.conditions == {"units_1": Condition("n_layers", (2,))}
    assert (study.space["units_0"].step, study.space["learning_rate"].log) == (4, True)
    raw = json.loads((DATA / "kerastuner/random/trial_2/trial.json").read_text())
    best = max((trial for trial in trials if trial.value is not None), key=lambda trial: trial.value)
    assert (best.value, best.best_step) == (raw["score"], raw["best_step"] + 1)
    assert set(best.metrics) == {"loss"}
    failed = next(trial for trial in trials if trial.status == "failed")
    assert "too fast" in failed.error
    assert all(study.space.contains(trial.configuration) for trial in trials)


def test_trials_that_hyperband_did_not_promote_are_pruned() -> None:
    _, found = taken(import_kerastuner, DATA / "kerastuner" / "hyperband", family="net", task="blobs")
    study, trials = found["net"]
    assert study.task.name == "blobs"
    assert study.task.metric.direction == "minimize"
    assert {(t.status, t.fidelity) for t in trials if t.value is not None} == {
        ("pruned", 0.25), ("pruned", 0.5), ("complete", 1.0),
    }  # fmt: skip
    assert not any(name.startswith("tuner/") for name in study.space)


def test_two_searches_with_equal_identifiers_are_kept_apart() -> None:
    report, found = taken(import_kerastuner, DATA / "kerastuner")
    assert set(found) == {"random", "hyperband"}
    assert report.imported == 11


def test_the_metric_of_the_training_rows_does_not_count() -> None:
    report, found = taken(import_kerastuner, DATA / "kerastuner" / "random", metric="accuracy")
    assert not found
    assert report.skipped == {"no score of validation rows": 6}
    with pytest.raises(UsageError, match="val_loss"):
        import_kerastuner(DATA / "kerastuner" / "random", MemoryStore(), metric="auc")


def test_a_hyperparameter_with_several_ranges_gets_one_that_holds_them(tmp_path: Path) -> None:
    """Of another branch of the model, or declared otherwise later; and one that ends between two steps."""
    raw = json.loads((DATA / "kerastuner" / "random" / "trial_0" / "trial.json").read_text())

    def declared(low: float, high: float, step: int | None, branch: str, name: str = "units") -> dict[str, object]:
        parent = {"class_name": "Parent", "config": {"name": "net", "values": [branch]}}
        config = {"name": name, "min_value": low, "max_value": high, "step": step, "conditions": [parent]}
        sampling = "log" if (name, branch) == ("rate", "b") else "linear"
        kind = "Int" if name == "units" else "Float"
        return {"class_name": kind, "config": {**config, "default": None, "sampling": sampling}}

    net = {"class_name": "Choice", "config": {"name": "net", "default": "a", "conditions": [], "values": ["a", "b"]}}
    rates = [declared(0.01, 1.0, None, "a", "rate"), declared(1e-4, 0.1, None, "b", "rate")]
    space = [net, declared(32, 100, 32, "a"), declared(160, 224, 32, "b"), *rates]
    found_values = ({"net": "a", "units": 96, "rate": 0.5}, {"net": "b", "units": 224, "rate": 0.001})
    for i, values in enumerate(found_values):
        (tmp_path / "nets" / f"trial_{i}").mkdir(parents=True)
        told = raw | {"trial_id": str(i), "hyperparameters": {"space": space, "values": values}}
        (tmp_path / "nets" / f"trial_{i}" / "trial.json").write_text(json.dumps(told))
    _, found = taken(import_kerastuner, tmp_path)
    study, trials = found["nets"]
    assert (study.space["units"].low, study.space["units"].high, study.space["units"].step) == (32, 224, 32)
    rate = study.space["rate"]
    assert (rate.low, rate.high, rate.log) == (1e-4, 1.0, True)
    assert study.space.conditions["units"] == Condition("net", ("a", "b"))
    assert all(study.space.contains(trial.configuration) for trial in trials)


def test_a_search_of_kerastuner_without_the_metric_keeps_no_other_one_back(tmp_path: Path) -> None:
    shutil.copytree(DATA / "kerastuner", tmp_path / "all")
    for path in (tmp_path / "all" / "hyperband").rglob("trial.json"):
        path.write_text(path.read_text().replace("accuracy", "auc"))
    report, found = taken(import_kerastuner, tmp_path / "all", metric="val_accuracy")
    assert (set(found), report.imported) == ({"random"}, 6)
    assert dict(report.skipped) == {"no score of validation rows": 5}


def test_a_search_of_kerastuner_whose_space_cannot_be_held_keeps_no_other_one_back(tmp_path: Path) -> None:
    shutil.copytree(DATA / "kerastuner", tmp_path / "all")
    endless = {"class_name": "Choice", "config": {"name": "clip", "values": [1.0, math.nan], "conditions": []}}
    for path in (tmp_path / "all" / "hyperband").rglob("trial.json"):
        raw = json.loads(path.read_text())
        raw["hyperparameters"]["space"].append(endless)
        path.write_text(json.dumps(raw))
    report, found = taken(import_kerastuner, tmp_path / "all")
    assert (set(found), report.imported) == ({"random"}, 6)
    assert ["space['clip']" in reason for reason in report.skipped] == [True]


def test_a_score_that_no_float_holds_is_none(tmp_path: Path) -> None:
    shutil.copytree(DATA / "ray", tmp_path / "ray")
    path = sorted((tmp_path / "ray").rglob("result.json"))[0]
    lines = [json.loads(line) | {"samples": 10**400} for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert import_ray(tmp_path / "ray", MemoryStore()).imported == import_ray(DATA / "ray", MemoryStore()).imported


def test_damaged_trials_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "random"
    shutil.copytree(DATA / "kerastuner" / "random", folder)
    (folder / "trial_0" / "trial.json").write_text('{"trial_id": "0", "hyperpar')
    (folder / "trial_1" / "trial.json").write_text("[1, 2]")
    report, _ = taken(import_kerastuner, folder)
    assert (report.imported, dict(report.skipped)) == (4, {"not a trial of KerasTuner, or cut off": 2})


# --- Ray Tune


def test_an_experiment_of_ray_is_imported() -> None:
    report, found = taken(import_ray, DATA / "ray")
    study, trials = found["tune_demo"]
    assert (study.task.metric.name, study.task.metric.direction) == ("accuracy", "maximize")
    assert [trial.status for trial in trials] == ["complete", "failed", "complete", "pruned", "complete"]
    assert [trial.fidelity for trial in trials] == [1.0, 1.0, 1.0, 0.25, 1.0]
    assert trials[1].error == "ValueError: diverged"
    assert set(study.space) == {"learning_rate", "net/act", "net/depth"}
    assert len(trials[0].curve) == 4
    assert trials[0].value == trials[0].curve[-1]
    assert any(note.startswith("fn:") for note in report.notes)


def test_results_of_ray_can_come_from_the_csv_file(tmp_path: Path) -> None:
    shutil.copytree(DATA / "ray", tmp_path / "ray")
    lines = {}
    for path in tmp_path.rglob("result.json"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        lines[path.parent.name] = rows
        path.unlink()
        if rows:
            pd.DataFrame(rows).drop(columns="config").to_csv(path.with_name("progress.csv"), index=False)
    _, found = taken(import_ray, tmp_path / "ray")
    _, expected = taken(import_ray, DATA / "ray")
    assert found["tune_demo"][1][0].curve == expected["tune_demo"][1][0].curve


def test_nothing_that_ray_pickled_is_opened(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    shutil.copytree(DATA / "ray", tmp_path / "ray")
    hostile = f"cposix\nsystem\n(S'touch {target}'\ntR.".encode()
    for path in list(tmp_path.rglob("params.json")):
        path.with_name("params.pkl").write_bytes(hostile)
        raw = json.loads(path.read_text()) | {"fn": {"_type": "CLOUDPICKLE_FALLBACK", "_value": hostile.hex()}}
        path.write_text(json.dumps(raw))
    _, found = taken(import_ray, tmp_path / "ray")
    assert not target.exists()
    assert "fn" not in found["tune_demo"][0].space


def test_a_trial_of_ray_that_still_runs_is_left_for_later(tmp_path: Path) -> None:
    shutil.copytree(DATA / "ray", tmp_path / "ray")
    path = next(tmp_path.rglob("*00000/result.json"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2]) + '\n{"val_acc": 0.9, "tim')
    report, _ = taken(import_ray, tmp_path / "ray")
    assert (report.imported, dict(report.skipped)) == (4, {"not finished": 1})


def test_a_function_of_ray_that_just_returned_has_ended(tmp_path: Path) -> None:
    """Ray marks no result of such a trial as the last one; its file of the experiment knows."""
    shutil.copytree(DATA / "ray", tmp_path / "ray")
    experiment = tmp_path / "ray" / "tune_demo"
    for path in experiment.rglob("result.json"):
        path.write_text(path.read_text().replace('"done": true', '"done": false'))
    statuses = {"dff36_00000": "RUNNING", "dff36_00002": "TERMINATED", "dff36_00005": "ERROR"}
    for name in ("00000", "00002", "00005"):
        (experiment / f"f_dff36_{name}" / "error.txt").write_text("OSError: once\n")
    for moment, status in ((1, dict.fromkeys(statuses, "PENDING")), (2, statuses)):
        trials = [[json.dumps({"trial_id": id, "status": one}), "{}"] for id, one in status.items()]
        state = json.dumps({"trial_data": trials, "runner_data": {}})
        (experiment / f"experiment_state-2026-11-22_17-19-0{moment}.json").write_text(state)
    report, found = taken(import_ray, tmp_path / "ray")
    assert [(t.status, t.error) for t in found["tune_demo"][1]] == [
        ("failed", "ValueError: diverged"), ("complete", None), ("failed", "OSError: once"),
    ]  # fmt: skip
    assert dict(report.skipped) == {"not finished": 2}


@pytest.mark.parametrize("metric", [None, "val_acc"])
def test_an_experiment_of_ray_without_the_metric_keeps_no_other_one_back(tmp_path: Path, metric: str | None) -> None:
    shutil.copytree(DATA / "ray", tmp_path / "ray")
    shutil.copytree(DATA / "ray" / "tune_demo", tmp_path / "ray" / "broken")
    for path in (tmp_path / "ray" / "broken").rglob("result.json"):
        path.write_text("")
    report, found = taken(import_ray, tmp_path / "ray", metric=metric)
    assert (set(found), report.imported) == ({"tune_demo"}, 5)
    assert report.skipped["no trial of the experiment reports the metric"] == 5


def test_ray_must_be_told_a_metric_that_nobody_knows(tmp_path: Path) -> None:
    folder = tmp_path / "exp" / "trial"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text('{"a": 1}')
    (folder / "result.json").write_text('{"profit": 3.0, "done": true}\n')
    with pytest.raises(UsageError, match="profit"):
        import_ray(tmp_path, MemoryStore())
    with pytest.raises(UsageError, match="direction"):
        import_ray(tmp_path, MemoryStore(), metric="profit")
    assert import_ray(tmp_path, MemoryStore(), metric="profit", direction="maximize").imported == 1


@pytest.mark.parametrize("read", [import_kerastuner, import_ray])
def test_a_folder_of_something_else_is_refused(read, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="folder"):
            read(folder, MemoryStore())


# --- tables


@pytest.fixture
def table(tmp_path: Path) -> Path:
    frame = pd.DataFrame(
        {
            "set": ["a", "a", "b", "b", "b"],
            "lr": [0.1, 0.01, 0.001, 0.1, 0.1],
            "depth": [3, None, 5, 2, 2],
            "kind": ["x", "y", "x", "y", "y"],
            "rmse": [1.0, 2.0, None, 4.0, 4.0],
        }
    )
    frame.to_csv(tmp_path / "trials.csv", index=False)
    frame.to_parquet(tmp_path / "trials.parquet")
    return tmp_path / "trials.csv"


def test_a_table_gives_a_study_for_each_task(table: Path) -> None:
    store = MemoryStore()
    report = import_table(table, store, metric="rmse", task_column="set", family="tree")
    assert (report.imported, report.merged) == (4, 1)
    found = {study.task.name: (study, store.trials(study.id)) for study in store.studies()}
    study, trials = found["b"]
    assert study.task.metric.direction == "minimize"
    assert [(trial.status, trial.value) for trial in trials] == [("failed", None), ("complete", 4.0)]
    assert trials[1].configuration == {"learning_rate": 0.1, "max_depth": 2, "kind": "y"}
    assert isinstance(trials[1].configuration["max_depth"], int)
    assert "max_depth" not in found["a"][1][1].configuration
    assert found["a"][0].space == study.space
    same = import_table(table.with_suffix(".parquet"), store, metric="rmse", task_column="set", family="tree")
    assert (same.imported, same.known) == (0, 4)


def test_scores_identifiers_and_rows_without_a_task_are_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "run": [1, 2, 3],
            "lr": [0.1, 0.01, 0.001],
            "loss": ["hinge", "log", "hinge"],
            "val_auc": [0.8, 0.9, 0.7],
            "train_auc": [0.99, 0.98, 0.97],
            "val_loss": [0.5, 0.4, 0.6],
            "set": ["a", "a", None],
        }
    )
    frame.to_csv(tmp_path / "runs.csv", index=False)
    store = MemoryStore()
    report = import_table(tmp_path / "runs.csv", store, metric="val_auc", task_column="set", family="line")
    [study] = store.studies()
    assert set(study.space) == {"learning_rate", "loss"}
    assert report.imported == 2
    assert report.skipped == {"no task in the column 'set'": 1}
    assert "train_auc is taken for a score" in " ".join(report.notes)


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "trials.csv"
    path.write_text(text)
    return path


def test_a_row_stays_the_same_when_others_bring_a_text_or_a_gap_into_its_columns(tmp_path: Path) -> None:
    store = MemoryStore()
    rows = "share,bold,auc\n0.1,True,0.5\n0.2,False,0.6\n"
    for added, expected in (("", (2, 0)), ("auto,maybe,0.7\n", (1, 2)), (",,0.8\n0.3,True,0.9\n", (2, 3))):
        rows += added
        report = import_table(csv_file(tmp_path, rows), store, metric="auc")
        assert (report.imported, report.known) == expected


@pytest.mark.parametrize("column", ["set", "self"])
def test_a_gap_in_the_column_of_tasks_renames_none(tmp_path: Path, column: str) -> None:
    store = MemoryStore()
    rows = f"a,{column},auc\n1,3,0.5\n2,31,0.6\n"
    import_table(csv_file(tmp_path, rows), store, metric="auc", task_column=column)
    path = csv_file(tmp_path, rows + "3,,0.7\n")
    assert import_table(path, store, metric="auc", task_column=column).known == 2
    assert {study.task.name for study in store.studies()} == {"3", "31"}


def test_the_index_that_a_frame_was_written_with_is_no_parameter(tmp_path: Path) -> None:
    pd.DataFrame({"lr": [0.1, 0.2], "auc": [0.5, 0.6]}).to_csv(tmp_path / "trials.csv")
    _, found = taken(import_table, tmp_path / "trials.csv", metric="auc")
    assert set(found["trials"][0].space) == {"learning_rate"}


def test_a_parameter_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,a,b,auc\n1,2,3,0.5\n2,3,4,0.6\n")
    with pytest.raises(DataError, match="'a'"):
        import_table(path, MemoryStore(), metric="auc")
    assert import_table(path, MemoryStore(), metric="auc", parameters=["b"]).imported == 2


def test_values_and_names_of_any_type_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({0: [1, 2], 1: [[8, 8], [16]], 2: [0.5, 0.6]})
    frame.to_parquet(tmp_path / "trials.parquet")
    _, found = taken(import_table, tmp_path / "trials.parquet", metric="2", direction="maximize")
    assert [trial.configuration for trial in found["trials"][1]] == [{"0": 1, "1": "[8, 8]"}, {"0": 2, "1": "[16]"}]
    path = csv_file(tmp_path, f"a,n,auc\n1,{10**400},0.5\n2,3,0.6\n")
    assert import_table(path, MemoryStore(), metric="auc").imported == 2


@pytest.mark.parametrize("index", ["lr", "set", "rmse", ["set", "lr"]])
def test_a_column_that_pandas_wrote_as_an_index_is_read(table: Path, index: str | list[str]) -> None:
    indexed = table.with_name("indexed.parquet")
    pd.read_csv(table).set_index(index).to_parquet(indexed)
    store = MemoryStore()
    for file, imported in ((table, 4), (indexed, 0)):
        report = import_table(file, store, metric="rmse", task_column="set", family="tree")
        assert (report.imported, report.imported + report.known) == (imported, 4)


def test_a_file_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,auc\n1,0.5\n2,0.6\n").rename(tmp_path / "caf\udce9.csv")
    assert taken(import_table, path, metric="auc")[0].imported == 2


def test_a_table_without_times_is_dated_by_its_import(table: Path) -> None:
    before = time.time()
    _, found = taken(import_table, table, metric="rmse")
    assert all(before <= study.created <= time.time() for study, _ in found.values())


def test_who_imported_is_noted_as_far_as_allowed(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    for allowed, noted in (("user", {"user": "ann"}), ("none", {})):
        monkeypatch.setenv(PROVENANCE_VARIABLE, allowed)
        _, found = taken(import_table, table, metric="rmse")
        for study, _ in found.values():
            assert study.notes == noted | {"imported from": "table", "study": study.notes["study"]}


def test_only_the_named_parameters_are_taken(table: Path) -> None:
    _, found = taken(import_table, table, metric="rmse", parameters=["lr"])
    assert set(found["trials"][0].space) == {"learning_rate"}


def test_wrong_columns_are_refused(table: Path) -> None:
    for options in ({"metric": "mse"}, {"metric": "kind"}, {"metric": "rmse", "task_column": "sets"},
                    {"metric": "rmse", "parameters": ["learning"]}, {"metric": "train_rmse"}):  # fmt: skip
        with pytest.raises((UsageError, DataError)):
            import_table(table, MemoryStore(), **options)


def test_a_task_with_data_has_its_metafeatures(table: Path) -> None:
    X, y = load_iris(return_X_y=True)
    task = Task.from_arrays(X, y, name="iris")
    store = MemoryStore()
    import_table(table, store, metric="rmse", direction="minimize", task=task)
    [study] = store.studies()
    assert study.task.fingerprint == task.fingerprint
    assert (study.task.kind, study.task.n_rows) == ("multiclass", 150)
    assert len(study.task.metafeatures) > 20
    assert study.task.metric.name == "rmse"


def test_other_names_can_be_added(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "names.toml"
    file.write_text(
        '[parameters]\nsort = ["kind"]\n[ignored]\nparameters = ["depth"]\n[metrics.maximize]\ngain = ["rmse"]'
    )
    _, found = taken(import_table, table, metric="rmse", names=Names.load(file))
    study, trials = found["trials"]
    assert set(study.space) == {"learning_rate", "sort", "set"}
    assert (study.task.metric.name, study.task.metric.direction) == ("gain", "maximize")
    assert all(math.isfinite(trial.value) for trial in trials if trial.status == "complete")


def in_optuna(folder: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{folder}/study.db", direction="minimize", study_name="mine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(["accuracy"])
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)


def in_kerastuner(folder: Path) -> None:
    shutil.copytree(DATA / "kerastuner" / "random", folder / "random")
    for path in folder.rglob("trial.json"):
        path.write_text(path.read_text().replace('"direction": "max"', '"direction": "min"'))


@pytest.mark.parametrize(
    ("read", "source", "options", "write"),
    [
        (import_optuna, "sqlite:///{}/study.db", {}, in_optuna),
        (import_kerastuner, "{}/random", {}, in_kerastuner),
        (import_ray, DATA / "ray", {"metric": "val_acc", "direction": "minimize"}, None),
        (import_table, "{}/trials.csv", {"metric": "rmse", "direction": "maximize"}, None),
    ],
)
def test_a_metric_that_everybody_knows_is_not_imported_with_the_contrary_direction(
    table: Path, tmp_path: Path, read, source, options, write
) -> None:
    if write is not None:
        write(tmp_path)
    source = str(source).format(tmp_path)
    store = MemoryStore()
    report = read(source, store, **options)
    assert (report.imported, list(store.studies())) == (0, [])
    [(reason, count)] = report.skipped.items()
    assert count >= 5
    assert "is better when it is" in reason
    assert "--aliases" in reason
    names = tmp_path / "names.toml"
    names.write_text('[metrics.minimize]\nwrongs = ["accuracy", "acc"]\n[metrics.maximize]\nmine = ["rmse"]')
    assert read(source, store, names=Names.load(names), **options).imported >= 3
    assert {study.task.metric.name for study in store.studies()} <= {"wrongs", "mine"}


def test_a_study_with_a_contrary_metric_keeps_no_other_one_back(tmp_path: Path) -> None:
    in_optuna(tmp_path)
    address = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=address, study_name="plain").optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=4)
    report, found = taken(import_optuna, address)
    assert (set(found), report.imported, sum(report.skipped.values())) == ({"plain"}, 4, 5)


def test_what_was_imported_without_data_guides_the_next_search(tmp_path: Path) -> None:
    """Three tasks of which nothing but the responses is known, all best where the rate is .01."""
    rates = np.logspace(-4, 0, 24)
    frame = pd.concat(
        pd.DataFrame({"set": name, "lr": rates, "rmse": 1 + i + np.abs(np.log10(rates) + 2)})
        for i, name in enumerate(("a", "b", "c"))
    )
    frame.to_csv(tmp_path / "trials.csv", index=False)
    store = MemoryStore()
    import_table(tmp_path / "trials.csv", store, metric="rmse", task_column="set", family="net")
    assert not any(study.task.metafeatures for study in store.studies())
    asked = TaskRecord(name="new", kind="custom", metric=Metric("rmse", "minimize"), fingerprint="new")
    known = Knowledge.build(snapshot_of(store))
    (first, *_) = recommend_for(asked, "net", 3, knowledge=known, space=store.studies()[0].space).items
    assert 0.003 < first.configuration["learning_rate"] < 0.03
    assert first.better_than > 0.8
