"""Tables from CSV and Parquet files, checked before they are parsed."""

import csv
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet

from metatune.errors import DataError, UsageError
from metatune.repair import Inspector

PARQUET = (".parquet", ".pq")
#: Texts that mean "missing", besides those that pandas knows.
MISSING = ["?"]
_SEPARATORS = {";": "semicolon", "\t": "tab", "|": "bar"}
_MAGIC = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip or Excel file", b"\x1f\x8b": "a gzip file",
          b"%PDF": "a PDF file", b"\x89HDF": "an HDF5 file"}  # fmt: skip


def read_table(path: Path, inspector: Inspector, *, separator: str | None = None) -> pd.DataFrame:
    """The table in the Parquet (``.parquet``, ``.pq``) or else CSV file ``path`` (UTF-8, names in the first line).

    Without ``separator``, a comma (a tab in ``.tsv``). Raises ``DataError`` for a file that is missing, empty,
    binary, broken, or separated otherwise; the last can be repaired. Names that are there twice stay so.
    """
    if not path.is_file():
        problem = "this is a folder" if path.is_dir() else "no such file"
        raise _error(problem, path, "Give the path of a CSV or Parquet file.")
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
    return _parsed(lambda: _csv(path, used), path)


def _csv(path: Path, separator: str) -> pd.DataFrame:
    frame = pd.read_csv(path, sep=separator, na_values=MISSING, low_memory=False)
    # pandas makes `y` and `y.1` of `y,y`, which would hide a repeated target among the features.
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
    repeated = {name for name, count in Counter(header).items() if count > 1 and name}
    names = zip(header, frame.columns, strict=True)
    return frame.set_axis([written if written in repeated else name for written, name in names], axis="columns")


def _parquet(path: Path) -> pd.DataFrame:
    names = pyarrow.parquet.read_schema(path).names
    if len(set(names)) == len(names):
        return pd.read_parquet(path)
    frame: pd.DataFrame = pyarrow.parquet.ParquetFile(path).read().to_pandas()  # pandas itself refuses such a file
    return frame


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
        remedy=f"Pass separator={other!r} (--separator {other!r} on the command line)",
        action=f"read it as {word}-separated",
    )
    return other


def _parsed(parse: Callable[[], pd.DataFrame], path: Path) -> pd.DataFrame:
    try:
        return parse()
    except UnicodeDecodeError as error:
        raise _error(f"not UTF-8 text ({error.reason})", path, "Save it as UTF-8.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, pyarrow.ArrowException) as error:
        raise _error(
            f"cannot be read: {str(error).splitlines()[0]}", path, "Repair or export the file again."
        ) from error
