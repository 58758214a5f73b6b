"""The demo: its parts, and the whole as a command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metatune import demo
from metatune.history.mlflow_store import MLflowStore
from metatune.knowledge import Knowledge
from metatune.snapshot import snapshot_of
from metatune.task import Task
from metatune.tune import tune


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


@pytest.mark.slow
def test_the_whole_loop_in_an_empty_folder(knowledge: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "metatune.cli", "demo", "--trials", "2", "--json", "--knowledge", str(knowledge)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told["searches"]) == ["lightgbm", "keras_mlp"]
    for kinds in told["searches"].values():
        assert list(kinds) == ["cold", "warm"]
        for search in kinds.values():
            assert search["trials"] == 2
            assert search["best_value"] == search["best_so_far"][-1] == min(search["best_so_far"])
            assert search["test_score"] > 0
    for step in ("Data", "Meta-features", "Recommendation", "Guided search", "History", "Surrogate", "mlflow ui"):
        assert step in done.stderr
    page = (tmp_path / told["report"]).read_text()
    assert page.count("<path") == 4
    assert len(MLflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}").studies()) == 4
    learnt = Knowledge.load(tmp_path / "metatune-knowledge")
    assert demo.is_known(demo.digits(), learnt)
    surrogate = learnt.surrogate("lightgbm")
    assert surrogate is not None
    assert {task.record.name for task in surrogate.tasks} == {"wine", "digits"}
