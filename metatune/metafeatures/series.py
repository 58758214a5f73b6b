"""Meta-features of time series: length, autocorrelations, spectrum, trend, and how far apart the classes lie."""

from collections.abc import Iterator

import numpy as np
from scipy.fft import rfft

from metatune.dataset import DataKind
from metatune.metafeatures import moments, pooled
from metatune.metafeatures.landmarks import SEPARABILITY_NAMES, separability
from metatune.metafeatures.sampling import positions, summarized

PREFIX = "series_"
#: At most this many series are looked at; fewer, but not below the second number, if they hold too many values.
MAX_SERIES = 1_000
MIN_SERIES = 100
MAX_VALUES = 10_000_000
#: Longer series are thinned out evenly to at most so many steps, but for the middle ones.
MAX_LENGTH = 16_384
#: At most this many channels are looked at.
MAX_CHANNELS = 6
#: Steps in the middle of a series of which autocorrelations and spectrum are taken.
MAX_STEPS = 2_048
#: Values that are worked on at once.
CHUNK = 500_000
#: Columns to which a series is pooled, over all its channels.
COLUMNS = 48
#: Columns to which the spectrum of a channel is pooled.
BANDS = 8
#: Distances of which the autocorrelation is taken, in steps.
LAGS = (1, 2, 5, 10, 25)
#: Cycles a step up to which a frequency is low.
LOW = 0.05

_DYNAMICS = (
    *(f"autocorrelation_{lag}" for lag in LAGS), "spectral_entropy", "dominant_frequency", "low_frequency_energy",
    "trend", "roughness",
)  # fmt: skip
_OWN = (
    "log_length", "log_channels", "missing_cells", "length_variation", "level_variance", "scale_spread",
    "skewness_mean", "kurtosis_mean", *_DYNAMICS, *(f"{name}_sd" for name in _DYNAMICS),
    *pooled.COLUMN_NAMES, *SEPARABILITY_NAMES, *(f"spectrum_{name}" for name in SEPARABILITY_NAMES),
)  # fmt: skip

#: Every feature, in the order of the result of ``describe_series``.
NAMES = pooled.names(PREFIX, _OWN)


def describe_series(
    X: np.ndarray, y: np.ndarray, kind: DataKind, *, rows: np.ndarray | None = None, seed: int = 0
) -> dict[str, float]:
    """The meta-features of series ``X``, ``float32`` of shape (n, length, channels), and their target ``y``, (n,).

    NaN is missing, or beyond the end of a series. Every name of ``NAMES``, in that order; NaN where unknown or not
    applicable, never infinite. ``rows``: positions of those that may be looked at, all unless given. Computed from at
    most 1,000 series, 6 channels and 16,384 steps, of dynamics the 2,048 middle ones, drawn with ``seed``; length, rows
    and class shares are those of the whole. Independent of the coding of the classes.
    """
    channels = positions(np.random.default_rng(seed), X.shape[2], MAX_CHANNELS)
    limit = min(MAX_SERIES, max(MIN_SERIES, MAX_VALUES // (min(X.shape[1], MAX_LENGTH) * len(channels))))
    rows, chosen = pooled.chosen_rows(rows, len(X), seed, limit=limit)
    bins, shapes, dynamics, spectra = [], [], [], []
    whole = X[:, :: -(-X.shape[1] // MAX_LENGTH)]
    for series, middle in _chunks(chosen, channels, whole, _middle(X)):
        bins.append(_bins(series))
        shapes.append(_shapes(series, middle))
        z = _standardized(middle)
        density = _spectrum(z)
        dynamics.append(np.concatenate([_autocorrelations(z), _frequencies(density, z.shape[-1]), _course(z)], axis=1))
        spectra.append(_bands(density))
    sample = summarized(np.concatenate(bins), chosen, rows, y, kind)
    found = {"log_length": np.log(X.shape[1]), "log_channels": np.log(X.shape[2])}
    found |= _overall(np.concatenate(shapes))
    for name, values in zip(_DYNAMICS, np.concatenate(dynamics).swapaxes(0, 1), strict=True):
        found |= {name: moments.mean(values.ravel()), f"{name}_sd": moments.deviation(values.ravel())}
    found |= pooled.columns(sample) | separability(sample, seed=seed)
    by_frequency = summarized(np.concatenate(spectra), chosen, rows, y, kind)
    found |= {f"spectrum_{name}": value for name, value in separability(by_frequency, seed=seed).items()}
    return pooled.described(found, sample, PREFIX, _OWN)


def _chunks(chosen: np.ndarray, channels: np.ndarray, *views: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Of each of ``views`` some of the chosen series at a time, float64 of shape (rows, channels, length)."""
    step = max(1, CHUNK // (max(view.shape[1] for view in views) * len(channels)))
    for start in range(0, len(chosen), step):
        rows = chosen[start : start + step]
        yield tuple(view[rows][:, :, channels].swapaxes(1, 2).astype(np.float64) for view in views)


def _middle(X: np.ndarray) -> np.ndarray:
    start = max(0, (X.shape[1] - MAX_STEPS) // 2)
    return X[:, start : start + MAX_STEPS]


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of the known values along the last axis, kept; 0 if there are none."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=-1, keepdims=True)
    return np.asarray(total / np.maximum(known.sum(axis=-1, keepdims=True), 1))


def _standardized(series: np.ndarray) -> np.ndarray:
    """The series with mean 0 and mean square 1 of the known values; all NaN where they are constant."""
    spread = np.fmax.reduce(series, axis=-1, keepdims=True) - np.fmin.reduce(series, axis=-1, keepdims=True)
    centred = series - _mean(series)
    unit = np.sqrt(_mean(centred**2))
    return np.asarray(centred / np.where((spread > 0) & (unit > 0), unit, np.nan))


def _bins(series: np.ndarray) -> np.ndarray:
    """Means over equally many steps, at most ``COLUMNS`` for a series: (rows, columns); NaN where nothing is known."""
    rows, channels, length = series.shape
    edges = np.linspace(0, length, min(length, COLUMNS // channels) + 1).astype(int)[:-1]
    known = np.add.reduceat(~np.isnan(series), edges, axis=-1, dtype=np.int64)
    total = np.add.reduceat(np.where(np.isnan(series), 0.0, series), edges, axis=-1)
    return np.asarray(np.where(known > 0, total / np.maximum(known, 1), np.nan).reshape(rows, -1))


def _shapes(series: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Mean, standard deviation, skewness, kurtosis, share of missing, and steps up to the last known: (series, 6).

    The first four are those of the ``middle`` of each.
    """
    known = ~np.isnan(series.reshape(-1, series.shape[-1]))
    last = np.where(known.any(axis=1), known.shape[1] - np.argmax(known[:, ::-1], axis=1), 0)
    missing = 1.0 - known.mean(axis=1)
    middle = middle.reshape(len(known), -1)
    skewness, kurtosis, sd = moments.shape(middle.T)
    mean = _known_mean(middle)
    return np.stack([mean, sd, skewness, kurtosis, missing, last], axis=1)


def _overall(shapes: np.ndarray) -> dict[str, float]:
    """``level_variance``: the share of the variance that lies between series, 0 where each is standardised by itself.

    ``scale_spread``: standard deviation of the logarithms of their standard deviations.
    """
    means, sd, skewness, kurtosis, missing, last = shapes.T
    between, within = moments.deviation(means) ** 2, moments.mean(sd**2)
    found = {
        "missing_cells": float(missing.mean()),
        "length_variation": float(last.std() / last.mean()) if last.any() else np.nan,
        "scale_spread": moments.deviation(np.log(sd, out=np.full_like(sd, np.nan), where=sd > 0)),
        "skewness_mean": moments.mean(skewness),
        "kurtosis_mean": moments.mean(kurtosis),
    }
    if between + within > 0:
        found["level_variance"] = between / (between + within)
    return found


def _autocorrelations(z: np.ndarray) -> np.ndarray:
    """Mean product of values ``LAGS`` apart, both known: (rows, lags, channels); NaN for a series that is too short."""
    found = np.full((len(z), len(LAGS), z.shape[1]), np.nan)
    for i, lag in enumerate(lag for lag in LAGS if lag < z.shape[-1]):
        found[:, i] = _known_mean(z[..., lag:] * z[..., :-lag])
    return found


def _course(z: np.ndarray) -> np.ndarray:
    """Squared correlation with time, and mean step from value to value in standard deviations: (rows, 2, channels)."""
    time = np.where(np.isnan(z), np.nan, np.arange(z.shape[-1], dtype=float))
    time -= _mean(time)
    time /= np.maximum(np.sqrt(_mean(time**2)), 1e-12)
    return np.stack([_known_mean(z * time) ** 2, _known_mean(np.abs(np.diff(z)))], axis=1)


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the known values along the last axis; NaN if there are none."""
    return np.where(np.isnan(values).all(axis=-1), np.nan, _mean(values)[..., 0])


def _spectrum(z: np.ndarray) -> np.ndarray:
    """Shares of the energy at the frequencies above 0, missing values being 0: (rows, channels, frequencies)."""
    power = np.abs(rfft(np.where(np.isnan(z), 0.0, z))[..., 1:]) ** 2
    total = power.sum(axis=-1, keepdims=True)
    return np.asarray(power / np.where(total > 0, total, np.nan))


def _frequencies(density: np.ndarray, length: int) -> np.ndarray:
    """Entropy of the spectrum, 0 to 1, its largest frequency and its energy up to ``LOW``: (rows, 3, channels)."""
    count = density.shape[-1]
    frequency = np.arange(1, count + 1) / length
    logarithm = np.log(density, out=np.zeros_like(density), where=density > 0)
    unknown = np.isnan(density[..., 0])
    entropy = -(density * logarithm).sum(axis=-1) / np.log(count) if count > 1 else np.full(unknown.shape, np.nan)
    largest = np.where(unknown, np.nan, frequency[np.where(np.isnan(density), 0.0, density).argmax(axis=-1)])
    return np.stack([entropy, largest, density[..., frequency <= LOW].sum(axis=-1)], axis=1)


def _bands(density: np.ndarray) -> np.ndarray:
    """Roots of the energy in at most ``BANDS`` bands of equal ratio: (rows, channels times bands)."""
    edges = np.unique(np.geomspace(1, density.shape[-1] + 1, BANDS + 1).astype(int))[:-1] - 1
    return np.asarray(np.sqrt(np.add.reduceat(density, edges, axis=-1)).reshape(len(density), -1))
