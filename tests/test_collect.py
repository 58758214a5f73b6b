"""``collect`` around any code: what happened is what is remembered."""

import math
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from history_cases import new_database, runs
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_contract import iris
from memory_store import MemoryStore

import metatune
from metatune.errors import UsageError
from metatune.history.mlflow_store import MLflowStore
from metatune.history.replay import send_orphans
from metatune.learners import get_family
from metatune.notebook import notebook_of, widened
from metatune.parameter import in_distribution
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
CONFIGURATION = {"rate": 0.1, "act": "relu"}


def collect(store, configuration=CONFIGURATION, **options):
    options = {"metric": "auc", "direction": "maximize", "store": store} | options
    return metatune.collect("churn", "net", configuration, **options)


def kept(store):
    assert notebook_of(store).flush()
    return [trial for record in store.studies() for trial in store.trials(record.id)]


class TestOutcomes:
    def one(self, work, error=None):
        store = MemoryStore()
        if error is None:
            with collect(store) as trial:
                work(trial)
        else:
            with pytest.raises(error), collect(store) as trial:
                work(trial)
        (found,) = kept(store)
        assert found.configuration == CONFIGURATION
        assert found.origin == "collected"
        assert found.seconds >= 0
        assert found.started > 1.7e9
        return found

    def test_the_last_step_is_the_value(self):
        found = self.one(lambda trial: [trial.report(0.5 + i / 10, step=i) for i in range(3)])
        assert (found.status, found.value) == ("complete", 0.7)
        assert found.curve == (0.5, 0.6, 0.7)
        assert found.reported == ((0, 0.5), (1, 0.6), (2, 0.7))

    def test_a_result_without_a_step_wins(self):
        def work(trial):
            trial.report(0.9, metrics={"loss": 0.3, "odd": math.nan})
            trial.report(0.1, step=3)

        found = self.one(work)
        assert found.value == 0.9
        assert found.metrics == {"loss": 0.3}
        assert found.curve[2:] == (0.1,)
        assert all(math.isnan(value) for value in found.curve[:2])

    def test_an_exception_is_a_failed_trial_and_travels_on(self):
        def work(trial):
            trial.report(0.5, step=1)
            raise ValueError("diverged")

        found = self.one(work, ValueError)
        assert (found.status, found.value, found.error) == ("failed", None, "ValueError: diverged")
        assert found.curve == (0.5,)

    def test_an_error_is_kept_without_credentials(self):
        def work(trial):
            raise OSError("no such host: postgresql://ann:hunter2@db/x?password=hunter2")

        assert self.one(work, OSError).error == "OSError: no such host: postgresql://***@db/x?password=***"

    def test_a_time_out_is_told_as_one(self):
        def work(trial):
            raise TimeoutError("30 s")

        assert self.one(work, TimeoutError).error == "TimeoutError: 30 s"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt(self, error):
        def work(trial):
            raise error

        assert self.one(work, error).status == "interrupted"

    def test_a_pruned_trial_keeps_its_last_score(self):
        def work(trial):
            trial.report(0.4, step=1)
            raise optuna.TrialPruned

        found = self.one(work, optuna.TrialPruned)
        assert (found.status, found.value) == ("pruned", 0.4)

    def test_no_report(self, caplog):
        found = self.one(lambda trial: None)
        assert found.status == "failed"
        assert "trial.report" in found.error
        assert "trial.report" in caplog.text

    @pytest.mark.parametrize("score", [math.nan, math.inf])
    def test_a_score_that_is_not_finite(self, score, caplog):
        found = self.one(lambda trial: trial.report(score))
        assert (found.status, found.error) == ("failed", f"score {score}")
        assert f"score {score}" in caplog.text

    def test_what_is_no_score_is_refused_where_it_is_reported(self):
        found = self.one(lambda trial: trial.report("good"), UsageError)
        assert found.status == "failed"
        with pytest.raises(UsageError, match="step"), collect(MemoryStore()) as trial:
            trial.report(0.5, step=-1)

    def test_the_configuration_cannot_be_changed(self):
        def work(trial):
            trial.configuration["model"] = object()

        assert self.one(work, TypeError).status == "failed"

    @pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, int(1e308), -int(1e308)])
    def test_the_largest_and_smallest_numbers(self, value):
        store = MemoryStore()
        with collect(store, {"x": value}) as trial:
            trial.report(1.0)
        assert kept(store)[0].configuration == {"x": value}
        assert store.studies()[0].space.contains({"x": value})

    def test_secrets_are_left_out_with_one_warning(self, caplog):
        store, study = MemoryStore(), optuna.create_study(direction="maximize")
        for rate in (0.1, 0.2):
            with collect(store, {"rate": rate, "service_api_key": "hunter2", "max_tokens": 5}) as trial:
                trial.report(rate)
        study.enqueue_trial({"password": "hunter2", "rate": 0.3})
        study.optimize(
            lambda t: t.suggest_float("rate", 0, 1) + len(t.suggest_categorical("password", ["hunter2"])),
            n_trials=1,
            callbacks=[metatune.OptunaCollector("churn", "net", store=store)],
        )
        assert [set(trial.configuration) for trial in kept(store)] == [{"rate", "max_tokens"}] * 2 + [{"rate"}]
        assert "hunter2" not in "".join(record.space.to_json() for record in store.studies())
        assert caplog.text.count("'service_api_key' looks like a secret") == 1
        with pytest.raises(UsageError, match="secrets") as raised:
            collect(store, {"api_key": "hunter2"})
        assert "hunter2" not in str(raised.value)


class TestDecorator:
    def test_every_call_is_a_trial(self):
        store = MemoryStore()

        @collect(store, None)
        def train(configuration, extra=0):
            """Train."""
            return configuration["rate"] + extra

        assert train.__doc__ == "Train."
        assert train({"rate": 0.1}) == 0.1
        assert train({"rate": 0.2}, extra=1) == 1.2
        with pytest.raises(KeyError):
            train({"other": 1.0})
        assert [(t.number, t.status, t.value) for t in kept(store)][:2] == [(0, "complete", 0.1), (1, "complete", 1.2)]
        assert kept(store)[2].error == "KeyError: 'rate'"

    def test_it_may_report(self):
        store = MemoryStore()

        @collect(store, None)
        def train(configuration, report):
            report(0.25, step=1)
            return 0.5

        train(CONFIGURATION)
        (found,) = kept(store)
        assert (found.value, found.curve) == (0.5, (0.25,))


class TestStudies:
    def test_equal_tasks_families_and_spaces_share_a_study(self):
        store = MemoryStore()
        space = SearchSpace({"rate": {"low": 0.0, "high": 1.0}})
        for i in range(3):
            with collect(store, {"rate": i / 3}, space=space) as trial:
                trial.report(i)
        kept(store)
        (record,) = store.studies()
        assert (record.space, record.strategy, record.family) == (space, "collected", "net")
        assert [trial.number for trial in store.trials(record.id)] == [0, 1, 2]

    def test_a_study_tells_who_made_it(self, monkeypatch):
        monkeypatch.setattr("getpass.getuser", lambda: "ann")
        store = MemoryStore()
        with collect(store) as trial:
            trial.report(1.0)
        kept(store)
        assert store.studies()[0].notes["user"] == "ann"

    def test_a_task_with_data_is_described(self):
        store = MemoryStore()
        for _ in range(2):
            with metatune.collect(iris(), "lightgbm", get_family("lightgbm").default(), store=store) as trial:
                trial.report(0.9)
        kept(store)
        (record,) = store.studies()
        assert record.task.fingerprint == iris().fingerprint
        assert len(record.task.metafeatures) > 20
        assert record.space == get_family("lightgbm").space()

    def test_the_space_grows_with_what_is_seen(self):
        store = MemoryStore()
        seen = [{"rate": 0.1, "act": "relu"}, {"rate": 0.5, "act": "relu"}, {"rate": 50.0, "act": "tanh"}]
        for configuration in seen:
            with collect(store, configuration) as trial:
                trial.report(1.0)
        assert len(kept(store)) == 3
        spaces = [record.space for record in store.studies()]
        assert len(spaces) == 2
        assert spaces[0].contains(seen[0])
        assert all(spaces[1].contains(configuration) for configuration in seen)

    @pytest.mark.parametrize("first", [{"rate": 0.1}, {"rate": None}])
    def test_none_among_numbers_makes_no_study_of_each_number(self, first):
        store = MemoryStore()
        seen = [{"rate": rate} for rate in (0.1, None, 0.2, 0.3, None, 0.15)]
        for configuration in [first, *seen]:
            with collect(store, configuration) as trial:
                trial.report(1.0)
        kept(store)
        (record,) = store.studies()
        assert record.space == widened(None, {"rate": 0.1})
        table = Snapshot.of((one, store.trials(one.id)) for one in store.studies()).family("net")
        assert [dict(trial.configuration) for _, trial in table.trials()] == [first, *seen]

    def test_what_a_none_at_first_stands_among_may_turn_out_one_by_one(self, tmp_path):
        store = MLflowStore(new_database(tmp_path))
        seen = [{"rate": None, "act": None}, {"rate": 0.1, "act": None}, {"rate": 0.2, "act": "relu"}]
        for i, configuration in enumerate(seen):
            with collect(store, configuration) as trial:
                trial.report(i)
            assert notebook_of(store).flush()
        (record,) = MLflowStore(store.uri).studies()
        assert record.space == widened(widened(widened(None, seen[0]), seen[1]), seen[2])
        assert [dict(trial.configuration) for trial in store.trials(record.id)] == seen

    def test_processes_that_see_different_numbers_share_no_space(self):
        store = MemoryStore()
        for rate in (None, 0.1):
            with collect(store, {"rate": rate}, study="shared") as trial:
                trial.report(1.0)
        kept(store)
        assert [record.space for record in store.studies()] == [widened(None, {"rate": rate}) for rate in (None, 0.1)]

    def test_numpy_numbers_are_numbers(self):
        import numpy as np

        store = MemoryStore()
        with collect(store, {"n": np.int64(3), "rate": np.float32(0.5)}) as trial:
            trial.report(np.float64(0.5))
        assert kept(store)[0].configuration == {"n": 3, "rate": 0.5}


VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**9), 10**9),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), min_size=1, max_size=6))
def test_an_inferred_space_has_room_for_the_configuration(configurations):
    space = None
    for configuration in configurations:
        space = widened(space, configuration)
        outside = {name: value for name, value in configuration.items() if not in_distribution(space[name], value)}
        assert set(outside.values()) <= {None}
        assert not any(isinstance(space[name], optuna.distributions.CategoricalDistribution) for name in outside)


def test_stores_of_one_address_are_one(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert notebook_of(MLflowStore(uri)) is notebook_of(MLflowStore(uri))
    assert notebook_of(MLflowStore(uri)) is not notebook_of(MLflowStore(uri, "other"))
    assert notebook_of(MemoryStore()) is not notebook_of(MemoryStore())


class TestRefused:
    @pytest.mark.parametrize(
        ("changed", "match"),
        [
            ({"configuration": {}}, "configuration"),
            ({"configuration": {"x": [1]}}, r"configuration\['x'\]"),
            ({"configuration": {"x": math.nan}}, r"configuration\['x'\]"),
            ({"configuration": {"x": 10**400}}, r"configuration\['x'\]"),
            ({"metric": None}, "metric"),
            ({"direction": None}, "direction"),
            ({"direction": "up"}, "direction"),
        ],
    )
    def test_wrong_arguments(self, changed, match):
        with pytest.raises(UsageError, match=match):
            collect(MemoryStore(), **changed)

    def test_a_context_needs_a_configuration_and_is_used_once(self):
        with pytest.raises(UsageError, match="decorator"), collect(MemoryStore(), None):
            pass
        one = collect(MemoryStore())
        with one as trial:
            trial.report(1)
        with pytest.raises(UsageError, match="once"), one:
            pass

    def test_a_task_has_its_metric(self):
        with pytest.raises(UsageError, match="metric"):
            metatune.collect(iris(), "f", CONFIGURATION, metric="auc")


def test_a_callback_that_is_loaded_first_leaves_the_function_where_it_is():
    done = subprocess.run(
        [sys.executable, "-c", "import metatune; metatune.OptunaCollector; assert callable(metatune.collect)"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


class TestManyAtOnce:
    def test_threads(self):
        store, before = MemoryStore(), threading.active_count()

        def work(i):
            with collect(store, {"rate": 0.1}) as trial:
                trial.report(i)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(100)))
        found = kept(store)
        assert sorted(trial.value for trial in found) == list(range(100))
        assert sorted(trial.number for trial in found) == list(range(100))
        assert threading.active_count() < before + 10

    def test_processes_that_are_forked(self, tmp_path, monkeypatch):
        monkeypatch.setenv("METATUNE_SPOOL", str(tmp_path / "spool"))
        uri = new_database(tmp_path)
        context = multiprocessing.get_context("fork")
        with collect(MLflowStore(uri), {"rate": 0.1}) as trial:
            trial.report(-1)
        workers = [context.Process(target=_work, args=(uri, i)) for i in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        store = MLflowStore(uri)
        # On a busy machine a database is locked for longer than a process waits at its end: the rest is in the spool.
        send_orphans(store, [tmp_path / "spool"], stop=lambda: False)
        found = [trial.value for record in store.studies() for trial in store.trials(record.id)]
        assert sorted(value for value in found if value >= 0) == [0, 1, 2, 10, 11, 12]
        assert {run.info.status for run in runs(uri, "study")} >= {"FINISHED"}

    @pytest.mark.slow
    def test_a_process_of_its_own_flushes_at_its_end(self, tmp_path):
        uri = new_database(tmp_path)
        code = (
            "import metatune\n"
            "for i in range(5):\n"
            "    with metatune.collect('t', 'f', {'x': 1.0 + i / 10}, metric='m', direction='minimize') as trial:\n"
            "        trial.report(i)\n"
        )
        environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": ":".join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
        store = MLflowStore(uri)
        (record,) = store.studies()
        assert [trial.value for trial in store.trials(record.id)] == [0, 1, 2, 3, 4]
        assert [run.info.status for run in runs(uri, "study")] == ["FINISHED"]


def _work(uri, i):
    store = MLflowStore(uri)
    for k in range(2):
        with collect(store, {"rate": 0.1}, study="shared") as trial:
            trial.report(i + 10 * k)


class TestOptuna:
    def study(self, **options):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), **options)

    def test_what_optuna_knows_is_remembered(self):
        def objective(trial):
            x = trial.suggest_float("x", 1e-3, 1.0, log=True)
            trial.suggest_categorical("c", ["a", "b"])
            trial.report(x / 2, 1)
            trial.report(x, 2)
            if trial.number == 1:
                raise optuna.TrialPruned
            if trial.number == 2:
                raise ValueError("bad")
            return x if trial.number != 3 else math.nan

        store, study = MemoryStore(), self.study(direction="minimize")
        collector = metatune.OptunaCollector("t", "f", metric="loss", store=store)
        study.optimize(objective, n_trials=5, callbacks=[collector], catch=(ValueError,))
        found = kept(store)
        assert [t.status for t in found] == ["complete", "pruned", "failed", "failed", "complete"]
        assert [t.value for t in found] == [
            study.trials[0].value,
            study.trials[1].value,
            None,
            None,
            study.trials[4].value,
        ]
        assert [dict(t.configuration) for t in found] == [t.params for t in study.trials]
        assert found[0].curve == (found[0].value / 2, found[0].value)
        (record,) = store.studies()
        assert (record.task.metric.name, record.task.metric.direction) == ("loss", "minimize")
        assert dict(record.space.parameters) == study.trials[0].distributions
        for frozen in study.trials:
            collector(study, frozen)
        assert len(kept(store)) == 5  # a trial is itself, however often it comes

    def test_a_trial_that_broke_a_constraint_has_failed(self):
        def objective(trial):
            x = trial.suggest_int("x", 1, 9)
            trial.set_constraint("memory", 1.0 - trial.number)
            return x

        store, study = MemoryStore(), self.study(direction="maximize")
        study.optimize(objective, n_trials=2, callbacks=[metatune.OptunaCollector("t", "f", store=store)])
        found = kept(store)
        assert [(t.status, t.value) for t in found] == [("failed", None), ("complete", study.trials[1].value)]
        assert found[0].error == "it broke the constraint 'memory'"

    def test_a_report_at_a_step_that_no_column_holds_is_left_out(self):
        def objective(trial):
            trial.report(0.5, 3)
            trial.report(0.6, 2**64)
            return trial.suggest_float("x", 0, 1)

        store, study = MemoryStore(), self.study()
        study.optimize(objective, n_trials=1, callbacks=[metatune.OptunaCollector("t", "f", store=store)])
        assert kept(store)[0].reported == ((3, 0.5),)

    def test_of_several_objectives_one_is_the_value(self):
        store, study = MemoryStore(), self.study(directions=["minimize", "maximize"])
        collector = metatune.OptunaCollector("t", "f", metric="accuracy", objective=1, store=store)
        study.optimize(lambda t: (t.suggest_int("x", 1, 9), 0.5), n_trials=2, callbacks=[collector])
        found = kept(store)
        assert [t.value for t in found] == [0.5, 0.5]
        assert [t.metrics["objective_0"] for t in found] == [t.values[0] for t in study.trials]
        assert store.studies()[0].task.metric.direction == "maximize"

    def test_of_several_objectives_none_is_taken_by_itself(self):
        store, study = MemoryStore(), self.study(directions=["minimize", "maximize"])
        collector = metatune.OptunaCollector("t", "f", metric="accuracy", store=store)
        with pytest.raises(UsageError, match="2 objectives") as caught:
            study.optimize(lambda t: (t.suggest_int("x", 1, 9), 0.5), n_trials=1, callbacks=[collector])
        assert caught.value.field == "objective"
        assert not store.studies()

    def test_a_direction_that_contradicts_the_task(self):
        study = self.study(direction="minimize")
        with pytest.raises(UsageError, match="minimize"):
            study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1,
                           callbacks=[metatune.OptunaCollector(iris(), "f", store=MemoryStore())])  # fmt: skip
        with pytest.raises(UsageError, match="objective"):
            study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1,
                           callbacks=[metatune.OptunaCollector("t", "f", objective=1, store=MemoryStore())]
                           )  # fmt: skip

    def test_choices_that_are_no_parameters_are_kept_as_texts(self):
        store, study = MemoryStore(), self.study()
        collector = metatune.OptunaCollector("t", "f", store=store)
        with pytest.warns(UserWarning, match="Choices"):
            study.optimize(lambda t: len(t.suggest_categorical("c", [(1, 2)])), n_trials=1, callbacks=[collector])
        assert kept(store)[0].configuration == {"c": "(1, 2)"}

    def test_several_jobs_and_conditional_parameters(self):
        store, study = MemoryStore(), self.study()

        def objective(trial):
            return trial.suggest_float("y" if trial.number % 2 else "x", 0.0, 1.0)

        study.optimize(objective, n_trials=20, n_jobs=4, callbacks=[metatune.OptunaCollector("t", "f", store=store)])
        assert sorted(trial.number for trial in kept(store)) == list(range(20))
