"""Random changes of training pictures, inside the graph."""

from typing import Any

from metatune.learners.keras_host import tf

#: Pictures are shifted by at most this share of a side.
SHIFT = 1 / 8


def augmented(pictures: Any, how: str, seed: Any) -> Any:
    """``pictures``, shape (n, height, width, channels), each changed on its own; ``seed``: two integers.

    ``flip``: mirrored left to right, every second one. ``shift``: moved by up to ``SHIFT`` of both sides (at least a
    pixel), the border repeated. ``both``, or ``none``.
    """
    if how in ("flip", "both"):
        mirrored = tf.random.stateless_uniform((pictures.shape[0], 1, 1, 1), seed) < 0.5
        pictures = tf.where(mirrored, tf.reverse(pictures, [2]), pictures)
    if how in ("shift", "both"):
        for axis in (1, 2):
            pictures = _shifted(pictures, axis, seed + axis)
    return pictures


def _shifted(pictures: Any, axis: int, seed: Any) -> Any:
    n, side = pictures.shape[0], pictures.shape[axis]
    most = max(1, round(side * SHIFT))
    by = tf.random.stateless_uniform((n, 1), seed, -most, most + 1, dtype=tf.int32)
    places = tf.clip_by_value(tf.range(side)[None, :] + by, 0, side - 1)
    return tf.gather(pictures, places, axis=axis, batch_dims=1)
