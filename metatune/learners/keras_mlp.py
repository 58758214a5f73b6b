"""``KerasMLP``: a multilayer perceptron for tables; its search space works without TensorFlow installed."""

from pathlib import Path
from typing import Any, ClassVar

from metatune.dataset import DataKind, Dataset
from metatune.learners.base import FittedModel, ModelFamily, Report, at_most
from metatune.learners.keras_family import (
    CONDITIONS,
    HIDDEN,
    SMALLEST_BATCH,
    TRAINING,
    TRAINING_DEFAULT,
    Recipe,
    training,
)
from metatune.learners.keras_preprocessing import DensePreprocessor
from metatune.metric import Metric
from metatune.space import Change, SearchSpace
from metatune.trial import Configuration, ParamValue

#: The budget of a fit; a learning rate schedule spans it, however many epochs are run.
MAX_EPOCHS = 50
#: Training ends after so many epochs without a better validation value.
PATIENCE = 10
#: Rows that are predicted at once.
CHUNK = 8192


class KerasMLP(ModelFamily[Dataset]):
    """Dense layers of ``units`` each (``funnel``: every layer half of the one before), up to ``MAX_EPOCHS`` epochs."""

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
                **HIDDEN,
                **TRAINING,
            },
            CONDITIONS,
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
            **TRAINING_DEFAULT,
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
        fitted: FittedModel[Any] = training(self.name).train_network(
            recipe(),
            configuration,
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
        fitted: FittedModel[Any] = training(self.name).NetworkModel.load(recipe(), directory)
        return fitted


def recipe() -> Recipe:
    """How the trainer treats this family."""
    return Recipe(
        family=KerasMLP.name,
        encoder=lambda configuration, train: DensePreprocessor.of(train),
        read_encoder=DensePreprocessor.from_dict,
        epochs=MAX_EPOCHS,
        patience=PATIENCE,
        chunk=CHUNK,
    )
