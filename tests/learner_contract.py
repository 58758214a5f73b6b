"""What every model family owes; subclass ``LearnerContract`` with the family's name.

For data that are not tables subclass ``Contract`` with tasks of that sort.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from metatune.learners import family_names, get_family, load_model
from metatune.learners.base import FittedModel, ModelFamily
from metatune.learners.evaluate import evaluate, run_trial
from metatune.learners.scoring import scores
from metatune.metric import Metric
from metatune.task import Task
from metatune.trial import Configuration

PICKLES = {".pkl", ".pickle", ".joblib", ".npy", ".h5"}

PREDICT = """
import sys
import numpy as np
import pandas as pd
from metatune.learners import load_model
X = pd.read_parquet(sys.argv[2]) if sys.argv[2].endswith(".parquet") else np.load(sys.argv[2])["X"]
model = load_model(sys.argv[1])
pd.DataFrame(model.predict_proba(X)).to_csv(sys.argv[3], index=False, float_format="%.9g")
"""


def breast_cancer() -> Task:
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return Task.from_arrays(X, y, name="breast_cancer", validation="holdout")


def iris() -> Task:
    X, y = load_iris(return_X_y=True, as_frame=True)
    return Task.from_arrays(X, y, name="iris", validation="holdout")


def diabetes() -> Task:
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return Task.from_arrays(X, y, kind="regression", name="diabetes", validation="holdout")


def mixed_frame(n: int = 400, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers and categories with missing values, one of 40 levels; colour and size decide the class."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(["red", "green", "blue"], n)
    size = rng.normal(size=n)
    y = np.where((colour == "red") ^ (size > 0.8), "yes", "no")
    X = pd.DataFrame(
        {
            "colour": pd.Series(colour).mask(rng.random(n) < 0.05),
            "size": pd.Series(size).mask(rng.random(n) < 0.05),
            "city": pd.Series(rng.integers(0, 40, n)).map("city {}".format),
            "noise": rng.normal(size=n),
        }
    )
    return X, y


def mixed() -> Task:
    X, y = mixed_frame()
    return Task.from_arrays(X, y, name="mixed", validation="holdout")


def strange_rows() -> pd.DataFrame:
    """Rows of the mixed frame with a new level, with everything missing, and with a huge number."""
    return pd.DataFrame(
        {
            "noise": [0.0, np.nan, 1e300],
            "colour": pd.Categorical(["purple", None, "red"]),
            "city": pd.Categorical(["nowhere", None, "city 1"]),
            "size": [0.1, np.nan, 0.5],
        }
    )


@dataclass(frozen=True)
class ContractTasks:
    """Tasks of one sort of data.

    ``learnable``: by kind, a task and what the default must reach under its default metric; constant predictions
    are to be far from it. ``odd``: a binary task with whatever is awkward in such data. ``strange``: examples for the
    model of ``odd`` that are unlike its training rows. ``n_columns``: so many that no configuration is too large.
    """

    learnable: Mapping[str, tuple[Callable[[], Task], float]]
    odd: Callable[[], Task]
    strange: Callable[[], Any]
    n_columns: int = 10

    def one_of_each_kind(self) -> tuple[Task, Task, Task]:
        return self.odd(), self.learnable["multiclass"][0](), self.learnable["regression"][0]()


#: Constant predictions reach 0.5, 0.33 and about 77.
TABLES = ContractTasks(
    {"binary": (breast_cancer, 0.95), "multiclass": (iris, 0.85), "regression": (diabetes, 66.0)}, mixed, strange_rows
)


class Contract:
    """The tests. ``random_configurations`` may be lowered where a fit is slow."""

    name: ClassVar[str]
    tasks: ClassVar[ContractTasks]
    random_configurations: ClassVar[int] = 10

    @pytest.fixture
    def family(self) -> ModelFamily:
        return get_family(self.name)

    def fit(self, family: ModelFamily, task: Task, configuration: Configuration | None = None) -> FittedModel:
        train, valid = task.folds[0]
        return family.fit(
            configuration or family.default(),
            task.data.take(train),
            valid=task.data.take(valid),
            metric=task.metric,
            seed=3,
        )

    def test_default_is_in_the_space(self, family):
        family.space().check(family.default())

    def test_space_is_always_the_same(self, family):
        assert family.space() == family.space()

    def test_takes_the_data_of_the_tasks(self, family):
        assert {task.data.modality for task in self.tasks.one_of_each_kind()} == {family.modality}
        assert self.name in family_names(family.modality)

    @pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
    def test_default_learns(self, family, kind):
        make, bar = self.tasks.learnable[kind]
        task = make()
        value = evaluate(task, family, family.default()).value
        assert task.metric.score(value) >= task.metric.score(bar)

    def test_scores_are_the_usual_ones(self, family):
        outcome = evaluate(self.tasks.odd(), family, family.default())
        assert {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"} <= set(outcome.metrics)

    @pytest.mark.parametrize("kind", ["binary", "regression"])
    def test_random_configurations_train(self, family, kind):
        task = self.tasks.odd() if kind == "binary" else self.tasks.learnable[kind][0]()
        trials = [run_trial(task, family, c) for c in family.space().sample(self.random_configurations, seed=5)]
        assert [t.error for t in trials] == [None] * len(trials)

    def test_few_rows(self, family):
        """Sizes in a configuration that are more than there are rows are reduced, not an error."""
        task = self.tasks.odd()
        y = task.data.y
        few = [
            np.concatenate([rows[y[rows] == code][:n] for code in (0, 1)])
            for rows, n in zip(task.folds[0], (5, 2), strict=True)
        ]
        task = replace(task, folds=(tuple(few),))
        for corner in (np.zeros(len(family.space())), np.full(len(family.space()), 1 - 1e-9)):
            assert run_trial(task, family, family.space().from_unit(corner)).error is None

    @pytest.mark.parametrize("rows", [1, 0])
    def test_rare_class(self, family, rows):
        """A class with one training row, or none, is no reason to fail; the probabilities keep its column."""
        data = self.tasks.learnable["multiclass"][0]().data
        train = data.take(np.concatenate([np.flatnonzero(data.y != 1), np.flatnonzero(data.y == 1)[:rows]]))
        # Not by log_loss: a class that cannot be learnt would end the training early.
        model = family.fit(family.default(), train, valid=data, metric=Metric.of("accuracy", "multiclass"), seed=0)
        probability = model.predict_proba(data.X)
        assert probability.shape == (data.n_rows, data.n_classes)
        assert np.mean(probability.argmax(axis=1)[data.y != 1] == data.y[data.y != 1]) > 0.9
        assert math.isfinite(scores(model, data, Metric.of("log_loss", "multiclass"))["log_loss"])

    def test_clamp_leaves_what_fits(self, family):
        assert family.clamp(family.default(), 10_000, self.tasks.n_columns) == (family.default(), ())

    def test_clamped_configuration_stays_in_the_space(self, family):
        for configuration in family.space().sample(20, seed=1):
            values, changes = family.clamp(configuration, 200, 3)
            family.space().check(values)
            changed = {n for n in configuration if values[n] != configuration[n]}
            assert changed == {change.parameter for change in changes}

    def test_same_seed_same_model(self, family):
        task = self.tasks.odd()
        configuration = family.space().sample(1, seed=2)[0]
        first, second = (self.fit(family, task, configuration) for _ in range(2))
        np.testing.assert_array_equal(first.predict_proba(task.data.X), second.predict_proba(task.data.X))
        assert (first.curve, first.best_step) == (second.curve, second.best_step)

    def test_predictions_have_the_promised_form(self, family):
        odd, multiclass, regression = self.tasks.one_of_each_kind()
        for task in (odd, multiclass):
            model = self.fit(family, task)
            codes, probability = model.predict(task.data.X), model.predict_proba(task.data.X)
            assert codes.dtype == np.int64
            assert set(codes) <= set(range(task.data.n_classes))
            assert probability.shape == (task.data.n_rows, task.data.n_classes)
            np.testing.assert_allclose(probability.sum(axis=1), 1.0, atol=1e-5)
        values = self.fit(family, regression).predict(regression.data.X)
        assert values.dtype == np.float64
        assert values.shape == (regression.data.n_rows,)

    def test_strange_examples_at_prediction(self, family):
        strange = self.tasks.strange()
        probability = self.fit(family, self.tasks.odd()).predict_proba(strange)
        assert probability.shape == (len(strange), 2)
        assert np.isfinite(probability).all()

    def test_curve_and_reports_agree(self, family):
        task, seen = self.tasks.learnable["binary"][0](), []
        outcome = evaluate(task, family, family.default(), report=lambda step, value: seen.append((step, value)))
        if not family.fidelity:
            assert (outcome.curve, outcome.best_step, seen) == ((), None, [])
            return
        assert seen
        assert all(outcome.curve[step - 1] == pytest.approx(value) for step, value in seen)
        assert 1 <= outcome.best_step <= len(outcome.curve) <= family.full_steps(family.default())
        assert outcome.value == pytest.approx(max(outcome.curve), abs=1e-6)

    def test_report_can_stop_the_fit(self, family):
        if not family.fidelity:
            pytest.skip("no steps to stop at")

        def stop(step: int, value: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate(self.tasks.learnable["binary"][0](), family, family.default(), report=stop)

    def test_saved_model_predicts_the_same(self, family, tmp_path):
        for task in self.tasks.one_of_each_kind():
            model = self.fit(family, task)
            directory = tmp_path / task.name
            directory.mkdir()
            assert model.save(directory).parent == directory
            assert not PICKLES & {path.suffix for path in directory.rglob("*")}
            np.testing.assert_array_equal(load_model(directory).predict(task.data.X), model.predict(task.data.X))

    def test_labels_of_the_task_come_back(self, family, tmp_path):
        task = self.tasks.odd()
        fitted = self.fit(family, task)
        model = fitted.labelled(["yes", "no"])
        model.save(tmp_path)
        expected = np.where(fitted.predict(task.data.X) == 0, "yes", "no").tolist()
        for known in (model, load_model(tmp_path)):
            assert known.classes_.tolist() == ["yes", "no"]
            assert known.predict(task.data.X).tolist() == expected
            np.testing.assert_array_equal(known.predict_proba(task.data.X), fitted.predict_proba(task.data.X))

    def test_saved_model_predicts_the_same_in_another_process(self, family, tmp_path):
        task = self.tasks.odd()
        X, model = task.data.X, self.fit(family, task)
        model.save(tmp_path)
        out = tmp_path / "out.csv"
        if isinstance(X, pd.DataFrame):
            rows = tmp_path / "rows.parquet"
            X.to_parquet(rows)
        else:
            rows = tmp_path / "rows.npz"
            np.savez(rows, X=X.astype(str) if X.dtype == object else X)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        subprocess.run([sys.executable, "-c", PREDICT, str(tmp_path), str(rows), str(out)], check=True, env=environment)
        np.testing.assert_allclose(pd.read_csv(out).to_numpy(), model.predict_proba(X), rtol=1e-5, atol=1e-8)


def nearly_linear(mean: float, deviation: float) -> Task:
    """A regression whose target follows two columns, with about the given mean and standard deviation."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    s = X @ [0.8, 0.6] + rng.normal(scale=0.1, size=len(X))
    return Task.from_arrays(X, mean + deviation * s, kind="regression", name="nearly linear", validation="holdout")


class LearnerContract(Contract):
    """What a family for tables owes besides."""

    tasks = TABLES

    @pytest.mark.parametrize(("mean", "deviation"), [(1e6, 1e-3), (0.0, 1e-9), (0.0, 1e9)])
    def test_target_in_any_unit(self, family, tmp_path, mean, deviation):
        task = nearly_linear(mean, deviation)
        model, judged = self.fit(family, task), task.data.take(task.folds[0][1])
        assert scores(model, judged, task.metric)["rmse"] < 0.5 * np.std(judged.y)
        assert max(model.curve, default=0.0) < 2 * deviation
        assert model.predict(task.data.X).dtype == np.float64
        model.save(tmp_path)
        np.testing.assert_array_equal(load_model(tmp_path).predict(task.data.X), model.predict(task.data.X))

    def test_learns_from_categories(self, family):
        task = mixed()
        outcome = evaluate(task, family, family.default())
        assert outcome.value >= 0.6  # an area under the curve; neighbours are misled by the cities

    def test_order_of_columns_does_not_matter(self, family):
        task = mixed()
        model = self.fit(family, task)
        turned = task.data.X[task.data.X.columns[::-1]]
        np.testing.assert_array_equal(model.predict_proba(turned), model.predict_proba(task.data.X))

    def test_columns_without_a_value_in_the_training_rows(self, family):
        X, y = mixed_frame()
        train, valid = mixed().folds[0]
        seen_later = np.isin(np.arange(len(X)), train, invert=True)
        X["late"] = np.where(seen_later, 1.0 + np.arange(len(X)), np.nan)
        X["late city"] = X["city"].where(seen_later)
        task = Task.from_arrays(X, y, name="late", validation="holdout")
        assert [list(rows) for rows in task.folds[0]] == [list(train), list(valid)]
        model = self.fit(family, task)
        assert np.isfinite(model.predict_proba(task.data.X)).all()
        assert np.isfinite(model.predict_proba(task.data.X.iloc[train])).all()
