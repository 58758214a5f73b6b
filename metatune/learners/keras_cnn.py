"""``KerasCNN``: a convolutional network for images; its search space works without TensorFlow installed."""

from typing import ClassVar

from metatune.dataset import Modality
from metatune.examples import Images
from metatune.learners.base import at_most
from metatune.learners.keras_encoders import ImageEncoder
from metatune.learners.keras_family import CONDITIONS, HIDDEN, TRAINING, TRAINING_DEFAULT, KerasFamily, Recipe
from metatune.space import Change, Condition, SearchSpace
from metatune.trial import Configuration, ParamValue

#: The budget of a fit; a learning rate schedule spans it, however many epochs are run.
MAX_EPOCHS = 20
#: Training ends after so many epochs without a better validation value.
PATIENCE = 4
#: Images that are predicted at once.
CHUNK = 256


class KerasCNN(KerasFamily[Images]):
    """Blocks of convolutions that halve the image each until it is a pixel, then a head; up to ``MAX_EPOCHS`` epochs.

    A block has ``convolutions`` of ``filters`` (``growth``: twice as many in every block, up to 64), and ends with
    ``pooling`` by the maximum, the average, or with strides. The head averages each filter over the image, or
    flattens it, averaged down to at most 8 a side; dropout and ``n_layers`` dense layers of ``units`` follow.
    Images are divided by their largest value; from 64 pixels on both sides they are averaged down to 32 or more.
    Training images are changed at random by ``augmentation``: mirrored left to right, shifted by up to an eighth.
    """

    name: ClassVar[str] = "keras_cnn"
    modality: ClassVar[Modality] = "image"

    def space(self) -> SearchSpace:
        """Architecture, augmentation, regularisation and optimisation."""
        return SearchSpace(
            {
                "blocks": {"type": "int", "low": 1, "high": 4},
                "filters": {"type": "int", "low": 8, "high": 32, "log": True},
                "growth": ("constant", "double"),
                "convolutions": {"type": "int", "low": 1, "high": 2},
                "kernel": [3, 5],
                "pooling": ("max", "average", "strided"),
                "head": ("average", "flatten"),
                "n_layers": {"type": "int", "low": 0, "high": 1},
                "units": {"type": "int", "low": 16, "high": 128, "log": True},
                "augmentation": ("none", "flip", "shift", "both"),
                **HIDDEN,
                **TRAINING,
            },
            {"units": Condition("n_layers", (1,)), **CONDITIONS},
        )

    def default(self) -> dict[str, ParamValue]:
        """The introductory MNIST network of Keras' examples: convolutions of 32 and 64 filters, dropout of a half.

        Its batches of 128 as well; the rest are Keras' own defaults.
        """
        return {
            "blocks": 2,
            "filters": 32,
            "growth": "double",
            "convolutions": 1,
            "kernel": 3,
            "pooling": "max",
            "head": "flatten",
            "n_layers": 0,
            "augmentation": "none",
            "activation": "relu",
            "batch_norm": False,
            "dropout": 0.5,
            **TRAINING_DEFAULT,
            "batch_size": 128,
        }

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """``blocks`` no more than halve the side of a square image of one channel to one pixel.

        The network ends with fewer blocks where fewer reach one pixel.
        """
        values, few = super().clamp(configuration, n_rows, n_columns)
        halvings = max((int(n_columns**0.5)).bit_length() - 1, 1)
        values, small = at_most(values, {"blocks": halvings}, f"only {n_columns} values")
        return values, few + small

    def recipe(self) -> Recipe:
        """See ``KerasFamily.recipe``."""
        return Recipe(
            family=self.name,
            encoder=lambda configuration, train: ImageEncoder.of(train),
            read_encoder=ImageEncoder.from_dict,
            epochs=MAX_EPOCHS,
            patience=PATIENCE,
            chunk=CHUNK,
        )
