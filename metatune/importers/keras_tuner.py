"""``import_kerastuner``: the folders in which KerasTuner keeps its searches, read as plain JSON."""

import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from metatune.errors import SpaceError, UsageError
from metatune.history.store import HistoryStore
from metatune.importers.files import checked_folder, read_json
from metatune.importers.foreign import ForeignTrial, ImportLog, Origin, finite
from metatune.importers.intake import Settings, take_in
from metatune.importers.names import Names, Objective, checked_metric, is_training
from metatune.importers.report import ImportReport
from metatune.metric import Direction
from metatune.parameter import joined
from metatune.space import Condition, SearchSpace
from metatune.task import Task

_DIRECTIONS: dict[object, Direction] = {"max": "maximize", "min": "minimize"}
_ENDED = {"COMPLETED", "STOPPED"}
_FAILED = {"FAILED", "INVALID"}
#: What Hyperband keeps among the values of a trial.
_INTERNAL = "tuner/"


def import_kerastuner(
    directory: str | Path,
    store: HistoryStore,
    *,
    metric: str | None = None,
    family: str | None = None,
    task: Task | str | None = None,
    names: Names | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Import every search below ``directory``, known by its ``trial_*/trial.json`` files.

    ``metric``: the metric of Keras that counts; unless given, the one that equals the trials' scores.
    ``family`` and ``task`` (see ``import_optuna``) are the name of the search's folder unless given.

    Raises ``UsageError`` for a folder without such files, or a metric of the training rows.
    """
    root = checked_folder(directory, "trial_*/trial.json", "KerasTuner")
    checked_metric(metric)
    log = ImportLog()
    settings = Settings(store, names or Names.load(), task if isinstance(task, Task) else None, dry_run)
    name = task.name if isinstance(task, Task) else task
    trials = _trials(root, log, settings.names, metric=metric, family=family, task=name)
    return take_in(trials, log, settings, source=f"KerasTuner folder {root.name}")


def _trials(
    root: Path, log: ImportLog, names: Names, *, metric: str | None, family: str | None, task: str | None
) -> Iterator[ForeignTrial]:
    projects = sorted({path.parent.parent for path in root.rglob("trial_*/trial.json")})
    found = {project: _read(project, log) for project in projects}
    reported = dict.fromkeys(name for raws in found.values() for name in _common(_scored(raws)))
    if metric is not None and metric not in reported:
        raise UsageError(
            "no trial has such a metric",
            field="metric",
            value=metric,
            remedy=f"Use one of: {', '.join(reported) or 'none'}.",
        )
    for project, raws in found.items():
        try:
            space = _space_of(raws)
        except SpaceError as error:
            log.skip_space(error, len(raws))
            continue
        objective = _objective(raws, metric, names)
        if space is None or objective is None:
            log.skip("no parameters" if space is None else "no score of validation rows", len(raws))
            continue
        name = project.name
        origin = Origin("kerastuner", name, task or name, family or name, objective.metric, name, space)
        longest = max((_epochs(raw) for raw in raws), default=0)
        for raw in raws:
            if raw.get("status") in _ENDED | _FAILED:
                yield _foreign(raw, origin, objective, names, longest)
            else:
                log.skip("not finished: waiting or running")


def _read(project: Path, log: ImportLog) -> list[Mapping[str, Any]]:
    raws = []
    for path in sorted(project.glob("trial_*/trial.json")):
        raw = read_json(path)
        if _is_trial(raw):
            raws.append(raw)
        else:
            log.skip("not a trial of KerasTuner, or cut off")
    return raws


def _is_trial(raw: object) -> bool:
    if not isinstance(raw, dict):
        return False
    parameters, metrics = raw.get("hyperparameters"), raw.get("metrics")
    return (
        isinstance(parameters, dict)
        and isinstance(parameters.get("values"), dict)
        and isinstance(parameters.get("space"), list)
        and all(isinstance(entry, dict) and isinstance(entry.get("config"), dict) for entry in parameters["space"])
        and isinstance(metrics, dict)
        and isinstance(metrics.get("metrics"), dict)
        and all(isinstance(entry, dict) for entry in metrics["metrics"].values())
    )


def _metrics(raw: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return raw["metrics"]["metrics"]  # type: ignore[no-any-return]


def _observations(entry: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Pairs (step, mean over executions), by step."""
    found = []
    for observation in entry.get("observations", ()):
        values = [value for value in map(finite, observation.get("value", ())) if value is not None]
        if values and isinstance(observation.get("step"), int):
            found.append((observation["step"], fmean(values)))
    return sorted(found)


def _scored(raws: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [raw for raw in raws if finite(raw.get("score")) is not None and _metrics(raw)]


def _common(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics that all trials with a score have."""
    return [name for name in (_metrics(scored[0]) if scored else ()) if all(name in _metrics(raw) for raw in scored)]


def _objective(raws: Sequence[Mapping[str, Any]], given: str | None, names: Names) -> Objective | None:
    """What the search optimised: KerasTuner does not name it, but it equals the score of every trial."""
    scored = _scored(raws)
    common = _common(scored)
    wanted = [name for name in common if (name == given if given else all(_explains(name, raw) for raw in scored))]
    candidates = sorted(wanted, key=lambda name: not name.startswith("val_"))
    candidates = [name for name in candidates if not is_training(name) and f"val_{name}" not in common]
    if not candidates:
        return None
    direction = _DIRECTIONS.get(_metrics(scored[0])[candidates[0]].get("direction"))
    return names.objective(candidates[0], direction)


def _explains(name: str, raw: Mapping[str, Any]) -> bool:
    return any(math.isclose(value, raw["score"], rel_tol=1e-9) for _, value in _observations(_metrics(raw)[name]))


def _epochs(raw: Mapping[str, Any]) -> int:
    value = raw["hyperparameters"]["values"].get("tuner/epochs", 0)
    return value if isinstance(value, int) else 0


def _foreign(raw: Mapping[str, Any], origin: Origin, objective: Objective, names: Names, longest: int) -> ForeignTrial:
    observed = _observations(_metrics(raw).get(objective.raw, {}))
    best = raw.get("best_step")
    value = dict(observed).get(best) if isinstance(best, int) else None
    value = observed[-1][1] if value is None and observed else value
    failed = raw["status"] in _FAILED or value is None
    epochs = _epochs(raw)
    resumed = raw["hyperparameters"]["values"].get("tuner/initial_epoch", 0) != 0  # its steps count from there
    partial = 0 < epochs < longest  # Hyperband: not promoted to the full number of epochs
    values = {k: v for k, v in raw["hyperparameters"]["values"].items() if not k.startswith(_INTERNAL)}
    assert origin.space is not None
    return ForeignTrial(
        origin=origin,
        # Identifiers are small numbers, alike in every search: what the file says tells trials apart.
        id=hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest(),
        parameters=origin.space.active(values),
        status="failed" if failed else "pruned" if partial else "complete",
        value=None if failed or value is None else objective.sign * value,
        metrics={} if failed else _others(raw, objective, names),
        curve=tuple(objective.sign * score for _, score in observed) if len(observed) > 1 else (),
        best_step=best + 1 if isinstance(best, int) and not failed and not resumed else None,
        fidelity=epochs / longest if partial else 1.0,
        error=_last_line(raw.get("message")) if failed else None,
    )


def _others(raw: Mapping[str, Any], objective: Objective, names: Names) -> dict[str, float]:
    """Further validation metrics at the best step, under metatune's names."""
    found = {}
    for name, entry in _metrics(raw).items():
        known = names.objective(name, _DIRECTIONS.get(entry.get("direction")))
        observed = _observations(entry)
        if name.startswith("val_") and known and observed and known.metric.name != objective.metric.name:
            at_best = [value for step, value in observed if step == raw.get("best_step")]
            found[known.metric.name] = known.sign * (at_best or [observed[-1][1]])[0]
    return found


def _last_line(message: object) -> str:
    lines = [line.strip() for line in str(message or "").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "failed in KerasTuner"


def _space_of(raws: Sequence[Mapping[str, Any]]) -> SearchSpace | None:
    """The space of a search: every hyperparameter of any trial, since conditional ones appear as they are met."""
    entries: dict[str, list[Mapping[str, Any]]] = {}
    for raw in raws:
        for entry in raw["hyperparameters"]["space"]:
            name, known = entry["config"].get("name"), entries.setdefault(str(entry["config"].get("name")), [])
            if isinstance(name, str) and entry not in known:
                known.append(entry)
    # Under another condition, or after the program was changed, the same name may have another range.
    declared = {
        name: [distribution for entry in found if (distribution := _distribution(entry))]
        for name, found in entries.items()
        if not name.startswith(_INTERNAL)
    }
    parameters = {name: reduce(joined, found) for name, found in declared.items() if found}
    if not parameters:
        return None
    conditions = {name: condition for name in parameters if (condition := _condition(entries[name], parameters))}
    try:
        return SearchSpace(parameters, conditions)
    except SpaceError:  # conditions that a space does not know
        return SearchSpace(parameters)


def _distribution(entry: Mapping[str, Any]) -> BaseDistribution | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Optuna's: a range ends at its last step, as in KerasTuner
            return _declared(entry)
    except (KeyError, TypeError, ValueError):
        return None


def _declared(entry: Mapping[str, Any]) -> BaseDistribution | None:
    config = entry["config"]
    log = config.get("sampling") == "log"
    match entry.get("class_name"):
        case "Int":
            step = 1 if log else int(config.get("step") or 1)
            return IntDistribution(int(config["min_value"]), int(config["max_value"]), log=log, step=step)
        case "Float":
            grid = None if log else config.get("step")
            return FloatDistribution(float(config["min_value"]), float(config["max_value"]), log=log, step=grid)
        case "Boolean":
            return CategoricalDistribution((False, True))
        case "Choice":
            return CategoricalDistribution(tuple(config["values"]))
        case "Fixed":
            return CategoricalDistribution((config["value"],))
    return None


def _condition(entries: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> Condition | None:
    """When a hyperparameter is active. The same one may be there under several values of one parent."""
    parents: dict[str, list[Any]] = {}
    for entry in entries:
        conditions = entry["config"].get("conditions") or []
        if not conditions:
            return None
        nearest = conditions[-1].get("config", {})  # the outer ones hold whenever their child's parent is active
        parents.setdefault(str(nearest.get("name")), []).extend(nearest.get("values") or ())
    if len(parents) != 1 or not set(parents) <= set(parameters):
        return None
    parent, values = next(iter(parents.items()))
    return Condition(parent, tuple(dict.fromkeys(values)))
