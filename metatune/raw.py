"""How raw examples become the form of ``Data.X``: ``Raw``, by which a model reads what its task read before."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from metatune.column_values import LARGEST, as_category, as_numbers
from metatune.columns import column_names, dense, require_columns
from metatune.errors import DataError
from metatune.pixels import pixels, warn_of_another_scale
from metatune.repair import Inspector

#: What Dask calls an index without a name in the Parquet files that it writes.
_NAMELESS = ("__null_dask_index__",)
#: An image has at most this many channels; more are a mix-up of the axes.
MAX_CHANNELS = 4


class Raw(Protocol):
    """Raw examples -> the form of ``Data.X``, for a model: nothing is dropped, what is unknown becomes missing."""

    modality: ClassVar[str]

    def normal(self, X: Any) -> Any:
        """``X`` as the examples of the task were read. Raises ``DataError`` for examples of another sort."""


@dataclass(frozen=True)
class RawTable:
    """A table with at least ``columns``: of each the levels of a category, or ``None`` for numbers.

    Of the categories ``cut``, rare levels were missing for the task, and so is every other level here.
    """

    modality: ClassVar[str] = "table"

    columns: Mapping[str, Collection[str] | None]
    cut: tuple[str, ...] = ()

    def normal(self, X: Any) -> pd.DataFrame:
        """See ``Raw``; columns in any order or as the index, others are left out, those of an array are x0, x1, ..."""
        inspector = Inspector(repair=True)
        frame = with_index(as_frame(dense(X, inspector)))
        frame = frame.set_axis(column_names(frame.columns, inspector), axis="columns")
        frame = frame.set_axis(pd.RangeIndex(len(frame)), axis="index")
        require_columns(frame, self.columns)
        normal = {
            name: as_numbers(frame[name]) if levels is None else as_category(frame[name], set(levels))
            for name, levels in self.columns.items()
        }
        for name in self.cut:
            normal[name] = normal[name].where(normal[name].isin(self.columns[name] or ()))
        return pd.DataFrame(normal)


@dataclass(frozen=True)
class RawImages:
    """Images of one ``size`` (height, width, channels), of which the values ``black`` to ``white`` become 0 to 255."""

    modality: ClassVar[str] = "image"

    size: tuple[int, ...]
    black: float
    white: float

    def normal(self, X: Any) -> np.ndarray:
        """See ``Raw``. Whole numbers of 8 bits and booleans say themselves what is white; others may get a warning."""
        array = with_channels(number_array(as_array(X), "images", "Give all in one array of one size."), "images")
        if array.shape[1:] != tuple(self.size):
            raise DataError(
                f"images of another size than {' x '.join(map(str, self.size))}, which the model was trained on",
                field="X",
                value=array.shape,
                remedy="Resize them.",
            )
        if array.dtype == np.uint8:
            return array
        if array.dtype == bool:
            return pixels(array, 0.0, 1.0)
        array = np.where(np.isfinite(array), array, 0.0)
        warn_of_another_scale(array, self.black, self.white)
        return pixels(np.clip(array, self.black, self.white), self.black, self.white)


@dataclass(frozen=True)
class RawTexts:
    """Texts."""

    modality: ClassVar[str] = "text"

    def normal(self, X: Any) -> np.ndarray:
        """See ``Raw``; missing ones are empty."""
        return as_texts(X)[0]


@dataclass(frozen=True)
class RawSeries:
    """Time series of ``channels`` channels, of which those at the positions ``dropped`` are not used."""

    modality: ClassVar[str] = "series"

    channels: int
    dropped: tuple[int, ...]

    def normal(self, X: Any) -> np.ndarray:
        """See ``Raw``; of any length."""
        array = number_array(padded(X, Inspector(repair=True)), "series", "Give an array of shape (n, length).")
        array = with_channels(array, "series")
        if array.shape[2] != self.channels:
            raise DataError(
                f"series of another number of channels than {self.channels}, which the model was trained on",
                field="X",
                value=array.shape,
                remedy="Give an array of shape (n, length, channels).",
            )
        used = np.delete(array, list(self.dropped), axis=2).astype(np.float64)
        return np.where(np.abs(used) <= LARGEST, used, np.nan).astype(np.float32)


_KINDS: Mapping[str, Callable[..., Raw]] = {kind.modality: kind for kind in (RawTable, RawImages, RawTexts, RawSeries)}


def raw_state(raw: Raw) -> dict[str, Any]:
    """``raw`` as plain JSON."""
    return {"modality": raw.modality, **asdict(raw)}  # type: ignore[call-overload]


def raw_from(state: Mapping[str, Any]) -> Raw:
    """The inverse of ``raw_state``. Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what it did not give."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in state.items()}
    kind = fields.pop("modality")
    raw = _KINDS[str(kind)](**fields)
    if not _is_sound(raw):
        raise ValueError(f"not how examples of the modality {kind!r} are read: {fields}")
    return raw


def _is_sound(raw: Raw) -> bool:
    match raw:
        case RawTable(columns, cut):
            known = isinstance(columns, Mapping) and all(columns.get(name) is not None for name in cut)
            return known and all(levels is None or _are_texts(levels) for levels in columns.values())
        case RawImages(size, black, white):
            ends = all(isinstance(value, int | float) for value in (black, white))
            return ends and _are_whole(size) and len(size) == 3
        case RawSeries(channels, dropped):
            return _are_whole((channels,)) and _are_whole(dropped) and all(0 <= one < channels for one in dropped)
        case _:
            return True


def _are_texts(values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


def _are_whole(values: object) -> bool:
    return isinstance(values, tuple) and all(type(value) is int for value in values)


def as_frame(X: Any) -> pd.DataFrame:
    """``X`` as a table; the columns of an array are called x0, x1, ..."""
    if isinstance(X, pd.DataFrame):
        return X
    array = as_array(X)
    if array.ndim != 2 or array.dtype.names:
        raise DataError(
            "not a table of rows and columns", field="X", value=array.shape, remedy="Give an array of shape (n, d)."
        )
    return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])], copy=False)


def with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with what its index has under a name as columns, first; without a name, it only numbers the rows."""
    names = [None if name in _NAMELESS else name for name in frame.index.names]
    found = frame.copy(deep=False)
    for level in reversed(range(len(names))):
        if names[level] is not None and names[level] not in found.columns:
            found.insert(0, names[level], frame.index.get_level_values(level))
    return found


def as_array(values: Any) -> np.ndarray:
    """``values`` as an array, NaN or NaT where masked; one without dimensions if its parts are of unequal length."""
    try:
        # NumPy forgets the masks of arrays in a list.
        masked = isinstance(values, list | tuple) and any(isinstance(part, np.ma.MaskedArray) for part in values)
        array = np.ma.array(values) if masked else values
        return _unmasked(array) if isinstance(array, np.ma.MaskedArray) else np.asarray(array)
    except ValueError:
        return np.array(None)


def _unmasked(array: np.ma.MaskedArray) -> np.ndarray:
    values = np.ma.getdata(array)
    if values.dtype.names or not np.ma.is_masked(array):
        return values
    if values.dtype.kind in "mM":
        return np.where(np.ma.getmaskarray(array), values.dtype.type("NaT"), values)
    return np.where(
        np.ma.getmaskarray(array), np.nan, values.astype(np.float64 if values.dtype.kind in "biuf" else object)
    )


def number_array(array: np.ndarray, what: str, remedy: str) -> np.ndarray:
    """``array`` itself, checked to hold numbers or booleans."""
    if array.dtype == object and array.ndim <= 1:
        raise DataError(f"no array, or {what} of unequal sizes", field="X", value=array.shape, remedy=remedy)
    if array.dtype.kind not in "biuf":
        raise DataError("not numbers", field="X", value=str(array.dtype), remedy="Give an array of numbers.")
    if 0 in array.shape:
        raise DataError("an array without values", field="X", value=array.shape, remedy=f"Give {what} with content.")
    return array


def with_channels(array: np.ndarray, what: str) -> np.ndarray:
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


def as_texts(X: Any) -> tuple[np.ndarray, list[str]]:
    """``X`` as texts, empty ones where missing, and the types of the values that were none."""
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
    texts = np.empty(len(values), dtype=object)
    texts[:] = ["" if gone else str(value) for value, gone in zip(values, missing, strict=True)]
    return texts, strange


def _objects(X: Any) -> np.ndarray:
    """``X`` as an array of objects; a list of texts stays one-dimensional."""
    if isinstance(X, np.ma.MaskedArray):
        X = as_array(X)
    return np.asarray(X if hasattr(X, "__array__") else list(X), dtype=object)


def padded(X: Any, inspector: Inspector) -> Any:
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
