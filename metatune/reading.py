"""Examples and their target from CSV, Parquet and ``.npz`` files, checked before they are parsed."""

import csv
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from metatune.appearance import are_decimals
from metatune.dataset import Modality, column_of
from metatune.errors import DataError, UnknownNameError, UsageError
from metatune.raw import with_index
from metatune.repair import Inspector

PARQUET = (".parquet", ".pq")
ARRAYS = ".npz"
T = TypeVar("T")
#: Texts that mean "missing", besides those that pandas knows.
MISSING = ["?"]
_SEPARATORS = {";": "semicolon", "\t": "tab", "|": "bar"}
_MAGIC = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip or Excel file", b"\x1f\x8b": "a gzip file",
          b"%PDF": "a PDF file", b"\x89HDF": "an HDF5 file"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Content:
    """What of a file makes a task: examples, their target and its name, and what the examples are."""

    X: Any
    y: Any
    target: str
    modality: Modality


def read_content(
    path: Path,
    inspector: Inspector,
    *,
    target: str | None = None,
    text: str | None = None,
    modality: Modality | None = None,
    separator: str | None = None,
    decimal: str = ".",
) -> Content:
    """The examples in the file ``path``, as ``Task.from_file`` describes.

    Raises ``UsageError`` for arguments that do not fit the file, ``DataError`` for a file that cannot be read.
    """
    if modality is not None and modality not in get_args(Modality):
        raise UnknownNameError.of("modality", modality, get_args(Modality))
    if path.suffix.lower() == ARRAYS:
        if text is not None:
            raise UsageError(
                "a column of a table, but this is a file of arrays",
                field="text",
                value=text,
                remedy="Leave it out; texts are to be in the array X.",
            )
        X, labels = _arrays(path, "X", target or "y")
        return Content(X, labels, target or "y", modality or _modality_of(X))
    _check_choice(text, modality)
    frame = read_table(path, inspector, separator=separator, decimal=decimal)
    if target is None:
        raise UsageError(
            "which column is to be predicted?",
            field="target",
            value=None,
            remedy=f"Give target='COLUMN', one of: {', '.join(map(str, frame.columns[:30]))}.",
        )
    y = column_of(frame, target)
    if text == target:
        raise UsageError("this is the target", field="text", value=text, remedy="Name the column of the texts.")
    if text is not None:
        return Content(column_of(frame, text, field="text"), y, target, "text")
    return Content(frame.drop(columns=[target]), y, target, modality or "table")


def _check_choice(text: str | None, modality: Modality | None) -> None:
    """Whether ``text`` and ``modality`` can be meant of a CSV or Parquet file."""
    if modality == "image":
        raise UsageError(
            "images do not come from a table, which does not tell their height and width",
            field="modality",
            value=modality,
            remedy="Save them with np.savez('images.npz', X=X, y=y) as an array of shape (n, height, width).",
        )
    if modality == "text" and text is None:
        raise UsageError("which column holds the texts?", field="text", value=None, remedy="Name it: text='review'.")
    if text is not None and modality not in (None, "text"):
        raise UsageError(
            f"not together with text={text!r}", field="modality", value=modality, remedy="Leave one of the two out."
        )


def _arrays(path: Path, *names: str) -> list[np.ndarray]:
    """The arrays ``names`` in the ``.npz`` file ``path``; one of Python objects is refused, as reading it runs code."""
    _check_file(path)
    remedy = "Write it again with np.savez('data.npz', X=X, y=y)."
    try:
        with zipfile.ZipFile(path) as archive:
            known = [member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")]
        for name in names:
            if name not in known:
                raise UnknownNameError.of(f"array in {path.name}", name, known)
        with np.load(path) as archive:
            return [np.asarray(archive[name]) for name in names]
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _error(f"not a whole .npz file ({error})", path, remedy) from error
    except ValueError as error:
        raise _error(
            f"not plain arrays of numbers or texts ({error})", path, f"{remedy} Turn texts into X.astype(str)."
        ) from error


def _modality_of(X: np.ndarray) -> Modality:
    """What the examples ``X`` are, told by their axes and type. Raises ``UsageError`` if that leaves a doubt."""
    if X.dtype.kind == "U":
        return "text"
    if X.ndim == 3:
        raise UsageError(
            "images without channels, or time series with several?",
            field="modality",
            value=X.shape,
            remedy="Say modality='image' or modality='series'.",
        )
    return "image" if X.ndim > 3 else "table"


def read_table(path: Path, inspector: Inspector, *, separator: str | None = None, decimal: str = ".") -> pd.DataFrame:
    """The table in the Parquet (``.parquet``, ``.pq``) or else CSV file ``path`` (UTF-8, names in the first line).

    Without ``separator``, a comma (a tab in ``.tsv``). ``decimal`` stands before the decimals of a number.
    Raises ``DataError`` for a file that is missing, empty, binary, broken, or separated otherwise; the last can be
    repaired. Names that are there twice stay so. What pandas wrote as an index with a name is a column, as in CSV.
    """
    if decimal not in (".", ","):
        raise UsageError("not a decimal point or comma", field="decimal", value=decimal, remedy="Use '.' or ','.")
    _check_file(path)
    with path.open("rb") as file:
        head = file.read(65_536)
    if not head:
        raise _error("the file is empty", path, "Give a file with a line of names and rows below it.")
    if path.suffix.lower() in PARQUET:
        return _parsed(lambda: _parquet(path), path)
    _check_text(head, path)
    used = separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
    if separator is None:
        used = _sniffed(head, used, path, inspector)
    elif len(separator) != 1:
        raise UsageError("not one character", field="separator", value=separator, remedy="Use for example ';'.")
    return _parsed(lambda: _csv(path, used, decimal), path)


def _csv(path: Path, separator: str, decimal: str) -> pd.DataFrame:
    frame = pd.read_csv(path, sep=separator, decimal=decimal, na_values=MISSING, low_memory=False)
    if decimal == ",":
        frame = frame.apply(_without_thousands)
    # pandas makes `y` and `y.1` of `y,y`, which would hide a repeated target among the features.
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
    repeated = {name for name, count in Counter(header).items() if count > 1 and name}
    names = zip(header, frame.columns, strict=True)
    return frame.set_axis([written if written in repeated else name for written, name in names], axis="columns")


def _without_thousands(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """``column``, numbers such as ``1.234,5`` read: with ``thousands="."`` pandas would take dates for numbers too."""
    if not are_decimals(column.dropna().unique()):
        return column
    try:
        return column.str.replace(".", "").str.replace(",", ".").astype(float)
    except ValueError:  # not all of them are
        return column


def _parquet(path: Path) -> pd.DataFrame:
    names = pyarrow.parquet.read_schema(path).names
    if len(set(names)) == len(names):
        frame = pd.read_parquet(path)
    else:
        frame = pyarrow.parquet.ParquetFile(path).read().to_pandas()  # pandas itself refuses such a file
    return with_index(frame)


def _check_file(path: Path) -> None:
    if not path.is_file():
        problem = "this is a folder" if path.is_dir() else "no such file"
        raise _error(problem, path, "Give the path of a CSV, Parquet or .npz file.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise _error(f"it cannot be read: {error.strerror}", path, "Check your permissions there.") from error


def _error(problem: str, path: Path, remedy: str) -> DataError:
    return DataError(problem, field="file", value=str(path), remedy=remedy)


def _check_text(head: bytes, path: Path) -> None:
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise _error(
                f"this is {what}, not CSV", path, "Unpack or export it as CSV; name a Parquet file '.parquet'."
            )
    if b"\0" in head:
        raise _error("a binary file, not CSV", path, "Export the table as CSV (UTF-8) or Parquet.")


def _sniffed(head: bytes, usual: str, path: Path, inspector: Inspector) -> str:
    """``usual``, unless the line of names has only another separator and repairs are allowed."""
    line = head.decode("utf-8-sig", "replace").splitlines()[0]
    bare = re.sub(r'"[^"]*"', "", line)
    other = max({",": "comma"} | _SEPARATORS, key=bare.count)
    if usual in bare or other not in bare:
        return usual
    word = _SEPARATORS.get(other, "comma")
    inspector.found(
        f"the values are separated by {word}s, not by {'tabs' if usual == chr(9) else 'commas'}",
        field="file",
        value=line[:80],
        remedy=f"Pass separator={other!r}",
        action=f"read it as {word}-separated",
    )
    return other


def _parsed(parse: Callable[[], T], path: Path) -> T:
    try:
        return parse()
    except UnicodeDecodeError as error:
        raise _error(f"not UTF-8 text ({error.reason})", path, "Save it as UTF-8.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, pyarrow.ArrowException) as error:
        raise _error(
            f"cannot be read: {str(error).splitlines()[0]}", path, "Repair or export the file again."
        ) from error
