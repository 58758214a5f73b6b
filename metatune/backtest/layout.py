"""A folder of recorded trials, ``trials.parquet``, ``tasks.parquet`` and ``space.json``, as columns and a space.

``trials.parquet`` has ``task_id``, a column ``hp__<name>`` per parameter (missing: inactive), ``y``, and where known
``direction``, ``cost`` (seconds) and ``search_space_id``. ``tasks.parquet`` has ``task_id``, meta-features ``mf__*`` or
``q__*``, and where known ``group``. ``space.json`` has ``params``, ``direction`` and ``metric``. For users:
``docs/tables.md``.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from metatune.errors import DataError, UnknownNameError
from metatune.metric import Direction
from metatune.parameter import same_value
from metatune.raw import with_index
from metatune.space import Condition, SearchSpace
from metatune.trial import ParamValue
from metatune.wording import plural

_LOG = logging.getLogger("metatune")
_FLOATS = ("float", "uniform_float")
_INTEGERS = ("int", "integer", "uniform_int")
_CHOICES = ("categorical", "ordinal", "bool", "boolean")
_SCALES = (True, False, "pre-applied", None)
_KINDS = (*_FLOATS, *_INTEGERS, *_CHOICES)
#: What may be said of a parameter; the last two are in public tables and not used.
_KEYS = ("type", "lower", "upper", "log", "choices", "ordinal", "default", "name", "n_values")


@dataclass(frozen=True, eq=False)
class Column:
    """One parameter of all trials: ``values`` (n,), NaN where inactive; of a categorical one, positions in ``levels``.

    ``distribution`` allows every value that occurs.
    """

    distribution: BaseDistribution
    values: np.ndarray
    levels: tuple[ParamValue, ...] = ()

    @property
    def active(self) -> np.ndarray:
        """Where the parameter has a value, shape (n,)."""
        return np.asarray(~np.isnan(self.values))

    def cells(self, rows: np.ndarray) -> list[ParamValue]:
        """The values at ``rows`` as they stand in configurations; ``...`` stands for none."""
        chosen = self.values[rows]
        if self.levels:
            named = [*self.levels, ...]
            return [named[i] for i in np.nan_to_num(chosen, nan=len(self.levels)).astype(int)]
        kind = int if isinstance(self.distribution, IntDistribution) else float
        return [... if value != value else kind(value) for value in chosen.tolist()]  # type: ignore[misc]


def read_parquet(path: Path, required: Sequence[str]) -> pd.DataFrame:
    """The table in ``path``, ``task_id`` as text.

    Raises ``DataError`` for a file that is missing, unreadable or without the columns ``required``, and for rows of no
    task.
    """
    try:
        frame = with_index(pq.read_table(path, partitioning=None).to_pandas())
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    for name in required:
        if name not in frame:
            raise DataError("column missing", field=f"{path.name}[{name!r}]", value=str(path), remedy="Add the column.")
    check_known(frame["task_id"], path.name)
    frame["task_id"] = _as_text(frame["task_id"])
    return frame


def _as_text(names: pd.Series) -> pd.Series:
    """``names`` as texts: one file may hold numbers where the other holds texts, and 3.0 where the other holds 3."""
    if pd.api.types.is_float_dtype(names) and bool(((names % 1 == 0) & (names.abs() < 2**53)).all()):
        names = names.astype("int64")
    return names.astype(str)


def check_known(column: pd.Series, file: str) -> None:
    """Raise ``DataError`` where ``column`` of ``file`` does not say to what a row belongs."""
    if unknown := int(column.isna().sum()):
        raise DataError(
            f"missing in {plural(unknown, 'row')}",
            field=f"{file}[{column.name!r}]",
            value=None,
            remedy="Fill it in, or remove these rows.",
        )


def read_description(path: Path) -> dict[str, Any]:
    """The content of ``space.json``; of its parameters, a warning names what is not read. Raises ``DataError``."""
    try:
        described = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(described, dict) or not isinstance(described.get("params"), dict):
        raise DataError(
            "no mapping 'params' in it",
            field=path.name,
            value=str(path),
            remedy='Describe the parameters by name, such as {"params": {"rate": {"lower": 0.001, "upper": 1.0}}}.',
        )
    for name, spec in described["params"].items():
        if not isinstance(spec, dict) or not isinstance(spec.get("choices", []), list):
            raise DataError(
                "not the description of a parameter",
                field=f"params[{name!r}]",
                value=spec,
                remedy="Give its type, its lower and upper bound or its list of choices.",
            )
        if not any(same_value(spec.get("log"), scale) for scale in _SCALES):
            raise DataError(
                "not a scale",
                field=f"params[{name!r}]['log']",
                value=spec["log"],
                remedy='Use true, false, or "pre-applied" if the column holds logarithms already.',
            )
    # Others may say more of their parameters than counts here, which is no reason not to replay their table.
    unread = {key: name for name, spec in described["params"].items() for key in spec if key not in _KEYS}
    if unread:
        told = ", ".join(f"{key!r} (of {name!r})" for key, name in unread.items())
        _LOG.warning(f"{path}: keys of parameters that are not read: {told}. Those that are: {', '.join(_KEYS)}.")
    return described


def as_numbers(cells: pd.Series | Sequence[object], *, field: str, remedy: str = "Give numbers.") -> np.ndarray:
    """``cells`` (n,) as float64, those stored as text converted. Raises ``DataError`` naming ``field``."""
    column = pd.Series(cells)
    try:
        return np.asarray(pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan))
    except (ValueError, TypeError) as error:
        raise DataError(f"not a number ({error})", field=field, value=str(column.dtype), remedy=remedy) from error


def directions_of(trials: pd.DataFrame, described: Mapping[str, Any]) -> dict[str, Direction]:
    """Whether ``y`` is maximised or minimised, by task: what its trials say, or else ``space.json``.

    Raises ``DataError`` for anything else, and for a task whose trials do not agree.
    """
    usual = pd.Series(str(described.get("direction", "maximize")), index=trials.index, dtype=object)
    told = trials["direction"].astype(object) if "direction" in trials else usual
    found: dict[str, Direction] = {}
    for task, said in told.where(told.notna(), usual).astype(str).groupby(trials["task_id"]).unique().items():
        if len(said) > 1 or said[0] not in get_args(Direction):
            raise DataError(
                "each task is either maximised or minimised",
                field="direction",
                value={str(task): list(said)},
                remedy="Write 'maximize' or 'minimize' in space.json, or in all trials of the task.",
            )
        found[str(task)] = said[0]
    return found


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"cannot be read ({type(error).__name__}: {error})",
        field=path.name,
        value=str(path),
        remedy="Give a folder with trials.parquet, tasks.parquet and space.json.",
    )


def parameter_columns(trials: pd.DataFrame, params: Mapping[str, Mapping[str, Any]]) -> dict[str, Column]:
    """The parameters that vary, by name. Ranges and choices are widened to what occurs.

    A parameter that is absent from ``trials``, or has one value only, is left out. A number stored as text is
    converted; one of a declared grid is taken as its range. ``"log": "pre-applied"`` means that the column holds
    logarithms: its scale is linear. Raises ``DataError`` or ``SpaceError`` naming the parameter.
    """
    columns = {}
    for name, spec in params.items():
        if (raw := trials.get(f"hp__{name}")) is None:
            continue
        kind = spec.get("type", "categorical" if "choices" in spec else "float")
        is_number = _is_number(kind, spec)
        # Without a value it is inactive, or has the choice that JSON writes as null.
        null = not is_number and None in spec.get("choices", ()) and bool(raw.isna().any())
        if distinct(raw, f"hp__{name}") + null < 2:
            continue
        if kind not in _KINDS:
            raise UnknownNameError.of(f"params[{name!r}]['type']", kind, _KINDS)
        columns[name] = _numeric(name, raw, spec) if is_number else _categorical(raw, spec)
    return columns


def distinct(column: pd.Series, field: str) -> int:
    """How many different values ``column`` has. Raises ``DataError`` for cells that are several values each."""
    try:
        return int(column.nunique())
    except TypeError as error:
        raise DataError(
            f"not a value in each cell ({error})",
            field=field,
            value=str(column.dropna().iloc[0]),
            remedy="Write lists as texts, or each of their numbers in a column of its own.",
        ) from error


def _is_number(kind: str, spec: Mapping[str, Any]) -> bool:
    choices = spec.get("choices", [])
    ordered = kind == "ordinal" or bool(spec.get("ordinal"))
    on_grid = ordered and all(type(choice) in (int, float) for choice in choices)
    return kind not in _CHOICES or (on_grid and len(choices) > 0)


def _numeric(name: str, raw: pd.Series, spec: Mapping[str, Any]) -> Column:
    values = as_numbers(raw, field=f"hp__{name}", remedy="Declare it as categorical.")
    given = [b for b in (spec.get("lower"), spec.get("upper"), *spec.get("choices", ())) if b is not None]
    bounds = as_numbers(given, field=f"params[{name!r}]")
    seen = np.concatenate([values[~np.isnan(values)], bounds])
    low, high = float(seen.min()), float(seen.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError("not finite", field=f"hp__{name}", value=[low, high], remedy="Remove these trials.")
    log = spec.get("log") is True
    if log and low <= 0:
        raise DataError(
            "a logarithmic parameter is above 0", field=f"hp__{name}", value=low, remedy='Set "log" to false.'
        )
    whole = spec.get("type") in _INTEGERS or all(type(choice) is int for choice in spec.get("choices", [0.0]))
    if whole and all(float(v).is_integer() for v in (low, high, *np.unique(seen))):
        return Column(IntDistribution(int(low), int(high), log=log), values)
    return Column(FloatDistribution(low, high, log=log), values)


def _categorical(raw: pd.Series, spec: Mapping[str, Any]) -> Column:
    codes, seen = pd.factorize(raw)
    levels: list[ParamValue] = list(spec.get("choices", ()))
    positions = []
    for value in np.asarray(seen, dtype=object).tolist():
        same = [i for i, level in enumerate(levels) if _stands_for(value, level)]
        if not same:
            levels.append(value)
        positions.append(float(same[0] if same else len(levels) - 1))
    missing = float(levels.index(None)) if None in levels else np.nan
    return Column(CategoricalDistribution(levels), np.array([*positions, missing])[codes], tuple(levels))


def _stands_for(stored: object, choice: object) -> bool:
    """Whether a stored value is ``choice``, which files may hold as text, as a float or in single precision."""
    if isinstance(stored, float) and type(choice) is float:
        return stored in (choice, float(np.float32(choice)))
    return same_value(stored, choice) or str(stored) in (str(choice), f"{choice}.0")


def conditions_of(columns: Mapping[str, Column]) -> dict[str, Condition]:
    """The conditions that explain where parameters are inactive.

    A parameter that is inactive in some trials depends on the first categorical one that is active wherever it is, has
    other values wherever it is not, and is active more often. Where none is, the parameter has no condition and is
    simply missing from configurations.
    """
    found = {}
    for child, column in columns.items():
        active = column.active
        for parent, other in columns.items():
            if active.all() or not other.levels or other.active[active].sum() < active.sum():
                continue
            with_child = np.unique(other.values[active])
            if other.active.sum() > active.sum() and not np.isin(other.values[~active], with_child).any():
                found[child] = Condition(parent, tuple(other.levels[int(code)] for code in with_child))
                break
    return found


def space_of(columns: Mapping[str, Column]) -> SearchSpace:
    """The search space of ``columns``, in their order but parents before their children."""
    conditions = conditions_of(columns)
    ordered: dict[str, BaseDistribution] = {}

    def add(name: str) -> None:
        if name in conditions:
            add(conditions[name].parent)
        ordered.setdefault(name, columns[name].distribution)

    for name in columns:
        add(name)
    return SearchSpace(ordered, conditions)
