"""Images, texts and time series of the catalogue as plain arrays, in the layout that ``Task.from_*`` takes.

Images are ``uint8`` of shape (n, height, width, channels), texts ``str`` of shape (n,), series ``float32`` of shape
(n, length, channels) with NaN beyond the end of shorter ones.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets as bundled

from kb.catalogue import Entry
from kb.frames import place, read_frame
from kb.packages import open_member
from kb.tables import capped_rows, target_of

#: Height and width that photographs are scaled to; collections of small images keep theirs.
SIDE = 32


def load_examples(entry: Entry, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Examples and targets of an ``entry`` that is no table; see ``load_table`` for which rows are kept.

    ``subset`` of the entry may limit the classes (``classes=3 8``) and the number of rows (``rows=500``, drawn with
    a fixed seed).
    """
    X, column = {"image": _images, "text": _texts, "series": _series}[entry.modality](entry, folder)
    subset = dict(entry.subset)
    if "classes" in subset:
        rows = np.flatnonzero(column.astype(str).isin(subset["classes"].split()))
        X, column = X[rows], column.iloc[rows].reset_index(drop=True)
    y, keep = target_of(column, entry)
    X, target = X[keep.to_numpy()], y[keep].to_numpy()
    rows = capped_rows(target, int(subset.get("rows", len(target))), stratify=entry.kind != "regression")
    return X[rows], target[rows]


def _texts(entry: Entry, folder: Path) -> tuple[np.ndarray, pd.Series]:
    frame = read_frame(entry, folder)
    frame = frame[frame.iloc[:, place(frame, entry.input)].fillna("").astype(str).str.strip() != ""]
    texts = frame.iloc[:, place(frame, entry.input)].astype(str)
    return texts.to_numpy(dtype=object), frame.iloc[:, place(frame, entry.target)].reset_index(drop=True)


def _series(entry: Entry, folder: Path) -> tuple[np.ndarray, pd.Series]:
    frame = read_frame(entry, folder)
    target = place(frame, entry.target)
    values = frame.drop(columns=frame.columns[target]).apply(pd.to_numeric, errors="coerce")
    return values.to_numpy(np.float32)[:, :, None], frame.iloc[:, target].reset_index(drop=True)


def _images(entry: Entry, folder: Path) -> tuple[np.ndarray, pd.Series]:
    if entry.package == "scikit-learn":
        digits = bundled.load_digits()
        return (digits.images * (255 / 16)).astype(np.uint8)[..., None], pd.Series(digits.target)
    if entry.format == "parquet":
        frame = read_frame(entry, folder)
        photographs = np.stack([_photograph(content) for content in frame[entry.input]])
        return photographs, frame[entry.target]
    files = [open_member(entry.package, member, folder) for member in entry.file.split("|")]
    if entry.format == "idx":
        arrays = [_idx(file.read()) for file in files]
        X, y = np.concatenate(arrays[0::2]), np.concatenate(arrays[1::2])
    elif entry.format == "pickle":
        # See frames: only from archives whose hash was compared.
        X, y = (pd.read_pickle(file, compression=None) for file in files)
    else:
        X = np.load(files[0])
        X, y = (X * 255).astype(np.uint8), np.arange(len(X)) * 2 // len(X)
    return X[..., None], pd.Series(y)


def _idx(content: bytes) -> np.ndarray:
    """The IDX format of LeCun's MNIST files: two zeros, type, number of dimensions, sizes, bytes."""
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _photograph(content: bytes) -> np.ndarray:
    # Imported here: Pillow is only needed for photographs.
    from PIL import Image

    return np.asarray(Image.open(BytesIO(content)).convert("RGB").resize((SIDE, SIDE)), dtype=np.uint8)
