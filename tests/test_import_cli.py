"""``metatune import`` as it is typed."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_iris
from typer.testing import CliRunner, Result

from metatune.cli.main import app
from metatune.history.mlflow_store import MLflowStore
from metatune.task import Task

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty history; making one takes seconds."""
    store = MLflowStore(f"sqlite:///{tmp_path_factory.mktemp('empty') / 'mlflow.db'}")
    with store._place.client():
        pass
    return Path(store.uri.removeprefix("sqlite:///"))


@pytest.fixture
def history(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copy(database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    pd.DataFrame({"lr": [0.1, 0.01, 0.01], "seed": [1, 2, 3], "acc": [0.7, 0.9, 0.9]}).to_csv("trials.csv", index=False)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["import", *words])


def test_a_stranger_reads_what_came_in_and_what_was_made_of_it(history: str) -> None:
    result = run("table", "trials.csv", "--metric", "acc", "--family", "svm")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "Imported 2 trials from table trials.csv; 1 duplicate merged" in text
    assert "accuracy (higher is better)" in text
    assert "learning_rate float [0.01, 0.1] log lr" in text
    assert "Ignored, not a hyperparameter: seed." in text
    [(study, trials)] = MLflowStore(history).records()
    assert (study.family, study.strategy, len(trials)) == ("svm", "table", 2)
    again = run("table", "trials.csv", "--metric", "acc", "--family", "svm")
    assert again.exit_code == 0
    assert "Imported 0 trials" in again.stdout
    assert "2 were in the history already" in again.stdout


def test_a_dry_run_says_the_same_and_writes_nothing(history: str) -> None:
    result = run("ray", str(DATA / "ray"), "--dry-run", "--json")
    found = json.loads(result.stdout)
    assert (found["imported"], found["dry_run"], found["aliases"]) == (5, True, {"tune_demo": {"lr": "learning_rate"}})
    assert list(MLflowStore(history).records()) == []
    assert "leave --dry-run out" in run("ray", str(DATA / "ray"), "--dry-run").stdout
    nothing = run("kerastuner", str(DATA / "kerastuner" / "random"), "--metric", "accuracy", "--dry-run")
    assert nothing.exit_code == 6
    assert "leave --dry-run out" not in nothing.stdout


def test_data_bring_meta_features(history: str) -> None:
    load_iris(as_frame=True).frame.to_csv("iris.csv", index=False)
    result = run("kerastuner", str(DATA / "kerastuner" / "random"), "--data", "iris.csv", "--target", "target")
    assert result.exit_code == 0
    [(study, trials)] = MLflowStore(history).records()
    assert (study.task.name, study.task.n_rows, len(trials)) == ("iris", 150, 6)
    assert study.task.metafeatures


def test_times_of_another_unit_keep_no_trial_back(history: str) -> None:
    """Trials of Ray may report a ``timestamp`` of their own, here in nanoseconds."""
    shutil.copytree(DATA / "ray", "ray")
    for path in Path("ray").rglob("result.json"):
        path.write_text(path.read_text().replace('"timestamp": 1795', '"timestamp": 1000000000001795'))
    assert run("ray", "ray").exit_code == 0
    shown = CliRunner().invoke(app, ["history"])
    assert (shown.exit_code, "unknown" in shown.stdout) == (0, True)


def test_data_are_read_as_tune_reads_them(history: str) -> None:
    frame = load_iris(as_frame=True).frame.iloc[:100].assign(target=["yes", "no"] * 50)
    frame.to_csv("iris.csv", index=False, sep=";", decimal=",")
    told = ["--data", "iris.csv", "--target", "target", "--separator", ";", "--decimal", ",", "--positive", "no"]
    result = run("kerastuner", str(DATA / "kerastuner" / "random"), *told)
    assert result.exit_code == 0
    [study] = MLflowStore(history).studies()
    task = Task.from_file("iris.csv", "target", separator=";", decimal=",", positive="no")
    assert study.task.fingerprint == task.fingerprint
    misread = run("kerastuner", str(DATA / "kerastuner" / "random"), *told[:6], "--dry-run")
    assert "decimal commas" in " ".join(misread.stdout.split())
    alone = run("kerastuner", str(DATA / "kerastuner" / "random"), "--positive", "no", "--json")
    assert json.loads(alone.stdout)["error"]["field"] == "--positive"


def test_a_table_as_many_programs_in_europe_write_it(history: str) -> None:
    pd.DataFrame({"lr": [0.1, 0.01], "acc": [0.7, 0.9]}).to_csv("europe.csv", index=False, sep=";", decimal=",")
    refused = run("table", "europe.csv", "--metric", "acc", "--json")
    assert "--separator ';'" in json.loads(refused.stdout)["error"]["remedy"]
    refused = run("table", "europe.csv", "--metric", "acc", "--separator", ";", "--json")
    assert "--decimal ','" in json.loads(refused.stdout)["error"]["remedy"]
    found = run("table", "europe.csv", "--metric", "acc", "--separator", ";", "--decimal", ",", "--json")
    assert [study["best"] for study in json.loads(found.stdout)["studies"]] == [0.9]


def test_what_could_not_be_imported_is_no_success(history: str) -> None:
    assert run("kerastuner", str(DATA / "kerastuner" / "random"), "--metric", "accuracy").exit_code == 6
    assert run("kerastuner", "nowhere").exit_code == 2
    assert run("table", "trials.csv", "--metric", "seed").exit_code == 2
    assert run("table", "trials.csv", "--metric", "acc", "--target", "x").exit_code == 2
    assert run("optuna", "none.log").exit_code == 4
    assert run("mlflow", "sqlite:///none.db").exit_code == 4
    refused = run("mlflow", "--metric", "train_auc", "--json")
    assert refused.exit_code == 2
    assert "training rows" in json.loads(refused.stdout)["error"]["problem"]


def test_names_from_a_source_cannot_steer_the_terminal(history: str) -> None:
    frame = pd.DataFrame({"a\x1b[31m": [1, 2], "[bold]b": [1, 3], "acc": [0.1, 0.2], "on": ["\x1b]0;x\x07"] * 2})
    frame.to_csv("evil.csv", index=False)
    result = run("table", "evil.csv", "--metric", "acc", "--task-column", "on", "--dry-run")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "[bold]b" in result.stdout


@pytest.mark.parametrize("command", ["", "mlflow", "optuna", "kerastuner", "ray", "table"])
def test_help_names_every_source(command: str) -> None:
    result = run(*([command] if command else []), "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
