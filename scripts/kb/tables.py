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
_MISSING = ("?", "<null>")


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
    positions = range(table.shape[1])
    target = table.iloc[:, entry.target]
    left_out = {positions[entry.target]} | {positions[i] for i in entry.drop}
    X = table.iloc[:, [i for i in positions if i not in left_out]].apply(_tidy)
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


def _read(stream: BytesIO, form: str) -> pd.DataFrame:
    """``stream`` as a table; ``form`` is ``arff``, ``excel`` (``excel-2``: two rows of names), or a separator."""
    if form.startswith("excel"):
        return pd.read_excel(stream, header=0, skiprows=1 if form == "excel-2" else 0)
    text = stream.read().decode("utf-8-sig", errors="replace")
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
