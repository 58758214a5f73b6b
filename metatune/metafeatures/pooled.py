"""What the meta-features of images, texts and series share: the target, and a few columns in place of each example."""

from collections.abc import Mapping, Sequence

import numpy as np

from metatune.metafeatures import moments, target
from metatune.metafeatures.landmarks import points
from metatune.metafeatures.sampling import Sample, positions

#: At most this many examples are looked at.
MAX_EXAMPLES = 2_000

#: Of the columns that stand for an example; with the prefix of the modality.
COLUMN_NAMES = (
    "correlation_mean", "target_correlation_mean", "target_correlation_max", "class_variance",
    *moments.PCA_NAMES[:3],
)  # fmt: skip


def chosen_rows(
    rows: np.ndarray | None, n: int, seed: int, *, limit: int = MAX_EXAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """All positions that may be looked at (``rows``, or 0 .. n - 1) and those of the sample among them."""
    rows = np.arange(n) if rows is None else rows
    return rows, rows[positions(np.random.default_rng(seed), len(rows), limit)]


def names(prefix: str, own: Sequence[str]) -> tuple[str, ...]:
    """All names of a modality: the common ones as they are, ``own`` with the prefix."""
    return target.NAMES + tuple(f"{prefix}{name}" for name in own)


def described(found: Mapping[str, float], sample: Sample, prefix: str, own: Sequence[str]) -> dict[str, float]:
    """The features of the target of ``sample``, and ``found`` under its prefixed names; see ``target.known``."""
    prefixed = {f"{prefix}{name}": value for name, value in found.items()}
    return target.known(target.target(sample) | prefixed, names(prefix, own))


def columns(sample: Sample) -> dict[str, float]:
    """Correlations of the columns with one another and with the target, their spectrum, and ``class_variance``."""
    return moments.correlations(sample) | moments.principal_components(sample) | class_variance(sample)


def class_variance(sample: Sample) -> dict[str, float]:
    """The share of the variance of all columns together that lies between the classes; empty for regression."""
    z = points(sample.numeric)
    if sample.is_regression or not z.size:
        return {}
    member = (sample.y[:, None] == np.unique(sample.y)).astype(float)
    return {"class_variance": float(np.sum((member.T @ z) ** 2 / member.sum(axis=0)[:, None]) / np.sum(z**2))}
