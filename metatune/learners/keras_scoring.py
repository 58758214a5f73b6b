"""``metric_value``: the task's metric alone, of predictions that are there already; once for every epoch."""

import math
import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer

from metatune.dataset import Dataset
from metatune.learners.scoring import scores
from metatune.metric import Metric


class _Regression(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predictions in the shape of a fitted regressor."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def fit(self, _X: object, _y: object) -> "_Regression":
        return self

    def predict(self, _X: object) -> np.ndarray:
        return self.values


class _Classification(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Predictions in the shape of a fitted classifier."""

    def __init__(self, codes: np.ndarray, probability: np.ndarray) -> None:
        self.codes = codes
        self.probability = probability
        self.classes_ = np.arange(probability.shape[1])

    def fit(self, _X: object, _y: object) -> "_Classification":
        return self

    def predict(self, _X: object) -> np.ndarray:
        return self.codes

    def predict_proba(self, _X: object) -> np.ndarray:
        return self.probability


def metric_value(data: Dataset, metric: Metric, predicted: np.ndarray, probability: np.ndarray | None) -> float:
    """``metric`` in its own unit, as in ``scoring.scores``; NaN where it is not defined on these rows.

    ``scores`` measures half a dozen others beside it, which for a small network takes as long as its training; it is
    left to the rows on which scikit-learn's scorers fail because a class does not occur.
    """
    answers = _Regression(predicted) if probability is None else _Classification(predicted, probability)
    if metric.scorer is None or len(np.unique(data.y)) < data.n_classes:
        return scores(answers, data, metric).get(metric.name, math.nan)
    with warnings.catch_warnings():
        # A class that is never predicted comes as a warning and a number.
        warnings.simplefilter("ignore")
        return metric.score(float(get_scorer(metric.scorer)(answers, data.X, data.y)))
