"""Entropies of the columns and their mutual information with the target, in bits (Michie et al., 1994)."""

import numpy as np

from metatune.metafeatures.moments import largest, mean
from metatune.metafeatures.sampling import Sample

NAMES = (
    "attribute_entropy_mean", "mutual_information_mean", "mutual_information_max",
    "mutual_information_share_mean", "mutual_information_share_max",
    "equivalent_attributes", "noise_to_signal",
)  # fmt: skip


def information(sample: Sample) -> dict[str, float]:
    """Information of the columns about the target.

    Numeric columns, and a numeric target, are cut into int(m**(1/3)) bins of equal frequency; a missing value is
    a level of its own. The shares are of the entropy of the target. NaN where no column tells anything.
    """
    target = _equal_frequency(sample.y) if sample.is_regression else sample.y
    columns = [_equal_frequency(column) for column in sample.numeric.T]
    columns += list(sample.codes.T + 1)
    target_entropy = _entropy(target)
    entropies = np.array([_entropy(column) for column in columns])
    joint = np.array([_entropy(column * (target.max() + 1) + target) for column in columns])
    # Rounding can leave a column without information slightly below nothing.
    mutual = np.maximum(entropies + target_entropy - joint, 0.0)
    mutual[mutual < 1e-12] = 0.0
    total = mutual.sum()
    found = {
        "attribute_entropy_mean": mean(entropies),
        "mutual_information_mean": mean(mutual),
        "mutual_information_max": largest(mutual),
    }
    if target_entropy > 0:
        found["mutual_information_share_mean"] = mean(mutual) / target_entropy
        found["mutual_information_share_max"] = largest(mutual) / target_entropy
    if total > 0:
        found["equivalent_attributes"] = len(columns) * target_entropy / total
        found["noise_to_signal"] = (entropies.sum() - total) / total
    return found


def _equal_frequency(values: np.ndarray) -> np.ndarray:
    """Bin numbers 0 .. of ``values``, at most int(n**(1/3)) bins of equal frequency and one more for NaN."""
    known = ~np.isnan(values)
    bins = np.zeros(len(values), dtype=np.int64)
    if known.any():
        n_bins = int(len(values) ** (1 / 3))
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, n_bins + 1)[1:]))
        bins[known] = 1 + np.searchsorted(edges, values[known], side="left")
    return bins


def _entropy(codes: np.ndarray) -> float:
    counts = np.unique(codes, return_counts=True)[1]
    shares = counts / len(codes)
    return float(-np.sum(shares * np.log2(shares)))
