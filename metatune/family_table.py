"""``FamilyTable``: the table of a family's trials as NumPy views, and the exact way back to trials."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from optuna.distributions import CategoricalDistribution, IntDistribution

from metatune.history.schema import from_json
from metatune.study import StudyRecord
from metatune.trial import STATUSES, ParamValue, Trial
from metatune.trial_table import FIXED, OPTIONAL, codes_of


class Choices(NamedTuple):
    """A categorical column: ``codes`` (int32, shape (n,)) into ``levels``; -1 where inactive."""

    codes: np.ndarray
    levels: tuple[ParamValue, ...]


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
        codes, ids = codes_of(self.table["study"])
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
        codes, levels = codes_of(self.table["status"])
        return np.array([STATUSES.index(level) for level in levels] or [0], dtype=np.int8).take(codes)

    @cached_property
    def origin(self) -> Choices:
        """Where each proposal came from."""
        return Choices(*codes_of(self.table["origin"]))

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
        coded = {name: codes_of(self.table[f"s__{name}"]) for name in self._named("s__")}
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
            codes, levels = codes_of(table[name])
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
