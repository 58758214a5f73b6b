"""Ctrl-C keeps everything, and a search that is taken up again goes on as it would have."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from learner_contract import breast_cancer, iris
from memory_store import PLANE, MemoryStore, bowl, custom
from optuna.pruners import HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from planted import FAMILY, SPACE, planted_snapshot, utility
from test_evaluate import Fixed, Scripted

from metatune.errors import UnknownNameError, UsageError
from metatune.knowledge import Knowledge
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.task import Task
from metatune.tuner import tune


@pytest.fixture(scope="module")
def knowledge():
    return Knowledge.build(planted_snapshot())


class CtrlC:
    """An objective during whose call number ``at`` the user presses Ctrl-C."""

    def __init__(self, value, at=None):
        self.value, self.at, self.calls = value, at, 0

    def __call__(self, configuration):
        self.calls += 1
        if self.calls - 1 == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return self.value(configuration)


class Stepwise(Scripted):
    """Eight steps, of which every second is reported; its accuracy depends on the configuration."""

    def fit(self, configuration, train, *, valid, metric, seed, steps=None, report=None, threads=1):
        a, rows = configuration["a"], valid.n_rows
        one = np.where(np.arange(rows) < a * rows, 0.6, 0.4)
        model = Fixed(np.column_stack([1 - one, one]))
        model.curve = tuple(a * step if step % 2 else (1 - a) * step for step in range(1, 9))
        model.best_step = 8
        for step in (2, 4, 6, 8):
            if report is not None:
                report(step, model.curve[step - 1])
        return model


def search(store, objective=bowl, **options):
    options = {"n_trials": 12, "strategy": "random", "space": PLANE} | options
    return tune(custom(), "bowl", objective=objective, store=store, **options)


def configurations(trials):
    return [dict(t.configuration) for t in trials if t.status != "interrupted"]


class TestInterrupt:
    def test_everything_is_kept(self):
        store = MemoryStore()
        result = search(store, CtrlC(bowl, at=3))
        assert result.interrupted
        assert [t.status for t in result.trials] == ["complete"] * 3 + ["interrupted"]
        assert store.trials(result.study_id) == list(result.trials)
        assert store.status[result.study_id] == "interrupted"
        assert result.best_value == max(t.value for t in result.trials[:3])
        assert result.frame["status"].tolist() == ["complete"] * 3 + ["interrupted"]

    def test_before_the_first_trial(self, monkeypatch):
        def press(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr(SearchSpace, "suggest", press)
        result = search(MemoryStore())
        assert result.interrupted
        assert list(result.frame.columns) == ["number", "value", "best", "status", "origin", "seconds", "error"]
        assert len(result.frame) == 0

    def test_before_the_first_result(self, tmp_path):
        result = search(MemoryStore(), CtrlC(bowl, at=0))
        assert result.interrupted
        assert result.best_trial is result.best_value is result.best_configuration is None
        assert result.save(tmp_path).is_dir()

    def test_in_a_callback_between_trials(self):
        def press(progress):
            if progress.done == 2:
                raise KeyboardInterrupt

        store = MemoryStore()
        result = search(store, on_trial=press)
        assert result.interrupted
        assert [t.status for t in result.trials] == ["complete"] * 2
        assert store.trials(result.study_id) == list(result.trials)

    def test_while_training(self):
        calls = []

        def act(report):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt

        store = MemoryStore()
        result = tune(breast_cancer(), Scripted(act), n_trials=9, strategy="random", store=store)
        assert result.interrupted
        assert len(calls) == 3
        assert result.model is None
        assert [t.status for t in store.trials(result.study_id)] == ["complete", "complete", "interrupted"]

    def test_while_the_best_model_is_refitted(self):
        calls = []

        def act(report):
            calls.append(1)
            if report is None:
                raise KeyboardInterrupt

        store = MemoryStore()
        result = tune(breast_cancer(), Scripted(act), n_trials=2, strategy="random", store=store)
        assert result.interrupted
        assert len(result.trials) == 2
        assert result.model is None


class TestResume:
    def test_proposals_are_those_of_the_uninterrupted_search(self, knowledge):
        options = {
            "n_trials": 12, "strategy": "meta", "space": SPACE, "knowledge": knowledge, "seed": 3,
            "default": {"x": 0.9, "y": 1.0, "kind": "bad"},
        }  # fmt: skip

        def value(c):
            if c["x"] > 0.8:
                raise ValueError("too much")
            return utility(c, 0.35, 0.02)

        def planted(store, objective, **more):
            return tune(custom("new"), FAMILY, objective=objective, store=store, **options | more)

        whole = planted(False, value)
        assert "failed" in {t.status for t in whole.trials}
        store = MemoryStore()
        first = planted(store, CtrlC(value, at=6))
        assert [t.number for t in first.trials] == list(range(7))
        # Seed and strategy are those of the study.
        rest = planted(store, value, resume=first.study_id, seed=99, strategy="random", default=None)
        assert configurations(rest.trials)[6:] == configurations(whole.trials)[6:]
        assert [t.number for t in rest.trials] == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11]
        assert [t.origin for t in rest.trials if t.status != "interrupted"] == [t.origin for t in whole.trials]
        assert store.trials(first.study_id) == list(rest.trials)
        assert store.status == {first.study_id: "finished"}

    @pytest.mark.parametrize(
        "pruner",
        [
            lambda: MedianPruner(n_startup_trials=3),
            lambda: SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
            lambda: HyperbandPruner(max_resource=4),
        ],
        ids=["median", "halving", "hyperband"],
    )
    @pytest.mark.parametrize("validation", ["holdout", 4])
    def test_a_pruner_sees_what_it_saw_before(self, pruner, validation):
        """Its values are not those of the curve: of every second step, or means over the folds."""
        data = breast_cancer().data
        task = Task.from_arrays(data.X, data.y, validation=validation, metric="accuracy")

        def press(progress):
            if progress.done == 7:
                raise KeyboardInterrupt

        def run(store, **options):
            options = {"n_trials": 14, "strategy": "random", "pruner": pruner(), "refit": False} | options
            return tune(task, Stepwise(), store=store, **options)

        whole = run(False)
        assert {t.status for t in whole.trials} == {"complete", "pruned"}
        store = MemoryStore()
        first = run(store, on_trial=press)
        rest = run(store, resume=first.study_id)
        assert len(first.trials) == 7
        assert [t.status for t in rest.trials] == [t.status for t in whole.trials]
        assert [t.reported for t in rest.trials] == [t.reported for t in whole.trials]

    def test_warm_starts_that_were_not_reached(self):
        warm = [{"x": i / 10, "y": 0.5} for i in range(5)]
        store = MemoryStore()
        first = search(store, CtrlC(bowl, at=2), warm_start=warm)
        rest = search(store, resume=first.study_id)
        assert configurations(rest.trials)[:5] == warm
        assert [t.origin for t in rest.trials if t.status == "complete"][:6] == ["warm-start"] * 5 + ["random"]
        assert len(configurations(rest.trials)) == 12
        with pytest.raises(UsageError, match="warm_start"):
            search(store, resume=first.study_id, warm_start=warm[:2])

    def test_a_trial_that_never_reached_the_history(self):
        store = MemoryStore()
        first = search(store, n_trials=6)
        kept = store.kept[first.study_id]
        del kept[first.trials[2].key]
        rest = search(store, n_trials=6, resume=first.study_id)
        assert [t.number for t in rest.trials] == [0, 1, 3, 4, 5, 6]

    def test_nothing_left_to_do(self):
        store = MemoryStore()
        first = search(store, n_trials=4)
        again = search(store, lambda c: pytest.fail("trained"), n_trials=3, resume=first.study_id)
        assert again.trials == first.trials
        assert again.best_trial == first.best_trial

    def test_the_space_need_not_be_repeated(self):
        store = MemoryStore()
        first = search(store, n_trials=2)
        assert len(search(store, n_trials=3, resume=first.study_id[:6], space=None).trials) == 3

    def test_another_knowledge_is_said(self, knowledge):
        store = MemoryStore()
        options = {"strategy": "meta", "knowledge": False}
        first = search(store, n_trials=2, **options)
        assert not search(store, n_trials=3, resume=first.study_id, **options).warnings
        warnings = search(store, n_trials=4, resume=first.study_id, strategy="meta", knowledge=knowledge).warnings
        assert any("another" in warning for warning in warnings)


class TestRefused:
    def refused(self, store, match, task=None, family="lightgbm", **options):
        (study,) = store.studies()
        with pytest.raises(UsageError, match=f"^{match}"):
            tune(task or iris(), family, resume=study.id, store=store, **{"n_trials": 3} | options)

    def test_what_differs_is_named(self):
        store, task = MemoryStore(), iris()
        tune(task, "lightgbm", n_trials=1, strategy="random", store=store, refit=False)
        self.refused(store, "family", family="linear")
        self.refused(store, "task: the data are others than study .* began with, .* 150 rows", task=breast_cancer())
        self.refused(store, "space", space=SearchSpace({"num_leaves": {"type": "int", "low": 4, "high": 9}}))
        self.refused(store, "metric", task=replace(task, metric=Metric.of("log_loss", "multiclass")))
        other = replace(task, folds=task.folds[::-1] + task.folds)
        self.refused(
            store, r"splits of the task: .* other splits of the data \(got '2 folds, 30 test rows'\)", task=other
        )
        self.refused(store, "seed: .* began with seed 0, .* than seed 7 .* Use seed=0", task=replace(other, seed=7))
        (study,) = store.studies()
        assert len(store.trials(study.id)) == 1

    def test_unknown_id(self):
        with pytest.raises(UsageError, match="study"):
            search(MemoryStore(), resume="abc")

    def test_without_a_store(self):
        with pytest.raises(UsageError, match="resume"):
            search(False, resume="abc")

    def test_a_study_that_no_strategy_made(self):
        store = MemoryStore()
        first = search(store, n_trials=2)
        store.records_by_id[first.study_id] = replace(store.study(first.study_id), strategy="design")
        with pytest.raises(UnknownNameError, match="strategy"):
            search(store, resume=first.study_id)
