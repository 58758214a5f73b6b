"""Metrics: every name that is offered works, and its direction is the right one."""

import math
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer
from sklearn.naive_bayes import GaussianNB

from metatune.errors import UnknownNameError, UsageError
from metatune.metric import DEFAULT_METRIC, Metric, metric_names
from metatune.task import Task

KINDS = ("binary", "multiclass", "regression")


@pytest.fixture(scope="module")
def problems():
    """For each kind: data, a fair model of them, and one that learnt from shuffled targets."""
    rng = np.random.default_rng(0)
    found = {}
    for kind, load, model in (
        ("binary", load_breast_cancer, GaussianNB()),
        ("multiclass", load_iris, GaussianNB()),
        ("regression", load_diabetes, Ridge(alpha=0.1)),
    ):
        X, y = load(return_X_y=True)
        fair, poor = (clone(model).fit(X, target) for target in (y, rng.permutation(y)))
        found[kind] = X, y, fair, poor
    return found


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in sorted(metric_names(kind))])
def test_every_metric_works_and_prefers_the_better_model(problems, kind, name):
    X, y, fair, poor = problems[kind]
    metric = Metric.of(name, kind)
    better, worse = (get_scorer(metric.scorer)(model, X, y) for model in (fair, poor))
    assert math.isfinite(better)
    assert better > worse
    if metric.direction == "minimize":
        assert 0 < metric.score(better) < metric.score(worse)


def test_score_turns_losses_only_and_is_its_own_inverse():
    assert Metric("loss", "minimize").score(2.5) == -2.5
    assert Metric("gain", "maximize").score(2.5) == 2.5
    assert Metric("loss", "minimize").score(Metric("loss", "minimize").score(2.5)) == 2.5


@pytest.mark.parametrize(
    ("name", "kind", "direction", "scorer"),
    [
        ("rmse", "regression", "minimize", "neg_root_mean_squared_error"),
        ("neg_root_mean_squared_error", "regression", "maximize", "neg_root_mean_squared_error"),
        ("r2", "regression", "maximize", "r2"),
        ("log_loss", "multiclass", "minimize", "neg_log_loss"),
        ("auc", "binary", "maximize", "roc_auc"),
        ("auc", "multiclass", "maximize", "roc_auc_ovr"),
        ("f1", "binary", "maximize", "f1"),
        ("f1", "multiclass", "maximize", "f1_macro"),
    ],
)
def test_direction_and_scorer(name, kind, direction, scorer):
    assert Metric.of(name, kind) == Metric(name, direction, scorer)


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_is_known(kind):
    assert Metric.of(None, kind).name == DEFAULT_METRIC[kind]
    assert DEFAULT_METRIC[kind] in metric_names(kind)


@pytest.mark.parametrize(
    ("name", "kind", "suggestion"),
    [
        ("rocauc", "binary", "'roc_auc'"),
        ("RMSE", "regression", "'rmse'"),
        ("acuracy", "multiclass", "'accuracy'"),
        ("logloss", "binary", "'log_loss'"),
    ],
)
def test_misspelt_metrics_are_corrected(name, kind, suggestion):
    with pytest.raises(UnknownNameError) as caught:
        Metric.of(name, kind)
    assert (caught.value.field, caught.value.value) == ("metric", name)
    assert suggestion in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rmse", "binary"),
        ("roc_auc", "regression"),
        ("rand_score", "multiclass"),
        ("f1_samples", "multiclass"),
        ("top_k_accuracy", "binary"),
        ("positive_likelihood_ratio", "multiclass"),
        ("brier", "regression"),
    ],
)
def test_metrics_of_another_kind_are_refused(name, kind):
    with pytest.raises(UsageError, match=f"not for {kind}") as caught:
        Metric.of(name, kind)
    assert DEFAULT_METRIC[kind] in caught.value.remedy


@pytest.mark.parametrize("low", [-7.5, -1.0, -0.999, -0.001, 0.0, 0.001])
@pytest.mark.parametrize("name", sorted(metric_names("regression")))
def test_a_target_that_the_metric_refuses_makes_no_task(name, low):
    X, y = np.arange(60.0)[:, None], np.arange(60.0) + 1
    model = Ridge().fit(X, y)
    y[7] = low
    try:
        get_scorer(Metric.of(name, "regression").scorer)(model, X, y)
    except ValueError:
        with pytest.raises(UsageError, match=f"1 of 60 values of 'price' are not, such as {low:g}") as caught:
            Task.from_arrays(X, y, metric=name, target="price")
        assert (caught.value.field, caught.value.value) == ("metric", name)
        assert "'rmse'" in caught.value.remedy
    else:
        assert Task.from_arrays(X, y, metric=name).metric.name == name


def test_a_custom_metric_has_no_scorer():
    with pytest.raises(UsageError, match="direction"):
        Metric.of("seconds", "custom")
    assert metric_names("custom") == frozenset()


@pytest.mark.parametrize(("name", "direction"), [("", "maximize"), ("a", "up")])
def test_impossible_metrics_are_refused(name, direction):
    with pytest.raises(UsageError):
        Metric(name, direction)


def test_metrics_are_values():
    metric = Metric.of("rmse", "regression")
    assert pickle.loads(pickle.dumps(metric)) == metric
    assert len({metric, Metric.of("rmse", "regression")}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_own_metric_may_have_every_name_with_the_direction_that_it_has(kind):
    for name in metric_names(kind):
        direction = Metric.of(name, kind).direction
        assert Metric.own(name, direction).direction == direction
