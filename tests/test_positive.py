"""Which of two classes binary scores are of: the last one, or the one that is named; and that it is said."""

import json

import numpy as np
import pandas as pd
import pytest
from learner_contract import breast_cancer
from memory_store import MemoryStore
from sklearn.metrics import f1_score, get_scorer
from typer.testing import CliRunner

from metatune.cli.main import app
from metatune.errors import UsageError
from metatune.metric import Metric, metric_names
from metatune.task import Task
from metatune.tuner import tune


def churn(**options: object) -> Task:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    label = np.where(x[:, 0] + 0.7 * rng.normal(size=120) > 0.6, "churn", "stay")
    return Task.from_dataframe(pd.DataFrame(x, columns=list("abc")).assign(y=label), "y", metric="f1", **options)


@pytest.mark.parametrize(
    ("given", "positive"), [({}, "stay"), ({"positive": "churn"}, "churn"), ({"positive": "stay"}, "stay")]
)
def test_f1_is_that_of_the_positive_class(given: dict[str, str], positive: str) -> None:
    task = churn(**given)
    assert task.positive == positive
    assert task.data is not None
    result = tune(task, "linear", n_trials=1, knowledge=False, store=False)
    assert result.model is not None
    test = task.data.take(task.test)
    labels = np.array(task.data.classes, dtype=object)
    predicted, truth = result.model.predict(test.X), labels[test.y]
    assert result.test_score == pytest.approx(f1_score(truth, predicted, pos_label=positive))
    assert set(result.model.classes_) == {"churn", "stay"}


def test_the_splits_and_what_is_learnt_are_the_same() -> None:
    usual, other = churn(), churn(positive="churn")
    assert usual.data is not None
    assert other.data is not None
    assert np.array_equal(usual.test, other.test)
    assert usual.fingerprint != other.fingerprint
    assert np.array_equal(usual.data.y, 1 - other.data.y)
    assert other.data.classes == usual.data.classes[::-1]


def test_a_label_is_named_by_its_text() -> None:
    X, y = np.arange(80.0).reshape(40, 2), np.array([3, 7] * 20)
    assert Task.from_arrays(X, y, metric="recall", positive="3").positive == 3
    assert Task.from_arrays(X, y.astype(float), metric="recall", positive="3").positive == 3.0
    mixed = pd.Series(pd.Categorical.from_codes([0, 1] * 20, pd.Index([1, "1"], dtype=object)))
    for label in (1, "1"):
        positive = Task.from_arrays(X, mixed, metric="recall", positive=label).positive
        assert (type(positive), positive) == (type(label), label)


@pytest.mark.parametrize("name", sorted(metric_names("binary")))
def test_a_score_that_the_positive_class_changes_says_which_it_is(name: str) -> None:
    scorer = get_scorer(Metric.of(name, "binary").scorer)
    if scorer._response_method != "predict":
        pytest.skip("of probabilities")
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 60)) < np.array([[0.3], [0.5]])
    truth[:9] = predicted[:9]
    here, there = (scorer._score_func(*map(np.int64, both), **scorer._kwargs)
                   for both in ((truth, predicted), (~truth, ~predicted)))  # fmt: skip
    task = Task.from_arrays(np.arange(120.0).reshape(60, 2), truth, metric=name, kind="binary")
    assert (task.positive is not None) == (here != pytest.approx(there))


def test_scores_of_all_classes_have_none() -> None:
    assert breast_cancer().positive is None


@pytest.mark.parametrize(
    ("kind", "y"), [("binary", ["a", "b"] * 30), ("multiclass", ["a", "b", "c"] * 20), ("regression", range(60))]
)
def test_what_is_none_of_two_classes_is_refused(kind: str, y: object) -> None:
    with pytest.raises(UsageError) as caught:
        Task.from_arrays(np.ones((60, 1)) * np.arange(60)[:, None], np.asarray(list(y)), positive="d")  # type: ignore[call-overload]
    assert caught.value.field == "positive"
    assert ("'a' or 'b'" in caught.value.remedy) == (kind == "binary")


def test_the_command_says_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = churn().data
    assert data is not None
    data.X.assign(y=np.array(data.classes)[data.y]).to_csv("churn.csv", index=False)
    words = ["tune", "churn.csv", "-t", "y", "-m", "f1", "-f", "linear", "--trials", "1", "--no-refit"]
    words += ["--tracking-uri", f"sqlite:///{tmp_path}/h.db"]
    usual, named, plain = (
        CliRunner().invoke(app, [*words, *more]) for more in ([], ["--positive", "churn"], ["-m", "accuracy"])
    )
    assert "positive class  stay" in usual.output
    assert "positive class  churn" in named.output
    assert "positive class" not in plain.output
    failed = CliRunner().invoke(app, [*words, "--positive", "leave", "--json"])
    assert failed.exit_code == 2
    assert json.loads(failed.stdout)["error"]["field"] == "positive"


def test_a_search_is_resumed_with_the_positive_class_that_it_had() -> None:
    store = MemoryStore()
    first = tune(churn(), "linear", n_trials=1, knowledge=False, store=store, refit=False)
    with pytest.raises(UsageError, match="the other class") as caught:
        tune(churn(positive="churn"), "linear", n_trials=2, knowledge=False, store=store, resume=first.study_id)
    assert (caught.value.field, caught.value.value) == ("positive", "churn")
    assert "'stay'" in caught.value.remedy
