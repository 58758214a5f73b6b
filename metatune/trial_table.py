"""Trials of one model family as the columns of an Arrow table; ``FamilyTable`` reads it.

Columns: ``n__<name>`` numeric parameters (null: inactive), ``s__<name>`` categorical ones as JSON of the choice,
``m__<name>`` further metrics, ``curve``, and one column per other field of ``Trial`` (``OPTIONAL`` ones only where a
trial has such a value; ``reported`` is two of them). ``exact`` holds, as JSON, what
those columns would alter: parameters that the space does not declare, values of another type than declared,
integers that a double cannot hold.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from metatune.history.schema import to_json
from metatune.study import StudyRecord
from metatune.trial import ParamValue, Trial

_NUMBERS = (int, float, np.integer, np.floating)
_TEXTS = pa.dictionary(pa.int32(), pa.string())

#: The columns that every table has.
FIXED = {
    "key": pa.string(),
    "study": _TEXTS,
    "number": pa.int64(),
    "status": _TEXTS,
    "value": pa.float64(),
    "seconds": pa.float64(),
    "fidelity": pa.float64(),
    "started": pa.float64(),
    "origin": _TEXTS,
    "error": pa.string(),
    "curve": pa.list_(pa.float64()),
    "exact": pa.string(),
}
#: The columns that a table has if one of its trials has a value there.
OPTIONAL = {
    "best_step": pa.int64(),
    "reported_steps": pa.list_(pa.int64()),
    "reported_values": pa.list_(pa.float64()),
    "odds": pa.float64(),
    "trusted": pa.int64(),
}


class _Sparse:
    """Values of some rows of a column."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.values: list[Any] = []

    def floats(self, n: int) -> pa.Array:
        values, absent = np.zeros(n), np.ones(n, dtype=bool)
        values[self.rows], absent[self.rows] = self.values, False
        return pa.array(values, mask=absent, from_pandas=False)

    def texts(self, n: int) -> pa.Array:
        values = np.full(n, None, dtype=object)
        values[self.rows] = self.values
        return pa.array(values, pa.string()).dictionary_encode()


def table_of(pairs: Sequence[tuple[StudyRecord, Trial]]) -> pa.Table:
    """The table of trials, each given with its study, in the order given."""
    trials = [trial for _, trial in pairs]
    fixed: dict[str, list[Any]] = {
        name: [getattr(trial, name) for trial in trials]
        for name in ("key", "number", "status", "value", "seconds", "fidelity", "started", "origin", "curve")
    }
    fixed["study"] = [study.id for study, _ in pairs]
    fixed["error"] = [None if trial.error is None else to_json(trial.error) for trial in trials]
    sparse, fixed["exact"] = _parameters(pairs)
    for row, trial in enumerate(trials):
        for name, metric in trial.metrics.items():
            column = sparse[f"m__{name}"]
            column.rows.append(row)
            column.values.append(float(metric))
    columns = {name: _array(fixed[name], kind) for name, kind in FIXED.items()}
    optional: dict[str, list[Any]] = {
        "best_step": [trial.best_step for trial in trials],
        "reported_steps": [[step for step, _ in trial.reported] or None for trial in trials],
        "reported_values": [[value for _, value in trial.reported] or None for trial in trials],
        "odds": [trial.odds for trial in trials],
        "trusted": [trial.trusted for trial in trials],
    }
    for name, kind in OPTIONAL.items():
        if any(value is not None for value in optional[name]):
            columns[name] = _array(optional[name], kind)
    for name in sorted(sparse):
        columns[name] = (sparse[name].texts if name.startswith("s__") else sparse[name].floats)(len(pairs))
    return pa.table(columns)


def _parameters(pairs: Sequence[tuple[StudyRecord, Trial]]) -> tuple[defaultdict[str, _Sparse], list[str | None]]:
    """The columns of the parameters, and for each row what they alter, as JSON."""
    sparse: defaultdict[str, _Sparse] = defaultdict(_Sparse)
    exact: list[str | None] = []
    texts: dict[tuple[type, ParamValue], str] = {}
    for row, (study, trial) in enumerate(pairs):
        altered: dict[str, ParamValue] = {}
        for name, value in trial.configuration.items():
            distribution = study.space.parameters.get(name)
            if isinstance(distribution, CategoricalDistribution):
                kind = (type(value), value)
                cell: Any = texts.get(kind) or texts.setdefault(kind, to_json(value))
                column = sparse["s__" + name]
            else:
                cell = None if distribution is None else _as_float(value)
                if cell is None or not _faithful(distribution, value, cell):
                    altered[name] = value
                if cell is None:
                    continue
                column = sparse["n__" + name]
            column.rows.append(row)
            column.values.append(cell)
        exact.append(to_json(altered) if altered else None)
    return sparse, exact


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode() if kind == _TEXTS else pa.array(values, kind)


def _as_float(value: object) -> float | None:
    """``value`` as the double nearest to it; ``None`` if it is no number or not one that a double can stand for."""
    if isinstance(value, bool) or not isinstance(value, _NUMBERS) or value != value:
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _faithful(distribution: BaseDistribution | None, value: object, number: float) -> bool:
    """Whether ``value`` can be restored from ``number`` by knowing ``distribution``."""
    if isinstance(distribution, IntDistribution):
        return isinstance(value, (int, np.integer)) and int(number) == int(value)
    return isinstance(value, (float, np.floating))


def codes_of(column: pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes (int32, -1 where null) and the sorted levels that occur in a column of texts."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    entries = encoded.dictionary.to_pylist()
    codes = encoded.indices.cast(pa.int32()).fill_null(len(entries)).to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(entries))
    levels = sorted({entry for entry, count in zip(entries, counts, strict=False) if count and entry is not None})
    place = {level: i for i, level in enumerate(levels)}
    rank = np.array([*(place.get(entry, -1) for entry in entries), -1], dtype=np.int32)
    return rank[codes], tuple(levels)


def content_digest(table: pa.Table) -> str:
    """SHA-256 of the rows of ``table``, whatever their encoding and the order of the columns."""
    digest = hashlib.sha256()
    for name in sorted(table.column_names):
        column = table[name]
        digest.update(to_json([name, table.num_rows]).encode())
        digest.update(column.is_null().to_numpy().tobytes())
        if pa.types.is_list(column.type):
            digest.update(np.diff(_offsets(column)).tobytes())
            digest.update(column.combine_chunks().flatten().to_numpy(zero_copy_only=False).tobytes())
        elif pa.types.is_string(column.type):
            texts = column.fill_null("")
            digest.update(pc.binary_length(texts).to_numpy().tobytes())
            digest.update("".join(texts.to_pylist()).encode())
        elif pa.types.is_dictionary(column.type):
            codes, levels = codes_of(column)
            digest.update(codes.tobytes())
            digest.update(to_json(levels).encode())
        else:
            digest.update(column.fill_null(0).to_numpy().tobytes())
    return digest.hexdigest()


def _offsets(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.combine_chunks().offsets.to_numpy(), dtype=np.int64)
