import gc
import math
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from learner_contract import LearnerContract, breast_cancer, diabetes, iris, mixed

from metatune.dataset import Dataset
from metatune.errors import MissingDependencyError, SearchError
from metatune.learners import get_family, keras_family, keras_mlp, keras_networks, keras_trainer
from metatune.learners.evaluate import refit, run_trial
from metatune.learners.keras_networks import build_network
from metatune.learners.keras_preprocessing import MAX_LEVELS, DensePreprocessor, Outputs
from metatune.learners.keras_trainer import Fit, Trainer, rate_factor
from metatune.learners.scoring import metric_value, scores
from metatune.metric import Metric
from metatune.task import Task

FAMILY = keras_mlp.KerasMLP()
DEFAULT = FAMILY.default()


class TestKerasMLP(LearnerContract):
    name = "keras_mlp"
    random_configurations = 4


def fitted(task, steps=None, report=None, seed=0, **changes):
    train, valid = task.folds[0]
    return FAMILY.fit(
        FAMILY.space().clip(DEFAULT | changes, {"momentum": 0.9})[0],
        task.data.take(train),
        valid=task.data.take(valid),
        metric=task.metric,
        seed=seed,
        steps=steps,
        report=report,
    )


def table(seed=0, n=200):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    return Dataset(X, (X["a"] > 0).to_numpy(dtype=np.int64), "binary", ("no", "yes"))


def test_every_optimizer_learns_in_its_own_way():
    curves = [fitted(breast_cancer(), steps=8, optimizer=o, learning_rate=0.02).curve for o in keras_family.OPTIMIZERS]
    assert min(max(curve) for curve in curves) > 0.97
    assert len(set(curves)) == len(keras_family.OPTIMIZERS)


def test_every_parameter_has_an_effect():
    other = {"n_layers": 3, "units": 20, "shape": "funnel", "activation": "silu", "batch_norm": True, "dropout": 0.5,
             "learning_rate": 0.01, "schedule": "cosine", "weight_decay": 0.1, "batch_size": 64}  # fmt: skip
    curves = {fitted(diabetes(), steps=2, **{name: value}).curve for name, value in other.items()}
    assert len(curves | {fitted(diabetes(), steps=2).curve}) == len(other) + 1


def test_a_tiny_learning_rate_learns_more_slowly():
    slow, fast = (fitted(diabetes(), steps=4, learning_rate=rate).curve for rate in (1e-4, 1e-2))
    assert all(s > f for s, f in zip(slow, fast, strict=True))


def test_momentum_is_active_for_sgd_only():
    space = FAMILY.space()
    for configuration in space.sample(50, seed=4):
        assert ("momentum" in configuration) == (configuration["optimizer"] == "sgd_momentum")


def test_learning_rate_schedules():
    assert [rate_factor(s, 0) for s in keras_family.SCHEDULES] == [1.0, 1.0, 1.0]
    assert rate_factor("cosine", 0.5) == pytest.approx(0.5)
    assert rate_factor("exponential", 1.0) == pytest.approx(keras_trainer.FINAL_RATE)
    assert rate_factor("constant", 0.6) == 1.0


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd_momentum"])
def test_a_step_is_that_of_the_keras_optimizer(name):
    """One full batch against ``optimizer.apply`` of Keras, with its own decoupled decay for AdamW."""
    data, c = table(n=20), DEFAULT | {"optimizer": name, "weight_decay": 0.1, "momentum": 0.9, "learning_rate": 0.01}
    recipe, outputs = FAMILY.recipe(), Outputs(data.kind, data.n_classes)
    encoder = recipe.encoder(c, data)
    x = encoder.encode(data.X)
    network = build_network("keras_mlp", c, x, encoder=encoder, outputs=outputs, seed=0)
    trainer = Trainer(Fit(recipe, c, network, outputs, x, outputs.encode(data.y), seed=0))
    twin = keras.models.clone_model(trainer.network)
    twin.set_weights(trainer.network.get_weights())
    l2 = None if name == "adamw" else keras.regularizers.L2(0.05)
    optimizer = {
        "adamw": keras.optimizers.AdamW(0.01, weight_decay=0.1),
        "adam": keras.optimizers.Adam(0.01),
        "sgd_momentum": keras.optimizers.SGD(0.01, momentum=0.9),
    }[name]
    if name == "adamw":
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    for variable in twin.trainable_variables:
        if variable.name == "kernel":
            variable.regularizer = l2
    twin.compile(optimizer, keras.losses.BinaryCrossentropy())
    for _ in range(3):
        trainer.epoch()
        twin.train_on_batch(x, data.y[:, None])
    for mine, theirs in zip(trainer.network.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_all_folds_of_a_trial_share_one_graph(monkeypatch):
    task, made, kind = Task.from_arrays(table().X, table().y), [], keras_trainer.Trainer
    monkeypatch.setattr(keras_trainer, "Trainer", lambda *a, **k: made.append(1) or kind(*a, **k))
    for rate in (0.011, 0.012):
        trial = run_trial(task, FAMILY, DEFAULT | {"learning_rate": rate})
        assert (trial.status, len(task.folds)) == ("complete", 3)
    assert len(made) == 2


def test_a_fit_in_another_thread_changes_nothing(monkeypatch):
    task = iris()
    alone = fitted(task, steps=2).curve
    body, building, built = keras_networks.BODIES["keras_mlp"], threading.Event(), threading.Event()

    def slow(*arguments):
        """The body, whose first caller gives the second one time to begin."""
        features = body(*arguments)
        if building.is_set():
            built.set()
        else:
            building.set()
            built.wait(1.0)
        return features

    monkeypatch.setitem(keras_networks.BODIES, "keras_mlp", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fitted, task, steps=2)
        assert building.wait(60.0)
        second = pool.submit(fitted, task, steps=2)
        assert first.result().curve == second.result().curve == alone


def test_early_stopping_keeps_the_best_epoch():
    model = fitted(breast_cancer(), learning_rate=0.03)
    assert model.best_step == 1 + int(np.argmax(model.curve))
    assert len(model.curve) == min(model.best_step + keras_mlp.PATIENCE, keras_mlp.MAX_EPOCHS)
    valid = breast_cancer().data.take(breast_cancer().folds[0][1])
    assert scores(model, valid, breast_cancer().metric)["roc_auc"] == pytest.approx(max(model.curve), abs=1e-6)


def test_early_stopping_of_a_metric_to_be_minimised():
    model = fitted(diabetes(), learning_rate=0.03)
    assert model.best_step == 1 + int(np.argmin(model.curve)) < len(model.curve)


def test_report_gets_every_epoch():
    seen = []
    model = fitted(iris(), steps=6, report=lambda *step: seen.append(step))
    assert seen == list(enumerate(model.curve, start=1))
    assert len(seen) == 6


def test_refit_trains_for_the_given_epochs():
    model = refit(iris(), FAMILY, DEFAULT, best_step=25)
    assert (model.fitted.curve, model.fitted.best_step) == ((), None)
    assert np.mean(model.predict(iris().data.X) == iris().data.y) > 0.8


def test_another_seed_is_another_network_and_leaves_the_global_generators_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    curves = {fitted(diabetes(), steps=2, seed=seed, dropout=0.3).curve for seed in (0, 1, 2**31 + 5, 2**63 + 9)}
    assert len(curves) == 4
    assert np.random.get_state()[1].tolist() == before


def test_divergence_is_a_clear_error():
    """Squared errors explode with a learning rate far out of the space."""
    data = diabetes().data
    wild = DEFAULT | {"optimizer": "sgd_momentum", "momentum": 0.99, "learning_rate": 1e4, "activation": "elu"}
    with pytest.raises(SearchError, match="diverged in epoch") as raised:
        FAMILY.fit(wild, data, valid=None, metric=Metric.of("rmse", "regression"), seed=0)
    assert "learning_rate" in raised.value.remedy
    trial = run_trial(diabetes(), FAMILY, wild)
    assert (trial.status, trial.value) == ("failed", None)
    assert "diverged" in trial.error


def test_batch_size_is_clamped_to_the_rows():
    values, (change,) = FAMILY.clamp(DEFAULT | {"batch_size": 512}, 100, 3)
    assert (values["batch_size"], change.before, change.after) == (100, 512, 100)
    assert FAMILY.clamp(DEFAULT, 5, 3)[0]["batch_size"] == keras_family.SMALLEST_BATCH
    tiny = table(n=5)
    curves = [
        FAMILY.fit(
            DEFAULT | {"batch_size": size}, tiny, valid=tiny, metric=Metric.of("log_loss", "binary"), seed=0
        ).curve
        for size in (5, 32)
    ]
    assert curves[0] == curves[1]


def test_metric_that_the_rows_do_not_define():
    """With one class in the validation rows there is no area under a curve: train on, keep the last epoch."""
    data = table()
    one = data.take(np.flatnonzero(data.y == 1))
    seen = []
    model = FAMILY.fit(DEFAULT, data, valid=one, metric=Metric.of("roc_auc", "binary"), seed=0, steps=14,
                       report=lambda *step: seen.append(step))  # fmt: skip
    assert (len(model.curve), model.best_step, seen) == (14, 14, [])
    assert all(math.isnan(value) for value in model.curve)


@pytest.mark.parametrize("name", ["roc_auc", "log_loss", "accuracy", "f1", "balanced_accuracy"])
@pytest.mark.parametrize("make", [breast_cancer, iris])
def test_metric_value_is_that_of_scores(make, name):
    task = make()
    model = fitted(task, steps=1)
    metric = Metric.of(name, task.kind)
    for data in (task.data, task.data.take(np.flatnonzero(task.data.y < task.data.n_classes - 1))):
        predicted, probability = model.predict(data.X), model.predict_proba(data.X)
        expected = scores(model, data, metric).get(name, math.nan)
        assert metric_value(data, metric, predicted, probability) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_numbers_become_finite_whatever_they_are():
    x = pd.DataFrame({"huge": [-1e308, 1e308, 0.0, np.nan], "same": [7.0] * 4, "none": [np.nan] * 4})
    encoded = DensePreprocessor.of(Dataset(x, np.zeros(4), "regression")).encode(x)
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() <= 3.0
    np.testing.assert_array_equal(encoded[:, 1], [0, 0, 0, 1])  # the indicator of the first column
    assert encoded[0, 0] < encoded[2, 0] < encoded[1, 0]


def test_levels_few_many_unseen_and_missing():
    few, many = ["x", "y", "x", None], [f"level {i}" for i in range(MAX_LEVELS + 6)]
    n = len(many)
    frame = pd.DataFrame({"few": pd.Categorical((few * n)[:n]), "many": pd.Categorical(many)})
    data = Dataset(frame, np.zeros(n), "regression")
    preprocessor = DensePreprocessor.of(data)
    assert DensePreprocessor.from_dict(preprocessor.to_dict()) == preprocessor
    # few: two levels and missing; many: the most frequent, the others together, and the frequency.
    assert preprocessor.encode(frame).shape == (n, 3 + MAX_LEVELS + 2)
    strange = pd.DataFrame({"few": pd.Categorical(["new", None]), "many": pd.Categorical(["new", None])})
    encoded = preprocessor.encode(strange)
    np.testing.assert_array_equal(encoded[:, :3], [[0, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(encoded[:, 3 + MAX_LEVELS :], [[1, 0], [0, 0]])


def test_saved_files_and_what_is_loaded(tmp_path):
    model = fitted(mixed(), steps=3, batch_norm=True, dropout=0.2, activation="silu")
    assert model.save(tmp_path) == tmp_path / "model.keras"
    assert {path.name for path in tmp_path.iterdir()} == {"model.keras", "preprocessing.json", "model.json"}
    loaded = get_family("keras_mlp").load(tmp_path)
    assert (loaded.curve, loaded.best_step) == (model.curve, model.best_step)
    np.testing.assert_array_equal(loaded.predict_proba(mixed().data.X), model.predict_proba(mixed().data.X))


def test_code_in_a_model_file_is_not_run(tmp_path):
    model = fitted(iris(), steps=1)
    model.save(tmp_path)
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x[:, :3])(inputs)).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="deserializ"):
        FAMILY.load(tmp_path)


def test_without_tensorflow_the_space_is_there_and_fit_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for module in ("host", "augmentation", "networks", "trainer", "training"):
        monkeypatch.delitem(sys.modules, f"metatune.learners.keras_{module}")
    family = get_family("keras_mlp")
    family.space().check(family.default())
    with pytest.raises(MissingDependencyError, match=r"metatune\[keras\]"):
        fitted(iris())


def test_training_prints_nothing_and_the_space_loads_no_tensorflow():
    code = """
import sys
import numpy as np, pandas as pd
from metatune.dataset import Dataset
from metatune.learners.keras_mlp import KerasMLP
from metatune.metric import Metric
family = KerasMLP()
family.space().check(family.default())
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
X = pd.DataFrame({"a": np.linspace(0, 1, 40)})
data = Dataset(X, X["a"].to_numpy(), "regression")
for seed in range(6):
    family.fit(family.default(), data, valid=data, metric=Metric.of("rmse", "regression"), seed=seed, steps=1)
"""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert (done.stdout, done.stderr) == ("", "")


def test_fits_leave_nothing_behind():
    """Each traced graph that stays alive is megabytes, and a search trains hundreds of networks."""

    def graphs():
        gc.collect()
        return sum(type(o).__name__ in ("FuncGraph", "WhileBodyFuncGraph") for o in gc.get_objects())

    fitted(iris(), steps=1)
    before = graphs()
    for optimizer in ("adam", "adamw", "sgd_momentum"):
        fitted(iris(), steps=1, optimizer=optimizer)
    assert graphs() <= before
