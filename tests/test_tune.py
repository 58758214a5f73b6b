"""The verb ``tune``: what the history teaches, what is recorded, what comes back."""

import json
import math
import sys
import time
from functools import cache

import numpy as np
import optuna
import pytest
from history_cases import runs
from learner_contract import breast_cancer, diabetes, iris
from memory_store import PLANE, MemoryStore, bowl, custom
from planted import FAMILY, SPACE, planted_snapshot, utility
from text_tasks import subjects

from metatune.errors import KnowledgeError, SearchError, StoreError, UsageError
from metatune.history.mlflow_store import MLflowStore
from metatune.history.replay import look
from metatune.knowledge import KNOWLEDGE_VARIABLE, Knowledge
from metatune.learners import get_family, load_model
from metatune.learners.evaluate import test_scores
from metatune.recommender import recommend
from metatune.search.budget import TimeBudget
from metatune.snapshot import snapshot_of
from metatune.space import Condition, SearchSpace
from metatune.strategies import STRATEGIES
from metatune.task import Task
from metatune.tuner import tune

SMALL = SearchSpace(
    {"n_estimators": {"type": "int", "low": 5, "high": 20}, "num_leaves": {"type": "int", "low": 4, "high": 8}}
)
#: Six configurations.
FEW = SearchSpace({"a": ["u", "v"], "b": [1, 2, 3]})
WORST = {"x": 1.0, "y": 1.0, "kind": "bad"}


@cache
def planted(direction="maximize"):
    return Knowledge.build(planted_snapshot(direction=direction))


def planted_search(direction="maximize", **options):
    """A search for the planted optimum, moved a little."""
    task = Task.custom("new", metric="utility" if direction == "maximize" else "loss", direction=direction)

    def objective(configuration):
        return task.metric.score(utility(configuration, 0.31, 0.012))

    options = {"space": SPACE, "default": WORST, "knowledge": planted(direction), "store": False} | options
    return tune(task, FAMILY, objective=objective, **options)


def bowl_search(objective=bowl, task=None, **options):
    options = {"space": PLANE, "strategy": "random", "store": False} | options
    return tune(task or custom(), "bowl", objective=objective, **options)


def patient_search(values, direction="maximize", *, sign=1, **options):
    """A search whose trials come out as ``values``, times ``sign``; ``None``: failed."""
    left = iter(values)

    def objective(configuration):
        value = next(left)
        if value is None:
            raise ValueError("unlucky")
        return sign * value

    task = Task.custom("values", metric="value", direction=direction)
    return bowl_search(objective, task, **{"n_trials": len(values)} | options)


def iris_search(**options):
    options = {"n_trials": 3, "strategy": "random", "space": SMALL, "store": False} | options
    return tune(iris(), "lightgbm", **options)


class TestHistory:
    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_first_proposals_land_near_the_planted_optimum(self, direction):
        trials = planted_search(direction, n_trials=8).trials
        sign = 1.0 if direction == "maximize" else -1.0
        regret = [-sign * t.value for t in trials]
        assert trials[0].origin == "portfolio"
        assert regret[0] < 0.15
        assert min(regret) < 0.03
        assert "model" in {t.origin for t in trials}
        without = [-sign * t.value for t in planted_search(direction, n_trials=8, knowledge=False).trials]
        assert min(regret[:3]) < min(without[:3])

    def test_the_default_is_among_the_first_trials(self):
        for knowledge in (planted(), False):
            trials = planted_search(n_trials=3, knowledge=knowledge).trials
            (default,) = [t for t in trials if t.origin == "default"]
            assert dict(default.configuration) == WORST
        first = tune(iris(), "lightgbm", n_trials=1, knowledge=False, store=False, refit=False).trials[0]
        assert dict(first.configuration) == get_family("lightgbm").default()

    def test_parameters_that_the_history_calls_otherwise_are_named(self, caplog):
        space = SearchSpace({"x": {"low": 0.0, "high": 1.0}, "width": {"low": 0.0, "high": 1.0}, "constant": [3]})
        options = {"space": space, "n_trials": 2, "store": False}
        found = tune(custom(), FAMILY, objective=lambda c: c["x"], knowledge=planted(), **options)
        (warning,) = found.warnings
        assert warning.startswith("The history of 'planted' knows no 'width',")
        assert sum("knows no" in r.getMessage() for r in caplog.records) == 1
        assert "it knows extra, kind, x, y" in warning

    def test_a_family_that_the_knowledge_does_not_have(self, caplog):
        store = MemoryStore()
        result = planted_search(n_trials=2, knowledge=planted(), store=store)
        assert not result.warnings
        result = tune(custom(), "other", objective=bowl, space=PLANE, n_trials=2, knowledge=planted(), store=store)
        (warning,) = result.warnings
        assert "'other'" in warning
        assert [r.getMessage() for r in caplog.records] == [warning]
        assert [s.notes["knowledge"] for s in store.studies()] == [planted().snapshot.digest, "none"]

    def test_no_knowledge_anywhere(self, tmp_path, monkeypatch, caplog):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv(KNOWLEDGE_VARIABLE, raising=False)
        monkeypatch.setattr("metatune.knowledge.starter_directory", lambda: tmp_path / "none")
        monkeypatch.setattr("metatune.guide.starter_directory", lambda: tmp_path / "none")
        result = planted_search(n_trials=2, knowledge=None)
        assert len(result.warnings) == len(caplog.records) == 1
        assert "without history" in result.warnings[0]
        assert not planted_search(n_trials=2, knowledge=None, strategy="random").warnings

    def test_knowledge_that_was_named_must_be_there(self, tmp_path, monkeypatch):
        monkeypatch.setenv(KNOWLEDGE_VARIABLE, str(tmp_path / "none"))
        with pytest.raises(KnowledgeError):
            planted_search(n_trials=2, knowledge=None)

    def test_knowledge_that_is_found(self, tmp_path, monkeypatch):
        planted().save(tmp_path / "mine")
        monkeypatch.setenv(KNOWLEDGE_VARIABLE, str(tmp_path / "mine"))
        found = planted_search(n_trials=4, knowledge=None)
        assert [t.configuration for t in found.trials] == [t.configuration for t in planted_search(n_trials=4).trials]


class TestRecords:
    @pytest.fixture
    def mlflow(self, tmp_path):
        return MLflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}")

    @pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # MLflow's engines live as long as we do
    def test_the_history_has_what_the_result_has(self, mlflow):
        task = breast_cancer()
        result = tune(task, "lightgbm", n_trials=3, strategy="random", space=SMALL, store=mlflow, seed=4)
        (record,) = mlflow.studies()
        assert (record.id, record.family, record.strategy, record.seed) == (result.study_id, "lightgbm", "random", 4)
        assert record.space == SMALL
        assert record.task.fingerprint == task.fingerprint
        assert record.task.metafeatures["log_rows"] == pytest.approx(np.log(len(task.search_rows)))
        assert tuple(mlflow.trials(record.id)) == result.trials
        again = tune(task, "lightgbm", n_trials=4, resume=record.id[:7], space=SMALL, store=mlflow)
        assert tuple(mlflow.trials(record.id)) == again.trials
        assert again.trials[:3] == result.trials

    @pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
    def test_every_trial_says_why_it_was_proposed(self, mlflow):
        result = planted_search(n_trials=7, store=mlflow)
        asked = [t for t in result.trials if t.origin.startswith("model")]
        assert asked
        assert all(math.isfinite(t.odds) and t.trusted >= 1 for t in asked)
        assert all(t.odds is None and t.trusted is None for t in result.trials if t not in asked)
        assert tuple(mlflow.trials(result.study_id)) == result.trials
        tags = [run.data.tags for run in runs(mlflow.uri)]
        assert sorted(tag["metatune.trusted"] for tag in tags if "metatune.odds" in tag) == sorted(
            str(t.trusted) for t in asked
        )

    def test_each_trial_is_written_down_as_it_ends(self, tmp_path, monkeypatch):
        monkeypatch.setenv("METATUNE_SPOOL", str(tmp_path))
        store, stored = MemoryStore(), []

        def note(progress):
            store.failing = True
            stored.append(sum(found.waiting for found in look([tmp_path])) + len(store.trials(store.studies()[0].id)))
            store.failing = progress.done < 4

        result = tune(
            custom(), "bowl", objective=bowl, space=PLANE, strategy="random", n_trials=4, store=store, on_trial=note
        )
        assert stored == [1, 2, 3, 4]
        assert store.status == {result.study_id: "finished"}

    def test_the_result_is_kept_with_the_study(self):
        store = MemoryStore()
        result = iris_search(store=store)
        (artifact,) = store.artifacts[result.study_id]
        assert json.loads(artifact)["test_scores"] == dict(result.test_scores)

    def test_a_store_that_cannot_be_used_stops_before_training(self):
        store = MemoryStore()
        store.failing = True
        with pytest.raises(StoreError):
            iris_search(store=store, on_trial=lambda progress: pytest.fail("trained"))

    def test_a_store_that_goes_away_and_comes_back(self):
        store = MemoryStore()

        def objective(configuration):
            store.failing = len(store.kept) == 1 and 2 <= len(calls) < 5
            calls.append(1)
            return bowl(configuration)

        calls = []
        result = bowl_search(objective, n_trials=8, store=store)
        assert len(calls) == 8
        assert tuple(store.trials(result.study_id)) == result.trials
        assert not result.warnings
        assert not result.unsaved

    def test_a_store_that_goes_away_for_good(self):
        store = MemoryStore()

        def note(progress):
            store.failing = True

        result = bowl_search(n_trials=6, store=store, on_trial=note)
        assert len(result.trials) == 6
        waiting = len(result.unsaved)
        assert waiting >= 5  # the first may have been quicker
        assert any(f"{waiting} trials" in warning and "metatune sync" in warning for warning in result.warnings)
        assert repr(result).count("not in the history") == 1
        store.failing = False
        store.add_trials(result.study_id, result.unsaved)
        assert tuple(store.trials(result.study_id)) == result.trials

    def test_a_resumed_search_brings_what_waits_first(self):
        store = MemoryStore()

        def note(progress):
            store.failing = True

        first = bowl_search(n_trials=3, store=store, on_trial=note)
        assert first.unsaved
        store.failing = False
        rest = bowl_search(n_trials=5, store=store, resume=first.study_id)
        assert rest.trials[:3] == first.trials
        assert tuple(store.trials(first.study_id)) == rest.trials

    def test_a_store_that_comes_back_at_the_end(self):
        store = MemoryStore()

        def note(progress):
            store.failing = 2 <= progress.done < 6

        result = bowl_search(n_trials=6, store=store, on_trial=note)
        assert tuple(store.trials(result.study_id)) == result.trials
        assert store.status == {result.study_id: "finished"}

    def test_nothing_is_recorded_for_false(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        iris_search(store=False)
        assert not list(tmp_path.iterdir())

    def test_an_error_in_the_callback_travels_and_the_study_is_closed(self):
        store = MemoryStore()

        def note(progress):
            raise RuntimeError("mine")

        with pytest.raises(RuntimeError, match="mine"):
            bowl_search(store=store, on_trial=note)
        ((study_id, status),) = store.status.items()
        assert status == "failed"
        assert len(store.trials(study_id)) == 1


class TestTrials:
    def test_warm_starts_come_first(self):
        warm = [{"x": 0.21, "y": 0.7}, {"x": 1, "y": 0}]
        for strategy in ("meta", "random", "tpe"):
            result = bowl_search(n_trials=4, strategy=strategy, warm_start=warm, knowledge=False)
            assert [dict(t.configuration) for t in result.trials[:2]] == warm
            assert [t.origin for t in result.trials[:2]] == ["warm-start", "warm-start"]
            assert "warm-start" not in {t.origin for t in result.trials[2:]}

    def test_numbers_of_numpy(self):
        store = MemoryStore()
        numbers = {"x": np.float32(0.25), "y": np.int64(1)}
        for strategy in ("meta", "random"):
            options = {"strategy": strategy, "knowledge": False, "store": store, "default": numbers}
            result = bowl_search(n_trials=2, warm_start=[numbers], **options)
            assert dict(result.trials[0].configuration) == {"x": 0.25, "y": 1.0}
            assert all(type(value) is float for value in result.trials[0].configuration.values())
            again = bowl_search(n_trials=3, warm_start=[numbers], resume=result.study_id, **options)
            assert len(again.trials) == 3

    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_patience_ends_a_search_that_finds_nothing_better(self, direction):
        sign = 1 if direction == "maximize" else -1
        result = patient_search([1, 5, 5, 4, None, 9], direction, patience=3, sign=sign)
        assert [trial.value for trial in result.trials] == [sign, 5 * sign, 5 * sign, 4 * sign, None]
        assert result.best_trial.number == 1
        assert (result.state, result.wanted) == ("nothing better in 3 trials", 6)

    def test_patience_lasts_while_something_better_is_found_or_nothing_was_complete(self):
        assert len(patient_search([None, None, None, 1, 0, 2, 0, 3], patience=2).trials) == 8
        assert patient_search([3, 2, 1], patience=2).wanted is None

    def test_patience_waits_for_all_warm_starts_and_does_not_count_them(self):
        warm = [{"x": n / 10, "y": 0.5} for n in range(4)]
        result = patient_search([9, 0, 0, 0, 1, 1, 1, 1], patience=2, warm_start=warm)
        assert [trial.origin for trial in result.trials] == ["warm-start"] * 4 + ["random"] * 2

    def test_patience_after_a_resume(self):
        store = MemoryStore()
        first = patient_search([2, 1, 1, 1], patience=2, store=store, n_trials=8)
        options = {"store": store, "n_trials": 8, "resume": first.study_id}
        again = patient_search([3], patience=2, **options)
        assert len(again.trials) == 3
        assert again.state == "nothing better in 2 trials"
        assert len(patient_search([3, 1, 2, 3], patience=3, **options).trials) == 7

    @pytest.mark.parametrize("wrong", [0, True, 2.5, "3"])
    def test_patience_is_a_number_of_trials(self, wrong):
        with pytest.raises(UsageError) as caught:
            bowl_search(patience=wrong)
        assert caught.value.field == "patience"

    def test_a_timeout_before_the_first_trial(self):
        with pytest.raises(SearchError, match="before the first trial") as caught:
            bowl_search(timeout=1e-9)
        assert caught.value.field == "timeout"

    @pytest.mark.parametrize("seconds", [0.4, np.float32(0.4)])
    def test_timeout(self, seconds):
        def slow(configuration):
            time.sleep(0.05)
            return 0.5

        start = time.perf_counter()
        result = bowl_search(slow, n_trials=1000, timeout=seconds)
        assert 1 <= len(result.trials) <= 8
        assert time.perf_counter() - start < 5

    def test_a_timeout_counts_only_while_the_trials_take_too_long_for_it(self, monkeypatch):
        dear = planted_snapshot(seconds=lambda c: 3.0 ** int(c["extra"]) if "extra" in c else 1.0)
        guided = {"knowledge": Knowledge.build(dear), "n_trials": 10}
        for module in ("sampler", "observing"):
            name = f"metatune.{module}.seconds_of"
            monkeypatch.setattr(name, lambda trial: 3.0 ** int(trial.params.get("extra", 1)))
        without, ample, short = (planted_search(timeout=seconds, **guided) for seconds in (None, 1e6, 30))
        assert [t.configuration for t in ample.trials] == [t.configuration for t in without.trials]
        paid = [[3.0 ** int(t.configuration.get("extra", 1)) for t in r.trials[4:]] for r in (without, short)]
        assert sum(paid[1]) < sum(paid[0]) / 2

    def test_what_was_taken_up_tells_the_pace_of_a_timeout_and_costs_none_of_it(self, monkeypatch):
        asked = []
        monkeypatch.setattr(TimeBudget, "is_short", lambda *words: bool(asked.append(words)))
        store = MemoryStore()
        first = planted_search(n_trials=5, store=store)
        options = {"n_trials": 8, "timeout": 60, "resume": first.study_id, "store": store}

        def interrupting(configuration):
            raise KeyboardInterrupt

        task = Task.custom("new", metric="utility", direction="maximize")
        tune(task, FAMILY, objective=interrupting, knowledge=planted(), **options)
        asked.clear()
        planted_search(**options)
        assert [(budget.n_trials, len(took)) for budget, took, _ in asked] == [(3, 0), (3, 1), (3, 2)]
        assert all(before == [t.seconds for t in first.trials] for _, _, before in asked)

    def test_a_trial_that_was_never_recorded_costs_no_time_of_a_later_run(self, monkeypatch):
        asked = []
        monkeypatch.setattr(TimeBudget, "is_short", lambda *words: bool(asked.append(words)))
        store = MemoryStore()
        first = planted_search(n_trials=5, store=store)
        del store.kept[first.study_id][first.trials[2].key]
        asked.clear()
        planted_search(n_trials=6, timeout=60, resume=first.study_id, store=store)
        _, took, before = asked[0]
        assert took == []
        expected = [t.seconds for t in first.trials]
        assert before == pytest.approx([*expected[:2], np.nan, *expected[3:]], nan_ok=True)

    def test_equal_arguments_give_equal_results(self):
        first, second = (iris_search(seed=7) for _ in range(2))
        assert [t.configuration for t in first.trials] == [t.configuration for t in second.trials]
        assert [t.value for t in first.trials] == [t.value for t in second.trials]
        assert first.test_scores == second.test_scores

    def test_the_trial_has_what_was_proposed_and_the_training_what_fits_the_rows(self):
        space = SearchSpace({"min_child_samples": {"type": "int", "low": 150, "high": 200}})
        result = iris_search(space=space, n_trials=2)
        assert all(t.configuration["min_child_samples"] >= 150 for t in result.trials)
        assert result.best_value > 0.8
        assert any("min_child_samples of the best configuration was limited" in warning for warning in result.warnings)

    def test_only_what_was_limited_in_the_best_trial_is_told(self):
        space = SearchSpace({"n_neighbors": {"type": "int", "low": 1, "high": 200}})
        start = [{"n_neighbors": 200}, {"n_neighbors": 5}]
        result = tune(iris(), "knn", space=space, n_trials=2, warm_start=start, strategy="random", store=False)
        assert result.best_configuration == start[1]
        assert not [warning for warning in result.warnings if "limited" in warning]

    def test_parameters_that_the_space_leaves_out_keep_their_defaults(self):
        space = SearchSpace({"learning_rate": {"low": 0.1, "high": 0.1}})
        family = get_family("lightgbm")
        ours = iris_search(space=space, n_trials=1).best_trial
        theirs = iris_search(space=family.space(), n_trials=1, warm_start=[family.default()]).best_trial
        assert dict(ours.configuration) == {"learning_rate": 0.1}
        assert ours.metrics == theirs.metrics

    def test_a_space_may_go_beyond_that_of_the_family(self):
        space = SearchSpace({"n_estimators": {"type": "int", "low": 7, "high": 7}})
        assert len(iris_search(space=space, n_trials=1).best_trial.curve) == 7

    def test_standard_scores_of_every_trial(self):
        names = {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"}
        assert all(names <= set(t.metrics) for t in iris_search().trials)
        result = tune(diabetes(), "linear", n_trials=2, strategy="random", store=False)
        assert all({"rmse", "mae", "r2"} <= set(t.metrics) for t in result.trials)
        assert result.best_value == min(t.value for t in result.trials)

    @pytest.mark.parametrize("strategy", ["random", "tpe", "meta"])
    def test_a_finite_space_that_is_used_up_ends_the_search(self, strategy):
        space = SearchSpace(
            {
                "C": {"low": 0.5, "high": 0.5},
                "kernel": ["linear", "rbf"],
                "gamma": {"low": 0.1, "high": 0.3, "step": 0.1},
            },
            {"gamma": Condition("kernel", ("rbf",))},
        )
        result = tune(
            iris(), "svm", space=space, n_trials=100, strategy=strategy, knowledge=False, store=False, refit=False
        )
        assert result.state == "the whole space was tried (4 configurations)"
        tried = [tuple(t.configuration.values()) for t in result.trials]
        assert sorted(set(tried)) == [(0.5, "linear"), *((0.5, "rbf", gamma) for gamma in (0.1, 0.2, 0.3))]
        assert tried.index(tried[-1]) == len(tried) - 1

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_a_finite_space_that_is_used_up_ends_the_search_of_an_objective(self, strategy):
        store, options = MemoryStore(), {"space": FEW, "strategy": strategy, "n_trials": 40}
        result = bowl_search(lambda c: float(c["b"]), store=store, **options)
        assert result.state == "the whole space was tried (6 configurations)"
        assert result.trials_text.startswith(f"{len(result.trials)} of 40 in ")
        assert len({repr(dict(t.configuration)) for t in result.trials}) == 6
        if strategy in ("meta", "grid"):  # the others repeat themselves before
            assert len(result.trials) == 6
        again = bowl_search(pytest.fail, store=store, resume=result.study_id, **options)
        assert (again.trials, again.state) == (result.trials, result.state)
        assert bowl_search(lambda c: 0.5, space=FEW, strategy="grid", n_trials=6).state == "done"

    def test_a_noisy_objective_is_asked_again(self):
        rng, warm = np.random.default_rng(0), [{"a": "u", "b": 1}] * 2
        result = bowl_search(lambda c: rng.random(), space=FEW, n_trials=12, warm_start=warm)
        assert (len(result.trials), result.state) == (12, "done")

    def test_what_was_asked_for_again_is_tried_although_the_space_is_used_up(self):
        space, first = SearchSpace({"a": ["u", "v"]}), [{"a": "u"}, {"a": "v"}, {"a": "u"}]
        result = bowl_search(lambda c: 0.5, space=space, n_trials=9, warm_start=first)
        assert [dict(trial.configuration) for trial in result.trials] == first
        assert result.state == "the whole space was tried (2 configurations)"

    def test_the_configurations_of_an_endless_space_are_not_counted_after_each_trial(self, monkeypatch):
        monkeypatch.setattr("metatune.search_loop._key", pytest.fail)
        assert bowl_search(bowl, n_trials=3, strategy="random").state == "done"

    def test_a_finite_space_in_which_all_fails_is_used_up_too(self):
        def objective(configuration):
            raise MemoryError(str(configuration))

        with pytest.raises(SearchError, match="none of 6 trials"):
            bowl_search(objective, space=FEW, strategy="meta", n_trials=20)

    def test_progress(self):
        seen = []
        result = iris_search(on_trial=seen.append)
        assert [p.trial for p in seen] == list(result.trials)
        assert [(p.done, p.total) for p in seen] == [(1, 3), (2, 3), (3, 3)]
        assert [p.best.value for p in seen] == list(np.maximum.accumulate([t.value for t in result.trials]))

    def test_pruning_is_optuna_s(self):
        pruner = optuna.pruners.ThresholdPruner(upper=-1.0)
        with pytest.raises(Exception, match="none of 3"):
            iris_search(pruner=pruner)

    def test_optuna_is_silent_and_stays_as_it_was(self, caplog):
        def objective(configuration):
            if configuration["x"] > 0.5:
                raise ValueError(str(configuration))
            return 0.5

        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.INFO)
        optuna.logging.enable_propagation()
        try:
            bowl_search(objective, n_trials=6, warm_start=[{"x": 0.1, "y": 0.1}])
            assert optuna.logging.get_verbosity() == optuna.logging.INFO
        finally:
            optuna.logging.disable_propagation()
            optuna.logging.set_verbosity(before)
        assert not caplog.records


class TestResult:
    def test_frame(self):
        def objective(configuration):
            if configuration["x"] < 0.3:
                raise ValueError("low")
            return -bowl(configuration)

        result = tune(
            custom("t", "minimize"),
            "bowl",
            objective=objective,
            space=PLANE,
            n_trials=10,
            strategy="random",
            store=False,
        )
        frame = result.frame
        assert list(frame.columns) == [
            "number", "value", "best", "status", "origin", "seconds", "error", "params_x", "params_y", "metrics_height",
        ]  # fmt: skip
        assert len(frame) == 10
        np.testing.assert_array_equal(
            frame["value"], [t.value if t.value is not None else np.nan for t in result.trials]
        )
        np.testing.assert_array_equal(frame["best"], frame["value"].cummin().ffill())
        assert frame["best"].iloc[-1] == result.best_value
        assert set(frame["status"]) == {"complete", "failed"}

    def test_a_parameter_may_be_called_like_a_column(self):
        space = SearchSpace({"value": {"low": 0.0, "high": 1.0}})
        result = tune(custom(), "f", objective=lambda c: 2.0, space=space, n_trials=1, strategy="random", store=False)
        assert result.frame["value"].tolist() == [2.0]

    def test_the_study_is_optuna_s(self):
        result = iris_search()
        assert result.study.best_value == result.best_value
        assert result.study.best_params == result.best_configuration
        assert [t.params for t in result.study.trials] == [dict(t.configuration) for t in result.trials]

    def test_the_test_split_is_scored_once_and_at_the_end(self, monkeypatch):
        calls = []

        def count(task, model):
            calls.append(model)
            return test_scores(task, model)

        monkeypatch.setattr("metatune.tuner.test_scores", count)
        result = iris_search(on_trial=lambda progress: calls and pytest.fail("scored too early"))
        assert calls == [result.model]
        assert result.test_score == result.test_scores["accuracy"]
        assert len(calls) == 1

    def test_the_model_stops_at_the_best_step(self):
        space = SearchSpace({"n_estimators": {"type": "int", "low": 300, "high": 300}})
        result = tune(breast_cancer(), "lightgbm", n_trials=1, strategy="random", space=space, store=False)
        step, curve = result.best_trial.best_step, result.best_trial.curve
        assert result.model.fitted.booster.current_iteration() == step < len(curve)
        assert curve[step - 1] == max(curve)

    def test_the_model_stops_at_the_best_step_without_a_curve(self):
        space = SearchSpace({"n_estimators": {"type": "int", "low": 300, "high": 300}})
        task = breast_cancer()
        task = Task.from_arrays(task.data.X, task.data.y, metric="f1", validation="holdout")
        result = tune(task, "lightgbm", n_trials=1, strategy="random", space=space, store=False)
        assert result.best_trial.curve == ()
        assert result.model.fitted.booster.current_iteration() == result.best_trial.best_step < 300

    def test_without_refit(self):
        result = iris_search(refit=False)
        assert result.model is None
        assert result.test_score is None

    @pytest.mark.parametrize(("rare", "said"), [(25, []), (6, ["'rare' (1 row)."])])
    def test_a_class_that_hardly_occurs_in_the_test_split_is_told(self, rare, said):
        X = np.random.default_rng(0).normal(size=(200, 2))
        task = Task.from_arrays(X, np.where(np.arange(200) < rare, "rare", "usual"))
        result = tune(task, "knn", n_trials=1, knowledge=False, store=False)
        assert [text for text in said if any(text in warning for warning in result.warnings)] == said
        assert len(result.warnings) == len(said)

    def test_a_test_split_that_the_metric_cannot_judge_is_told(self):
        X = np.random.default_rng(0).normal(size=(120, 2))
        y = np.where(np.arange(120) < 80, np.arange(120) % 2, 1)
        task = Task.from_arrays(X, y, validation=[(range(40), range(40, 80))])
        result = tune(task, "knn", n_trials=1, strategy="random", store=False)
        assert result.test_score is None
        no_score, few = result.warnings
        assert "no test score by roc_auc on 40 test rows: it needs more than 1 class." in no_score
        assert "0 (0 rows)." in few

    def test_a_refit_that_fails_does_not_lose_the_search(self, monkeypatch):
        def broken(*args, **options):
            raise MemoryError("no room")

        monkeypatch.setattr("metatune.objective.refit", broken)
        result = iris_search()
        assert result.best_value is not None
        assert result.model is None
        assert any("no room" in warning for warning in result.warnings)

    @pytest.mark.parametrize("family", ["lightgbm", "linear"])
    def test_save(self, family, tmp_path):
        task = iris()
        result = tune(task, family, n_trials=2, strategy="random", store=False)
        folder = result.save(tmp_path / "a" / "b")
        model = load_model(folder)
        np.testing.assert_allclose(model.predict_proba(task.data.X), result.model.predict_proba(task.data.X))
        saved = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        assert saved["configuration"] == result.best_configuration
        assert saved["value"] == result.best_value
        assert saved["test_scores"] == dict(result.test_scores)
        assert saved["study_id"] == result.study_id
        assert saved["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))

    def test_save_without_a_model(self, tmp_path):
        result = bowl_search(n_trials=2)
        result.save(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


class TestOtherData:
    """Searches on data that are not tables; the families by default."""

    def test_a_text_search_without_history(self):
        result = tune(subjects(), n_trials=3, knowledge=False, store=False)
        assert result.family == "tfidf_linear"
        assert dict(result.trials[0].configuration) == get_family("tfidf_linear").default()
        assert [t.status for t in result.trials] == ["complete"] * 3
        assert result.best_value > 0.8
        assert result.test_scores["accuracy"] > 0.8

    def test_a_text_search_profits_from_history(self):
        """Sentences on the same subjects: what was good on earlier ones is proposed before the default."""
        store = MemoryStore()
        for seed in (1, 2, 3):
            task = subjects(150, seed=seed, name=f"earlier {seed}")
            tune(task, n_trials=12, strategy="random", knowledge=False, store=store, refit=False)
        known, task = Knowledge.build(snapshot_of(store)), subjects(150, seed=9)
        found = recommend(task, knowledge=known)
        assert (found.family, found.tasks, found.trials) == ("tfidf_linear", 3, 36)
        warm = tune(task, n_trials=5, knowledge=known, store=store, refit=False)
        assert warm.trials[0].origin == "portfolio"
        cold = tune(task, n_trials=5, knowledge=False, store=False, refit=False)
        assert max(t.value for t in warm.trials[:3]) >= max(t.value for t in cold.trials[:3])
        again = tune(task, n_trials=6, resume=warm.study_id, knowledge=known, store=store, refit=False)
        assert again.trials[:5] == warm.trials

    def test_the_default_family_for_a_table(self):
        assert tune(iris(), n_trials=1, knowledge=False, store=False, refit=False).family == "lightgbm"

    @pytest.mark.parametrize("given", ["iris.csv", None, np.ones((3, 3))], ids=str)
    def test_data_that_are_no_task_yet(self, given):
        for verb in (tune, recommend):
            with pytest.raises(UsageError, match="from_dataframe") as caught:
                verb(given)
            assert caught.value.field == "task"

    @pytest.mark.parametrize(
        ("task", "family", "fitting"), [(subjects, "svm", "tfidf_linear"), (iris, "tfidf_linear", "svm")]
    )
    def test_a_family_for_other_data(self, task, family, fitting):
        for verb in (tune, recommend):
            with pytest.raises(UsageError, match=fitting) as caught:
                verb(task(), family, knowledge=planted())
            assert caught.value.field == "family"

    def test_an_objective_needs_the_name_of_a_family(self):
        for task in (custom(), iris()):
            with pytest.raises(UsageError, match="name") as caught:
                tune(task, objective=bowl, space=PLANE, store=False)
            assert caught.value.field == "family"
        with pytest.raises(UsageError, match="Name"):
            recommend(custom(), knowledge=planted())

    def test_an_objective_of_ones_own_may_take_any_data(self):
        result = tune(subjects(), "bowl", objective=bowl, space=PLANE, n_trials=2, knowledge=False, store=False)
        assert result.family == "bowl"
