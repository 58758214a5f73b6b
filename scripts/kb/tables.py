"""One dataset of the catalogue as a table: read, cleaned of rare classes, and sampled down to the row cap."""

from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets as bundled
from sklearn.model_selection import train_test_split

from kb.catalogue import Entry
from kb.packages import open_member

#: A class needs members in the test split and in each of three folds.
RARE = 10
_SEPARATORS = {"comma": ",", "semicolon": ";", "space": r"\s+"}
_MISSING = ("?", "<null>", "", "NA")
_ORANGE_MISSING = ("?", "", "~", ".", "*")


def load_table(entry: Entry, folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Features and target of ``entry``: all rows that have a target and whose class has at least ``RARE`` members.

    Column names are kept where the source has them. Columns of text stay text, ``NaN`` is missing.
    """
    if entry.package == "scikit-learn":
        bunch = getattr(bundled, f"load_{entry.file}")(as_frame=True)
        table = pd.concat([bunch.data, bunch.target], axis=1)
    else:
        parts = [_read(open_member(entry.package, member, folder), entry.format) for member in entry.file.split("|")]
        table = pd.concat(parts, axis=1)
    table.columns = [str(name) if isinstance(name, str) else f"x{i}" for i, name in enumerate(table.columns)]
    place = _place(table, entry.target)
    target = table.iloc[:, place]
    left_out = {place} | {_place(table, column) for column in entry.drop}
    X = table.iloc[:, [i for i in range(table.shape[1]) if i not in left_out]].apply(_tidy)
    y = _tidy(target) if entry.kind == "regression" else target.astype(str).str.strip()
    keep = target.notna()
    if entry.kind != "regression":
        keep &= y.map(y.value_counts()) >= RARE
    return X.loc[keep].reset_index(drop=True), y.loc[keep].reset_index(drop=True)


def cap_rows(X: pd.DataFrame, y: pd.Series, cap: int, *, stratify: bool) -> tuple[pd.DataFrame, pd.Series]:
    """At most ``cap`` rows, drawn with a fixed seed; with ``stratify`` every class keeps its share."""
    if len(X) <= cap:
        return X, y
    rows, _ = train_test_split(np.arange(len(X)), train_size=cap, random_state=0, stratify=y if stratify else None)
    rows = np.sort(rows)
    return X.iloc[rows].reset_index(drop=True), y.iloc[rows].reset_index(drop=True)


def _place(table: pd.DataFrame, column: str) -> int:
    """The position of ``column``, which is a name, or a position as text. Raises ``KeyError``."""
    if column in table.columns:
        return int(table.columns.get_loc(column))
    if column.lstrip("-").isdigit():
        return range(table.shape[1])[int(column)]
    raise KeyError(column)


def _read(stream: BytesIO, form: str) -> pd.DataFrame:
    """``stream`` as a table.

    ``form`` is ``arff``, ``excel`` (``excel-2``: two rows of names), ``orange``, ``pickle`` or a separator.
    """
    if form.startswith("excel"):
        return pd.read_excel(stream, header=0, skiprows=1 if form == "excel-2" else 0)
    if form == "pickle":
        # A pickle can run code: it comes from an archive whose hash was compared with the pinned one.
        return pd.DataFrame(pd.read_pickle(stream, compression="xz"))
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
        na_values=list(_MISSING),
        keep_default_na=False,
        skipinitialspace=True,
    )


def _orange_table(text: str) -> pd.DataFrame:
    """Orange's tab-separated format: rows of names, types and flags, then the data; the class goes last."""
    names, _, flags, *rows = (line.split("\t") for line in text.splitlines() if line.strip())
    padded = [(row + [""] * len(names))[: len(names)] for row in rows]
    table = pd.DataFrame(padded, columns=names).map(str.strip).replace(dict.fromkeys(_ORANGE_MISSING))
    flags = dict(zip(names, (flag.strip() for flag in flags), strict=False))
    kept = [name for name in names if flags.get(name) not in ("i", "ignore", "meta", "m")]
    return table[[*(name for name in kept if flags.get(name) != "class"), *_class_of(flags)]]


def _class_of(flags: dict[str, str]) -> list[str]:
    return [name for name, flag in flags.items() if flag == "class"]


def _arff_rows(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.lower().startswith("@data"))
    return "\n".join(line for line in lines[start + 1 :] if line and not line.startswith("%"))


def _tidy(column: pd.Series) -> pd.Series:
    """``column`` as numbers where all its values are numbers, else as text."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    text = column.astype(str).str.strip().where(column.notna())
    numbers = pd.to_numeric(text, errors="coerce")
    return numbers if numbers.notna().sum() == text.notna().sum() else text
