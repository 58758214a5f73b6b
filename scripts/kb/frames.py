"""Files of many formats read as one table of columns, before anybody knows which of them is the target."""

from io import BytesIO, StringIO
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
from sklearn import datasets as bundled

from kb.catalogue import Entry
from kb.packages import open_member

_SEPARATORS = {"comma": ",", "semicolon": ";", "space": r"\s+", "tab": "\t", "raw": "\t"}
_MISSING = ["?", "<null>", ""]
_ORANGE_MISSING = ["?", "", "~", ".", "*"]


def read_frame(entry: Entry, folder: Path) -> pd.DataFrame:
    """All columns and rows of ``entry``; columns without a name are called ``x0``, ``x1``, ...

    Texts such as ``NA`` are left as they are: whether they mean a missing value depends on what else is in the column.

    Of several files the columns of a table are pasted, the rows of other data are stacked. ``subset`` of the entry
    may limit the rows by the values of a column.
    """
    if entry.package == "scikit-learn":
        bunch = getattr(bundled, f"load_{entry.file}")(as_frame=True)
        frame = pd.concat([bunch.data, bunch.target], axis=1)
    else:
        parts = [_read(open_member(entry.package, member, folder), entry.format) for member in entry.file.split("|")]
        frame = pd.concat(parts, axis=1) if entry.modality == "table" else pd.concat(parts, ignore_index=True)
    frame.columns = [str(name) if isinstance(name, str) else f"x{i}" for i, name in enumerate(frame.columns)]
    for column, values in entry.subset:
        if column in frame.columns:
            frame = frame[frame[column].astype(str).isin(values.split("|"))]
    return frame


def place(frame: pd.DataFrame, column: str) -> int:
    """The position of ``column``, which is a name, or a position as text. Raises ``KeyError``."""
    if column in frame.columns:
        return int(frame.columns.get_loc(column))
    if column.lstrip("-").isdigit():
        return range(frame.shape[1])[int(column)]
    raise KeyError(column)


def _read(stream: BytesIO, form: str) -> pd.DataFrame:
    """``stream`` as a table.

    ``form`` is ``arff``, ``excel`` (``excel-2``: two rows of names), ``orange``, ``pickle``, ``parquet``, ``folders``
    or a separator: ``comma``, ``semicolon``, ``space``, ``tab``, ``raw`` (tab, quotes are characters).
    """
    if form.startswith("excel"):
        return pd.read_excel(
            stream, header=0, skiprows=1 if form == "excel-2" else 0, na_values=_MISSING, keep_default_na=False
        )
    if form == "pickle":
        # A pickle can run code: it comes from an archive whose hash was compared with the pinned one.
        return pd.DataFrame(pd.read_pickle(stream, compression="xz"))
    if form == "parquet":
        return pd.read_parquet(stream)
    if form == "folders":
        return _folders(stream)
    text = stream.read().decode("utf-8-sig", errors="replace")
    if form == "orange":
        return _orange_table(text)
    separator, _, header = form.partition("-")
    if separator == "arff":
        text = _arff_rows(text)
    return pd.read_csv(
        StringIO(text),
        sep=_SEPARATORS.get(separator, ","),
        header=0 if header else None,
        na_values=_MISSING,
        keep_default_na=False,
        skipinitialspace=True,
        quoting=3 if separator == "raw" else 0,
    )


def _orange_table(text: str) -> pd.DataFrame:
    """Orange's tab-separated format: rows of names, types and flags, then the data; the class goes last."""
    frame = pd.read_csv(
        StringIO(text), sep="\t", dtype=str, na_values=_ORANGE_MISSING, keep_default_na=False, index_col=False
    )
    flags = frame.iloc[1].fillna("").str.strip()
    kept = [name for name in frame.columns if flags[name] not in ("i", "ignore", "meta", "m", "class")]
    kept += [name for name in frame.columns if flags[name] == "class"]
    return frame[kept].iloc[2:].reset_index(drop=True)


def _folders(stream: BytesIO) -> pd.DataFrame:
    """The text files of a zip archive, each with the name of its folder as its class."""
    with ZipFile(stream) as archive:
        names = [name for name in archive.namelist() if name.endswith(".txt") and name.count("/") >= 2]
        rows = [(archive.read(name).decode("utf-8", errors="replace"), name.split("/")[-2]) for name in names]
    return pd.DataFrame(rows, columns=["text", "class"])


def _arff_rows(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.lower().startswith("@data"))
    return "\n".join(line for line in lines[start + 1 :] if line and not line.startswith("%"))
