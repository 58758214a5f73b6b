"""``KerasText``: a network over word embeddings for texts; its search space works without TensorFlow installed."""

from collections.abc import Mapping
from typing import Any, ClassVar

from metatune.dataset import Modality
from metatune.examples import Texts
from metatune.learners.base import at_most
from metatune.learners.keras_encoders import WordEncoder
from metatune.learners.keras_family import (
    CONDITIONS,
    GRU_STEPS,
    HIDDEN,
    TRAINING,
    TRAINING_DEFAULT,
    KerasFamily,
    Recipe,
)
from metatune.space import Change, Condition, SearchSpace
from metatune.trial import Configuration, ParamValue

#: The budget of a fit; a learning rate schedule spans it, however many epochs are run.
MAX_EPOCHS = 20
#: Training ends after so many epochs without a better validation value.
PATIENCE = 4
#: Texts that are predicted at once.
CHUNK = 256


class KerasText(KerasFamily[Texts]):
    """Embedded words, a body that reads them, dropout and ``n_layers`` dense layers of ``units``; up to ``MAX_EPOCHS``.

    Texts are the first ``length`` words, of which the ``vocabulary`` most frequent ones are told apart; dropout also
    follows the embedding. ``body``: ``pooling`` alone, a ``convolution`` over neighbouring words before it (the mean
    or the maximum over the words, by ``readout``), or the last state of a ``gru`` (Cho et al., 2014).
    ``activation`` is that of convolution and dense layers.
    """

    name: ClassVar[str] = "keras_text"
    modality: ClassVar[Modality] = "text"

    def space(self) -> SearchSpace:
        """Vocabulary, architecture, regularisation and optimisation."""
        return SearchSpace(
            {
                "vocabulary": {"type": "int", "low": 500, "high": 20_000, "log": True},
                "length": {"type": "int", "low": 16, "high": 256, "log": True},
                "embedding": {"type": "int", "low": 8, "high": 64, "log": True},
                "body": ("pooling", "convolution", "gru"),
                "readout": ("mean", "max"),
                "filters": {"type": "int", "low": 16, "high": 128, "log": True},
                "kernel": (3, 5, 7),
                "gru_units": {"type": "int", "low": 8, "high": 64, "log": True},
                "bidirectional": (False, True),
                "n_layers": {"type": "int", "low": 0, "high": 1},
                "units": {"type": "int", "low": 16, "high": 128, "log": True},
                **{name: HIDDEN[name] for name in ("activation", "dropout")},
                **TRAINING,
            },
            {
                "readout": Condition("body", ("pooling", "convolution")),
                "filters": Condition("body", ("convolution",)),
                "kernel": Condition("body", ("convolution",)),
                "gru_units": Condition("body", ("gru",)),
                "bidirectional": Condition("body", ("gru",)),
                "units": Condition("n_layers", (1,)),
                **CONDITIONS,
            },
        )

    def default(self) -> dict[str, ParamValue]:
        """The basic text classifier of TensorFlow's Keras tutorials: the mean of 16 numbers a word, dropout of 0.2.

        Its 10,000 words and length of 250 as well; the rest are Keras' own defaults.
        """
        return {
            "vocabulary": 10_000,
            "length": 250,
            "embedding": 16,
            "body": "pooling",
            "readout": "mean",
            "n_layers": 0,
            "activation": "relu",
            "dropout": 0.2,
            **TRAINING_DEFAULT,
        }

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """``length`` at most ``GRU_STEPS`` for a ``gru``."""
        values, few = super().clamp(configuration, n_rows, n_columns)
        if values["body"] != "gru":
            return values, few
        values, slow = at_most(values, {"length": GRU_STEPS}, "a gru reads one word after the other")
        return values, few + slow

    def recipe(self) -> Recipe:
        """See ``KerasFamily.recipe``."""
        return Recipe(
            family=self.name,
            encoder=_encoder,
            read_encoder=WordEncoder.from_dict,
            epochs=MAX_EPOCHS,
            patience=PATIENCE,
            chunk=CHUNK,
        )


def _encoder(configuration: Configuration, train: Texts) -> WordEncoder:
    c: Mapping[str, Any] = configuration
    return WordEncoder.of(train, vocabulary=int(c["vocabulary"]), length=int(c["length"]))
