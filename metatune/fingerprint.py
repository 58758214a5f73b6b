"""Keyed hashes by which equal data are recognised without anything about them being readable.

The key is the environment variable ``METATUNE_KEY``; a team that shares a history shares the key. Without it, the
public key ``"metatune"`` is used, under which somebody who has the same data can find out that you have it too.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from metatune.dataset import Data, Dataset
from metatune.examples import Texts

KEY_VARIABLE = "METATUNE_KEY"
DEFAULT_KEY = "metatune"
SAMPLED_ROWS = 20_000
#: Of images and series, so many bytes are read, and of one text so many characters: a bound on the time.
SAMPLED_BYTES = 50_000_000
SAMPLED_CHARACTERS = 10_000


def fingerprint_of(data: Data[Any]) -> str:
    """32 hexadecimal digits of shape, column types, up to 20,000 evenly spaced rows, and their target.

    Names of columns and of the target do not enter. The same data give the same digits in
    every process with the same key.
    """
    digest = _keyed("dataset" if isinstance(data, Dataset) else data.modality)
    limit = SAMPLED_ROWS if isinstance(data, Dataset | Texts) else min(SAMPLED_ROWS, SAMPLED_BYTES // data.X[0].nbytes)
    rows = np.unique(np.linspace(0, data.n_rows - 1, min(data.n_rows, max(limit, 2))).astype(np.int64))
    _add(digest, f"{data.n_rows} {data.n_columns} {data.kind}".encode())
    if isinstance(data, Dataset):
        _add_columns(digest, data.X, rows)
    elif isinstance(data, Texts):
        for text in data.X[rows]:
            _add(digest, text[:SAMPLED_CHARACTERS].encode("utf-8", "surrogatepass"))
    else:
        _add(digest, str(data.X.shape).encode())
        _add_numbers(digest, data.X[rows])
    if data.classes:
        _add_levels(digest, data.classes, data.y[rows])
    else:
        _add_numbers(digest, data.y[rows])
    return digest.hexdigest()


def _add_columns(digest: "hashlib.blake2b", X: pd.DataFrame, rows: np.ndarray) -> None:
    for _, column in X.items():
        part = column.iloc[rows]
        if isinstance(part.dtype, pd.CategoricalDtype):
            _add_levels(digest, list(part.cat.categories), part.cat.codes.to_numpy())
        else:
            _add_numbers(digest, part.to_numpy())


def fingerprint_of_name(name: str) -> str:
    """32 hexadecimal digits for a task that is known by its name only."""
    digest = _keyed("name")
    _add(digest, name.encode("utf-8", "surrogatepass"))  # names of files may hold anything
    return digest.hexdigest()


def _keyed(purpose: str) -> "hashlib.blake2b":
    # blake2b takes keys up to 64 bytes; hashing first allows any length.
    key = hashlib.blake2b(os.environ.get(KEY_VARIABLE, DEFAULT_KEY).encode()).digest()
    return hashlib.blake2b(key=key, digest_size=16, person=purpose.encode())


def _add(digest: "hashlib.blake2b", content: bytes) -> None:
    # The length first, so that no two sequences of parts run together into the same bytes.
    digest.update(len(content).to_bytes(8, "little"))
    digest.update(content)


def _add_levels(digest: "hashlib.blake2b", levels: Sequence[object], codes: np.ndarray) -> None:
    present, places = np.unique(codes, return_inverse=True)
    _add(digest, b"levels")
    for code in present:
        _add(digest, b"" if code < 0 else b"=" + str(levels[code]).encode("utf-8", "surrogatepass"))
    _add(digest, places.astype("<i4").tobytes())


def _add_numbers(digest: "hashlib.blake2b", numbers: np.ndarray) -> None:
    if numbers.dtype == np.uint8:
        _add(digest, numbers.tobytes())
        return
    values = numbers.astype("<f8") + 0.0  # -0.0 becomes 0.0
    values[np.isnan(values)] = np.nan  # one bit pattern for all kinds of NaN
    _add(digest, b"numbers")
    _add(digest, values.tobytes())
