"""``KerasMLP``: a multilayer perceptron for tables; its search space works without TensorFlow installed."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from metatune.dataset import DataKind, Dataset
from metatune.errors import MissingDependencyError
from metatune.learners.base import FittedModel, ModelFamily, Report, at_most
from metatune.metric import Metric
from metatune.space import Change, Condition, SearchSpace
from metatune.trial import Configuration, ParamValue

ACTIVATIONS = ("relu", "elu", "tanh", "gelu", "silu")
OPTIMIZERS = ("sgd_momentum", "rmsprop", "adagrad", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "exponential")

SMALLEST_BATCH = 16
#: The budget of a fit; a learning rate schedule spans it, however many epochs are run.
MAX_EPOCHS = 50


class KerasMLP(ModelFamily[Dataset]):
    """Dense layers of ``units`` each (``funnel``: every layer half of the one before), up to ``MAX_EPOCHS`` epochs.

    ``weight_decay`` is decoupled for ``adamw`` (Loshchilov & Hutter, 2019) and an L2 penalty on the kernels for the
    other optimisers; its lower end stands for none. The learning rate follows ``schedule`` over all of them.
    """

    name: ClassVar[str] = "keras_mlp"
    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})
    fidelity: ClassVar[str] = "epochs"

    def space(self) -> SearchSpace:
        """Architecture, regularisation and optimisation; ``momentum`` only for ``sgd_momentum``."""
        return SearchSpace(
            {
                "n_layers": {"type": "int", "low": 1, "high": 4},
                "units": {"type": "int", "low": 16, "high": 256, "log": True},
                "shape": ("constant", "funnel"),
                "activation": ACTIVATIONS,
                "batch_norm": (False, True),
                "dropout": {"low": 0.0, "high": 0.6},
                "optimizer": OPTIMIZERS,
                "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
                "momentum": {"low": 0.5, "high": 0.99},
                "schedule": SCHEDULES,
                "weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
                "batch_size": {"type": "int", "low": SMALLEST_BATCH, "high": 512, "log": True},
            },
            {"momentum": Condition("optimizer", ("sgd_momentum",))},
        )

    def default(self) -> dict[str, ParamValue]:
        """What a first Keras network looks like: Keras has no default network, only default arguments.

        Two hidden layers of 64 as in its introductory examples; the rest are Keras' own defaults: Adam with a
        constant 0.001, batches of 32, no dropout, no normalisation, (next to) no weight decay.
        """
        return {
            "n_layers": 2,
            "units": 64,
            "shape": "constant",
            "activation": "relu",
            "batch_norm": False,
            "dropout": 0.0,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "constant",
            "weight_decay": 1e-6,
            "batch_size": 32,
        }

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """``batch_size`` at most ``n_rows``, though never below the space's lowest."""
        return at_most(configuration, {"batch_size": max(n_rows, SMALLEST_BATCH)}, f"only {n_rows} rows")

    def full_steps(self, configuration: Configuration) -> int | None:
        """``MAX_EPOCHS``."""
        return MAX_EPOCHS

    def fit(
        self,
        configuration: Configuration,
        train: Dataset,
        *,
        valid: Dataset | None,
        metric: Metric,
        seed: int,
        steps: int | None = None,
        report: Report | None = None,
        threads: int = 1,
    ) -> FittedModel[Any]:
        """See ``ModelFamily.fit``. Without ``valid`` and ``steps`` all ``MAX_EPOCHS`` are trained.

        Early stopping is by ``metric``, ten epochs after the best one. The first fit of a process decides its
        number of TensorFlow threads. Raises ``MissingDependencyError`` without TensorFlow, and ``SearchError`` as
        soon as loss, weights or predictions are not finite.
        """
        fitted: FittedModel[Any] = _training().train_network(
            configuration, train, valid=valid, metric=metric, seed=seed, steps=steps, report=report, threads=threads
        )
        return fitted

    def load(self, directory: Path) -> FittedModel[Any]:
        """See ``ModelFamily.load``. Raises ``MissingDependencyError`` without TensorFlow."""
        fitted: FittedModel[Any] = _training().NetworkModel.load(directory)
        return fitted


def _training() -> ModuleType:
    # Imported late so that space and default are known where TensorFlow is not installed, or not needed.
    try:
        return importlib.import_module("metatune.learners.keras_training")
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        raise MissingDependencyError.of(KerasMLP.name, error.name, "keras") from error
