"""Pixels: what scale they are on, and how they become whole numbers 0 to 255."""

import logging

import numpy as np

#: The brightest pixel.
BRIGHTEST = 255
#: Shares that exceed 1 by no more have been interpolated or computed inexactly.
NEARLY_ONE = 1.01
_LOG = logging.getLogger("metatune")


def pixels(array: np.ndarray, black: float, white: float) -> np.ndarray:
    """``array``, pixels from ``black`` to ``white``, as whole numbers 0 to 255."""
    if (black, white) == (0.0, BRIGHTEST):
        return np.asarray(np.rint(array), dtype=np.uint8)
    shares = array if (black, white) == (0.0, 1.0) else (array - black) / ((white - black) or 1.0)
    return np.asarray(np.rint(shares.astype(np.float32) * BRIGHTEST), dtype=np.uint8)


def warn_of_another_scale(array: np.ndarray, black: float, white: float) -> None:
    """Warn if ``array`` is plainly not of pixels from ``black`` to ``white``, as which it is going to be read.

    That is, if it is beyond them by more than they span, or all fractions up to 1 where they span hundreds. Small
    whole numbers are left alone: they are what dark images have.
    """
    low, high, span = float(array.min()), float(array.max()), white - black
    beyond = low < black - span or high > white + span
    small = span >= BRIGHTEST and low >= -NEARLY_ONE and high <= NEARLY_ONE
    if beyond or (small and (array != np.rint(array)).any()):
        _LOG.warning(
            "X: pixels on another scale than the model was trained on (got %g to %g, not %g to %g). "
            "Rescale them, or what is predicted means nothing.",
            low, high, black, white,
        )  # fmt: skip
