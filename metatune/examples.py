"""Data that are not tables: ``Images``, ``Texts`` and ``TimeSeries``, and how they are made from arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

import numpy as np

from metatune.column_values import LARGEST
from metatune.dataset import Data, Modality, as_series, check_lengths
from metatune.errors import DataError
from metatune.pixels import BRIGHTEST, NEARLY_ONE, pixels
from metatune.raw import (
    Raw,
    RawImages,
    RawSeries,
    RawTexts,
    as_array,
    as_texts,
    number_array,
    padded,
    with_channels,
)
from metatune.repair import Inspector, Repair
from metatune.target import read_target

#: Rounding may change pixels by this part of their standard deviation; of photographs 0 to 255 it changes a hundredth.
_MOST_LOST = 0.05


@dataclass(frozen=True, eq=False)
class Images(Data[np.ndarray]):
    """Images of one size. ``X``: ``uint8``, shape (n, height, width, channels).

    ``black`` and ``white`` are what became 0 and 255 of the pixels that were given.
    """

    modality: ClassVar[Modality] = "image"

    black: float = 0.0
    white: float = float(BRIGHTEST)

    @property
    def raw(self) -> Raw:
        """See ``Data``."""
        return RawImages(self.X.shape[1:], self.black, self.white)

    @property
    def n_columns(self) -> int:
        """Height times width times channels."""
        return int(np.prod(self.X.shape[1:]))


@dataclass(frozen=True, eq=False)
class Texts(Data[np.ndarray]):
    """Texts. ``X``: of dtype object, shape (n,), holding ``str`` with something else than white space."""

    modality: ClassVar[Modality] = "text"

    @property
    def raw(self) -> Raw:
        """See ``Data``."""
        return RawTexts()

    @property
    def n_columns(self) -> int:
        """1, the text."""
        return 1


@dataclass(frozen=True, eq=False)
class TimeSeries(Data[np.ndarray]):
    """Time series. ``X``: ``float32``, shape (n, length, channels), NaN where missing or beyond the end.

    ``dropped``: the positions of channels that were given and are not in ``X``.
    """

    modality: ClassVar[Modality] = "series"

    dropped: tuple[int, ...] = ()

    @property
    def raw(self) -> Raw:
        """See ``Data``."""
        return RawSeries(self.X.shape[2] + len(self.dropped), self.dropped)

    @property
    def n_columns(self) -> int:
        """Length times channels."""
        return int(np.prod(self.X.shape[1:]))


_D = TypeVar("_D", Images, Texts, TimeSeries)


class TargetOptions(TypedDict, total=False):
    """What the constructors below take about the target, as ``metatune.dataset.dataset_from_frame`` describes it."""

    kind: str | None
    target: str
    rows_per_class: int


def images_from_arrays(
    X: Any, y: Any, *, repair: bool = False, **options: Unpack[TargetOptions]
) -> tuple[Images, tuple[Repair, ...]]:
    """Images from ``X``, shape (n, height, width) or (n, height, width, channels), and the repairs that it took.

    Numbers 0 to 255 are rounded; floats that all lie within 0 and 1 are shares of 255, and so are booleans.
    Fractions above 1 on a scale so small that rounding would leave few levels are a repair.
    ``options`` and what is raised are those of ``metatune.dataset.dataset_from_frame``.
    """
    inspector = Inspector(repair=repair)
    array = number_array(as_array(X), "images", "Resize all to one height and width, and give one array.")
    images, black, white = _pixels(with_channels(array, "images"), inspector)
    return _assembled(partial(Images, black=black, white=white), images, y, inspector, **options)


def texts_from_arrays(
    X: Any, y: Any, *, repair: bool = False, **options: Unpack[TargetOptions]
) -> tuple[Texts, tuple[Repair, ...]]:
    """Texts from ``X``, a list, array or Series of n strings, and the repairs that it took.

    ``options`` and what is raised are those of ``metatune.dataset.dataset_from_frame``.
    """
    inspector = Inspector(repair=repair)
    texts, usable = _strings(X, inspector)
    return _assembled(Texts, texts, y, inspector, usable, **options)


def series_from_arrays(
    X: Any, y: Any, *, repair: bool = False, **options: Unpack[TargetOptions]
) -> tuple[TimeSeries, tuple[Repair, ...]]:
    """Time series from ``X``, shape (n, length) or (n, length, channels), and the repairs that it took.

    Series of unequal lengths (a list of arrays) are a repair; or fill them with NaN at their ends.
    ``options`` and what is raised are those of ``metatune.dataset.dataset_from_frame``.
    """
    inspector = Inspector(repair=repair)
    array = number_array(padded(X, inspector), "series", "Give arrays of numbers with equally many channels.")
    series, usable, dropped = _steps(with_channels(array, "series"), inspector)
    return _assembled(partial(TimeSeries, dropped=dropped), series, y, inspector, usable, **options)


def _assembled(
    make: Callable[..., _D],
    X: np.ndarray,
    y: Any,
    inspector: Inspector,
    usable: np.ndarray | None = None,
    *,
    kind: str | None = None,
    target: str = "target",
    rows_per_class: int = 2,
) -> tuple[_D, tuple[Repair, ...]]:
    """The data of the rows where ``usable`` that also have a target."""
    values = as_series(y)
    check_lengths(X, values)
    if usable is not None and not usable.all():
        X, values = X[usable], values[usable].reset_index(drop=True)
    read = read_target(values, target, kind=kind, rows_per_class=rows_per_class, inspector=inspector)
    if len(read.rows) < len(X):
        X = X[read.rows]
    same = X[1:] == X[0]
    if X.dtype.kind == "f":
        same |= np.isnan(X[1:]) & np.isnan(X[0])
    if same.all():
        raise DataError("the same example in all rows", field="X", value=X.shape, remedy="Give different examples.")
    return make(X, read.y, read.kind, read.classes, target), tuple(inspector.repairs)


def _pixels(array: np.ndarray, inspector: Inspector) -> tuple[np.ndarray, float, float]:
    """``array`` as whole numbers 0 to 255, and what became the first and the last of them."""
    black, white = 0.0, float(BRIGHTEST)
    if array.dtype == np.uint8:
        return array, black, white
    if array.dtype.kind == "f":
        unknown = ~np.isfinite(array)
        if unknown.any():
            inspector.found(
                "pixels that are missing or infinite",
                field="X",
                value=f"{unknown.sum():,} of {unknown.size:,} values",
                remedy="Fill them",
                action="set them to 0",
            )
            array = np.where(unknown, 0.0, array)
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > BRIGHTEST:
        inspector.found(
            f"pixels outside 0 to {BRIGHTEST}",
            field="X",
            value=(low, high),
            remedy=f"Rescale them to 0 to {BRIGHTEST}",
            action="map the smallest to 0 and the largest to 255",
        )
        array, black, white = array.astype(np.float64), low, high
    elif array.dtype.kind == "f" and high > 1 and _blurred(array, high):
        clipped = high <= NEARLY_ONE
        inspector.found(
            f"fractional pixels that are neither shares (0 to 1) nor on the scale 0 to {BRIGHTEST}",
            field="X",
            value=(low, high),
            remedy=f"Rescale them to 0 to 1 or to 0 to {BRIGHTEST}",
            action="cut them at 1" if clipped else f"map 0 to 0 and the largest to {BRIGHTEST}",
        )
        array, white = (np.minimum(array, 1.0), 1.0) if clipped else (array, high)
    elif array.dtype == bool or (array.dtype.kind == "f" and high <= 1):
        white = 1.0
    return pixels(array, black, white), black, white


def _blurred(array: np.ndarray, high: float) -> bool:
    """Whether rounding the pixels, up to ``high``, would take what tells images apart."""
    lost = float(np.square(array - np.rint(array)).mean(dtype=np.float64))
    return high <= NEARLY_ONE or lost > _MOST_LOST**2 * float(array.var(dtype=np.float64))


def _strings(X: Any, inspector: Inspector) -> tuple[np.ndarray, np.ndarray]:
    """``X`` as texts, and which of them are not empty."""
    texts, strange = as_texts(X)
    if strange:
        inspector.found(
            "values that are not texts",
            field="X",
            value=f"{len(strange):,} of {len(texts):,}: {', '.join(sorted(set(strange))[:5])}",
            remedy="Give texts only",
            action="turn them into texts",
        )
    usable = np.array([bool(text.strip()) for text in texts], dtype=bool)
    _check_usable(usable, "empty or missing texts", inspector)
    return texts, usable


def _steps(array: np.ndarray, inspector: Inspector) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """``array`` in single precision, which series have any value, and the channels that were dropped."""
    if array.shape[1] < 2:
        raise DataError(
            "series of one step", field="X", value=array.shape, remedy="Make a table of it with Task.from_arrays."
        )
    too_large = np.abs(array) > LARGEST
    if too_large.any():
        inspector.found(
            f"infinite values, or beyond {LARGEST:.1e}",
            field="X",
            value=f"{too_large.sum():,} of {too_large.size:,} values",
            remedy="Replace or rescale them",
            action="treat them as missing",
        )
        array = np.where(too_large, np.nan, array)
    series: np.ndarray = array.astype(np.float32)
    known = ~np.isnan(series)
    usable = np.asarray(known.any(axis=(1, 2)))
    _check_usable(usable, "series with nothing but missing values", inspector)
    silent = np.flatnonzero(~known.any(axis=(0, 1)))
    if len(silent):
        inspector.found(
            "channels with nothing but missing values",
            field="X",
            value=silent.tolist(),
            remedy="Leave them out",
            action="drop them",
        )
        series = np.delete(series, silent, axis=2)
    return series, usable, tuple(silent.tolist())


def _check_usable(usable: np.ndarray, problem: str, inspector: Inspector) -> None:
    """Note that examples without content are dropped. Raises ``DataError`` where all are."""
    if usable.all():
        return
    value = f"{(~usable).sum():,} of {len(usable):,} rows"
    if not usable.any():
        raise DataError(problem, field="X", value=value, remedy="Give examples with content.")
    inspector.found(problem, field="X", value=value, remedy="Fill or remove them", action="drop these rows")
