"""Data that are not tables: ``Images``, ``Texts`` and ``TimeSeries``, and how they are made from arrays."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

import numpy as np
import pandas as pd

from metatune.columns import LARGEST
from metatune.dataset import Data, Modality, as_array, as_series, check_lengths
from metatune.errors import DataError
from metatune.repair import Inspector, Repair
from metatune.target import read_target

#: An image has at most this many channels; more are a mix-up of the axes.
MAX_CHANNELS = 4
_BRIGHTEST = 255
#: Shares that exceed 1 by no more have been interpolated or computed inexactly.
_NEARLY_ONE = 1.01
#: Rounding may change pixels by this part of their standard deviation; of photographs 0 to 255 it changes a hundredth.
_MOST_LOST = 0.05


@dataclass(frozen=True, eq=False)
class Images(Data[np.ndarray]):
    """Images of one size. ``X``: ``uint8``, shape (n, height, width, channels)."""

    modality: ClassVar[Modality] = "image"

    @property
    def n_columns(self) -> int:
        """Height times width times channels."""
        return int(np.prod(self.X.shape[1:]))


@dataclass(frozen=True, eq=False)
class Texts(Data[np.ndarray]):
    """Texts. ``X``: of dtype object, shape (n,), holding ``str`` with something else than white space."""

    modality: ClassVar[Modality] = "text"

    @property
    def n_columns(self) -> int:
        """1, the text."""
        return 1


@dataclass(frozen=True, eq=False)
class TimeSeries(Data[np.ndarray]):
    """Time series. ``X``: ``float32``, shape (n, length, channels), NaN where missing or beyond the end."""

    modality: ClassVar[Modality] = "series"

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
    array = _numbers(as_array(X), "images", "Resize all to one height and width, and give one array.")
    images = _pixels(_with_channels(array, "images"), inspector)
    return _assembled(Images, images, y, inspector, **options)


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
    array = _numbers(_padded(X, inspector), "series", "Give arrays of numbers with equally many channels.")
    series, usable = _steps(_with_channels(array, "series"), inspector)
    return _assembled(TimeSeries, series, y, inspector, usable, **options)


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


def _numbers(array: np.ndarray, what: str, remedy: str) -> np.ndarray:
    """``array`` itself, checked to hold numbers or booleans."""
    if array.dtype == object and array.ndim <= 1:
        raise DataError(f"no array, or {what} of unequal sizes", field="X", value=array.shape, remedy=remedy)
    if array.dtype.kind not in "biuf":
        raise DataError("not numbers", field="X", value=str(array.dtype), remedy="Give an array of numbers.")
    if 0 in array.shape:
        raise DataError("an array without values", field="X", value=array.shape, remedy=f"Give {what} with content.")
    return array


def _with_channels(array: np.ndarray, what: str) -> np.ndarray:
    """``array`` with an axis of channels at its end; ``what``: ``"images"`` or ``"series"``."""
    size = "height, width" if what == "images" else "length"
    n_axes = 4 if what == "images" else 3
    if array.ndim == n_axes - 1:
        array = array[..., None]
    if array.ndim != n_axes:
        raise DataError(
            f"not {what}",
            field="X",
            value=array.shape,
            remedy=f"Give an array of shape (n, {size}) or (n, {size}, channels).",
        )
    if what == "images" and array.shape[-1] > MAX_CHANNELS:
        raise DataError(
            f"images with more than {MAX_CHANNELS} channels",
            field="X",
            value=array.shape,
            remedy="Give an array of shape (n, height, width, channels), for example with np.moveaxis(X, 1, -1).",
        )
    return array


def _pixels(array: np.ndarray, inspector: Inspector) -> np.ndarray:
    """``array`` as whole numbers 0 to 255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(_BRIGHTEST)
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
    if low < 0 or high > _BRIGHTEST:
        inspector.found(
            f"pixels outside 0 to {_BRIGHTEST}",
            field="X",
            value=(low, high),
            remedy=f"Rescale them to 0 to {_BRIGHTEST}",
            action="map the smallest to 0 and the largest to 255",
        )
        array = (array.astype(np.float64) - low) / ((high - low) or 1.0)
    elif array.dtype.kind == "f" and high > 1 and _blurred(array, high):
        clipped = high <= _NEARLY_ONE
        inspector.found(
            f"fractional pixels that are neither shares (0 to 1) nor on the scale 0 to {_BRIGHTEST}",
            field="X",
            value=(low, high),
            remedy=f"Rescale them to 0 to 1 or to 0 to {_BRIGHTEST}",
            action="cut them at 1" if clipped else f"map 0 to 0 and the largest to {_BRIGHTEST}",
        )
        array = np.minimum(array, 1.0) if clipped else array / high
    elif array.dtype.kind != "f" or high > 1:
        return np.asarray(np.rint(array), dtype=np.uint8)
    return np.asarray(np.rint(array.astype(np.float32) * _BRIGHTEST), dtype=np.uint8)


def _blurred(array: np.ndarray, high: float) -> bool:
    """Whether rounding the pixels, up to ``high``, would take what tells images apart."""
    lost = float(np.square(array - np.rint(array)).mean(dtype=np.float64))
    return high <= _NEARLY_ONE or lost > _MOST_LOST**2 * float(array.var(dtype=np.float64))


def _strings(X: Any, inspector: Inspector) -> tuple[np.ndarray, np.ndarray]:
    """``X`` as texts, and which of them are not empty."""
    if not isinstance(X, Iterable):
        raise DataError("not texts", field="X", value=X, remedy="Give a list of n texts.")
    values = X if isinstance(X, str) else X.to_numpy(dtype=object) if isinstance(X, pd.Series) else _objects(X)
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if isinstance(values, str) or values.ndim != 1:
        shape = "one text" if isinstance(values, str) else values.shape
        raise DataError("not one text a row", field="X", value=shape, remedy="Give a list of n texts.")
    missing = np.asarray(pd.isna(values), dtype=bool)
    strange = [type(value).__name__ for value in values[~missing] if not isinstance(value, str)]
    if strange:
        inspector.found(
            "values that are not texts",
            field="X",
            value=f"{len(strange):,} of {len(values):,}: {', '.join(sorted(set(strange))[:5])}",
            remedy="Give texts only",
            action="turn them into texts",
        )
    texts = np.empty(len(values), dtype=object)
    texts[:] = ["" if gone else str(value) for value, gone in zip(values, missing, strict=True)]
    usable = np.array([bool(text.strip()) for text in texts], dtype=bool)
    _check_usable(usable, "empty or missing texts", inspector)
    return texts, usable


def _objects(X: Any) -> np.ndarray:
    """``X`` as an array of objects; a list of texts stays one-dimensional."""
    return np.asarray(X if hasattr(X, "__array__") else list(X), dtype=object)


def _padded(X: Any, inspector: Inspector) -> Any:
    """``X``, as one array if it is series of unequal lengths; they are filled with NaN at their ends."""
    array = as_array(X)
    if array.dtype != object or array.ndim > 1 or not isinstance(X, Sequence | np.ndarray | pd.Series):
        return array
    rows = [as_array(row) for row in X]
    shapes = {row.shape[1:] for row in rows}
    if len(shapes) != 1 or any(row.ndim == 0 or row.dtype.kind not in "biuf" for row in rows):
        return array
    lengths = [len(row) for row in rows]
    inspector.found(
        "series of unequal lengths",
        field="X",
        value=f"{min(lengths)} to {max(lengths)} steps",
        remedy="Fill the shorter ones with NaN at their ends",
        action="do so",
    )
    padded = np.full((len(rows), max(lengths), *shapes.pop()), np.nan)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return padded


def _steps(array: np.ndarray, inspector: Inspector) -> tuple[np.ndarray, np.ndarray]:
    """``array`` in single precision, and which series have any value."""
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
    silent = ~known.any(axis=(0, 1))
    if silent.any():
        inspector.found(
            "channels with nothing but missing values",
            field="X",
            value=np.flatnonzero(silent).tolist(),
            remedy="Leave them out",
            action="drop them",
        )
        series = series[..., ~silent]
    return series, usable


def _check_usable(usable: np.ndarray, problem: str, inspector: Inspector) -> None:
    """Note that examples without content are dropped. Raises ``DataError`` where all are."""
    if usable.all():
        return
    value = f"{(~usable).sum():,} of {len(usable):,} rows"
    if not usable.any():
        raise DataError(problem, field="X", value=value, remedy="Give examples with content.")
    inspector.found(problem, field="X", value=value, remedy="Fill or remove them", action="drop these rows")
