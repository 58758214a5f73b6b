"""Meta-features of images: size, intensities, edges, and how far apart the classes lie."""

from collections.abc import Iterator

import numpy as np

from metatune.dataset import DataKind
from metatune.metafeatures import pooled
from metatune.metafeatures.landmarks import SEPARABILITY_NAMES, separability
from metatune.metafeatures.sampling import summarized

PREFIX = "image_"
#: Pixels a side that are looked at: the central ones at full resolution, or of all so many that are spread evenly.
MAX_SIDE = 128
#: Values of all images together of which histograms are made.
MAX_VALUES = 8_000_000
#: Values that are worked on at once.
CHUNK = 1_000_000
#: Pixels a side to which images are pooled.
GRID = 8
#: Difference of neighbours, of 255, that counts as an edge.
EDGE = 32
#: Distances of which the autocorrelation is taken, in pixels.
LAGS = (1, 4)

_LEVELS = 256
_OWN = (
    "log_height", "log_width", "channels", "intensity_mean", "intensity_sd", "intensity_skewness",
    "intensity_kurtosis", "share_zero", "share_saturated", "share_levels", "colour", "edge_density",
    *(f"autocorrelation_{lag}" for lag in LAGS), "brightness_variance", *pooled.COLUMN_NAMES, *SEPARABILITY_NAMES,
)  # fmt: skip

#: Every feature, in the order of the result of ``describe_images``.
NAMES = pooled.names(PREFIX, _OWN)


def describe_images(
    X: np.ndarray, y: np.ndarray, kind: DataKind, *, rows: np.ndarray | None = None, seed: int = 0
) -> dict[str, float]:
    """The meta-features of images ``X``, ``uint8`` of shape (n, height, width, channels), and their target ``y``, (n,).

    Every name of ``NAMES``, in that order; NaN where unknown or not applicable, never infinite. ``rows``: positions of
    those that may be looked at, all unless given. Computed from at most 2,000 images, drawn with ``seed``; sizes and
    class shares are those of the whole. Independent of the coding of the classes, and of the scale of the intensities:
    the brightest pixel that is looked at counts as 255.
    """
    rows, chosen = pooled.chosen_rows(rows, len(X), seed)
    whole, centre = _spread(X), _central(X)
    few = chosen[:: -(-len(chosen) * int(np.prod(centre.shape[1:])) // MAX_VALUES)]
    levels = _brightening(_brightest(whole, chosen), _brightest(centre, few))
    sample = summarized(_pooled(whole, chosen, levels), chosen, rows, y, kind)
    height, width, channels = X.shape[1:]
    found = {"log_height": np.log(height), "log_width": np.log(width), "channels": float(channels)}
    found |= _intensities(centre, few, levels) | _brightness(sample.numeric)
    found |= pooled.columns(sample) | separability(sample, seed=seed)
    return pooled.described(found, sample, PREFIX, _OWN)


def _spread(X: np.ndarray) -> np.ndarray:
    """All of the images in at most ``MAX_SIDE`` pixels a side, left out evenly."""
    steps = [-(-side // MAX_SIDE) for side in X.shape[1:3]]
    return X[:, :: steps[0], :: steps[1]]


def _central(X: np.ndarray) -> np.ndarray:
    """The middle of the images, at most ``MAX_SIDE`` pixels a side."""
    starts = [max(0, (side - MAX_SIDE) // 2) for side in X.shape[1:3]]
    return X[:, starts[0] : starts[0] + MAX_SIDE, starts[1] : starts[1] + MAX_SIDE]


def _brightest(X: np.ndarray, chosen: np.ndarray) -> int:
    return max((int(images.max()) for images in _chunks(X, chosen)), default=0)


def _brightening(*brightest: int) -> np.ndarray | None:
    """For each intensity the one that takes its place, so that the ``brightest`` is 255; ``None`` if it is."""
    if max(brightest) in (0, _LEVELS - 1):
        return None
    levels = np.rint(np.arange(_LEVELS) * (255.0 / max(brightest))).clip(max=255)
    return np.asarray(levels, dtype=np.uint8)


def _chunks(X: np.ndarray, chosen: np.ndarray, levels: np.ndarray | None = None) -> Iterator[np.ndarray]:
    step = max(1, CHUNK // max(1, int(np.prod(X.shape[1:]))))
    for start in range(0, len(chosen), step):
        images = X[chosen[start : start + step]]
        yield images if levels is None else levels[images]


def _pooled(X: np.ndarray, chosen: np.ndarray, levels: np.ndarray | None = None) -> np.ndarray:
    """Mean intensities, 0 to 1, on a grid of at most ``GRID`` a side, of each channel: (len(chosen), cells)."""
    edges = [np.linspace(0, side, min(GRID, side) + 1).astype(int) for side in X.shape[1:3]]
    areas = np.outer(*(np.diff(edge) for edge in edges))[..., None]
    parts = []
    for images in _chunks(X, chosen, levels):
        by_row = np.add.reduceat(images, edges[0][:-1], axis=1, dtype=np.uint32)
        sums = np.add.reduceat(by_row, edges[1][:-1], axis=2)
        parts.append((sums / (255.0 * areas)).reshape(len(images), -1))
    return np.concatenate(parts)


def _intensities(X: np.ndarray, chosen: np.ndarray, levels: np.ndarray | None) -> dict[str, float]:
    """Moments of the intensities, edges, and autocorrelations between neighbours.

    ``share_levels``: of the 256 intensities, those that occur. ``colour``: mean range of the channels of a pixel.
    ``autocorrelation_k``: 1 - C of Geary (1954) for pixels k apart in either direction.
    """
    values = np.zeros(_LEVELS, dtype=np.int64)
    differences = np.zeros((len(LAGS), _LEVELS), dtype=np.int64)
    colour = pixels = 0
    for images in _chunks(X, chosen, levels):
        values += np.bincount(images.ravel(), minlength=_LEVELS)
        spread = images.max(axis=-1) - images.min(axis=-1)
        colour, pixels = colour + int(spread.sum(dtype=np.int64)), pixels + spread.size
        signed = images.astype(np.int16)
        for counts, lag in zip(differences, LAGS, strict=True):
            for pair in (signed[:, lag:] - signed[:, :-lag], signed[:, :, lag:] - signed[:, :, :-lag]):
                counts += np.bincount(np.abs(pair).ravel(), minlength=_LEVELS)
    found = _moments(values) | {"colour": colour / (255.0 * pixels)}
    if differences[0].any():
        found["edge_density"] = differences[0, EDGE:].sum() / differences[0].sum()
    variance = (found["intensity_sd"] * 255.0) ** 2
    for counts, lag in zip(differences, LAGS, strict=True):
        if counts.any() and variance > 0:
            square = float(counts @ np.arange(_LEVELS) ** 2) / float(counts.sum())
            found[f"autocorrelation_{lag}"] = 1.0 - square / (2.0 * variance)
    return found


def _moments(counts: np.ndarray) -> dict[str, float]:
    """Of the intensities 0 .. 255 that occur ``counts`` times."""
    shares = counts / counts.sum()
    level = np.arange(_LEVELS)
    mean = float(shares @ level)
    second, third, fourth = (float(shares @ (level - mean) ** power) for power in (2, 3, 4))
    found = {
        "intensity_mean": mean / 255.0,
        "intensity_sd": np.sqrt(second) / 255.0,
        "share_zero": shares[0],
        "share_saturated": shares[-1],
        "share_levels": np.count_nonzero(counts) / _LEVELS,
    }
    if np.count_nonzero(counts) > 1:
        found |= {"intensity_skewness": third / second**1.5, "intensity_kurtosis": fourth / second**2 - 3.0}
    return found


def _brightness(cells: np.ndarray) -> dict[str, float]:
    """The share of the variance of the cells that lies between images: 0 where all are equally bright."""
    total = float(np.var(cells))
    return {"brightness_variance": float(np.var(cells.mean(axis=1))) / total} if total > 0 else {}
