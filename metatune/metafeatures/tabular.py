"""The meta-features of a table and its target, by name, in a fixed order."""

import math

import numpy as np

from metatune.dataset import Dataset
from metatune.metafeatures import information, landmarks, moments, target
from metatune.metafeatures.sampling import Sample, draw
from metatune.metafeatures.target import known

_SIZES = ("log_rows", "log_columns", "log_rows_per_column", "log_classes", "log_rows_per_class", "is_regression")
_TYPES = (
    "share_categorical", "share_binary", "share_integer", "share_constant", "share_zeros",
    "levels_mean", "levels_sd", "levels_max", "sparsity_mean",
)  # fmt: skip
_MISSING = ("missing_cells", "missing_rows", "missing_columns", "missing_max")

#: Every feature, in the order of the result of ``describe``.
NAMES: tuple[str, ...] = (
    _SIZES + _TYPES + _MISSING + target.CLASS_NAMES + moments.TARGET_MOMENT_NAMES + moments.MOMENT_NAMES
    + moments.CORRELATION_NAMES + information.NAMES + moments.PCA_NAMES + landmarks.NAMES
)  # fmt: skip


def describe_dataset(data: Dataset, *, seed: int = 0) -> dict[str, float]:
    """The meta-features of ``data``: every name of ``NAMES``, in that order; NaN where unknown or not applicable.

    Computed from at most 10,000 rows and 100 columns, drawn with ``seed``; sizes, class shares and the share of
    categorical columns are those of the whole. Independent of the order of the columns (up to 100) and of the
    coding of the classes. Never infinite.
    """
    return describe_rows(data, np.arange(data.n_rows), seed=seed)


def describe_rows(data: Dataset, rows: np.ndarray, *, seed: int = 0) -> dict[str, float]:
    """``describe_dataset`` of the rows at the positions ``rows``, without a copy of them."""
    sample = draw(data, rows, seed)
    found: dict[str, float] = {}
    for group in (
        target.target, _columns, _types, _missing, moments.moments, moments.correlations, information.information,
        moments.principal_components,
    ):  # fmt: skip
        found |= group(sample)
    found |= landmarks.landmarks(sample, seed=seed)
    return known(found, NAMES)


def _columns(sample: Sample) -> dict[str, float]:
    """Natural logarithms of the sizes that a table has besides."""
    columns = sample.n_columns
    if not columns:
        return {}
    return {"log_columns": math.log(columns), "log_rows_per_column": math.log(sample.n_rows / columns)}


def _types(sample: Sample) -> dict[str, float]:
    """Kinds of columns and their numbers of distinct values; missing values do not count.

    ``sparsity_mean``: mean over columns of (rows / distinct values - 1) / (rows - 1), 1 for constant columns
    (Salama et al., 2013).
    """
    numeric = [column[~np.isnan(column)] for column in sample.numeric.T]
    levels = np.array([len(np.unique(column[column >= 0])) for column in sample.codes.T], dtype=float)
    known = np.array([len(c) for c in numeric] + [np.count_nonzero(c >= 0) for c in sample.codes.T], dtype=float)
    distinct = np.concatenate([np.array([len(np.unique(column)) for column in numeric], dtype=float), levels])
    several = known > 1
    sparsity = (known[several] / distinct[several] - 1.0) / (known[several] - 1.0)
    integer = [_integer(column, int(exponent)) for column, exponent in zip(numeric, sample.exponents, strict=True)]
    return {
        "share_categorical": sample.share_categorical,
        "share_binary": moments.mean((distinct == 2).astype(float)),
        "share_integer": moments.mean(np.array(integer, dtype=float)),
        "share_constant": moments.mean((distinct <= 1).astype(float)),
        "share_zeros": moments.mean((np.concatenate([*numeric, np.empty(0)]) == 0.0).astype(float)),
        "levels_mean": moments.mean(levels),
        "levels_sd": moments.deviation(levels),
        "levels_max": moments.largest(levels),
        "sparsity_mean": moments.mean(sparsity),
    }


def _integer(column: np.ndarray, exponent: int) -> bool:
    original = np.ldexp(column, exponent)
    return bool(np.all(original == np.round(original)))


def _missing(sample: Sample) -> dict[str, float]:
    """Shares of missing cells, of rows and of columns with any, and of the column with most."""
    missing = np.hstack([np.isnan(sample.numeric), sample.codes < 0])
    if not missing.shape[1]:
        return {}
    return {
        "missing_cells": missing.mean(),
        "missing_rows": missing.any(axis=1).mean(),
        "missing_columns": missing.any(axis=0).mean(),
        "missing_max": missing.mean(axis=0).max(),
    }
