"""Judge one configuration of a family on one task; train the final model; turn an evaluation into a ``Trial``."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna

from metatune.errors import MissingDependencyError, SearchError
from metatune.learners.base import FittedModel, ModelFamily, Report, TaskModel
from metatune.learners.choice import check_family
from metatune.learners.scoring import scores
from metatune.task import Task
from metatune.trial import Configuration, Trial
from metatune.wording import plural

#: A class with fewer test rows is told: a score of so few is an accident.
_FEW = 5
#: So many of such classes are named.
_LISTED = 5


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gave.

    ``value`` is the task's metric in its own unit, the mean over the folds, always finite; ``metrics`` holds it and
    the standard scores. ``curve`` is the mean over the folds of the metric after each step, as long as the shortest
    of them. ``seconds`` is wall time. ``best_step`` is the mean step that early stopping kept, rounded.
    """

    value: float
    metrics: Mapping[str, float]
    curve: tuple[float, ...]
    seconds: float
    best_step: int | None


def evaluate(
    task: Task,
    family: ModelFamily[Any],
    configuration: Configuration,
    *,
    seed: int = 0,
    threads: int = 1,
    report: Report | None = None,
) -> Outcome:
    """Train on the training rows of every fold and score on its validation rows.

    With one fold (a holdout), ``report`` gets the metric after every step, as the family gives it; with several, the
    mean so far after every fold. Raises ``UsageError`` for a task without data or one that the family cannot learn,
    ``SearchError`` when the metric is not finite, and whatever training or ``report`` raises.
    """
    data = check_family(task, family)
    start = time.perf_counter()
    found: list[dict[str, float]] = []
    models: list[FittedModel[Any]] = []
    inner = report if len(task.folds) == 1 else None
    for number, (train, valid) in enumerate(task.folds, start=1):
        judge = data.take(valid)
        model = family.fit(
            configuration,
            data.take(train),
            valid=judge,
            metric=task.metric,
            seed=seed,
            report=inner,
            threads=threads,
        )
        found.append(scores(model, judge, task.metric))
        models.append(model)
        if report is not None and inner is None:
            report(number, _mean_of(found, task.metric.name))
    return Outcome(
        value=_mean_of(found, task.metric.name),
        metrics=_mean_scores(found),
        curve=_mean_curve([model.curve for model in models]),
        seconds=time.perf_counter() - start,
        best_step=_mean_step([model.best_step for model in models]),
    )


def refit(
    task: Task,
    family: ModelFamily[Any],
    configuration: Configuration,
    *,
    best_step: int | None,
    seed: int = 0,
    threads: int = 1,
) -> TaskModel:
    """The final model: trained on all rows that trials may see, for ``best_step`` steps where given."""
    data = check_family(task, family).take(task.search_rows)
    fitted = family.fit(
        configuration, data, valid=None, metric=task.metric, seed=seed, steps=best_step, threads=threads
    )
    return fitted.labelled(data.classes, data.raw)


def test_scores(task: Task, model: TaskModel) -> dict[str, float]:
    """The scores of ``model`` on the test split, empty when the task has none."""
    if task.data is None or not len(task.test):
        return {}
    return scores(model.fitted, task.data.take(task.test), task.metric)


# pytest would collect the function as a test wherever it is imported.
test_scores.__test__ = False  # type: ignore[attr-defined]


def doubts(task: Task, found: Mapping[str, float]) -> tuple[str, ...]:
    """What is to be known of the scores ``found`` on the test split, in sentences: what there is too little of."""
    data, metric = task.data, task.metric
    if data is None or not len(task.test):
        return ()
    told, rows = [], plural(len(task.test), "test row")
    counts = (
        dict(zip(data.classes, np.bincount(data.y[task.test], minlength=data.n_classes).tolist(), strict=True))
        if data.classes
        else {}
    )
    if metric.name not in found:
        present = sum(count > 0 for count in counts.values())
        lacking = bool(counts) and present < metric.classes_judged(data.n_classes)
        why = f"it needs more than {plural(present, 'class', 'classes')}" if lacking else "it is not finite"
        told.append(f"There is no test score by {metric.name} on {rows}: {why}.")
    few = [f"{label!r} ({plural(count, 'row')})" for label, count in counts.items() if count < _FEW]
    if few:
        more = f" and {len(few) - _LISTED:,} more classes" if len(few) > _LISTED else ""
        told.append(
            f"The scores of {rows} say little about classes that are rare there: {', '.join(few[:_LISTED])}{more}."
        )
    return tuple(told)


@dataclass
class _Reports:
    """Keeps what was reported, and passes it on."""

    forward: Report | None
    pairs: list[tuple[int, float]] = field(default_factory=list)

    def __call__(self, step: int, value: float) -> None:
        self.pairs.append((int(step), float(value)))
        if self.forward is not None:
            self.forward(step, value)


def run_trial(
    task: Task,
    family: ModelFamily[Any],
    configuration: Configuration,
    *,
    number: int = 0,
    origin: str = "unknown",
    seed: int = 0,
    threads: int = 1,
    report: Report | None = None,
) -> Trial:
    """Evaluate ``configuration`` and give the trial, ``complete``, ``failed`` or ``pruned``.

    A pruned trial has the last reported value, the values reported until then as its curve, and the share of the
    steps or folds that it took as its fidelity. ``KeyboardInterrupt`` and ``MissingDependencyError`` travel.
    """
    reports = _Reports(report)
    started, start = time.time(), time.perf_counter()
    try:
        outcome = evaluate(task, family, configuration, seed=seed, threads=threads, report=reports)
    except optuna.TrialPruned:
        return Trial(
            configuration=configuration,
            status="pruned",
            value=reports.pairs[-1][1] if reports.pairs else None,
            number=number,
            curve=_pruned_curve(reports.pairs),
            reported=tuple(reports.pairs),
            fidelity=_share(task, family, configuration, reports.pairs),
            seconds=time.perf_counter() - start,
            origin=origin,
            started=started,
        )
    except MissingDependencyError:  # no configuration can do without it, and the user can mend it
        raise
    # Training is third-party code that may raise anything, MemoryError included; one bad configuration must not
    # end a search, and what it raised is kept in the trial.
    except Exception as error:
        return Trial(
            configuration=configuration,
            status="failed",
            value=None,
            number=number,
            reported=tuple(reports.pairs),
            seconds=time.perf_counter() - start,
            origin=origin,
            error=f"{type(error).__name__}: {error}",
            started=started,
        )
    return Trial(
        configuration=configuration,
        status="complete",
        value=outcome.value,
        number=number,
        metrics=outcome.metrics,
        curve=outcome.curve,
        best_step=outcome.best_step,
        reported=tuple(reports.pairs),
        seconds=outcome.seconds,
        origin=origin,
        started=started,
    )


def _mean_of(found: Sequence[Mapping[str, float]], name: str) -> float:
    """The mean over all folds. Raises ``SearchError`` when a fold has no finite value."""
    if not all(name in fold for fold in found):
        raise SearchError(
            "the metric is not finite on the validation rows",
            field=name,
            value=math.nan,
            remedy="Predictions may have diverged, or a class may be missing among these rows.",
        )
    return float(np.mean([fold[name] for fold in found]))


def _mean_scores(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of the scores that every fold has."""
    shared = [name for name in found[0] if all(name in fold for fold in found)]
    return {name: float(np.mean([fold[name] for fold in found])) for name in shared}


def _mean_curve(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    length = min(len(curve) for curve in curves)
    return tuple(float(v) for v in np.mean([curve[:length] for curve in curves], axis=0)) if length else ()


def _mean_step(steps: Sequence[int | None]) -> int | None:
    known = [step for step in steps if step is not None]
    return max(1, round(float(np.mean(known)))) if known else None


def _pruned_curve(reported: Sequence[tuple[int, float]]) -> tuple[float, ...]:
    """The reported values at their steps, NaN between them."""
    values = dict(reported)
    return tuple(values.get(step, math.nan) for step in range(1, max(values, default=0) + 1))


def _share(
    task: Task, family: ModelFamily[Any], configuration: Configuration, reported: Sequence[tuple[int, float]]
) -> float:
    """The share of the folds, or of the steps of a full fit, that the reports reached; 1 where it is not known."""
    total = len(task.folds) if len(task.folds) > 1 else family.full_steps(configuration)
    return min(1.0, max(step for step, _ in reported) / total) if total and reported else 1.0
