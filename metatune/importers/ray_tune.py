"""``import_ray``: the result folders of Ray Tune, read without Ray; its pickled files are never opened."""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metatune.errors import UsageError
from metatune.history.store import HistoryStore
from metatune.importers.columns import parsed
from metatune.importers.files import checked_folder, flat, parsed_json, read_json, read_json_lines
from metatune.importers.foreign import ForeignTrial, ImportLog, Origin, finite
from metatune.importers.intake import Settings, take_in
from metatune.importers.names import Names, Objective, checked_metric, is_training
from metatune.importers.report import ImportReport
from metatune.metric import Direction
from metatune.task import Task

#: What Ray adds to every result.
_OWN = frozenset(
    {"timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date", "time_this_iter_s",
     "time_total_s", "pid", "hostname", "node_ip", "time_since_restore", "iterations_since_restore", "timesteps_total",
     "episodes_total", "experiment_id", "experiment_tag", "timesteps_since_restore", "warmup_time", "should_checkpoint"}
)  # fmt: skip
#: How Ray calls a trial that ended, well or by an error.
_ENDED, _FAILED = "TERMINATED", "ERROR"
_OBJECT = re.compile(r"<.*>", re.DOTALL)


@dataclass(frozen=True)
class _Folder:
    """One trial: its parameters, its results in order, the last line of its error, if it ended by one, and whether it
    ended.
    """

    path: Path
    parameters: Mapping[str, Any]
    results: Sequence[Mapping[str, Any]]
    error: str | None
    ended: bool


def import_ray(
    directory: str | Path,
    store: HistoryStore,
    *,
    metric: str | None = None,
    direction: Direction | None = None,
    family: str | None = None,
    task: Task | str | None = None,
    names: Names | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Import every experiment below ``directory``, known by the ``params.json`` in the folder of each trial.

    ``metric`` and ``direction`` (``maximize``, ``minimize``) may be left out where the trials report one metric that
    metatune knows. A trial counts by its last result; one that was stopped before the others is pruned. One that runs,
    by ``experiment_state-*.json`` or its own last result, is left for later.
    ``family`` and ``task`` (see ``import_optuna``) are the name of the experiment's folder unless given.

    Raises ``UsageError`` for a folder without trials, or where metric or direction must be named.
    """
    root = checked_folder(directory, "params.json", "Ray Tune")
    checked_metric(metric)
    log = ImportLog()
    settings = Settings(store, names or Names.load(), task if isinstance(task, Task) else None, dry_run)
    name = task.name if isinstance(task, Task) else task
    trials = _trials(root, log, settings.names, metric=metric, direction=direction, family=family, task=name)
    return take_in(trials, log, settings, source=f"Ray Tune folder {root.name}")


def _trials(
    root: Path,
    log: ImportLog,
    names: Names,
    *,
    metric: str | None,
    direction: Direction | None,
    family: str | None,
    task: str | None,
) -> Iterator[ForeignTrial]:
    experiments = {
        folder: _folders(folder, log) for folder in sorted({p.parent.parent for p in root.rglob("params.json")})
    }
    reported = {folder: _reported(folders) for folder, folders in experiments.items()}
    if metric is not None and not any(metric in found for found in reported.values()):
        known = dict.fromkeys(name for found in reported.values() for name in found)
        raise UsageError(
            "no trial reports this metric", field="metric", value=metric, remedy=f"Reported: {', '.join(known)}."
        )
    for experiment, folders in experiments.items():
        if metric not in (None, *reported[experiment]) or not (metric or reported[experiment]):
            log.skip("no trial of the experiment reports the metric", len(folders))
            continue
        objective = _objective(reported[experiment], metric, direction, names)
        name = experiment.name
        origin = Origin("ray", name, task or name, family or name, objective.metric, name)
        longest = max((len(folder.results) for folder in folders), default=0)
        for folder in folders:
            if not folder.results and folder.error is None:
                log.skip("no result yet")
            elif not folder.ended:
                log.skip("not finished")
            elif not folder.parameters:
                log.skip("no parameters")
            else:
                yield _foreign(folder, origin, objective, longest)


def _statuses(experiment: Path) -> dict[str, str]:
    """The status of each trial, by its id, as Ray kept them last: ``TERMINATED`` or ``ERROR`` if it ended.

    A resumed experiment has a file for each session, named by when it began; each holds the trials as JSON texts.
    """
    found: dict[str, str] = {}
    for path in sorted(experiment.glob("experiment_state-*.json")):
        raw = read_json(path)
        entries = raw.get("trial_data") or raw.get("checkpoints") if isinstance(raw, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            text = entry[0] if isinstance(entry, list) and entry else entry
            trial = parsed_json(text) if isinstance(text, str) else text
            if isinstance(trial, dict):
                found[str(trial.get("trial_id"))] = str(trial.get("status"))
    return found


def _folders(experiment: Path, log: ImportLog) -> list[_Folder]:
    statuses = _statuses(experiment)
    return [_read(path.parent, statuses, log) for path in sorted(experiment.glob("*/params.json"))]


def _read(path: Path, statuses: Mapping[str, str], log: ImportLog) -> _Folder:
    raw = read_json(path / "params.json")
    parameters = {k: v for k, v in (_settings(raw) if isinstance(raw, dict) else {}).items() if _is_setting(v, k, log)}
    results = [flat(line) for line in read_json_lines(path / "result.json") if isinstance(line, dict)]
    if not results:
        results = _progress(path / "progress.csv")
    last = results[-1] if results else {}
    status = statuses.get(str(last.get("trial_id")))
    error = _error(path) if status in (None, _FAILED) else None  # else another attempt came after it
    # The status may be older than the last result; but a function that just returns leaves no result that says so.
    told = status in (_ENDED, _FAILED) if status else error is not None or last.get("done") is not False
    return _Folder(path, parameters, results, error, told or last.get("done") is True)


def _error(path: Path) -> str | None:
    if not (path / "error.txt").is_file():
        return None
    lines = (path / "error.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "failed in Ray Tune"


def _settings(raw: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The parameters, flat; what Ray could only pickle (a mapping with ``_type``) becomes the text ``<pickled>``."""
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if isinstance(value, Mapping) and "_type" not in value:
            found |= _settings(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = "<pickled>" if isinstance(value, Mapping) else value
    return found


def _is_setting(value: object, name: str, log: ImportLog) -> bool:
    """Whether ``value`` is a plain one; objects that Ray wrote as their ``repr`` or pickled are not."""
    if isinstance(value, str) and _OBJECT.fullmatch(value):
        log.note(f"{name}: holds an object of Python, not a setting; left out.")
        return False
    return True


def _progress(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return [{k: parsed(v or "") for k, v in row.items() if k is not None} for row in csv.DictReader(file)]


def _reported(folders: Sequence[_Folder]) -> list[str]:
    """The metrics of other rows than the training rows that have a number in any trial."""
    return [
        name
        for name in dict.fromkeys(name for folder in folders for result in folder.results for name in result)
        if name not in _OWN and not name.startswith(("config/", "perf/", "timers/")) and not is_training(name)
        and any(finite(result.get(name)) is not None for folder in folders for result in folder.results)
    ]  # fmt: skip


def _objective(seen: Sequence[str], metric: str | None, direction: Direction | None, names: Names) -> Objective:
    known = [found for name in ([metric] if metric else seen) if (found := names.objective(name, direction))]
    if len(known) == 1:
        return known[0]
    if metric is not None:
        raise UsageError(
            "its name does not tell whether it is to be maximised or minimised",
            field="direction",
            value=None,
            remedy="Give direction 'maximize' or 'minimize'.",
        )
    raise UsageError(
        "which metric counts?",
        field="metric",
        value=None,
        remedy=f"Name one of: {', '.join(seen)}; and its direction.",
    )


def _foreign(folder: _Folder, origin: Origin, objective: Objective, longest: int) -> ForeignTrial:
    curve = [finite(result.get(objective.raw)) for result in folder.results]
    last = next((value for value in reversed(curve) if value is not None), None)
    failed = folder.error is not None or last is None
    first, end = (folder.results[0], folder.results[-1]) if folder.results else ({}, {})
    started = finite(first.get("timestamp"))
    partial = not failed and len(folder.results) < longest
    seconds = finite(end.get("time_total_s"))
    return ForeignTrial(
        origin=origin,
        id=f"{origin.study}/{first.get('trial_id', folder.path.name)}/{first.get('timestamp', '')}",
        parameters={k: json.dumps(v) if isinstance(v, list) else v for k, v in folder.parameters.items()},
        status="failed" if failed else "pruned" if partial else "complete",
        value=None if failed or last is None else objective.sign * last,
        curve=tuple(math.nan if v is None else objective.sign * v for v in curve) if len(curve) > 1 else (),
        fidelity=max(len(folder.results), 1) / longest if partial else 1.0,
        seconds=math.nan if seconds is None else seconds,
        started=math.nan if started is None else started,
        error=(folder.error or "no finite score") if failed else None,
    )
