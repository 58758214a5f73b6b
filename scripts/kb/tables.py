"""One dataset of the catalogue as a table: its columns tidied, cleaned of rare classes, sampled down to a cap."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from kb.catalogue import Entry
from kb.frames import place, read_frame

#: A class needs members in the test split and in each of three folds.
RARE = 10
#: What stands for a missing number.
_NO_NUMBERS = frozenset({"na", "n/a", "nan", "none", "null"})


def load_table(entry: Entry, folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Features and target of ``entry``: all rows that have a target and whose class has at least ``RARE`` members.

    Column names are kept where the source has them. Columns of text stay text, ``NaN`` is missing.
    """
    frame = read_frame(entry, folder)
    target = place(frame, entry.target)
    left_out = {target, *(place(frame, column) for column in entry.drop)}
    X = frame.iloc[:, [i for i in range(frame.shape[1]) if i not in left_out]].apply(_tidy)
    y, keep = target_of(frame.iloc[:, target], entry)
    return X.loc[keep].reset_index(drop=True), y.loc[keep].reset_index(drop=True)


def target_of(column: pd.Series, entry: Entry) -> tuple[pd.Series, pd.Series]:
    """``column`` as the target of ``entry``, and which rows are kept: with a target, of no rare class."""
    if entry.kind == "regression":
        return _tidy(column), column.notna()
    y = column.astype(str).str.strip()
    return y, column.notna() & (y.map(y.value_counts()) >= RARE)


def capped_rows(y: pd.Series | np.ndarray, cap: int, *, stratify: bool) -> np.ndarray:
    """Positions of at most ``cap`` rows, drawn with a fixed seed; with ``stratify`` every class keeps its share."""
    rows = np.arange(len(y))
    if len(y) <= cap:
        return rows
    classes = pd.Series(np.asarray(y))
    counts = classes.value_counts()
    if stratify and (counts.min() < 2 or len(counts) > min(cap, len(y) - cap)):
        # scikit-learn wants every class on both sides of the split; here too few are on one of them.
        shuffled = classes.sample(frac=1, random_state=0)
        places = (shuffled.groupby(shuffled).cumcount() + 0.5) / shuffled.map(counts)
        return np.sort(places.nsmallest(cap).index.to_numpy())
    chosen, _ = train_test_split(rows, train_size=cap, random_state=0, stratify=y if stratify else None)
    return np.sort(chosen)


def _tidy(column: pd.Series) -> pd.Series:
    """``column`` as numbers where all its values are numbers, else as text.

    Words such as ``NA`` are missing among numbers; among texts they are texts: Namibia's code is one of them.
    """
    if pd.api.types.is_numeric_dtype(column):
        return column
    text = column.astype(str).str.strip().where(column.notna())
    words = text.str.lower().isin(_NO_NUMBERS)
    numbers = pd.to_numeric(text.where(~words), errors="coerce")
    known = text.notna() & ~words
    return numbers if numbers.notna().sum() == known.sum() and (known.any() or not words.any()) else text
