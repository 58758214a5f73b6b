"""``KerasSeries``: convolutions or a recurrent layer for time series; the space works without TensorFlow installed."""

from collections.abc import Mapping
from typing import Any, ClassVar

from metatune.dataset import Modality
from metatune.examples import TimeSeries
from metatune.learners.base import at_most
from metatune.learners.keras_encoders import SeriesEncoder
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
MAX_EPOCHS = 40
#: Training ends after so many epochs without a better validation value.
PATIENCE = 8
#: Series that are predicted at once.
CHUNK = 256
#: Series are averaged down to at most so many steps for convolutions, and to ``GRU_STEPS`` for a recurrent layer.
CONVOLUTION_STEPS = 256
#: Parameters of the convolutions alone.
CONVOLUTION = ("blocks", "filters", "convolutions", "kernel", "pooling", "readout")


class KerasSeries(KerasFamily[TimeSeries]):
    """Convolutions or a recurrent layer over the steps, dropout and ``n_layers`` dense layers; up to ``MAX_EPOCHS``.

    ``body``: ``blocks`` of ``convolutions`` that end with ``pooling`` each, read by the mean or the maximum over the
    steps (``readout``); or the last state of a ``gru`` (Cho et al., 2014). Neighbouring steps of longer series are
    averaged, to at most ``CONVOLUTION_STEPS`` or ``GRU_STEPS``. ``own_scale``: each series is scaled by its own mean
    and deviation, else by median and interquartile range of all. Missing values are 0 after that, and a further
    channel says where they are. ``activation`` and ``batch_norm`` are those of convolutions and dense layers.
    """

    name: ClassVar[str] = "keras_series"
    modality: ClassVar[Modality] = "series"

    def space(self) -> SearchSpace:
        """Architecture, regularisation and optimisation."""
        return SearchSpace(
            {
                "own_scale": (False, True),
                "body": ("convolution", "gru"),
                "blocks": {"type": "int", "low": 1, "high": 4},
                "filters": {"type": "int", "low": 8, "high": 64, "log": True},
                "convolutions": {"type": "int", "low": 1, "high": 2},
                "kernel": (3, 5, 7),
                "pooling": ("max", "average", "strided"),
                "readout": ("mean", "max"),
                "gru_units": {"type": "int", "low": 8, "high": 64, "log": True},
                "bidirectional": (False, True),
                "n_layers": {"type": "int", "low": 0, "high": 1},
                "units": {"type": "int", "low": 16, "high": 128, "log": True},
                **HIDDEN,
                **TRAINING,
            },
            {
                **{name: Condition("body", ("convolution",)) for name in CONVOLUTION},
                **{name: Condition("body", ("gru",)) for name in ("gru_units", "bidirectional")},
                "units": Condition("n_layers", (1,)),
                **CONDITIONS,
            },
        )

    def default(self) -> dict[str, ParamValue]:
        """As Keras' example of classifying time series: three convolutions of 64 filters with batch norm, their mean.

        That example does not pool between them; here they do, so that a fit ends soon. The rest are Keras' defaults.
        """
        return {
            "own_scale": False,
            "body": "convolution",
            "blocks": 3,
            "filters": 64,
            "convolutions": 1,
            "kernel": 3,
            "pooling": "max",
            "readout": "mean",
            "n_layers": 0,
            "activation": "relu",
            "batch_norm": True,
            "dropout": 0.0,
            **TRAINING_DEFAULT,
        }

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """``blocks`` no more than halve a series of one channel to one step.

        The network ends with fewer blocks where fewer reach one step.
        """
        values, few = super().clamp(configuration, n_rows, n_columns)
        values, short = at_most(values, {"blocks": max(n_columns.bit_length() - 1, 1)}, f"only {n_columns} values")
        return values, few + short

    def recipe(self) -> Recipe:
        """See ``KerasFamily.recipe``."""
        return Recipe(
            family=self.name,
            encoder=_encoder,
            read_encoder=SeriesEncoder.from_dict,
            epochs=MAX_EPOCHS,
            patience=PATIENCE,
            chunk=CHUNK,
        )


def _encoder(configuration: Configuration, train: TimeSeries) -> SeriesEncoder:
    c: Mapping[str, Any] = configuration
    steps = GRU_STEPS if c["body"] == "gru" else CONVOLUTION_STEPS
    return SeriesEncoder.of(train, steps=steps, own_scale=bool(c["own_scale"]))
