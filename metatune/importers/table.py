"""``import_table``: trials in a CSV or Parquet file, one row each."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metatune.dataset import column_of
from metatune.errors import UsageError
from metatune.history.store import HistoryStore
from metatune.importers.columns import parsed
from metatune.importers.foreign import ForeignTrial, ImportLog, Origin, finite
from metatune.importers.intake import Settings, take_in
from metatune.importers.names import Names, checked_metric, is_training
from metatune.importers.report import ImportReport
from metatune.metric import Direction
from metatune.reading import read_table
from metatune.repair import Inspector
from metatune.task import Task

#: What pandas calls a column without a name: the index of a frame that was written with it.
_NAMELESS = re.compile(r"Unnamed: \d+(\.\d+)?")


def import_table(
    path: str | Path,
    store: HistoryStore,
    *,
    metric: str,
    direction: Direction | None = None,
    parameters: Sequence[str] = (),
    task_column: str | None = None,
    family: str | None = None,
    task: Task | str | None = None,
    names: Names | None = None,
    separator: str | None = None,
    decimal: str = ".",
    dry_run: bool = False,
) -> ImportReport:
    """Import the rows of a CSV or Parquet file into ``store``.

    ``metric`` is the column with the score; ``direction`` (``maximize``, ``minimize``) may be left out if its name
    tells. ``parameters``: the columns of the configuration; unless given, all that have a name which is none of a
    score or an identifier. ``task_column`` says which task a row belongs to; rows without one are left out. Without
    it, all belong to ``task``, a name or a task with data, or to the one named like the file. ``family`` is what was
    tuned, the file's name unless given. A row without a score is a trial that failed. ``separator`` and ``decimal``: as
    for ``Task.from_file``.

    Raises ``UsageError`` for a wrong column, ``DataError`` for a file that cannot be read, ``StoreError``.
    """
    file = Path(path)
    frame = read_table(file, Inspector(repair=False), separator=separator, decimal=decimal).rename(columns=str)
    names = names or Names.load()
    checked_metric(metric)
    column_of(frame, metric, field="metric")
    if not pd.api.types.is_numeric_dtype(frame[metric]):
        remedy = "Name the score's column, or pass decimal=',' if its numbers have decimal commas."
        raise UsageError("not a column of numbers", field="metric", value=metric, remedy=remedy)
    if task_column is not None:
        column_of(frame, task_column, field="task_column")
        if isinstance(task, Task):
            raise UsageError(
                "one task with data, but a column of tasks", field="task_column", value=task_column,
                remedy="Leave one of the two out.",
            )  # fmt: skip
    log = ImportLog()
    if task_column is not None:
        frame = _of_tasks(frame, task_column, log)
    others = [c for c in frame.columns if c not in (metric, task_column) and not _NAMELESS.fullmatch(c)]
    for name in parameters or others:
        column_of(frame, name, field="parameters")
    wanted = list(parameters) or [c for c in others if not _is_score(frame[c], names, log)]
    settings = Settings(store, names, task if isinstance(task, Task) else None, dry_run)
    usual = (task.name if isinstance(task, Task) else task) or file.stem
    trials = _trials(frame, wanted, metric, direction, task_column, family or file.stem, usual, names)
    return take_in(trials, log, settings, source=f"table {file.name}")


def _trials(
    frame: pd.DataFrame,
    wanted: Sequence[str],
    metric: str,
    direction: Direction | None,
    task_column: str | None,
    family: str,
    task: str,
    names: Names,
) -> Iterator[ForeignTrial]:
    objective = names.objective(metric, direction)
    if objective is None:
        raise UsageError(
            "its name does not tell whether it is to be maximised or minimised",
            field="direction",
            value=None,
            remedy="Give direction 'maximize' or 'minimize'.",
        )
    columns = {name: _values(frame[name]) for name in wanted}
    tasks = [task] * len(frame) if task_column is None else frame[task_column].tolist()
    values = frame[metric].astype("float64").tolist()
    origins: dict[str, Origin] = {}
    for row, (one, raw) in enumerate(zip(tasks, values, strict=True)):
        if one not in origins:
            origins[one] = Origin("table", f"{one}/{family}", one, family, objective.metric, one)
        parameters = {name: column[row] for name, column in columns.items() if column[row] is not None}
        value = finite(raw)
        yield ForeignTrial(
            origin=origins[one],
            id=_identity(one, family, metric, raw, parameters),
            parameters=parameters,
            status="failed" if value is None else "complete",
            value=None if value is None else objective.sign * value,
            error="no score" if value is None else None,
        )


def _of_tasks(frame: pd.DataFrame, column: str, log: ImportLog) -> pd.DataFrame:
    """The rows that name their task, with these names as texts."""
    told = [None if value is None else str(value) for value in _values(frame[column])]
    if unknown := told.count(None):
        log.skip(f"no task in the column {column!r}", unknown)
    frame = frame.copy(deep=False)
    frame[column] = pd.Series(told, index=frame.index, dtype=object)
    return frame[frame[column].notna()]


def _is_score(column: "pd.Series[Any]", names: Names, log: ImportLog) -> bool:
    """Whether ``column`` holds, by its name, scores; ``log`` is told."""
    name = str(column.name)
    score = pd.api.types.is_numeric_dtype(column) and (is_training(name) or names.objective(name) is not None)
    if score:
        log.note(f"{name} is taken for a score, not for a parameter; --parameters lists the parameters.")
    return score


def _identity(task: str, family: str, metric: str, raw: float, parameters: Mapping[str, object]) -> str:
    """A table has no identifiers: the row itself is one, however it is written.

    Numbers become texts for pandas as soon as one text is in their column.
    """
    plain = {name: _alike(parsed(value)) for name, value in parameters.items()}
    return hashlib.sha256(json.dumps([task, family, metric, raw, plain], sort_keys=True).encode()).hexdigest()


def _alike(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _values(column: "pd.Series[Any]") -> list[object]:
    """The values, ``None`` where missing; whole numbers that pandas made floats because some are missing are whole."""
    present = column.dropna()
    whole = bool(len(present) < len(column)) and present.dtype == np.float64 and bool((present % 1 == 0).all())
    plain = [_plain(value) for value in column.tolist()]
    return [int(value) if whole and isinstance(value, float) else value for value in plain]


def _plain(value: Any) -> object:
    """``value`` if a parameter can have it, ``None`` if it is missing, else its text."""
    if isinstance(value, np.ndarray):
        return str(value.tolist())
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
