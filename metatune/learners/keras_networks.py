"""The untrained networks of all Keras families: ``build_network``, with one function for the body of each."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metatune.learners.keras_host import keras
from metatune.learners.keras_preprocessing import Outputs

#: Pictures are averaged down until one side is less than twice this many pixels.
PICTURE_SIDE = 32
#: What the head flattens is averaged down to at most this many pixels a side.
FLAT_SIDE = 8
#: ``growth="double"`` ends here.
MOST_FILTERS = 64
#: Stands for no value in a maximum over steps.
_LOWEST = -1e9


class Blocks:
    """The blocks that networks are made of, as configuration ``c`` wants them, each with a seed of its own.

    One seed for all would start equal shapes with equal weights.
    """

    def __init__(self, c: Mapping[str, Any], seed: int) -> None:
        self.c = c
        self.depth = -1
        self._seed = seed

    def _own_seed(self) -> int:
        return self._seed * 7 + self.depth + 1

    def kernel(self) -> keras.initializers.Initializer:
        """Initial weights of the next layer."""
        self.depth += 1
        return keras.initializers.GlorotUniform(seed=self._own_seed())

    def embedding(self, ids: Any, size: int) -> Any:
        """Numbers of words, shape (n, length) -> their vectors, shape (n, length, width)."""
        self.depth += 1
        start = keras.initializers.RandomUniform(seed=self._own_seed())
        return self.dropout(keras.layers.Embedding(size, int(self.c["embedding"]), embeddings_initializer=start)(ids))

    def activated(self, hidden: Any) -> Any:
        """``hidden``, normalised where wanted, through the activation."""
        if self.c.get("batch_norm"):
            # Keras' 0.99 needs hundreds of steps to forget its start; small data have a dozen an epoch.
            hidden = keras.layers.BatchNormalization(momentum=0.9)(hidden)
        return keras.layers.Activation(self.c["activation"])(hidden)

    def dropout(self, hidden: Any) -> Any:
        """``hidden`` with dropout where wanted."""
        if not self.c["dropout"]:
            return hidden
        return keras.layers.Dropout(self.c["dropout"], seed=self._seed + self.depth)(hidden)

    def dense(self, hidden: Any, units: int) -> Any:
        """One hidden layer."""
        hidden = keras.layers.Dense(units, kernel_initializer=self.kernel())(hidden)
        return self.dropout(self.activated(hidden))

    def gru(self, steps: Any, mask: Any = None) -> Any:
        """Steps (n, length, width) -> the last state, in both directions where wanted."""
        layer = keras.layers.GRU(
            int(self.c["gru_units"]),
            kernel_initializer=self.kernel(),
            recurrent_initializer=keras.initializers.Orthogonal(seed=self._own_seed()),
            use_cudnn=False,
        )
        if self.c["bidirectional"]:
            layer = keras.layers.Bidirectional(layer)
        return layer(steps, mask=mask)

    def head(self, hidden: Any) -> Any:
        """What follows the body: dropout, and ``n_layers`` hidden layers of ``units``."""
        hidden = self.dropout(hidden)
        for _ in range(int(self.c["n_layers"])):
            hidden = self.dense(hidden, int(self.c["units"]))
        return hidden


def _perceptron(blocks: Blocks, inputs: Any, encoder: Any) -> Any:
    hidden, units = inputs, int(blocks.c["units"])
    for _ in range(int(blocks.c["n_layers"])):
        hidden = blocks.dense(hidden, units)
        if blocks.c["shape"] == "funnel":
            units = max(units // 2, 8)
    return hidden


def _pictures(blocks: Blocks, inputs: Any, encoder: Any) -> Any:
    layers, c = keras.layers, blocks.c
    hidden = _averaged_down(layers.Rescaling(1 / encoder.scale)(inputs))
    filters = int(c["filters"])
    for number in range(int(c["blocks"])):
        if number and _is_point(hidden):
            break
        hidden = _block(blocks, hidden, filters, dimensions=2)
        if c["growth"] == "double":
            filters = min(2 * filters, MOST_FILTERS)
    if c["head"] == "average":
        return blocks.head(layers.GlobalAveragePooling2D()(hidden))
    factors = tuple(math.ceil(side / FLAT_SIDE) for side in hidden.shape[1:3])
    if max(factors) > 1:
        hidden = layers.AveragePooling2D(factors, padding="same")(hidden)
    return blocks.head(layers.Flatten()(hidden))


def _averaged_down(pictures: Any) -> Any:
    factor = min(pictures.shape[1:3]) // PICTURE_SIDE
    return pictures if factor < 2 else keras.layers.AveragePooling2D(factor)(pictures)


def _is_point(hidden: Any) -> bool:
    """Whether no side is left to be halved."""
    return bool(max(hidden.shape[1:-1]) == 1)


def _block(blocks: Blocks, hidden: Any, filters: int, *, dimensions: int) -> Any:
    """``convolutions`` of ``filters`` each; the last of them, or the pooling after it, halves every side."""
    layers, c = keras.layers, blocks.c
    convolution = layers.Conv2D if dimensions == 2 else layers.Conv1D
    for left in reversed(range(int(c["convolutions"]))):
        strides = 2 if c["pooling"] == "strided" and left == 0 else 1
        hidden = convolution(
            filters, int(c["kernel"]), strides=strides, padding="same", kernel_initializer=blocks.kernel()
        )(hidden)
        hidden = blocks.activated(hidden)
    match c["pooling"], dimensions:
        case "max", 2:
            return layers.MaxPooling2D(2, padding="same")(hidden)
        case "max", 1:
            return layers.MaxPooling1D(2, padding="same")(hidden)
        case "average", 2:
            return layers.AveragePooling2D(2, padding="same")(hidden)
        case "average", 1:
            return layers.AveragePooling1D(2, padding="same")(hidden)
    return hidden


def _texts(blocks: Blocks, inputs: Any, encoder: Any) -> Any:
    layers, c = keras.layers, blocks.c
    known = keras.ops.not_equal(inputs, 0)
    words = blocks.embedding(inputs, encoder.size)
    if c["body"] == "gru":
        return blocks.head(blocks.gru(words, known))
    if c["body"] == "convolution":
        words = layers.Conv1D(int(c["filters"]), int(c["kernel"]), padding="same", kernel_initializer=blocks.kernel())(
            words
        )
        words = blocks.activated(words)
    return blocks.head(_read(words, str(c["readout"]), known))


def _series(blocks: Blocks, inputs: Any, encoder: Any) -> Any:
    c, hidden = blocks.c, inputs
    if c["body"] == "gru":
        return blocks.head(blocks.gru(hidden))
    for number in range(int(c["blocks"])):
        if number and _is_point(hidden):
            break
        hidden = _block(blocks, hidden, int(c["filters"]), dimensions=1)
    return blocks.head(_read(hidden, str(c["readout"])))


def _read(steps: Any, readout: str, known: Any = None) -> Any:
    """Steps (n, length, width) -> their mean or maximum (n, width), over the ``known`` ones."""
    if readout == "mean":
        return keras.layers.GlobalAveragePooling1D()(steps, mask=known)
    if known is not None:
        steps = keras.ops.where(keras.ops.expand_dims(known, -1), steps, _LOWEST)
    return keras.layers.GlobalMaxPooling1D()(steps)


#: The body of each family: blocks, input and encoder -> features, shape (n, width).
BODIES: Mapping[str, Callable[[Blocks, Any, Any], Any]] = {
    "keras_mlp": _perceptron,
    "keras_cnn": _pictures,
    "keras_text": _texts,
    "keras_series": _series,
}


def build_network(
    family: str, c: Mapping[str, Any], example: np.ndarray, *, encoder: Any, outputs: Outputs, seed: int
) -> keras.Model:
    """The untrained network of configuration ``c`` for encoded rows like those of ``example``, shape (n, ...).

    Its last two layers are the logits and their activation.
    """
    inputs = keras.Input(example.shape[1:], dtype=example.dtype.name)
    hidden = BODIES[family](Blocks(c, seed), inputs, encoder)
    logits = keras.layers.Dense(outputs.width, kernel_initializer=keras.initializers.GlorotUniform(seed=seed * 7))(
        hidden
    )
    return keras.Model(inputs, keras.layers.Activation(outputs.activation)(logits))
