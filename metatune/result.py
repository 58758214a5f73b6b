"""``TuneResult``: what a search gave, and how it is saved."""

import json
import math
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from metatune.learners.base import TaskModel
from metatune.metric import Metric
from metatune.task import TaskRecord
from metatune.trial import STATUSES, Trial
from metatune.wording import duration, legible, number, settings_text, told

_COLUMNS = ("number", "value", "best", "status", "origin", "seconds", "error")
_PACKAGES = ("metatune", "optuna", "scikit-learn", "lightgbm", "keras")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of a search after ``trial`` ended.

    ``best`` is the best complete trial so far. ``done`` of ``total`` trials ended, those before a resume
    included; ``seconds`` is wall time since this call of tune began.
    """

    trial: Trial
    best: Trial | None
    done: int
    total: int
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class TuneResult:
    """What a search gave.

    ``best_value`` is the metric in its own unit on the validation rows; it, ``best_trial`` and
    ``best_configuration`` are ``None`` only for a search that was interrupted before its first complete trial.
    ``trials`` are all ended trials by number, those before a resume included. ``model`` is the best
    configuration refitted on all rows but the test split, which predicts the labels that the target had;
    ``test_scores`` its scores there, ``test_score`` the one by the task's metric; all empty after an interruption, for
    an own objective, or without refit.
    ``seconds`` is wall time of this call of tune, before which ``earlier`` trials had ended. ``wanted`` is how many
    trials there were to be, where the search came to an end before, and ``ending`` says in words why. ``recorded``: the
    search is in a history and can be resumed. ``warnings`` are texts for the user; ``unsaved`` are trials that wait in
    the local spool because the history did not take them yet (``metatune sync``).
    """

    task: TaskRecord
    family: str
    study_id: str
    trials: tuple[Trial, ...]
    best_trial: Trial | None
    study: optuna.Study
    model: TaskModel | None = None
    test_scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    interrupted: bool = False
    earlier: int = 0
    wanted: int | None = None
    ending: str | None = None
    recorded: bool = False
    warnings: tuple[str, ...] = ()
    unsaved: tuple[Trial, ...] = ()

    def __repr__(self) -> str:
        """For a person: what was found, where it came from, and what to do with it."""
        metric, best = self.task.metric, self.best_trial
        rows: list[tuple[str, str]] = []
        if best is None:
            rows.append(("best", "no trial was complete"))
        else:
            better = "higher" if metric.direction == "maximize" else "lower"
            origin = f"trial {best.number}, from {best.origin}"
            rows.append(("best", f"{legible(metric.name)} {number(best.value)} ({better} is better), {origin}"))
            rows.append(("configuration", settings_text(best.configuration)))
        if self.test_score is not None:
            rows.append(("test score", f"{number(self.test_score)}, on rows that no trial saw"))
        rows.append(("trials", self.trials_text))
        rows.append(("study", self.study_id))
        rows += [("note", legible(warning)) for warning in self.warnings]
        rows.append(("next", self._next()))
        return told(f"{legible(self.family)} on {legible(self.task.name, limit=80)}: {self.state}", rows)

    @property
    def state(self) -> str:
        """How the search ended, in words."""
        return "interrupted" if self.interrupted else self.ending or "done"

    @property
    def trials_text(self) -> str:
        """How many trials ended in which time, and how many of them were not complete, in words."""
        counts = Counter(trial.status for trial in self.trials)
        others = [f"{counts[status]} {status}" for status in STATUSES if status != "complete" and counts[status]]
        ended = len(self.trials) - counts["interrupted"]
        text = str(ended) if self.wanted is None else f"{ended} of {self.wanted}"
        if self.earlier:
            text += f" ({ended - self.earlier} in this call, {duration(self.seconds)})"
        elif math.isfinite(self.seconds):
            text += f" in {duration(self.seconds)}"
        return ", ".join([text, *others])

    def _next(self) -> str:
        known = [".best_configuration"] if self.best_trial is not None else []
        known += [".model.predict(X)"] if self.model is not None else []
        resume = [f"tune(..., resume={self.study_id!r}) goes on"] if self.interrupted and self.recorded else []
        return ", ".join([*known, ".frame (all trials)", ".save(folder)", *resume])

    @property
    def best_configuration(self) -> dict[str, Any] | None:
        """The configuration of the best trial, as proposed: not as few rows limit it, nor where training stopped."""
        return None if self.best_trial is None else dict(self.best_trial.configuration)

    @property
    def best_value(self) -> float | None:
        """The validation score of the best trial."""
        return None if self.best_trial is None else self.best_trial.value

    @property
    def test_score(self) -> float | None:
        """The task's metric on the test split."""
        return self.test_scores.get(self.task.metric.name)

    @property
    def frame(self) -> pd.DataFrame:
        """One row per trial: number, value, best (value so far), status, origin, seconds, error, then the columns
        ``params_<name>`` and ``metrics_<name>``.
        """
        rows: list[dict[str, Any]] = []
        best: Trial | None = None
        for trial in self.trials:
            best = best_of((best, trial), self.task.metric)
            row = {name: getattr(trial, name) for name in _COLUMNS if name != "best"}
            row["best"] = None if best is None else best.value
            row |= {f"params_{name}": value for name, value in trial.configuration.items()}
            rows.append(row | {f"metrics_{name}": value for name, value in trial.metrics.items()})
        names = dict.fromkeys([*_COLUMNS, *(name for row in rows for name in row)])
        columns = sorted(names, key=lambda name: (name.startswith("metrics_"), name.startswith("params_")))
        return pd.DataFrame(rows, columns=columns).astype({"value": float, "best": float})

    def save(self, directory: str | Path) -> Path:
        """Write ``result.json`` and the files of the model, if there is one, into ``directory``; gives that folder.

        ``learners.load_model(directory)`` reads the model.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        if self.model is not None:
            self.model.save(folder)
        self.write_json(folder / "result.json")
        return folder

    def write_json(self, path: Path) -> None:
        """Write configuration, scores, study and versions to ``path``."""
        best = self.best_trial
        content = {
            "task": self.task.name,
            "kind": self.task.kind,
            "metric": self.task.metric.name,
            "direction": self.task.metric.direction,
            "family": self.family,
            "study_id": self.study_id,
            "configuration": self.best_configuration,
            "value": self.best_value,
            "metrics": {} if best is None else dict(best.metrics),
            "test_scores": dict(self.test_scores),
            "n_trials": len(self.trials),
            "interrupted": self.interrupted,
            "warnings": list(self.warnings),
            "versions": versions(),
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def best_of(trials: Iterable[Trial | None], metric: Metric) -> Trial | None:
    """The best complete trial of ``trials`` (``None`` entries are skipped), the first of equal ones."""
    best, highest = None, -math.inf
    for trial in trials:
        if trial is not None and trial.status == "complete" and trial.value is not None:
            score = metric.score(trial.value)
            if best is None or score > highest:
                best, highest = trial, score
    return best


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that shape a result, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
