"""Trials of one model family as columns: an Arrow table, its NumPy views, and the exact way back to trials.

Columns: ``n__<name>`` numeric parameters (null: inactive), ``s__<name>`` categorical ones as JSON of the choice,
``m__<name>`` further metrics, ``curve``, and one column per other field of ``Trial`` (``OPTIONAL`` ones only where a
trial has such a value; ``reported`` is two of them). ``exact`` holds, as JSON, what
those columns would alter: parameters that the space does not declare, values of another type than declared,
integers that a double cannot hold.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from metatune.history.schema import from_json, to_json
from metatune.study import StudyRecord
from metatune.trial import STATUSES, ParamValue, Trial

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


class Choices(NamedTuple):
    """A categorical column: ``codes`` (int32, shape (n,)) into ``levels``; -1 where inactive."""

    codes: np.ndarray
    levels: tuple[ParamValue, ...]


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


@dataclass(frozen=True, eq=False)
class FamilyTable:
    """All trials of one family as columns of equal length, one row per trial.

    ``studies`` are all studies of the snapshot, into which ``study`` points. Numeric columns are ``float64``.
    """

    family: str
    studies: tuple[StudyRecord, ...]
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def study(self) -> np.ndarray:
        """Position of each trial's study in ``studies``, int32, shape (n,)."""
        codes, ids = _coded(self.table["study"])
        position = {study.id: i for i, study in enumerate(self.studies)}
        return np.array([position[i] for i in ids] or [0], dtype=np.int32).take(codes)

    @cached_property
    def rows_of_study(self) -> Mapping[int, np.ndarray]:
        """Rows of each study that has trials, ascending, by the study's position in ``studies``."""
        order = np.argsort(self.study, kind="stable")
        found, starts = np.unique(self.study[order], return_index=True)
        return dict(zip(found.tolist(), np.split(order, starts)[1:], strict=True))

    @cached_property
    def value(self) -> np.ndarray:
        """The metric in its own unit, NaN where there is none."""
        return self._floats("value")

    @cached_property
    def score(self) -> np.ndarray:
        """The metric with higher better, NaN where there is none."""
        signs = np.array([study.task.metric.score(1.0) for study in self.studies])
        return np.asarray(self.value * signs.take(self.study))

    @cached_property
    def status(self) -> np.ndarray:
        """Position of each trial's status in ``metatune.trial.STATUSES``, int8."""
        codes, levels = _coded(self.table["status"])
        return np.array([STATUSES.index(level) for level in levels] or [0], dtype=np.int8).take(codes)

    @cached_property
    def origin(self) -> Choices:
        """Where each proposal came from."""
        return Choices(*_coded(self.table["origin"]))

    @cached_property
    def number(self) -> np.ndarray:
        """Number of each trial in its study, int64."""
        return np.asarray(self.table["number"].to_numpy())

    @cached_property
    def seconds(self) -> np.ndarray:
        """Wall time of each trial, NaN where unknown."""
        return self._floats("seconds")

    @cached_property
    def fidelity(self) -> np.ndarray:
        """Share of the full budget that each trial used."""
        return self._floats("fidelity")

    @cached_property
    def key(self) -> list[str]:
        """The key of each trial."""
        return list(self.table["key"].to_pylist())

    @cached_property
    def numeric(self) -> Mapping[str, np.ndarray]:
        """Numeric parameters by name; NaN where inactive, absent, or not a number."""
        return {name: self._floats(f"n__{name}") for name in self._named("n__")}

    @cached_property
    def categorical(self) -> Mapping[str, Choices]:
        """Categorical parameters by name, levels sorted by their JSON text."""
        coded = {name: _coded(self.table[f"s__{name}"]) for name in self._named("s__")}
        return {name: Choices(codes, tuple(map(from_json, levels))) for name, (codes, levels) in coded.items()}

    @cached_property
    def metrics(self) -> Mapping[str, np.ndarray]:
        """Further metrics by name, in their own units; NaN where there is none."""
        return {name: self._floats(f"m__{name}") for name in self._named("m__")}

    def curve(self, row: int) -> np.ndarray:
        """The metric of trial ``row`` after each step, in its own unit."""
        return np.array(self.table["curve"][row].as_py(), dtype=np.float64)

    def configuration(self, row: int) -> dict[str, ParamValue]:
        """The configuration of trial ``row``, exactly as it was recorded."""
        return next(_configurations(self.table.slice(row, 1), [self.studies[self.study[row]]]))

    def trials(self) -> Iterator[tuple[int, Trial]]:
        """Every trial as a record, with the position of its study, in the order of the rows."""
        plain = {
            name: _plain(self.table[name].to_pylist()) for name in FIXED if name not in ("study", "curve", "exact")
        }
        metrics = {name: _plain(self.table[f"m__{name}"].to_pylist()) for name in self._named("m__")}
        curves = self.table["curve"].to_pylist()
        optional = {name: self._optional(name) for name in OPTIONAL}
        steps, values_at = optional.pop("reported_steps"), optional.pop("reported_values")
        studies = [self.studies[i] for i in self.study]
        for row, configuration in enumerate(_configurations(self.table, studies)):
            fields = {name: values[row] for name, values in plain.items()}
            fields["curve"] = tuple(_plain(curves[row]))
            fields |= {name: values[row] for name, values in optional.items()}
            fields["reported"] = tuple(zip(steps[row] or (), _plain(values_at[row] or []), strict=True))
            fields["error"] = None if fields["error"] is None else from_json(fields["error"])
            fields["metrics"] = {name: values[row] for name, values in metrics.items() if values[row] is not None}
            yield int(self.study[row]), Trial(configuration=configuration, **fields)

    def _named(self, prefix: str) -> list[str]:
        return [name[len(prefix) :] for name in self.table.column_names if name.startswith(prefix)]

    def _optional(self, column: str) -> list[Any]:
        return self.table[column].to_pylist() if column in self.table.column_names else [None] * len(self)

    def _floats(self, column: str) -> np.ndarray:
        return np.asarray(self.table[column].to_numpy(), dtype=np.float64)


def _configurations(table: pa.Table, studies: Sequence[StudyRecord]) -> Iterator[dict[str, ParamValue]]:
    """The configuration of each row, in the order of its study's space."""
    columns: dict[str, list[Any]] = {}
    for name in table.column_names:
        if name.startswith("n__"):
            columns[name] = table[name].to_pylist()
        elif name.startswith("s__"):
            codes, levels = _coded(table[name])
            columns[name] = [*map([*map(from_json, levels), ...].__getitem__, codes)]
    exact = table["exact"].to_pylist()
    for row, study in enumerate(studies):
        configuration: dict[str, ParamValue] = {}
        for name, distribution in study.space.parameters.items():
            if isinstance(distribution, CategoricalDistribution):
                value = columns[f"s__{name}"][row] if f"s__{name}" in columns else ...
                if value is not ...:
                    configuration[name] = value
            elif f"n__{name}" in columns and (number := columns[f"n__{name}"][row]) is not None:
                whole = isinstance(distribution, IntDistribution) and math.isfinite(number)
                configuration[name] = int(number) if whole else number
        if exact[row] is not None:
            configuration.update(from_json(exact[row]))
        yield configuration


def _plain(values: list[Any]) -> list[Any]:
    """``values`` with one object for every NaN: equal records then compare equal."""
    return [math.nan if value != value else value for value in values]


def _coded(column: pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
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
            codes, levels = _coded(column)
            digest.update(codes.tobytes())
            digest.update(to_json(levels).encode())
        else:
            digest.update(column.fill_null(0).to_numpy().tobytes())
    return digest.hexdigest()


def _offsets(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.combine_chunks().offsets.to_numpy(), dtype=np.int64)
