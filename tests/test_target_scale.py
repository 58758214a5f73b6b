import numpy as np
import pytest
from learner_contract import diabetes, iris, nearly_linear

from metatune.learners import get_family
from metatune.learners.evaluate import evaluate
from metatune.learners.target_scale import TargetScale, standardised
from metatune.task import Task


def in_units(task: Task, unit: float, *, metric: str | None = None) -> Task:
    """``task`` with the target ``unit`` times as large."""
    return Task.from_arrays(task.data.X, task.data.y * unit, kind="regression", metric=metric, validation="holdout")


@pytest.mark.parametrize(
    "target",
    [[1e308, -1e308, 5e307], [1e-300, 2e-300, 4e-300], [1e9, 1e9 + 1, 1e9 + 2], [1e9, 1e9, 1e9 + 1e-6], [1, 2, 3]],
)
def test_any_target_has_mean_0_and_deviation_1(target):
    y = np.array(target, dtype=float)
    scale = TargetScale.of(y)
    z = scale.apply(y)
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0)
    np.testing.assert_allclose(scale.undo(z), y, rtol=1e-12)


@pytest.mark.parametrize("value", [0.1, 0.0, -3e-9, 1e30])
def test_constant_target(value):
    """Whatever a family makes of a target without any deviation is in the target's unit."""
    y = np.full(7, value)
    scale = TargetScale.of(y)
    np.testing.assert_allclose(scale.apply(y), 0.0, atol=1e-15)
    assert scale.undo(np.zeros(1)) == pytest.approx(value)
    assert scale.std == (abs(value) or 1.0)


@pytest.mark.parametrize("name", ["lightgbm", "random_forest", "extra_trees", "linear", "svm", "keras_mlp"])
def test_constant_target_of_the_training_rows_is_predicted(name):
    data = nearly_linear(0.0, 1.0).data
    constant = data.take(np.repeat(np.argmax(data.y), 50))
    model = get_family(name).fit(get_family(name).default(), constant, valid=None, metric=diabetes().metric, seed=0)
    np.testing.assert_allclose(model.predict(constant.X), constant.y, rtol=0.05)


def test_classes_stay_as_they_are():
    data = iris().data
    same, scale = standardised(data)
    assert same is data
    assert scale == TargetScale(0.0, 1.0)


@pytest.mark.parametrize("name", ["lightgbm", "random_forest", "extra_trees", "hist_gradient_boosting"])
@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
def test_predictions_scale_with_the_target(name, unit):
    """By powers of two, so that rounding cannot decide between splits that are equally good."""
    family, task = get_family(name), diabetes()
    plain, scaled = (
        family.fit(family.default(), t.data, valid=None, metric=t.metric, seed=0).predict(t.data.X)
        for t in (task, in_units(task, unit))
    )
    np.testing.assert_allclose(scaled / unit, plain, rtol=1e-6)


def test_reg_alpha_means_the_same_in_any_unit():
    family = get_family("lightgbm")
    strong = family.default() | {"reg_alpha": 10.0}
    large, small = (evaluate(in_units(diabetes(), unit), family, strong).metrics["r2"] for unit in (1.0, 2.0**-20))
    assert small == pytest.approx(large, rel=1e-4)
    assert large > 0.2


@pytest.mark.parametrize(("metric", "power"), [("rmse", 1), ("mae", 1), ("mse", 2), ("r2", 0)])
def test_early_stopping_of_lightgbm_reports_in_the_targets_unit(metric, power):
    family, unit, told = get_family("lightgbm"), 2.0**20, []
    configuration = family.default() | {"learning_rate": 0.3, "n_estimators": 300}
    plain = evaluate(in_units(diabetes(), 1.0, metric=metric), family, configuration)
    task = in_units(diabetes(), unit, metric=metric)
    outcome = evaluate(task, family, configuration, report=lambda step, value: told.append((step, value)))
    assert outcome.best_step == plain.best_step < len(outcome.curve) < 300
    np.testing.assert_allclose(outcome.curve, np.array(plain.curve) * unit**power, rtol=1e-6)
    assert outcome.curve[outcome.best_step - 1] == pytest.approx(outcome.value, rel=1e-5)
    assert all(value == outcome.curve[step - 1] for step, value in told)
    assert told
