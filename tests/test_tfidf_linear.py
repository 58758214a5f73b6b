"""Linear models on tf-idf weights."""

import numpy as np
import pytest
from learner_contract import Contract
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from text_tasks import TEXTS, heat, kitchen, subjects

from metatune.learners import get_family
from metatune.learners.evaluate import run_trial
from metatune.learners.sklearn_model import capped
from metatune.learners.tfidf_linear import TextEncoder

FAMILY = get_family("tfidf_linear")
DEFAULT = FAMILY.default()


class TestTfidfLinear(Contract):
    name = "tfidf_linear"
    tasks = TEXTS


@pytest.mark.parametrize(("task", "linear"), [(subjects(), LogisticRegression()), (heat(), Ridge())])
def test_default_is_the_plain_library(task, linear):
    train, valid = (task.data.take(rows) for rows in task.folds[0])
    ours = FAMILY.fit(DEFAULT, train, valid=None, metric=task.metric, seed=0)
    y = train.y if train.classes else (train.y - train.y.mean()) / train.y.std()
    plain = make_pipeline(TfidfVectorizer(), linear).fit(train.X, y)
    expected = plain.predict(valid.X)
    if not train.classes:
        expected = expected * train.y.std() + train.y.mean()
    np.testing.assert_allclose(ours.predict(valid.X), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_idf": False},
        {"sublinear_tf": True},
        {"word_ngrams": 2},
        {"analyzer": "char_wb", "char_ngrams": 3},
        {"analyzer": "char_wb", "char_ngrams": 5},
        {"max_features": 1_000},
    ],
)
def test_a_saved_encoder_gives_the_same_matrix(changes):
    texts = kitchen().data.X
    encoder, matrix = TextEncoder.fit(texts, DEFAULT | changes)
    again = TextEncoder.from_state(encoder.to_state())
    assert (again.transform(texts) != encoder.transform(texts)).nnz == 0
    np.testing.assert_allclose(encoder.transform(texts).toarray(), matrix.toarray())
    assert again.to_state() == encoder.to_state()


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({}, {"use_idf": False}),
        ({}, {"sublinear_tf": True}),
        ({}, {"word_ngrams": 3}),
        ({}, {"analyzer": "char_wb", "char_ngrams": 4}),
        ({"analyzer": "char_wb", "char_ngrams": 4}, {"analyzer": "char_wb", "char_ngrams": 6}),
        ({}, {"min_df": 10}),
        ({}, {"max_df": 0.3}),
        ({"word_ngrams": 2}, {"word_ngrams": 2, "max_features": 1_000}),
        ({}, {"model": "svm"}),
        ({}, {"C": 100.0}),
    ],
)
def test_every_parameter_has_an_effect(changes, other):
    task = kitchen()
    first, second = (
        FAMILY.fit(DEFAULT | c, task.data, valid=None, metric=task.metric, seed=0).predict_proba(task.data.X)
        for c in (changes, other)
    )
    assert not np.allclose(first, second)


def test_weights_of_classes_favour_the_rare_one():
    task = subjects(n_classes=2)
    rare = task.data.take(np.flatnonzero((task.data.y == 0) | (np.arange(task.data.n_rows) % 10 == 1)))
    for model in ("logistic", "svm"):
        found = [
            FAMILY.fit(
                DEFAULT | {"model": model, "C": 0.1, "class_weight": weight},
                rare,
                valid=None,
                metric=task.metric,
                seed=0,
            )
            for weight in (None, "balanced")
        ]
        plain, balanced = (np.count_nonzero(fitted.predict(rare.X)) for fitted in found)
        assert balanced > plain


def test_few_texts_limit_how_common_a_term_must_be():
    values, changes = FAMILY.clamp(DEFAULT | {"min_df": 20}, 100, 1)
    assert values["min_df"] == 5
    assert [change.parameter for change in changes] == ["min_df"]


def test_texts_without_words_are_a_failed_trial():
    task = subjects()
    silent = task.data.X.copy()
    silent[:] = "? !"
    trial = run_trial(task, FAMILY, DEFAULT)
    assert trial.error is None
    object.__setattr__(task.data, "X", silent)
    assert "empty vocabulary" in run_trial(task, FAMILY, DEFAULT).error


def test_a_class_with_one_text_is_no_reason_to_fail():
    task = subjects()
    rows = np.concatenate([np.flatnonzero(task.data.y != 1), np.flatnonzero(task.data.y == 1)[:1]])
    train = task.data.take(rows)
    model = FAMILY.fit(DEFAULT | {"model": "svm"}, train, valid=None, metric=task.metric, seed=0)
    assert model.predict_proba(task.data.X).shape == (task.data.n_rows, 3)


def test_many_characters_are_a_reason_to_draw_texts(monkeypatch):
    task = subjects()
    monkeypatch.setattr("metatune.learners.tfidf_linear.CHARACTER_CAP", sum(map(len, task.data.X)) // 10)
    part = FAMILY.fit(DEFAULT, task.data, valid=None, metric=task.metric, seed=0)
    drawn = capped(task.data, 30, 0)
    monkeypatch.undo()
    whole = FAMILY.fit(DEFAULT, drawn, valid=None, metric=task.metric, seed=0)
    assert drawn.n_rows == 30
    np.testing.assert_array_equal(part.predict_proba(task.data.X), whole.predict_proba(task.data.X))
