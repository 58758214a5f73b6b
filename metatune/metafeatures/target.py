"""What every task has: its rows and its target, whatever the examples are."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from metatune.metafeatures.moments import TARGET_MOMENT_NAMES, target_moments
from metatune.metafeatures.sampling import Sample

SIZE_NAMES = ("log_rows", "log_classes", "log_rows_per_class", "is_regression")
CLASS_NAMES = (
    "class_entropy", "class_entropy_share", "class_share_min", "class_share_max", "log_imbalance", "class_imbalance",
)  # fmt: skip
NAMES = SIZE_NAMES + CLASS_NAMES + TARGET_MOMENT_NAMES


def target(sample: Sample) -> dict[str, float]:
    """Natural logarithms of the sizes, balance of the classes, shape of a numeric target."""
    return _sizes(sample) | _classes(sample) | target_moments(sample)


def known(found: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """What was ``found`` under each of ``names``, in that order; NaN for what is not there or infinite."""
    values = ((name, float(found.get(name, math.nan))) for name in names)
    return {name: value if math.isfinite(value) else math.nan for name, value in values}


def _sizes(sample: Sample) -> dict[str, float]:
    rows, classes = sample.n_rows, len(sample.class_counts)
    found = {"log_rows": math.log(rows), "is_regression": float(sample.is_regression)}
    if classes:
        found |= {"log_classes": math.log(classes), "log_rows_per_class": math.log(rows / classes)}
    return found


def _classes(sample: Sample) -> dict[str, float]:
    """Balance of the classes; empty for regression.

    ``class_entropy`` in bits, ``class_entropy_share`` of its maximum (C1), ``class_imbalance`` from 0 (equal shares)
    to 1 (C2; both Lorena et al., 2019), ``log_imbalance`` the logarithm of largest over smallest class.
    """
    counts = sample.class_counts
    k = len(counts)
    if not k:
        return {}
    shares = counts / counts.sum()
    entropy = float(-np.sum(shares * np.log2(shares)))
    found = {
        "class_entropy": entropy,
        "class_share_min": shares.min(),
        "class_share_max": shares.max(),
        "log_imbalance": math.log(counts.max() / counts.min()),
    }
    if k > 1:
        found["class_entropy_share"] = entropy / math.log2(k)
        found["class_imbalance"] = max(0.0, 1.0 - k / ((k - 1) * float(np.sum(shares / (1.0 - shares)))))
    return found
