"""Objectives that break their contract, and arguments that cannot be: a clear error, and nothing is lost."""

import math

import numpy as np
import optuna
import pytest
from learner_contract import breast_cancer, diabetes, iris
from memory_store import PLANE, MemoryStore, bowl, custom

from metatune.errors import (
    ConfigurationError,
    MissingDependencyError,
    SearchError,
    UnknownNameError,
    UsageError,
)
from metatune.space import SearchSpace
from metatune.tuner import tune


def search(objective, store=False, **options):
    options = {"n_trials": 6, "strategy": "random", "space": PLANE, "store": store} | options
    return tune(custom(), "bowl", objective=objective, **options)


BAD_VALUES = [math.nan, None, "0.9", True, math.inf, -math.inf, 10**400, np.float32("nan"), [0.5]]


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: repr(bad)[:12])
def test_a_bad_value_fails_the_trial_and_the_search_goes_on(bad):
    store, seen = MemoryStore(), []

    def objective(configuration):
        seen.append(configuration)
        return bad if len(seen) % 2 else bowl(configuration)

    result = search(objective, store)
    assert [t.status for t in result.trials] == ["failed", "complete"] * 3
    assert all("value of the objective" in t.error and "Return" in t.error.title() for t in result.trials[::2])
    assert result.best_value == max(t.value for t in result.trials[1::2])
    assert store.trials(result.study_id) == list(result.trials)


@pytest.mark.parametrize(
    "result", [lambda x: None, lambda x: (x, 1.0), lambda x: np.array([x, x]), lambda x: {"auc": x}]
)
def test_an_objective_that_never_returns_a_number_ends_the_search(result):
    seen = []

    def objective(configuration):
        seen.append(configuration)
        return result(configuration["x"])

    with pytest.raises(SearchError, match="not a number but of type"):
        search(objective, n_trials=12)
    assert len(seen) == 5


def test_an_exception_fails_the_trial_and_the_search_goes_on():
    def objective(configuration):
        if configuration["x"] < 0.5:
            raise ZeroDivisionError(f"at {configuration['x']}")
        return bowl(configuration)

    result = search(objective, n_trials=12)
    failed = [t for t in result.trials if t.status == "failed"]
    assert failed
    assert all(t.error == f"ZeroDivisionError: at {t.configuration['x']}" for t in failed)
    assert len(result.trials) == 12
    assert result.best_trial.configuration["x"] >= 0.5


def test_numpy_numbers_and_whole_numbers_are_fine():
    assert search(lambda c: np.float32(0.5)).best_value == 0.5
    assert search(lambda c: 3).best_value == 3.0


def test_an_objective_cannot_change_the_record():
    def objective(configuration):
        configuration["x"] = 7.0
        return 0.5

    assert all(PLANE.contains(t.configuration) for t in search(objective).trials)


def test_nothing_but_one_error_ends_the_search_early():
    store, calls = MemoryStore(), []

    def objective(configuration):
        calls.append(1)
        raise KeyError("learning_rte")

    with pytest.raises(SearchError, match="learning_rte"):
        search(objective, store, n_trials=50)
    assert len(calls) == 5
    (study,) = store.studies()
    assert store.status[study.id] == "failed"
    assert [t.status for t in store.trials(study.id)] == ["failed"] * 5


def test_different_errors_or_bad_values_do_not_end_it_early():
    calls = []

    def raises(configuration):
        calls.append(1)
        raise ValueError(str(len(calls)))

    with pytest.raises(SearchError, match="8"):
        search(raises, n_trials=8)
    assert len(calls) == 8
    calls.clear()
    with pytest.raises(SearchError, match="not finite"):
        search(lambda c: calls.append(1) or math.nan, n_trials=8)
    assert len(calls) == 8


class TestReport:
    def test_curve_and_pruning(self):
        class AboveStep2(optuna.pruners.BasePruner):
            def prune(self, study, trial):
                return trial.number == 1 and trial.last_step >= 3

        def objective(configuration, report):
            for step in (1, 3, 5):
                report(step, step / 10)
            return 0.9

        result = search(objective, n_trials=3, pruner=AboveStep2())
        assert [t.status for t in result.trials] == ["complete", "pruned", "complete"]
        np.testing.assert_array_equal(result.trials[0].curve, [0.1, np.nan, 0.3, np.nan, 0.5])
        np.testing.assert_array_equal(result.trials[1].curve, [0.1, np.nan, 0.3])
        assert result.trials[1].value == 0.3
        assert [t.state.name for t in result.study.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]

    @pytest.mark.parametrize(("step", "value"), [(0, 0.5), (10**9, 0.5), (1.5, 0.5), (1, math.nan), (1, "x")])
    def test_bad_report(self, step, value):
        def objective(configuration, report=None):
            if configuration["x"] < 0.5:
                report(step, value)
            return 1.0

        failed = [t for t in search(objective, n_trials=8).trials if t.status == "failed"]
        assert failed
        assert all("report" in t.error for t in failed)

    def test_a_second_parameter_of_another_name_is_left_alone(self):
        assert search(lambda configuration, scale=2.0: scale).best_value == 2.0


class TestArguments:
    @pytest.mark.parametrize(
        "bad",
        [
            {"n_trials": 0},
            {"n_trials": -3},
            {"n_trials": 2.5},
            {"n_trials": True},
            {"n_trials": "10"},
            {"timeout": 0},
            {"timeout": -1.0},
            {"timeout": math.nan},
            {"timeout": "1"},
            {"seed": -1},
            {"seed": 0.5},
            {"threads": 0},
            {"store": "sqlite:///mlflow.db"},
            {"store": True},
            {"strategy": "tpee"},
            {"knowledge": "folder", "strategy": "meta"},
        ],
        ids=str,
    )
    def test_named(self, bad):
        (field, *_) = bad
        with pytest.raises(UsageError, match=field):
            search(lambda c: pytest.fail("trained"), **bad)

    @pytest.mark.parametrize("objective", [3, "f", lambda: 1.0, lambda a, b: 1.0, lambda *, report: 1.0])
    def test_objective_that_cannot_be_called(self, objective):
        with pytest.raises(UsageError, match="objective"):
            search(objective)

    def test_did_you_mean(self):
        with pytest.raises(UnknownNameError, match="'tpe'"):
            search(bowl, strategy="tpee")
        with pytest.raises(UnknownNameError, match="'lightgbm'"):
            tune(iris(), "lightgmb", store=False)

    def test_missing_package(self, monkeypatch):
        monkeypatch.setattr("metatune.strategies.find_spec", lambda name: None)
        with pytest.raises(MissingDependencyError, match="pip install"):
            search(bowl, strategy="cmaes")

    @pytest.mark.parametrize(
        ("bad", "named"),
        [
            ({"x": 0.5}, "y"),
            ({"x": 0.5, "y": 1.5}, "y"),
            ({"x": 0.5, "y": 0.5, "z": 1}, "z"),
            ({"x": "0.5", "y": 0.5}, "x"),
        ],
    )
    def test_warm_start_outside_the_space(self, bad, named):
        store = MemoryStore()
        with pytest.raises(ConfigurationError, match=rf"warm_start\[1\]\['{named}'\]"):
            search(lambda c: pytest.fail("trained"), store, warm_start=[{"x": 0.1, "y": 0.1}, bad])
        assert not store.studies()

    def test_default_outside_the_space(self):
        with pytest.raises(ConfigurationError, match="default"):
            search(bowl, default={"x": 0.5})

    def test_objective_without_space(self):
        with pytest.raises(UsageError, match="space"):
            search(bowl, space=None)

    def test_custom_task_without_objective(self):
        with pytest.raises(UsageError, match="objective"):
            tune(custom(), "lightgbm", store=False)

    def test_space_with_a_parameter_that_the_family_does_not_have(self):
        with pytest.raises(UnknownNameError, match="learning_rate"):
            tune(iris(), "lightgbm", store=False, space=SearchSpace({"learning_rte": {"low": 0.1, "high": 0.2}}))

    def test_family_for_other_tasks(self):
        from test_evaluate import Scripted

        with pytest.raises(UsageError, match="multiclass"):
            tune(iris(), Scripted(), store=False)
        for task in (breast_cancer(), diabetes()):
            assert tune(task, Scripted(), n_trials=2, strategy="random", store=False).best_value is not None
