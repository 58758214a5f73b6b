"""What the surrogates are worth: every task is predicted by models that never saw it or a relative of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from metatune.encoding import ConfigurationEncoder
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.parallel import each
from metatune.surrogate.targets import copula_targets, evenly
from metatune.surrogate.tasks import TaskTrials

#: Below this many tasks, meta-features are switched off without a test: there is nothing to learn them from.
MIN_TASKS_FOR_FEATURES = 10
_FOLDS = 5
#: Enough to tell whether meta-features help: trials that each of the models learns from, and that judge it per task.
_FIT_ROWS, _JUDGED = 15_000, 200


@dataclass(frozen=True)
class FamilyValidation:
    """Result of leaving groups of tasks out.

    ``correlation`` and ``correlation_without_features`` are mean Spearman rank correlations between predicted and
    true order of the configurations of a task that was left out; NaN with fewer than two groups.
    """

    tasks: int
    trials: int
    correlation: float
    correlation_without_features: float
    use_features: bool


def validate(tasks: Sequence[TaskTrials], encoder: ConfigurationEncoder, features: Sequence[str]) -> FamilyValidation:
    """Leave groups of tasks out, with and without meta-features, and decide whether these earn their place.

    They do when they raise the mean rank correlation by more than two standard errors of the difference.
    """
    trials = sum(len(task.X) for task in tasks)
    folds = _folds(tasks)
    if len(folds) < 2:
        return FamilyValidation(len(tasks), trials, float("nan"), float("nan"), False)
    without = _left_out(tasks, encoder, (), folds)
    if len(tasks) < MIN_TASKS_FOR_FEATURES or not features:
        mean = float(np.nanmean(without))
        return FamilyValidation(len(tasks), trials, mean, mean, False)
    given = _left_out(tasks, encoder, features, folds)
    # Relatives succeed or fail together: groups, not tasks, are independent.
    gain = _mean_by_group(given - without, [task.record.group for task in tasks])
    use = bool(np.nanmean(gain) > 2.0 * np.nanstd(gain, ddof=1) / np.sqrt(np.isfinite(gain).sum()))
    return FamilyValidation(len(tasks), trials, float(np.nanmean(given)), float(np.nanmean(without)), use)


def _mean_by_group(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    names, member = np.unique(groups, return_inverse=True)
    return np.asarray(np.bincount(member, values) / np.bincount(member, minlength=len(names)))


def _folds(tasks: Sequence[TaskTrials]) -> list[np.ndarray]:
    groups = sorted({task.record.group for task in tasks})
    place = {group: i % min(_FOLDS, len(groups)) for i, group in enumerate(groups)}
    of_task = np.array([place[task.record.group] for task in tasks])
    return [np.flatnonzero(of_task == fold) for fold in range(max(of_task, default=-1) + 1)]


def _left_out(
    tasks: Sequence[TaskTrials], encoder: ConfigurationEncoder, features: Sequence[str], folds: list[np.ndarray]
) -> np.ndarray:
    """Rank correlation of each task by a model that saw nothing of its fold, shape (tasks,)."""

    def left_out(fold: np.ndarray) -> list[float]:
        others = [tasks[i] for i in np.setdiff1d(np.arange(len(tasks)), fold)]
        model = MetaSurrogate.fit(others, encoder, features=features, max_rows=_FIT_ROWS)
        ranked = []
        for task in (tasks[i] for i in fold):
            target = copula_targets(task.score)
            judged = evenly(target, _JUDGED)
            ranked.append(rank_correlation(model.predict(task.X[judged], task.record.metafeatures), target[judged]))
        return ranked

    correlations = np.full(len(tasks), np.nan)
    for fold, ranked in zip(folds, each(left_out, folds), strict=True):
        correlations[fold] = ranked
    return correlations


def rank_correlation(predicted: np.ndarray, target: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where the prediction is constant, since it orders nothing."""
    if np.ptp(predicted) == 0 or np.ptp(target) == 0:
        return 0.0
    return float(spearmanr(predicted, target).statistic)
