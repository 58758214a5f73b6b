"""What every Keras family owes besides what all families do; subclass ``KerasContract``."""

import gc
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

import keras
import numpy as np
import optuna
import pytest
from learner_contract import Contract
from optuna.distributions import BaseDistribution

from metatune.dataset import Data
from metatune.errors import MissingDependencyError
from metatune.learners import get_family, keras_trainer, keras_training, load_model
from metatune.learners.base import FittedModel, ModelFamily
from metatune.learners.evaluate import refit, run_trial
from metatune.learners.keras_family import HIDDEN, TRAINING
from metatune.learners.keras_networks import build_network
from metatune.learners.keras_preprocessing import Outputs
from metatune.metric import Metric
from metatune.parameter import same_value, value_at
from metatune.task import Task
from metatune.trial import Configuration, ParamValue

#: For parameters that a change of the default makes active.
FILLING: Mapping[str, ParamValue] = {"momentum": 0.9, "units": 16, "filters": 8, "kernel": 3, "gru_units": 8}


def trained(
    family: ModelFamily, task: Task, *, steps: int | None = 2, seed: int = 0, report: Any = None, **changes: Any
) -> FittedModel:
    """The default with ``changes``, on the first fold."""
    train, valid = task.folds[0]
    configuration, _ = family.space().clip(family.default() | changes, FILLING)
    return family.fit(
        configuration,
        task.data.take(train),
        valid=task.data.take(valid),
        metric=task.metric,
        seed=seed,
        steps=steps,
        report=report,
    )


def another(distribution: BaseDistribution, value: ParamValue) -> ParamValue:
    """A value of ``distribution`` that is not ``value``, near its lower end."""
    lowest, higher = value_at(distribution, 0.0), value_at(distribution, 0.6)
    return higher if same_value(lowest, value) else lowest


def graphs() -> int:
    """TensorFlow's graphs that are alive."""
    gc.collect()
    return sum(type(thing).__name__ in ("FuncGraph", "WhileBodyFuncGraph") for thing in gc.get_objects())


class KerasContract(Contract):
    """The tests. ``variants``: changes of the default that give each layer its turn."""

    module: ClassVar[ModuleType]
    variants: ClassVar[tuple[Mapping[str, Any], ...]]
    random_configurations = 2
    #: Two where both halves of a dataset give networks of one shape.
    graphs_of_three_fits: ClassVar[int] = 2

    def fit(self, family: ModelFamily, task: Task, configuration: Configuration | None = None) -> FittedModel:
        return trained(family, task, seed=3, **(configuration or {}))

    @pytest.fixture
    def small(self) -> Task:
        return self.tasks.learnable["binary"][0]()

    def test_every_variant_trains_and_is_saved(self, family, tmp_path):
        task = self.tasks.odd()
        for number, variant in enumerate(self.variants):
            model = trained(family, task, steps=1, **variant)
            directory = tmp_path / str(number)
            directory.mkdir()
            model.save(directory)
            loaded = load_model(directory)
            assert (loaded.fitted.curve, loaded.fitted.best_step) == (model.curve, model.best_step)
            np.testing.assert_array_equal(loaded.predict_proba(task.data.X), model.predict_proba(task.data.X))

    def test_every_parameter_of_the_network_has_an_effect(self, family):
        """What is not for the training changes the encoded rows or the layers; two have tests of their own."""
        data = self.tasks.odd().data
        for start in ({}, *self.variants):
            base, _ = family.space().clip(family.default() | start, FILLING)
            plain = self.network(base, data)
            # Nothing to activate or to normalise in a mean over the words, or in a recurrent layer, alone.
            idle = (
                set(HIDDEN) - {"dropout"} if base.get("body") in ("pooling", "gru") and not base["n_layers"] else set()
            )
            for name in set(base) - set(TRAINING) - {"augmentation", "vocabulary"} - idle:
                other = family.space().clip(base | {name: another(family.space()[name], base[name])}, FILLING)[0]
                assert self.network(other, data) != plain, name

    def network(self, configuration: Configuration, data: Data[Any]) -> str:
        recipe = get_family(self.name).recipe()
        encoder, outputs = recipe.encoder(configuration, data), Outputs(data.kind, data.n_classes)
        x = encoder.encode(data.X)
        network = build_network(self.name, configuration, x, encoder=encoder, outputs=outputs, seed=0)
        layers = [[type(layer).__name__, layer.get_config() | {"name": ""}] for layer in network.layers]
        return f"{x[:20].tolist()} {layers}"

    def test_training_parameters_are_those_of_all_keras_families(self, family):
        space = family.space()
        assert set(TRAINING) <= set(space)
        assert space.conditions["momentum"].parent == "optimizer"

    def test_few_rows_limit_the_batch_in_every_fit(self, family, small, monkeypatch):
        few, given = small.data.take(np.arange(40)), {}
        monkeypatch.setattr(keras_training, "train_network", lambda _, c, train, **others: given.update(c))
        family.fit(family.default() | {"batch_size": 512}, few, valid=None, metric=small.metric, seed=0)
        assert given["batch_size"] == 40

    def test_another_seed_is_another_network(self, family, small):
        assert trained(family, small, seed=1).curve != trained(family, small, seed=2).curve

    def test_a_fold_is_trained_as_if_it_were_alone(self, family, small, monkeypatch):
        """The second fold takes the traced graph of the first and nothing else."""
        made, kind = [], keras_trainer.Trainer
        monkeypatch.setattr(keras_trainer, "Trainer", lambda *a, **k: made.append(kind(*a, **k)) or made[-1])
        rows = small.data.take(np.arange(small.data.n_rows // 2 * 2))
        halves = [rows.take(np.arange(start, rows.n_rows, 2)) for start in (0, 1)]

        def trained_on(half: int) -> FittedModel:
            c = family.default() | {"dropout": 0.3}
            return family.fit(c, halves[half], valid=halves[1 - half], metric=small.metric, seed=0, steps=2)

        keras_trainer.let_go()
        alone = trained_on(1)
        keras_trainer.let_go()
        first = trained_on(0)
        before = first.predict_proba(halves[1].X)
        second = trained_on(1)
        assert second.curve == alone.curve
        np.testing.assert_array_equal(second.predict_proba(halves[0].X), alone.predict_proba(halves[0].X))
        np.testing.assert_array_equal(first.predict_proba(halves[1].X), before)
        assert not np.array_equal(before, second.predict_proba(halves[1].X))
        assert len(made) == self.graphs_of_three_fits

    def test_early_stopping_waits_as_long_as_it_says(self, family, small, monkeypatch):
        monkeypatch.setattr(self.module, "PATIENCE", 2)
        model = trained(family, small, steps=None, learning_rate=0.03)
        assert model.best_step == 1 + int(np.argmax(model.curve))
        assert len(model.curve) == min(model.best_step + 2, self.module.MAX_EPOCHS)

    def test_a_pruned_trial_keeps_its_curve(self, family, small):
        def prune(step: int, value: float) -> None:
            if step == 2:
                raise optuna.TrialPruned

        trial = run_trial(small, family, family.default(), report=prune)
        assert (trial.status, len(trial.curve), trial.fidelity) == ("pruned", 2, 2 / self.module.MAX_EPOCHS)

    def test_refit_trains_for_the_given_epochs(self, family, small, monkeypatch):
        """As many as asked for, whatever the budget of a search."""
        monkeypatch.setattr(self.module, "MAX_EPOCHS", 1)
        few, more = (refit(small, family, family.default(), best_step=steps) for steps in (1, 3))
        assert (more.fitted.curve, more.fitted.best_step) == ((), None)
        assert not np.array_equal(few.predict_proba(small.data.X), more.predict_proba(small.data.X))

    def test_divergence_is_told(self, family):
        task = self.tasks.learnable["regression"][0]()
        wild = family.default() | {"optimizer": "sgd_momentum", "momentum": 0.99, "learning_rate": 1e8}
        trial = run_trial(task, family, wild)
        assert (trial.status, trial.value) == ("failed", None)
        assert "diverged in epoch" in trial.error

    def test_code_in_a_model_file_is_not_run(self, family, small, tmp_path):
        trained(family, small, steps=1).save(tmp_path)
        inputs = keras.Input(small.data.X.shape[1:])
        keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match="deserializ"):
            family.load(tmp_path)

    def test_without_tensorflow_the_space_is_there_and_fit_says_what_to_install(self, family, small, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow", None)
        for module in ("host", "augmentation", "networks", "training"):
            monkeypatch.delitem(sys.modules, f"metatune.learners.keras_{module}", raising=False)
        family.space().check(family.default())
        with pytest.raises(MissingDependencyError, match=r"metatune\[keras\]"):
            trained(family, small)

    def test_fits_leave_nothing_behind(self, family, small):
        """Each traced graph that stays alive is megabytes, and a search trains hundreds of networks."""
        trained(family, small, steps=1)
        before = graphs()
        for variant in self.variants[:2]:
            trained(family, small, steps=1, **variant)
        assert graphs() <= before

    def test_a_metric_that_the_rows_do_not_define(self, family, small):
        """With one class in the validation rows there is no area under a curve: train on, keep the last epoch."""
        data = small.data
        one = data.take(np.flatnonzero(data.y == 1))
        metric = Metric.of("roc_auc", "binary")
        model = family.fit(family.default(), data, valid=one, metric=metric, seed=0, steps=2)
        assert (len(model.curve), model.best_step) == (2, 2)
