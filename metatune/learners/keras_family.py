"""``KerasFamily``: what the Keras families share without TensorFlow, common parameters and the way to the trainer."""

import importlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Protocol

import numpy as np

from metatune.dataset import DataKind
from metatune.errors import MissingDependencyError
from metatune.learners.base import D, FittedModel, ModelFamily, Report, at_most
from metatune.metric import Metric
from metatune.parameter import ParameterSpec
from metatune.space import Change, Condition
from metatune.trial import Configuration, ParamValue

ACTIVATIONS = ("relu", "elu", "tanh", "gelu", "silu")
OPTIMIZERS = ("sgd_momentum", "rmsprop", "adagrad", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "exponential")

SMALLEST_BATCH = 16
#: A recurrent layer takes one step after the other, which is slow: it gets at most so many.
GRU_STEPS = 128

#: Parameters of hidden layers: a family takes those that its network has.
HIDDEN: Mapping[str, ParameterSpec] = {
    "activation": ACTIVATIONS,
    "batch_norm": (False, True),
    "dropout": {"low": 0.0, "high": 0.6},
}

#: Parameters of the training, the same in all Keras families.
#:
#: ``weight_decay`` is decoupled for ``adamw`` (Loshchilov & Hutter, 2019) and an L2 penalty on the kernels for the
#: other optimisers; its lower end stands for none. The learning rate follows ``schedule`` over all epochs.
TRAINING: Mapping[str, ParameterSpec] = {
    "optimizer": OPTIMIZERS,
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "momentum": {"low": 0.5, "high": 0.99},
    "schedule": SCHEDULES,
    "weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
    "batch_size": {"type": "int", "low": SMALLEST_BATCH, "high": 512, "log": True},
}

#: Of ``TRAINING``.
CONDITIONS: Mapping[str, Condition] = {"momentum": Condition("optimizer", ("sgd_momentum",))}

#: Keras' own default arguments of what is trained with: Adam with a constant 0.001, (next to) no weight decay.
TRAINING_DEFAULT: Mapping[str, ParamValue] = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "weight_decay": 1e-6,
    "batch_size": 32,
}


class Encoder(Protocol):
    """What was learnt from the training rows to turn raw ``X`` into the one array that a network takes."""

    def encode(self, X: Any) -> np.ndarray:
        """``X`` as ``Data.X`` -> shape (n, ...), of one dtype and always finite."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""


@dataclass(frozen=True)
class Recipe:
    """What the one trainer must know of a family.

    ``family`` also names its network in ``keras_networks``. ``encoder(configuration, train)`` learns an encoder,
    ``read_encoder`` is the inverse of its ``to_dict``. A fit takes at most ``epochs``, which a learning rate schedule
    spans however many are run, and ends after ``patience`` epochs without a better validation value. ``chunk`` rows
    are predicted at once.
    """

    family: str
    encoder: Callable[[Configuration, Any], Encoder]
    read_encoder: Callable[[Mapping[str, Any]], Encoder]
    epochs: int
    patience: int
    chunk: int


class KerasFamily(ModelFamily[D]):
    """A family whose networks the one trainer trains, as its ``recipe`` says."""

    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})
    fidelity: ClassVar[str] = "epochs"

    @abstractmethod
    def recipe(self) -> Recipe:
        """How the trainer treats this family."""

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """``batch_size`` at most ``n_rows``, though never below the space's lowest. Subclasses limit more."""
        return at_most(configuration, {"batch_size": max(n_rows, SMALLEST_BATCH)}, f"only {n_rows} rows")

    def full_steps(self, configuration: Configuration) -> int | None:
        """``epochs`` of the recipe."""
        return self.recipe().epochs

    def fit(
        self,
        configuration: Configuration,
        train: D,
        *,
        valid: D | None,
        metric: Metric,
        seed: int,
        steps: int | None = None,
        report: Report | None = None,
        threads: int = 1,
    ) -> FittedModel[Any]:
        """See ``ModelFamily.fit``. Without ``valid`` and ``steps`` all ``epochs`` of the recipe are trained.

        Early stopping is by ``metric``, ``patience`` epochs after the best one. The first fit of a process decides its
        number of TensorFlow threads. Raises ``MissingDependencyError`` without TensorFlow, and ``SearchError`` as
        soon as loss, weights or predictions are not finite.
        """
        values, _ = self.clamp(configuration, train.n_rows, train.n_columns)
        fitted: FittedModel[Any] = _training(self.name).train_network(
            self.recipe(),
            values,
            train,
            valid=valid,
            metric=metric,
            seed=seed,
            steps=steps,
            report=report,
            threads=threads,
        )
        return fitted

    def load(self, directory: Path) -> FittedModel[Any]:
        """See ``ModelFamily.load``. Raises ``MissingDependencyError`` without TensorFlow."""
        fitted: FittedModel[Any] = _training(self.name).NetworkModel.load(self.recipe(), directory)
        return fitted


def _training(family: str) -> ModuleType:
    """The module ``keras_training``. Raises ``MissingDependencyError`` without TensorFlow.

    Imported late so that space and default are known where TensorFlow is not installed, or not needed.
    """
    try:
        return importlib.import_module("metatune.learners.keras_training")
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        raise MissingDependencyError.of(family, error.name, "keras") from error
