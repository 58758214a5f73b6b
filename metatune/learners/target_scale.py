"""The target of a regression as families take that are sensitive to its unit: with mean 0 and standard deviation 1."""

from dataclasses import dataclass, replace

import numpy as np

from metatune.learners.base import D


@dataclass(frozen=True)
class TargetScale:
    """Mean and standard deviation of the training rows' target, in its own unit; ``(0, 1)`` leaves it as it is."""

    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(cls, y: np.ndarray) -> "TargetScale":
        """The scale of ``y``, shape (n,); a constant one counts as deviating by its own magnitude."""
        largest = np.abs(y).max()
        # By a power of two, which is exact: squares of huge numbers overflow, those of tiny ones vanish.
        power = np.frexp(largest)[1]
        near_one = np.ldexp(y, -power)
        # Rounding alone gives a constant target a deviation too.
        deviation = np.ldexp(near_one.std(), power) if np.ptp(near_one) else largest or 1.0
        return cls(float(np.ldexp(near_one.mean(), power)), float(deviation))

    def apply(self, y: np.ndarray) -> np.ndarray:
        """``y`` in standard deviations from the mean."""
        return (y - self.mean) / self.std

    def undo(self, z: np.ndarray) -> np.ndarray:
        """The inverse of ``apply``."""
        return z * self.std + self.mean


def standardised(data: D) -> tuple[D, TargetScale]:
    """``data`` with a standardised target, and the scale that gives predictions back in its own unit.

    The libraries have absolute limits: LightGBM keeps labels in single precision, the trees of scikit-learn take a
    variance below 2e-16 for none, and a penalty weighs by the unit of what it is added to. Classes stay as they are.
    """
    if data.kind != "regression":
        return data, TargetScale()
    scale = TargetScale.of(data.y)
    return replace(data, y=scale.apply(data.y)), scale
