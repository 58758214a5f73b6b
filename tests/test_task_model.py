"""The model that a user gets predicts what the target held, whatever that was."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from learner_contract import diabetes
from text_tasks import subjects

from metatune.errors import KnowledgeError
from metatune.learners import get_family, load_model
from metatune.learners.evaluate import refit, test_scores
from metatune.task import Task
from metatune.tuner import tune


def two_classes(labels: Any) -> Task:
    """Two separate clouds of 40 rows each, called ``labels``; an index gives them that order."""
    x = np.repeat([-1.0, 1.0], 40) + np.random.default_rng(0).normal(scale=0.2, size=80)
    codes = np.repeat([0, 1], 40)
    ordered = isinstance(labels, pd.Index)
    y = pd.Categorical.from_codes(codes, labels) if ordered else [labels[code] for code in codes]
    return Task.from_arrays(x[:, None], pd.Series(y), kind="binary")


@pytest.mark.parametrize(
    ("labels", "expected", "dtype"),
    [
        (["no", "yes"], ["no", "yes"], object),
        (["ends with a null\0", "b"], ["b", "ends with a null\0"], object),
        ([3, 7], [3, 7], np.int64),
        (np.array([3, 7], np.uint8), [3, 7], np.int64),
        ([0.5, 1.5], [0.5, 1.5], np.float64),
        ([1.0, 2.0], [1.0, 2.0], np.float64),
        ([False, True], [False, True], np.bool_),
        (pd.Index(["small", "large"]), ["small", "large"], object),
        (pd.Index([5, 2**63 + 1], dtype=object), [5, 2**63 + 1], object),
        (pd.Index([1, "one"], dtype=object), [1, "one"], object),
        (pd.Index([True, 2], dtype=object), [True, 2], object),
        (pd.Index([np.int64(2), np.True_], dtype=object), [2, True], object),
        (pd.Index([0.0, np.inf]), [0.0, "inf"], object),
        (pd.IntervalIndex.from_breaks([0, 1, 2]), ["(0, 1]", "(1, 2]"], object),
        (pd.to_datetime(["2024-01-01", "2025-01-01"]), ["2024-01-01 00:00:00", "2025-01-01 00:00:00"], object),
    ],
)
def test_labels_keep_their_type(labels, expected, dtype, tmp_path):
    task, family = two_classes(labels), get_family("linear")
    model = refit(task, family, family.default(), best_step=None)
    model.save(tmp_path)
    for known in (model, load_model(tmp_path)):
        predicted = known.predict(task.data.X)
        assert known.classes_.dtype == predicted.dtype == dtype
        assert [(type(c), c) for c in known.classes_.tolist()] == [(type(c), c) for c in expected]
        assert predicted.tolist() == [expected[code] for code in task.data.y]
        assert known.classes_[known.predict_proba(task.data.X).argmax(axis=1)].tolist() == predicted.tolist()


def test_regression_is_unchanged(tmp_path):
    task, family = diabetes(), get_family("linear")
    model = refit(task, family, family.default(), best_step=None)
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert len(again.classes_) == 0
    assert again.predict(task.data.X).dtype == np.float64
    np.testing.assert_array_equal(again.predict(task.data.X), model.fitted.predict(task.data.X))


def test_a_search_gives_and_saves_a_model_that_knows_the_labels(tmp_path):
    named = ["kitchen", "football", "space"]
    texts = subjects(120).data
    task = Task.from_texts(texts.X, [named[code] for code in texts.y])
    result = tune(task, "tfidf_linear", n_trials=1, knowledge=False, store=False)
    # Judged by codes, as its trials were.
    assert result.test_scores == test_scores(task, result.model)
    assert result.test_scores["accuracy"] > 0.7
    predicted = load_model(result.save(tmp_path / "model")).predict(texts.X)
    assert predicted.tolist() == result.model.predict(texts.X).tolist()
    assert np.mean(predicted == np.array(named)[texts.y]) > 0.9


@pytest.mark.parametrize("classes", [None, 2, [["no"], ["yes"]], [None, "yes"]])
def test_damaged_labels_are_refused(tmp_path, classes):
    family, task = get_family("linear"), two_classes(["no", "yes"])
    refit(task, family, family.default(), best_step=None).save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": classes}))
    with pytest.raises(KnowledgeError, match=r"model\.json"):
        load_model(tmp_path)
