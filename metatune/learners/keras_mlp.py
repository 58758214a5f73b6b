"""``KerasMLP``: a multilayer perceptron for tables; its search space works without TensorFlow installed."""

from typing import ClassVar

from metatune.dataset import Dataset
from metatune.learners.keras_family import CONDITIONS, HIDDEN, TRAINING, TRAINING_DEFAULT, KerasFamily, Recipe
from metatune.learners.keras_preprocessing import DensePreprocessor
from metatune.space import SearchSpace
from metatune.trial import ParamValue

#: The budget of a fit; a learning rate schedule spans it, however many epochs are run.
MAX_EPOCHS = 50
#: Training ends after so many epochs without a better validation value.
PATIENCE = 10
#: Rows that are predicted at once.
CHUNK = 8192


class KerasMLP(KerasFamily[Dataset]):
    """Dense layers of ``units`` each (``funnel``: every layer half of the one before), up to ``MAX_EPOCHS`` epochs."""

    name: ClassVar[str] = "keras_mlp"

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

    def recipe(self) -> Recipe:
        """See ``KerasFamily.recipe``."""
        return Recipe(
            family=self.name,
            encoder=lambda configuration, train: DensePreprocessor.of(train),
            read_encoder=DensePreprocessor.from_dict,
            epochs=MAX_EPOCHS,
            patience=PATIENCE,
            chunk=CHUNK,
        )
