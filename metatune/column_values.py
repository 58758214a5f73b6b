"""The values of one column: of which kind they are, and as numbers or categories whatever they are."""

from collections.abc import Collection
from datetime import UTC
from typing import Any

import numpy as np
import pandas as pd

#: Numbers above cannot be held in single precision, in which trees and networks compute.
LARGEST = float(np.finfo(np.float32).max)
_DAY = 86_400.0
#: Whole numbers below are the same as floats.
_EXACT = 2**53


def kind_of(column: "pd.Series[Any]") -> str:
    """``number``, ``text``, ``dates``, ``complex`` or ``mixed``, by dtype or, for objects, by the values."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype | pd.StringDtype | pd.IntervalDtype):
        return "text"
    if pd.api.types.is_complex_dtype(dtype):
        return "complex"
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return "number"
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred in ("boolean", "integer", "floating", "mixed-integer-float", "decimal", "empty"):
        return "number"
    if inferred in ("datetime", "datetime64", "date", "timedelta", "timedelta64", "period"):
        return "dates"
    return {"string": "text", "complex": "complex"}.get(inferred, "mixed")


def is_numeric(column: "pd.Series[Any]") -> bool:
    """Whether the values are numbers or booleans."""
    return kind_of(column) == "number"


def to_float(column: "pd.Series[Any]") -> "pd.Series[float]":
    """A numeric column as ``float64``, NaN where missing; the column itself if it is so already."""
    if column.dtype == np.float64 and isinstance(column.dtype, np.dtype):
        return column
    if column.dtype == object:
        column = column.where(column.notna(), np.nan)
    return pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan), copy=False)


def days(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Dates as days since 1970-01-01, durations as days; NaN where missing."""
    if isinstance(column.dtype, pd.PeriodDtype) or pd.api.types.infer_dtype(column, skipna=True) == "period":
        column = pd.PeriodIndex(column).to_timestamp().to_series(index=column.index)
    durations = pd.api.types.infer_dtype(column, skipna=True).startswith("timedelta")
    if column.dtype == object:
        column = _in_microseconds(column, "timedelta64[us]" if durations else "datetime64[us]")
    if durations:
        return to_float(pd.to_timedelta(column).dt.total_seconds() / _DAY)
    # In seconds: nanoseconds, which a time stamp has by itself, do not reach 9999-12-31, a usual "for ever".
    since = pd.to_datetime(column, utc=True) - pd.Timestamp(0, tz="UTC").as_unit("s")
    return to_float(since.dt.total_seconds() / _DAY)


def _in_microseconds(column: "pd.Series[Any]", dtype: str) -> "pd.Series[Any]":
    """``column``, dates or durations as objects, of which pandas 2 would make nanoseconds."""
    values = column.where(column.notna(), None)
    plain = [v.astimezone(UTC).replace(tzinfo=None) if getattr(v, "tzinfo", None) else v for v in values]
    return pd.Series(np.array(plain, dtype=dtype), index=column.index)


def as_numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """``column``, whatever it holds, as a task reads numbers: dates in days, NaN for what is none or too large."""
    kind = kind_of(column)
    if kind == "complex":
        return pd.Series(np.nan, index=column.index)
    try:
        found = days(column) if kind == "dates" else to_float(column) if kind == "number" else None
    except OverflowError:
        found = None
    if found is None:
        found = pd.to_numeric(column.astype(object).map(_no_longer), errors="coerce").astype(np.float64)
    return found.where(found.abs() <= LARGEST)


def _no_longer(value: object) -> object:
    # Whole numbers of Python have no largest, and pandas does not coerce what no float holds.
    return np.inf if isinstance(value, int) and abs(value) > LARGEST else value


def as_category(column: "pd.Series[Any]", known: Collection[str]) -> "pd.Series[Any]":
    """``column``, whatever it holds, as a task reads categories: by the texts of its values.

    Whole numbers are floats in a column with gaps and integers in one without: both are the level that is ``known``.
    """
    if kind_of(column) == "mixed":  # of values that are equal, such as 1 and True, one text would be taken
        column = column.map(str, na_action="ignore")
    codes, found = pd.factorize(column)
    texts = [next((text for text in _spellings(level) if text in known), str(level)) for level in found]
    codes, levels = by_text(codes, texts)
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(levels, dtype=object)))


def _spellings(level: object) -> tuple[str, ...]:
    if isinstance(level, float) and level.is_integer():
        return str(level), str(int(level))
    if isinstance(level, int | np.integer) and abs(int(level)) < _EXACT:
        return str(level), str(float(level))
    return (str(level),)


def by_text(codes: np.ndarray, texts: list[str]) -> tuple[np.ndarray, list[str]]:
    """``codes``, positions in ``texts`` or -1, as positions in the sorted different ones; and these."""
    levels = sorted(set(texts))
    place = {level: i for i, level in enumerate(levels)}
    return np.array([*(place[text] for text in texts), -1])[codes], levels
