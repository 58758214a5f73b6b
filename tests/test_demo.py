"""The demo: its parts, and the whole as a command."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metatune import demo
from metatune.cli.main import app
from metatune.history.mlflow_store import MLflowStore
from metatune.knowledge import Knowledge
from metatune.snapshot import snapshot_of
from metatune.task import Task
from metatune.tuner import tune


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a short search on another task taught."""
    from sklearn.datasets import load_wine

    folder = tmp_path_factory.mktemp("knowledge")
    store = MLflowStore(f"sqlite:///{folder / 'other.db'}")
    task = Task.from_dataframe(load_wine(as_frame=True).frame, "target", name="wine", validation="holdout")
    tune(task, "lightgbm", n_trials=5, strategy="random", knowledge=False, store=store, refit=False)
    Knowledge.build(snapshot_of(store)).save(folder / "knowledge")
    return folder / "knowledge"


def test_the_dataset_is_told_apart_from_what_is_known(knowledge: Path) -> None:
    task = demo.digits()
    assert task.data is not None
    assert (task.data.n_rows, task.data.n_columns, len(task.data.classes)) == (1797, 61, 10)
    assert task.metric.direction == "minimize"
    assert not demo.is_known(task, Knowledge.load(knowledge))


def test_without_tensorflow_the_network_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo.available_families() == ("lightgbm", "keras_mlp")
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert demo.available_families() == ("lightgbm",)


def check_demo(told: dict, said: str, folder: Path, families: list[str]) -> Knowledge:
    """What every run of the demo in ``folder`` leaves behind; the knowledge that it learnt."""
    assert list(told["searches"]) == families
    for kinds in told["searches"].values():
        assert list(kinds) == ["cold", "warm"]
        for search in kinds.values():
            assert search["best_value"] == search["best_so_far"][-1] == min(search["best_so_far"])
            assert search["test_score"] > 0
    for step in ("Data", "Meta-features", "Recommendation", "Guided search", "History", "Surrogate", "mlflow ui"):
        assert step in said
    page = (folder / told["report"]).read_text()
    assert page.count("<path") == 2 * len(families)
    assert len(MLflowStore(f"sqlite:///{folder / 'mlflow.db'}").studies()) == 2 * len(families)
    learnt = Knowledge.load(folder / "metatune-knowledge")
    assert demo.is_known(demo.digits(), learnt)
    return learnt


@pytest.mark.slow
def test_the_demo_as_it_is_typed_takes_less_than_four_minutes(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("METATUNE_", "MLFLOW_"))}
    words = [sys.executable, "-m", "metatune", "demo", "--json"]
    begin = time.perf_counter()
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - begin
    assert done.returncode == 0, done.stderr
    learnt = check_demo(json.loads(done.stdout), done.stderr, tmp_path, ["lightgbm", "keras_mlp"])
    assert learnt.surrogate("keras_mlp") is not None
    assert seconds < 240


def test_the_whole_loop_in_an_empty_folder(knowledge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    done = CliRunner().invoke(app, ["demo", "--trials", "2", "--json", "--knowledge", str(knowledge)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["not_installed"] == ["keras_mlp"]
    assert [search["trials"] for search in told["searches"]["lightgbm"].values()] == [2, 2]
    surrogate = check_demo(told, done.stderr, tmp_path, ["lightgbm"]).surrogate("lightgbm")
    assert surrogate is not None
    assert {task.record.name for task in surrogate.tasks} == {"wine", "digits"}
