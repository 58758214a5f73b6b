"""Scores of a fitted model on a dataset: the task's metric and the usual ones beside it."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    get_scorer,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    precision_score,
    r2_score,
    recall_score,
)

from metatune.dataset import XT, Data
from metatune.errors import UsageError
from metatune.learners.base import FittedModel
from metatune.metric import Metric


def scores(model: FittedModel[XT], data: Data[XT], metric: Metric) -> dict[str, float]:
    """``metric`` under its own name and in its own unit, and the standard set.

    Classification: accuracy, precision, recall, f1 (macro averages for several classes; of class code 1 for two),
    roc_auc (one versus rest, mean over the classes that occur), log_loss. Regression: rmse, mae, r2.
    A score that is not defined on these rows (a class that does not occur, a single row) or for predictions that are
    not finite is left out.
    Raises ``UsageError`` for a metric without a scorer, and what the scorer raises where every class occurs.
    """
    predicted = model.predict(data.X)
    if data.kind == "regression":
        if not np.isfinite(predicted).all():
            return {}
        found = _regression(data.y, predicted)
        found[metric.name] = metric_value(data, metric, predicted, None)
    else:
        probability = model.predict_proba(data.X)
        found = _classification(data, predicted, probability)
        found[metric.name] = metric_value(data, metric, predicted, probability)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def metric_value(data: Data[Any], metric: Metric, predicted: np.ndarray, probability: np.ndarray | None) -> float:
    """``metric`` alone, of predictions that are there already; not finite where it is not defined on these rows.

    For every epoch of a small network, as ``scores`` takes as long as its training. ``probability`` is ``None`` for
    regression. Raises what ``scores`` raises.
    """
    if metric.scorer is None:
        raise UsageError(
            "this metric has no scorer",
            field="metric",
            value=metric.name,
            remedy="Judge a custom metric with your own objective.",
        )
    if probability is None:
        return metric.score(_by_scorer(metric.scorer, _Regression(predicted), data))
    return metric.score(_class_score(metric.scorer, data, predicted, probability))


def step_value(data: Data[Any], metric: Metric, predicted: np.ndarray, probability: np.ndarray | None) -> float:
    """``metric_value`` after one step of a fit: NaN, too, where the scorer refuses the predictions.

    Logarithms refuse values that are too low, as those of the first steps may be; the last ones judge the trial.
    """
    try:
        return metric_value(data, metric, predicted, probability)
    except ValueError:
        return math.nan


def _regression(y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    found = {
        "rmse": math.sqrt(mean_squared_error(y, predicted)),
        "mae": mean_absolute_error(y, predicted),
    }
    if len(y) > 1:
        found["r2"] = r2_score(y, predicted)
    return found


def _classification(data: Data[Any], predicted: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    average = "binary" if data.kind == "binary" else "macro"
    return {
        "accuracy": accuracy_score(data.y, predicted),
        "precision": precision_score(data.y, predicted, average=average, zero_division=0.0),
        "recall": recall_score(data.y, predicted, average=average, zero_division=0.0),
        "f1": f1_score(data.y, predicted, average=average, zero_division=0.0),
        "roc_auc": _roc_auc(data.y, probability, weighted=False),
        "log_loss": _log_loss(data.y, probability),
    }


def _class_score(scorer: str, data: Data[Any], predicted: np.ndarray, probability: np.ndarray) -> float:
    """The scorer's value, higher is better; NaN where it is not defined because a class does not occur."""
    whole: dict[str, Callable[[], float]] = {
        "roc_auc": lambda: _roc_auc(data.y, probability, weighted=False),
        "roc_auc_ovr": lambda: _roc_auc(data.y, probability, weighted=False),
        "roc_auc_ovr_weighted": lambda: _roc_auc(data.y, probability, weighted=True),
        "neg_log_loss": lambda: -_log_loss(data.y, probability),
    }
    if scorer in whole:
        return whole[scorer]()
    try:
        return _by_scorer(scorer, _Classification(predicted, probability), data)
    except ValueError:
        if len(np.unique(data.y)) == data.n_classes:
            raise
        return math.nan


def _roc_auc(y: np.ndarray, probability: np.ndarray, *, weighted: bool) -> float:
    """Area under the ROC curve, for several classes the mean over those that have rows inside and outside."""
    if not np.isfinite(probability).all():
        return math.nan
    n_classes = probability.shape[1]
    codes = [1] if n_classes == 2 else range(n_classes)
    counts = np.array([np.count_nonzero(y == code) for code in codes])
    defined = (counts > 0) & (counts < len(y))
    if not defined.any():
        return math.nan
    areas = [_area(y == code, probability[:, code]) for code, d in zip(codes, defined, strict=True) if d]
    return float(np.average(areas, weights=counts[defined] if weighted else None))


def _area(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve from the ranks (Mann & Whitney, 1947); ``roc_auc_score`` spends 20 times as long."""
    inside = np.count_nonzero(positive)
    above = rankdata(score)[positive].sum() - inside * (inside + 1) / 2
    return float(above / (inside * (len(score) - inside)))


def _log_loss(y: np.ndarray, probability: np.ndarray) -> float:
    if not np.isfinite(probability).all():
        return math.nan
    # Single precision and rounding leave rows that sum to 1 only nearly, of which log_loss warns.
    total = probability.sum(axis=1, keepdims=True)
    return float(log_loss(y, probability / total, labels=np.arange(probability.shape[1])))


def _by_scorer(scorer: str, predictions: BaseEstimator, data: Data[Any]) -> float:
    with warnings.catch_warnings():
        # Undefined scores (a class that is never predicted, a single row) come as warnings and a number or NaN.
        warnings.simplefilter("ignore")
        return float(get_scorer(scorer)(predictions, data.X, data.y))


class _Classification(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Predictions that are there already, in the shape of a classifier that scikit-learn's scorers accept."""

    def __init__(self, codes: np.ndarray, probability: np.ndarray) -> None:
        self.codes = codes
        self.probability = probability
        self.classes_ = np.arange(probability.shape[1])

    def fit(self, X: object, y: object) -> "_Classification":
        return self

    def predict(self, X: object) -> np.ndarray:
        return self.codes

    def predict_proba(self, X: object) -> np.ndarray:
        return self.probability


class _Regression(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predictions that are there already, in the shape of a regressor."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def fit(self, X: object, y: object) -> "_Regression":
        return self

    def predict(self, X: object) -> np.ndarray:
        return self.values
