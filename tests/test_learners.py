import json
import subprocess
import sys
import zipfile
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from learner_contract import LearnerContract, breast_cancer, diabetes, mixed, mixed_frame
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from metatune.errors import DataError, KnowledgeError, MissingDependencyError, UnknownNameError
from metatune.learners import default_family, family_names, get_family, load_model
from metatune.learners.evaluate import evaluate
from metatune.learners.preprocessing import ONE_HOT_LEVELS, MatrixEncoder, NativeEncoder
from metatune.learners.sklearn_model import capped
from metatune.task import Task


class TestLightGBM(LearnerContract):
    name = "lightgbm"


class TestRandomForest(LearnerContract):
    name = "random_forest"


class TestExtraTrees(LearnerContract):
    name = "extra_trees"


class TestHistGradientBoosting(LearnerContract):
    name = "hist_gradient_boosting"


class TestLinear(LearnerContract):
    name = "linear"


class TestSVM(LearnerContract):
    name = "svm"


class TestKNN(LearnerContract):
    name = "knn"


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


def of_scaled_target(estimator):
    """Rounding decides between splits of a forest that are equally good, and after it what is drawn."""
    return TransformedTargetRegressor(estimator, transformer=StandardScaler())


@pytest.mark.parametrize(
    ("name", "plain", "task"),
    [
        ("random_forest", RandomForestClassifier(random_state=3), breast_cancer()),
        ("random_forest", of_scaled_target(RandomForestRegressor(random_state=3)), diabetes()),
        ("extra_trees", ExtraTreesClassifier(random_state=3), breast_cancer()),
        ("extra_trees", of_scaled_target(ExtraTreesRegressor(random_state=3)), diabetes()),
        ("hist_gradient_boosting", HistGradientBoostingClassifier(random_state=3), breast_cancer()),
        ("hist_gradient_boosting", HistGradientBoostingRegressor(random_state=3), diabetes()),
        ("linear", scaled(LogisticRegression()), breast_cancer()),
        ("linear", scaled(Ridge()), diabetes()),
        ("svm", scaled(SVC()), breast_cancer()),
        ("knn", scaled(KNeighborsClassifier()), breast_cancer()),
        ("lightgbm", lgb.LGBMClassifier(verbosity=-1), breast_cancer()),
        ("lightgbm", lgb.LGBMRegressor(verbosity=-1), diabetes()),
    ],
)
def test_default_is_the_plain_library(name, plain, task):
    """Trained without early stopping, the default configuration predicts what the library alone predicts."""
    train, valid = (task.data.take(rows) for rows in task.folds[0])
    family = get_family(name)
    ours = family.fit(family.default(), train, valid=None, metric=task.metric, seed=3)
    plain.fit(train.X.to_numpy(), train.y)
    np.testing.assert_allclose(ours.predict(valid.X), plain.predict(valid.X.to_numpy()), rtol=1e-5)
    if hasattr(plain, "predict_proba"):
        # Boosting: 1e-8 in place of 0 for the penalties decides between splits that are equally good.
        atol = {"lightgbm": 0.02, "hist_gradient_boosting": 1e-3}.get(name, 1e-6)
        np.testing.assert_allclose(ours.predict_proba(valid.X), plain.predict_proba(valid.X.to_numpy()), atol=atol)


class TestRegistry:
    def test_all_families_are_there(self):
        tables = ("lightgbm", "random_forest", "extra_trees", "hist_gradient_boosting", "linear", "svm", "knn")
        assert family_names("table") == (*tables, "keras_mlp")
        assert "tfidf_linear" in family_names("text")
        assert all(get_family(name).name == name for name in family_names())

    def test_every_space_has_its_default(self):
        families = [get_family(name) for name in family_names()]
        assert [family.name for family in families if not family.space().contains(family.default())] == []

    def test_families_of_a_sort_of_data_take_it(self):
        for modality in ("table", "image", "text", "series"):
            assert all(get_family(name).modality == modality for name in family_names(modality))

    def test_default_families(self):
        found = [default_family(modality) for modality in ("table", "text", "image", "series")]
        assert found == ["lightgbm", "tfidf_linear", "keras_cnn", "keras_series"]

    def test_unknown_name_gets_a_hint(self):
        with pytest.raises(UnknownNameError, match="lightgbm") as caught:
            get_family("lightgmb")
        assert caught.value.field == "family"

    def test_host_that_is_not_installed(self, monkeypatch):
        def missing(name):
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

        monkeypatch.setattr("importlib.import_module", missing)
        with pytest.raises(MissingDependencyError, match=r"metatune\[keras\]"):
            get_family("keras_mlp")

    def test_names_cost_no_host(self):
        code = (
            "import sys; from metatune.learners import family_names; family_names();"
            "print([m for m in ('tensorflow', 'lightgbm', 'sklearn', 'skops', 'pandas') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
        )
        assert done.stdout.strip() == "[]"


class TestSavedModel:
    @pytest.fixture
    def saved(self, tmp_path):
        task = breast_cancer()
        family = get_family("linear")
        model = family.fit(family.default(), task.data, valid=None, metric=task.metric, seed=0)
        model.save(tmp_path)
        return tmp_path

    def test_missing_folder(self, tmp_path):
        with pytest.raises(KnowledgeError, match=r"model\.json"):
            load_model(tmp_path / "nowhere")

    def test_altered_file(self, saved):
        path = saved / "model.skops"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(KnowledgeError, match="not the one that was saved"):
            load_model(saved)

    def test_missing_file(self, saved):
        (saved / "model.skops").unlink()
        with pytest.raises(KnowledgeError, match="cannot be read"):
            load_model(saved)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99, "family": "linear", "files": {}, "state": {}}'])
    def test_damaged_manifest(self, saved, text):
        (saved / "model.json").write_text(text)
        with pytest.raises(KnowledgeError, match=r"model\.json"):
            load_model(saved)

    @pytest.mark.parametrize("change", [{"family": "nothing"}, {"state": {}}, {"files": {"../model.skops": ""}}])
    def test_altered_manifest(self, saved, change):
        path = saved / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(KnowledgeError):
            load_model(saved)

    def test_file_with_code_is_refused(self, saved):
        """A skops file may name any function; one that no model of ours has is not even looked up."""
        path = saved / "model.skops"
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        contents["schema.json"] = contents["schema.json"].replace(b'"StandardScaler"', b'"Surprise"')
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        manifest = saved / "model.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": {}}))
        with pytest.raises(KnowledgeError, match="types that no model"):
            load_model(saved)


class TestEncoders:
    @pytest.fixture
    def data(self):
        X, y = mixed_frame()
        return Task.from_arrays(X, y).data

    def test_matrix_has_no_missing_values(self, data):
        matrix = MatrixEncoder.fit(data).transform(data.X)
        # size with its indicator, noise, three colours with missing, 16 cities and the frequency of the city
        assert matrix.shape == (data.n_rows, 2 + 1 + 4 + ONE_HOT_LEVELS + 1)
        assert np.isfinite(matrix).all()

    def test_many_levels_are_told_apart_by_their_frequency(self, data):
        encoder = MatrixEncoder.fit(data)
        shares = data.X["city"].map(data.X["city"].value_counts(normalize=True))
        np.testing.assert_allclose(encoder.transform(data.X)[:, -1], shares.astype(float))
        unknown = data.X.assign(city="nowhere")
        assert not encoder.transform(unknown)[:, -ONE_HOT_LEVELS - 1 :].any()

    def test_median_of_the_training_rows(self, data):
        encoder = MatrixEncoder.fit(data)
        sizes = data.X["size"]
        column = encoder.transform(data.X)[:, 0]
        assert set(column[sizes.isna()]) == {float(np.nanmedian(sizes))}
        np.testing.assert_array_equal(column[sizes.notna()], sizes.dropna())

    @pytest.mark.parametrize("kind", [MatrixEncoder, NativeEncoder])
    def test_state_gives_the_same_encoder(self, data, kind):
        encoder = kind.fit(data)
        again = kind.from_state(json.loads(json.dumps(encoder.to_state())))
        np.testing.assert_array_equal(again.transform(data.X), encoder.transform(data.X))

    def test_levels_keep_their_code_whatever_the_frame_calls_them(self, data):
        encoder = NativeEncoder.fit(data)
        turned = data.X.assign(colour=data.X["colour"].cat.reorder_categories(["red", "green", "blue"]))
        plain = data.X.assign(colour=data.X["colour"].astype(object))
        for X in (turned, plain):
            np.testing.assert_array_equal(encoder.transform(X), encoder.transform(data.X))

    @pytest.mark.parametrize("kind", [MatrixEncoder, NativeEncoder])
    def test_missing_column(self, data, kind):
        with pytest.raises(DataError, match="'size'"):
            kind.fit(data).transform(data.X.drop(columns="size"))

    def test_column_without_any_value(self, data):
        rows = np.flatnonzero(data.X["size"].isna())
        empty = data.take(rows)
        assert np.isfinite(MatrixEncoder.fit(empty).transform(data.X)[:, 0]).all()


def test_cap_keeps_classes():
    X, y = make_classification(3000, 5, weights=[0.99], random_state=0)
    data = Task.from_arrays(X, y).data
    part = capped(data, 300, seed=0)
    assert abs(part.n_rows - 300) <= 2
    assert np.mean(part.y) == pytest.approx(np.mean(y), abs=0.005)
    assert capped(data, 3000, seed=0) is data


@pytest.mark.parametrize("name", ["lightgbm", "hist_gradient_boosting"])
def test_curve_is_the_metric_in_its_own_unit(name):
    """The best value of the curve is the trial's value, for losses, scores and negated losses alike."""
    X, y = breast_cancer().data.X, breast_cancer().data.y
    Xr, yr = diabetes().data.X, diabetes().data.y
    family = get_family(name)
    cases = [(X, y, n) for n in ("roc_auc", "accuracy", "log_loss", "neg_log_loss")]
    cases += [(Xr, yr, n) for n in ("rmse", "mse", "mae", "r2", "neg_root_mean_squared_error")]
    for features, target, metric in cases:
        kind = "binary" if target is y else "regression"
        task = Task.from_arrays(features, target, kind=kind, metric=metric, validation="holdout")
        outcome = evaluate(task, family, family.default())
        best = max(outcome.curve, key=task.metric.score)
        assert outcome.value == pytest.approx(best, rel=1e-5), metric
        assert outcome.curve[outcome.best_step - 1] == best


def test_lightgbm_without_a_metric_of_its_own_stops_by_its_loss():
    task = breast_cancer()
    task = Task.from_arrays(task.data.X, task.data.y, metric="balanced_accuracy", validation="holdout")
    outcome = evaluate(task, get_family("lightgbm"), get_family("lightgbm").default())
    assert outcome.curve == ()
    assert outcome.best_step < 100


def test_hist_gradient_boosting_in_batches_is_one_run():
    """A refit for as many rounds as early stopping kept, without validation rows, is the model that was judged."""
    task = mixed()
    train, valid = (task.data.take(rows) for rows in task.folds[0])
    family = get_family("hist_gradient_boosting")
    configuration = family.default() | {"max_iter": 400, "learning_rate": 0.03, "max_features": 0.5}
    judged = family.fit(configuration, train, valid=valid, metric=task.metric, seed=0)
    assert 40 < judged.best_step < len(judged.curve) == judged.best_step + 50
    again = family.fit(configuration, train, valid=None, metric=task.metric, seed=0, steps=judged.best_step)
    np.testing.assert_array_equal(again.predict_proba(valid.X), judged.predict_proba(valid.X))


def test_hist_gradient_boosting_reads_levels_as_categories_while_there_are_bins():
    """Alternating levels: one split of categories tells them apart, one threshold on their codes does not."""
    rng = np.random.default_rng(0)
    level = rng.integers(0, 20, 2000)
    X, y = pd.DataFrame({"level": [f"level {i}" for i in level]}), rng.permuted(np.arange(20) % 2)[level]
    task = Task.from_arrays(X, y, metric="accuracy", validation="holdout")
    family = get_family("hist_gradient_boosting")
    stump = family.default() | {"max_depth": 2, "max_leaf_nodes": 4, "max_iter": 20}
    few, many = (evaluate(task, family, stump | {"max_bins": bins}).curve[0] for bins in (15, 20))
    assert many == 1.0
    assert few < 0.95


@pytest.mark.parametrize(("column", "value"), [("left", 0), ("right", 10**6), ("feature_idx", 4), ("bitset_idx", 9999)])
def test_hist_gradient_boosting_with_wrong_numbers_in_its_trees_is_refused(tmp_path, column, value):
    task = mixed()
    family = get_family("hist_gradient_boosting")
    model = family.fit(family.default(), task.data, valid=None, metric=task.metric, seed=0)
    nodes = model.estimator._predictors[0][0].nodes
    row = np.flatnonzero((nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 1))[0]
    nodes[column][row] = value
    model.save(tmp_path)
    with pytest.raises(KnowledgeError, match="would not grow"):
        load_model(tmp_path)
