"""``ReplayTable``: trials that were run before, put so that searches can be replayed on them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from metatune.backtest.layout import (
    Column,
    as_numbers,
    check_known,
    directions_of,
    distinct,
    parameter_columns,
    read_description,
    read_parquet,
    space_of,
)
from metatune.encoding import ConfigurationEncoder, Scale, UnitEncoder
from metatune.errors import DataError, UsageError
from metatune.metric import Metric
from metatune.parameter import describe, in_distribution, nearest
from metatune.space import SearchSpace
from metatune.task import TaskRecord
from metatune.trial import Configuration, ParamValue


def _log_loss_up_to_ten(loss: np.ndarray) -> np.ndarray:
    return np.asarray(-np.log(np.clip(loss, 1e-12, 10.0)))


#: Minimised losses that are judged otherwise than by their negative, by the start of the table's name. The losses of
#: TaskSet span many orders of magnitude, so that the worst ones hide every difference among the good.
OBJECTIVES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"taskset": _log_loss_up_to_ten}

#: Numbers in single precision are off by less than this part of them.
_SINGLE = 1e-7


@dataclass(frozen=True, eq=False)
class ReplayTask:
    """The trials of one task. ``rows`` (n,) are positions in ``ReplayTable.configurations``.

    ``score`` (n,) is higher-is-better, NaN for a failure; ``seconds`` (n,) is NaN where unknown. ``own``: the task is
    the team's, not borrowed.
    """

    record: TaskRecord
    rows: np.ndarray
    score: np.ndarray
    seconds: np.ndarray
    own: bool = True


@dataclass(frozen=True, eq=False)
class ReplayTable:
    """Tasks over one search space, with the configurations that were tried on them.

    ``configurations`` are of ``space``, except that one may lack a parameter whose activation nothing explains.
    ``default`` is the configuration that a search without any knowledge would take, where known. ``searched`` are the
    positions of the tasks that searches are made on; the others are history alone. ``None``: all are searched.
    ``left_out``: how many tasks of the source are no tasks here, by reason (see ``coverage``).
    """

    name: str
    space: SearchSpace
    configurations: list[dict[str, ParamValue]]
    tasks: tuple[ReplayTask, ...]
    default: Configuration | None = None
    searched: tuple[int, ...] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> ConfigurationEncoder:
        """The encoder whose columns are the parameters of the space."""
        scales: dict[str, Scale] = {}
        levels: dict[str, tuple[ParamValue, ...]] = {}
        for name, distribution in self.space.parameters.items():
            if isinstance(distribution, CategoricalDistribution):
                levels[name] = tuple(distribution.choices)
            elif isinstance(distribution, FloatDistribution | IntDistribution):
                scales[name] = Scale(float(distribution.low), float(distribution.high), distribution.log)
        return ConfigurationEncoder(scales, levels, {})

    @cached_property
    def X(self) -> np.ndarray:  # noqa: N802
        """What trees read of the configurations, shape (configurations, columns)."""
        return self.encoder.encode(self.configurations, self.space)

    @cached_property
    def U(self) -> np.ndarray:  # noqa: N802
        """The configurations as points of the unit cube, shape (configurations, unit columns)."""
        return self._unit.encode(self.configurations)

    @property
    def owners(self) -> np.ndarray:
        """For each column of ``U``, the position of its parameter in the space."""
        return self._unit.owners

    @cached_property
    def _unit(self) -> UnitEncoder:
        return UnitEncoder(self.space)

    @cached_property
    def digest(self) -> str:
        """Of all that a replay depends on: space, configurations, scores and meta-features, in hexadecimal."""
        found = hashlib.sha256(f"{self.space.digest} {self.default}".encode())
        found.update(self.X.tobytes())
        for task in self.tasks:
            found.update(f"{task.own} {task.record.group} {dict(task.record.metafeatures)}".encode())
            found.update(task.rows.tobytes() + task.score.tobytes())
        return found.hexdigest()[:16]

    @cached_property
    def labels(self) -> list[str]:
        """A name for every task that no other task of the table has."""
        names = [task.record.name for task in self.tasks]
        return [
            f"{name} ({names[:i].count(name) + 1})" if names[:i].count(name) else name for i, name in enumerate(names)
        ]

    @cached_property
    def has_history(self) -> bool:
        """Whether each task has another that is not of its group, to be its history."""
        return len({task.record.group for task in self.tasks}) > 1

    @cached_property
    def shared(self) -> bool:
        """Whether tasks have their configurations in common: most trials are of one that another group tried too."""
        times = Counter(row for row, _ in {(int(row), task.record.group) for task in self.tasks for row in task.rows})
        total = sum(times.values())
        return sum(count for count in times.values() if count > 1) > total / 2


def read_table(folder: str | Path) -> ReplayTable:
    """The one table in ``folder``. Raises ``UsageError`` where there are several, else as ``read_tables``."""
    tables = read_tables(folder)
    if len(tables) > 1:
        raise UsageError(
            "the folder holds several tables",
            field="table",
            value=[table.name for table in tables],
            remedy="Use read_tables.",
        )
    return tables[0]


def read_tables(folder: str | Path) -> list[ReplayTable]:
    """The tables in ``folder``: one per ``search_space_id`` of its trials, named after it, or one named as the folder.

    The layout is described in ``metatune.backtest.layout``. Numbers become float64. Raises ``DataError`` or
    ``SpaceError`` naming file, column or parameter.
    """
    folder = Path(folder)
    described = read_description(folder / "space.json")
    trials = read_parquet(folder / "trials.parquet", ["task_id", "y"])
    about = read_parquet(folder / "tasks.parquet", ["task_id"]).drop_duplicates("task_id").set_index("task_id")
    if "search_space_id" in trials and distinct(trials["search_space_id"], "trials.parquet['search_space_id']") > 1:
        check_known(trials["search_space_id"], "trials.parquet")
        parts = [(str(name), part) for name, part in trials.groupby("search_space_id")]
    else:
        parts = [(folder.resolve().name, trials)]
    return [_table(name, part.reset_index(drop=True), about, described) for name, part in parts]


def _table(name: str, trials: pd.DataFrame, tasks: pd.DataFrame, described: Mapping[str, Any]) -> ReplayTable:
    columns = parameter_columns(trials, described["params"])
    if not columns:
        raise DataError(
            "a replay needs a parameter that varies",
            field="trials.parquet",
            value=name,
            remedy="Add trials of other configurations, and describe their parameters in space.json.",
        )
    space = space_of(columns)
    position = pd.DataFrame({n: c.values for n, c in columns.items()}).groupby(list(columns), dropna=False, sort=False)
    codes = position.ngroup().to_numpy()
    first = np.unique(codes, return_index=True)[1]
    records = _records(trials, tasks, described)
    score = _scores(name, trials, records)
    unknown = np.full(len(trials), np.nan)
    seconds = as_numbers(trials["cost"], field="trials.parquet['cost']") if "cost" in trials else unknown
    found = [
        ReplayTask(records[task], codes[rows], score[rows], seconds[rows])
        for task, rows in trials.groupby("task_id", sort=False).indices.items()
    ]
    default = _default(space, described["params"])
    return ReplayTable(name, space, _configurations(space, columns, first), tuple(found), default)


def _default(space: SearchSpace, params: Mapping[str, Mapping[str, Any]]) -> Configuration | None:
    """The default, if all of its active parameters have one. Raises ``DataError`` for one that is not of ``space``."""
    given = {name: value for name in space if (value := params[name].get("default")) is not None}
    for name, value in given.items():
        if not _is_possible(space[name], value):
            raise DataError(
                "a default that the parameter cannot have",
                field=f"params[{name!r}]['default']",
                value=value,
                remedy=f"Use a value in {describe(space[name])}, widen that, or leave the default out.",
            )
    default, changes = space.clip(given)
    return None if any(change.reason == "missing" for change in changes) else default


def _is_possible(distribution: BaseDistribution, value: object) -> bool:
    """Whether ``value`` is allowed by ``distribution``, whose bounds may be those of a column in single precision."""
    if in_distribution(distribution, value):
        return True
    if isinstance(distribution, CategoricalDistribution) or not isinstance(value, float):
        return False
    return bool(np.isclose(np.float64(nearest(distribution, value)), value, rtol=_SINGLE, atol=0.0))


def _configurations(space: SearchSpace, columns: Mapping[str, Column], rows: np.ndarray) -> list[dict[str, ParamValue]]:
    cells = [columns[name].cells(rows) for name in space]
    names = list(space)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not ...}
        for row in zip(*cells, strict=True)
    ]


def _features(tasks: pd.DataFrame, prefix: str) -> pd.DataFrame:
    names = [str(name) for name in tasks if str(name).startswith(prefix)]
    columns = {name: as_numbers(tasks[name], field=f"tasks.parquet[{name!r}]") for name in names}
    return pd.DataFrame(columns, index=tasks.index, dtype=np.float64)


def _records(trials: pd.DataFrame, tasks: pd.DataFrame, described: Mapping[str, Any]) -> dict[Any, TaskRecord]:
    """The record of every task in ``trials``; meta-features are ``mf__*`` or ``q__*``, which more of the tasks have."""
    prefix, features = max(
        ((prefix, _features(tasks, prefix)) for prefix in ("mf__", "q__")),
        key=lambda found: int(np.isfinite(found[1].to_numpy()).any(axis=1).sum()),
    )
    names = [str(name) for name in features]
    directions = directions_of(trials, described)
    groups: dict[Any, str] = tasks["group"].dropna().astype(str).to_dict() if "group" in tasks else {}
    records = {}
    for task in trials["task_id"].unique():
        if task not in tasks.index:
            raise DataError("task not described", field="tasks.parquet", value=task, remedy="Add a row for it.")
        numbers = dict(zip(names, features.loc[task].to_numpy(), strict=True))
        records[task] = TaskRecord(
            name=str(task),
            kind="custom",
            metric=Metric(str(described.get("metric", "y")), directions[task]),
            fingerprint=str(task),
            group=groups.get(task, ""),  # without one, a task is a group of its own
            metafeatures={n.removeprefix(prefix): float(v) if np.isfinite(v) else np.nan for n, v in numbers.items()},
        )
    return records


def _scores(name: str, trials: pd.DataFrame, records: Mapping[Any, TaskRecord]) -> np.ndarray:
    """Higher-is-better scores of all trials; NaN where ``y`` is not finite."""
    y = as_numbers(trials["y"], field="trials.parquet['y']")
    minimised = np.array([records[task].metric.direction == "minimize" for task in trials["task_id"]])
    objective = next((f for start, f in OBJECTIVES.items() if name.startswith(start)), np.negative)
    return np.where(np.isfinite(y), np.where(minimised, objective(y), y), np.nan)
