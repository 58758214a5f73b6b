import math
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
from learner_contract import breast_cancer, diabetes, iris
from sklearn.metrics import get_scorer, get_scorer_names, log_loss, roc_auc_score
from text_tasks import subjects

from metatune.dataset import Dataset
from metatune.errors import MissingDependencyError, SearchError, UsageError
from metatune.learners import get_family
from metatune.learners.base import FittedModel, ModelFamily
from metatune.learners.evaluate import evaluate, refit, run_trial, test_scores
from metatune.learners.scoring import scores
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.task import Task


class Fixed(FittedModel):
    """A model that predicts what it was given, whatever the rows."""

    def __init__(self, answer):
        self.answer = np.asarray(answer)

    def predict(self, X):
        return self.answer.argmax(axis=1) if self.answer.ndim == 2 else self.answer

    def predict_proba(self, X):
        return self.answer

    def save(self, directory):
        raise NotImplementedError


class Scripted(ModelFamily):
    """A family whose fit does what the test says; it remembers the arguments."""

    name = "scripted"
    kinds = frozenset({"binary", "regression"})

    def __init__(self, act=None, curves=(), answer=0.0):
        self.act = act
        self.curves = list(curves)
        self.answer = answer
        self.calls = []

    def space(self):
        return SearchSpace({"a": {"low": 0.0, "high": 1.0}})

    def default(self):
        return {"a": 0.5}

    def full_steps(self, configuration):
        return 10

    def load(self, directory):
        raise NotImplementedError

    def fit(self, configuration, train, *, valid, metric, seed, steps=None, report=None, threads=1):
        self.calls.append({"train": train, "valid": valid, "steps": steps, "seed": seed, "threads": threads})
        if self.act is not None:
            self.act(report)
        rows = valid or train
        values = np.full(rows.n_rows, self.answer)
        model = Fixed(values if rows.kind == "regression" else np.tile([0.4, 0.6], (rows.n_rows, 1)))
        if self.curves:
            model.curve = self.curves[(len(self.calls) - 1) % len(self.curves)]
            model.best_step = len(model.curve)
        return model


def data_of(y, kind, n_classes):
    frame = pd.DataFrame({"x": np.zeros(len(y))})
    return Dataset(frame, np.asarray(y), kind, tuple(range(n_classes)))


def random_probability(n, k, seed=0):
    raw = np.random.default_rng(seed).random((n, k))
    return raw / raw.sum(axis=1, keepdims=True)


class TestScores:
    def test_binary(self):
        y, p = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.6, 0.4, 0.8, 0.9])
        found = scores(Fixed(np.column_stack([1 - p, p])), data_of(y, "binary", 2), Metric.of("auc", "binary"))
        assert found == pytest.approx(
            {
                "accuracy": 0.6,
                "precision": 2 / 3,
                "recall": 2 / 3,
                "f1": 2 / 3,
                "roc_auc": roc_auc_score(y, p),
                "log_loss": log_loss(y, p),
                "auc": roc_auc_score(y, p),
            }
        )

    def test_regression_losses_in_their_own_unit(self):
        data = data_of(np.array([1.0, 2.0, 4.0]), "regression", 0)
        model = Fixed([1.0, 2.0, 1.0])
        assert scores(model, data, Metric.of("mse", "regression"))["mse"] == pytest.approx(3.0)
        named = scores(model, data, Metric.of("neg_mean_squared_error", "regression"))
        assert named["neg_mean_squared_error"] == pytest.approx(-3.0)
        assert named["rmse"] == pytest.approx(math.sqrt(3))
        assert named["mae"] == pytest.approx(1.0)

    def test_several_classes_like_scikit_learn(self):
        y, p = np.array([0, 1, 2, 2, 1, 0, 1]), random_probability(7, 3)
        found = scores(Fixed(p), data_of(y, "multiclass", 3), Metric.of("roc_auc", "multiclass"))
        assert found["roc_auc"] == pytest.approx(roc_auc_score(y, p, multi_class="ovr"))
        weighted = Metric.of("roc_auc_ovr_weighted", "multiclass")
        found = scores(Fixed(p), data_of(y, "multiclass", 3), weighted)
        expected = roc_auc_score(y, p, multi_class="ovr", average="weighted")
        assert found["roc_auc_ovr_weighted"] == pytest.approx(expected)

    @pytest.mark.parametrize("kind", ["binary", "multiclass"])
    @pytest.mark.parametrize("y", [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [1]])
    def test_classes_that_do_not_occur(self, kind, y):
        """Every metric there is gives a finite number or is left out; nothing is raised, nothing warns."""
        k = 2 if kind == "binary" else 3
        data = data_of(y, kind, k)
        for name in get_scorer_names():
            try:
                metric = Metric.of(name, kind)
            except UsageError:
                continue
            found = scores(Fixed(random_probability(len(y), k)), data, metric)
            assert all(math.isfinite(value) for value in found.values())
            assert "log_loss" in found
            assert ("roc_auc" in found) == (len(set(y)) > 1)

    def test_every_metric_agrees_with_its_scorer(self):
        """Through the wrapper, a metric is what scikit-learn's scorer gives for the model itself."""
        from sklearn.linear_model import LogisticRegression

        task = breast_cancer()
        plain = LogisticRegression(max_iter=5000, C=0.01).fit(task.data.X / 1000, task.data.y)
        model = Fixed(plain.predict_proba(task.data.X / 1000))
        for name in ("accuracy", "roc_auc", "f1", "neg_brier_score", "average_precision", "matthews_corrcoef"):
            expected = get_scorer(name)(plain, task.data.X / 1000, task.data.y)
            assert scores(model, task.data, Metric.of(name, "binary"))[name] == pytest.approx(expected), name

    def test_values_that_are_not_finite_are_left_out(self):
        data = data_of(np.array([0, 1, 0, 1]), "binary", 2)
        found = scores(Fixed(np.full((4, 2), np.nan)), data, Metric.of("roc_auc", "binary"))
        assert "roc_auc" not in found
        assert "log_loss" not in found
        data = data_of(np.array([0.0, 1.0]), "regression", 0)
        assert scores(Fixed([np.nan, 1.0]), data, Metric.of("r2", "regression")) == {}

    def test_a_metric_of_the_user_has_no_scorer(self):
        with pytest.raises(UsageError, match="profit"):
            scores(Fixed([0.0]), data_of(np.array([0.0]), "regression", 0), Metric("profit", "maximize"))


class TestEvaluate:
    def test_mean_over_folds(self):
        task = diabetes()
        task = Task.from_arrays(task.data.X, task.data.y, kind="regression", metric="mae", validation=3)
        family = Scripted(curves=[(3.0, 2.0, 1.0), (5.0, 4.0)])
        seen = []
        outcome = evaluate(task, family, {"a": 0.1}, seed=7, threads=2, report=lambda *pair: seen.append(pair))
        folds = [float(np.abs(task.data.y[valid]).mean()) for _, valid in task.folds]
        assert outcome.value == pytest.approx(np.mean(folds))
        assert outcome.metrics["mae"] == outcome.value
        assert [step for step, _ in seen] == [1, 2, 3]
        assert [value for _, value in seen] == pytest.approx([np.mean(folds[: i + 1]) for i in range(3)])
        assert outcome.curve == pytest.approx(((3 + 5 + 3) / 3, (2 + 4 + 2) / 3))
        assert outcome.best_step == 3
        assert outcome.seconds > 0
        assert all(call["seed"] == 7 and call["threads"] == 2 for call in family.calls)

    def test_trials_never_see_the_test_split(self):
        task, family = breast_cancer(), Scripted()
        evaluate(task, family, {"a": 0.1})
        refit(task, family, {"a": 0.1}, best_step=4)
        trained = family.calls[0]
        assert trained["train"].n_rows + trained["valid"].n_rows == len(task.search_rows)
        assert family.calls[1]["train"].n_rows == task.data.n_rows - len(task.test)
        assert family.calls[1]["steps"] == 4
        assert family.calls[1]["valid"] is None

    def test_value_that_is_not_finite(self):
        task, family = diabetes(), Scripted(answer=math.nan)
        with pytest.raises(SearchError, match="rmse"):
            evaluate(task, family, {"a": 0.1})
        trial = run_trial(task, family, {"a": 0.1})
        assert (trial.status, trial.value) == ("failed", None)
        assert "SearchError" in trial.error

    def test_what_training_raises_travels(self):
        def act(report):
            raise ZeroDivisionError("boom")

        with pytest.raises(ZeroDivisionError):
            evaluate(breast_cancer(), Scripted(act), {"a": 0.1})

    def test_task_without_data(self):
        task = Task.custom("furnace", metric="yield", direction="maximize")
        with pytest.raises(UsageError, match="furnace"):
            evaluate(task, Scripted(), {"a": 0.1})

    def test_family_for_other_tasks(self):
        with pytest.raises(UsageError, match="multiclass"):
            evaluate(iris(), Scripted(), {"a": 0.1})

    @pytest.mark.parametrize(
        ("task", "name", "fitting"), [(iris, "tfidf_linear", "svm"), (subjects, "svm", "tfidf_linear")]
    )
    def test_family_for_other_data(self, task, name, fitting):
        family = get_family(name)
        with pytest.raises(UsageError, match=fitting) as caught:
            evaluate(task(), family, family.default())
        assert (caught.value.field, caught.value.value) == ("family", name)

    def test_texts_from_evaluation_to_test_scores(self):
        task, family = subjects(), get_family("tfidf_linear")
        outcome = evaluate(task, family, family.default())
        model = refit(task, family, family.default(), best_step=outcome.best_step)
        assert test_scores(task, model)["accuracy"] > 0.7
        assert outcome.metrics["accuracy"] > 0.7

    @pytest.mark.parametrize("name", ["lightgbm", "linear"])
    def test_refit_is_judged_on_the_test_split(self, name):
        task, family = breast_cancer(), get_family(name)
        outcome = evaluate(task, family, family.default())
        model = refit(task, family, family.default(), best_step=outcome.best_step)
        found = test_scores(task, model)
        assert found == scores(model, task.data.take(task.test), task.metric)
        assert found["roc_auc"] > 0.95
        assert test_scores(replace(task, test=task.test[:0]), model) == {}


class TestRunTrial:
    def test_complete(self):
        trial = run_trial(breast_cancer(), Scripted(), {"a": 0.1}, number=4, origin="random")
        assert (trial.status, trial.number, trial.origin, dict(trial.configuration)) == (
            "complete",
            4,
            "random",
            {"a": 0.1},
        )
        assert trial.value == trial.metrics["roc_auc"] == 0.5
        assert trial.seconds > 0
        assert trial.started > 1e9

    @pytest.mark.parametrize("error", [ValueError("boom"), MemoryError(), OSError("disk")])
    def test_failed(self, error):
        def act(report):
            raise error

        trial = run_trial(breast_cancer(), Scripted(act), {"a": 0.1})
        assert (trial.status, trial.value) == ("failed", None)
        assert trial.error.startswith(type(error).__name__)

    def test_a_missing_package_ends_the_search_instead_of_failing_every_trial(self):
        def act(report):
            raise MissingDependencyError.of("keras_mlp", "tensorflow", "keras")

        with pytest.raises(MissingDependencyError, match=r"metatune\[keras\]"):
            run_trial(breast_cancer(), Scripted(act), {"a": 0.1})

    def test_interrupt_travels(self):
        def act(report):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_trial(breast_cancer(), Scripted(act), {"a": 0.1})

    def test_pruned_at_a_step(self):
        def act(report):
            report(2, 0.6)
            report(4, 0.7)

        def prune(step, value):
            if step == 4:
                raise optuna.TrialPruned

        trial = run_trial(breast_cancer(), Scripted(act), {"a": 0.1}, report=prune)
        assert (trial.status, trial.value, trial.fidelity) == ("pruned", 0.7, 0.4)
        np.testing.assert_array_equal(trial.curve, [math.nan, 0.6, math.nan, 0.7])
        assert trial.reported == ((2, 0.6), (4, 0.7))
        assert trial.best_step is None

    def test_best_step_and_reports_of_several_folds(self):
        task = breast_cancer()
        task = Task.from_arrays(task.data.X, task.data.y, validation=2)
        trial = run_trial(task, Scripted(curves=[(0.1, 0.2, 0.3, 0.4), (0.1, 0.2)]), {"a": 0.1})
        assert (len(trial.curve), trial.best_step) == (2, 3)
        assert trial.reported == ((1, 0.5), (2, 0.5))

    def test_pruned_after_a_fold(self):
        task = breast_cancer()
        task = Task.from_arrays(task.data.X, task.data.y, validation=4)

        def prune(step, value):
            if step == 2:
                raise optuna.TrialPruned

        trial = run_trial(task, Scripted(), {"a": 0.1}, report=prune)
        assert (trial.status, trial.value, trial.fidelity) == ("pruned", 0.5, 0.5)


@pytest.mark.parametrize(
    ("family", "metric"), [("hist_gradient_boosting", "neg_mean_poisson_deviance"), ("keras_mlp", "rmsle")]
)
def test_a_step_whose_predictions_the_metric_refuses_does_not_end_the_fit(family, metric):
    """Logarithms of what is not positive, as the first steps predict for a target that is far from normal."""
    known, rng = get_family(family), np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    task = Task.from_arrays(X, np.exp(1.5 * X[:, 0]), metric=metric, validation="holdout")
    seen: list[float] = []
    trial = run_trial(task, known, known.default(), report=lambda step, value: seen.append(value))
    assert (trial.status, trial.error) == ("complete", None)
    assert np.isnan(trial.curve).any()
    assert trial.curve[trial.best_step - 1] == pytest.approx(trial.value)
    assert seen
    assert np.isfinite(seen).all()
