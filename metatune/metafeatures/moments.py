"""Shapes of the numeric columns and of a numeric target, correlations, and the spectrum of the principal components."""

import numpy as np

from metatune.metafeatures.sampling import Sample

MOMENT_NAMES = (
    "skewness_mean", "skewness_sd", "skewness_q25", "skewness_q75",
    "kurtosis_mean", "kurtosis_sd", "kurtosis_q25", "kurtosis_q75",
    "iqr_to_sd_mean", "scale_spread", "share_outlier_columns", "share_outlier_cells",
)  # fmt: skip
CORRELATION_NAMES = (
    "correlation_mean", "correlation_sd", "correlation_max", "correlation_share_high",
    "target_correlation_mean", "target_correlation_sd", "target_correlation_max",
)  # fmt: skip
PCA_NAMES = ("pca_share_first", "pca_components_95", "pca_effective_rank", "pca_skewness_first", "pca_kurtosis_first")
TARGET_MOMENT_NAMES = ("target_skewness", "target_kurtosis", "target_outliers", "target_distinct")


def moments(sample: Sample) -> dict[str, float]:
    """Summaries over the numeric columns of their skewness, kurtosis, spread and outliers."""
    values = sample.numeric
    skewness, kurtosis, sd = shape(values)
    iqr, outlier_shares = _quartile_range(values)
    ratio = np.divide(iqr, sd, out=np.full_like(sd, np.nan), where=sd > 0)
    log_sd = np.log(sd, out=np.full_like(sd, np.nan), where=sd > 0) + sample.exponents * np.log(2.0)
    found = {
        "iqr_to_sd_mean": mean(ratio),
        "scale_spread": deviation(log_sd),
        "share_outlier_columns": mean(np.where(np.isnan(outlier_shares), np.nan, outlier_shares > 0)),
        "share_outlier_cells": mean(outlier_shares),
    }
    for name, per_column in (("skewness", skewness), ("kurtosis", kurtosis)):
        found[f"{name}_mean"] = mean(per_column)
        found[f"{name}_sd"] = deviation(per_column)
        found[f"{name}_q25"], found[f"{name}_q75"] = _quantiles(per_column, (0.25, 0.75))
    return found


def target_moments(sample: Sample) -> dict[str, float]:
    """Shape of a numeric target, and the share of its values that are distinct; empty for classes."""
    if not sample.is_regression:
        return {}
    y = sample.y[:, None]
    skewness, kurtosis, _ = shape(y)
    _, outliers = _quartile_range(y)
    return {
        "target_skewness": skewness[0],
        "target_kurtosis": kurtosis[0],
        "target_outliers": outliers[0],
        "target_distinct": len(np.unique(y)) / len(y),
    }


def correlations(sample: Sample) -> dict[str, float]:
    """Absolute correlations of the numeric columns with one another and with the target.

    With classes as target it is the correlation ratio (Fisher, 1925): the root of the share of a
    column's variance that lies between the classes; for two classes the absolute point-biserial correlation.
    """
    z = standardized(sample.numeric)
    a = z.shape[1]
    between = np.abs(np.clip(z.T @ z / len(z), -1.0, 1.0))[np.tril_indices(a, k=-1)]
    with_target = _target_correlations(z, sample)
    return {
        "correlation_mean": mean(between),
        "correlation_sd": deviation(between),
        "correlation_max": largest(between),
        "correlation_share_high": mean((between >= 0.5).astype(float)),
        "target_correlation_mean": mean(with_target),
        "target_correlation_sd": deviation(with_target),
        "target_correlation_max": largest(with_target),
    }


def principal_components(sample: Sample) -> dict[str, float]:
    """Spectrum of the correlation matrix of the numeric columns, and the shape of the first component.

    ``pca_components_95``: components that hold 95 % of the variance, over columns (T4 of Lorena et al., 2019, on
    standardised columns). ``pca_effective_rank``: exp of the entropy of the spectrum over columns (Roy & Vetterli,
    2007). The sign of a component is arbitrary, so its skewness is absolute.
    """
    z = standardized(sample.numeric)
    a = z.shape[1]
    if a == 0:
        return {}
    spectrum, vectors = np.linalg.eigh(z.T @ z / len(z))
    shares = np.clip(spectrum[::-1], 0.0, None)
    shares = shares / shares.sum()
    positive = shares[shares > 0]
    # A component that holds everything must not need a second one because of rounding.
    needed = int(np.searchsorted(np.cumsum(shares), 0.95, side="right")) + 1
    skewness, kurtosis, _ = shape(z @ vectors[:, -1:])
    return {
        "pca_share_first": shares[0],
        "pca_components_95": min(needed, a) / a,
        "pca_effective_rank": np.exp(-np.sum(positive * np.log(positive))) / a,
        "pca_skewness_first": abs(skewness[0]),
        "pca_kurtosis_first": kurtosis[0],
    }


def shape(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Skewness, excess kurtosis and standard deviation of each column of ``values`` (m, a), without its missing values.

    Moments over the unbiased standard deviation (b1 and b2 of Joanes & Gill, 1998); NaN for fewer than two
    values, and for a column of one value except for its deviation, which is 0.
    """
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    constant = np.fmax.reduce(values, axis=0, initial=-np.inf) <= np.fmin.reduce(values, axis=0, initial=np.inf)
    centre = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    centred = np.where(known & ~constant, values - centre, 0.0)
    square = centred**2
    sd = np.sqrt(square.sum(axis=0) / np.where(count > 1, count - 1, np.nan))
    unit = np.where(sd > 0, sd, np.nan)
    skewness = (square * centred).sum(axis=0) / (np.maximum(count, 1) * unit**3)
    kurtosis = (square**2).sum(axis=0) / (np.maximum(count, 1) * unit**4) - 3.0
    return skewness, kurtosis, sd


def standardized(values: np.ndarray) -> np.ndarray:
    """The columns of ``values`` that vary, with mean 0 and mean square 1; missing values become the mean."""
    known = ~np.isnan(values)
    varies = np.fmax.reduce(values, axis=0, initial=-np.inf) > np.fmin.reduce(values, axis=0, initial=np.inf)
    values, known = values[:, varies], known[:, varies]
    centre = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    centred = np.where(known, values - centre, 0.0)
    centred /= np.abs(centred).max(axis=0, initial=0.0)
    unit: np.ndarray = centred / np.sqrt((centred**2).mean(axis=0))
    return unit


def mean(values: np.ndarray) -> float:
    """Mean of the known values; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def deviation(values: np.ndarray) -> float:
    """Unbiased standard deviation of the known values; NaN for fewer than two."""
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if known.size > 1 else np.nan


def largest(values: np.ndarray) -> float:
    """Largest known value; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else np.nan


def _quantiles(values: np.ndarray, levels: tuple[float, ...]) -> list[float]:
    known = values[~np.isnan(values)]
    return [float(q) for q in np.quantile(known, levels)] if known.size else [np.nan] * len(levels)


def _quartile_range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interquartile range, and share of values beyond 1.5 of it from the quartiles (Tukey, 1977), per column."""
    iqr = np.full(values.shape[1], np.nan)
    outliers = np.full(values.shape[1], np.nan)
    for j, column in enumerate(values.T):
        known = column[~np.isnan(column)]
        if known.size:
            low, high = np.quantile(known, (0.25, 0.75))
            iqr[j] = high - low
            outliers[j] = np.mean((known < low - 1.5 * iqr[j]) | (known > high + 1.5 * iqr[j]))
    return iqr, outliers


def _target_correlations(z: np.ndarray, sample: Sample) -> np.ndarray:
    if sample.is_regression:
        y = standardized(sample.y[:, None])
        found: np.ndarray = np.abs(z.T @ y[:, 0]) / len(z) if y.shape[1] else np.empty(0)
        return found
    counts = np.bincount(sample.y)
    if len(counts) < 2:
        return np.empty(0)
    means = np.stack([np.bincount(sample.y, weights=column) for column in z.T]) if z.shape[1] else np.empty((0, 1))
    ratio: np.ndarray = np.sqrt(np.clip(((means / counts) ** 2 * counts).sum(axis=1) / len(z), 0.0, 1.0))
    return ratio
