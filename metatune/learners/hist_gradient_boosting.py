"""Gradient boosted trees of scikit-learn."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import skops.io
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from metatune.dataset import DataKind, Dataset
from metatune.errors import KnowledgeError
from metatune.learners.base import FittedModel, ModelFamily, Report, at_most
from metatune.learners.preprocessing import NativeEncoder
from metatune.learners.saving import read_manifest, write_manifest
from metatune.learners.scoring import step_value
from metatune.learners.sklearn_model import read_estimators
from metatune.metric import Metric
from metatune.space import Change, SearchSpace
from metatune.trial import Configuration, ParamValue

#: Rounds without a better value on the validation rows after which boosting stops.
PATIENCE = 50
#: Rounds that are boosted before the validation rows are looked at; later it is a quarter of the rounds so far.
_FIRST_ROUNDS = 20
#: Reports per fit, about.
_REPORTS = 100

_FILE = "model.skops"
_PARAMETERS = (
    "learning_rate", "max_leaf_nodes", "max_depth", "min_samples_leaf", "l2_regularization", "max_features", "max_bins",
)  # fmt: skip


class HistGradientBoostingModel(FittedModel[pd.DataFrame]):
    """The estimator with the encoder of its columns; only the first ``rounds`` of its rounds are used."""

    def __init__(self, encoder: NativeEncoder, estimator: BaseEstimator, *, n_classes: int, rounds: int) -> None:
        self.encoder = encoder
        self.estimator = estimator
        self.n_classes = n_classes
        self.rounds = rounds

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Class codes or values, shape (n,)."""
        if self.n_classes:
            return np.asarray(self.predict_proba(X).argmax(axis=1), dtype=np.int64)
        return self._last(X)

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Class probabilities, shape (n, k); 0 for a class that the training rows did not have."""
        return self._last(X)

    def _last(self, X: pd.DataFrame) -> np.ndarray:
        stages = _stages(self.estimator, self.encoder.transform(X), self.n_classes)
        return next(islice(stages, self.rounds - 1, None))

    def save(self, directory: Path) -> Path:
        """Write ``model.skops`` and ``model.json``."""
        skops.io.dump(self.estimator, directory / _FILE)
        state = {"encoder": self.encoder.to_state(), "n_classes": self.n_classes, "rounds": self.rounds}
        write_manifest(directory, family=HistGradientBoosting.name, files=[_FILE], state=state)
        return directory / _FILE


class HistGradientBoosting(ModelFamily[Dataset]):
    """``HistGradientBoostingClassifier`` and ``-Regressor``, with native categories and missing values.

    After LightGBM (Ke et al., 2017), with which it shares names and ranges where they mean the same. A categorical
    column with more levels than ``max_bins`` is read as the rank of its levels by frequency.

    With validation rows, boosting stops ``PATIENCE`` rounds after the best one by the task's metric (equal values by
    the loss) and keeps that. scikit-learn boosts in batches of rounds, each a warm start: so rounds beyond the
    patience are trained, but not used. Without validation rows nothing stops early, unlike in scikit-learn itself
    above 10,000 rows.
    """

    name: ClassVar[str] = "hist_gradient_boosting"
    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})
    fidelity: ClassVar[str] = "boosting rounds"

    def space(self) -> SearchSpace:
        """Eight parameters, named as in scikit-learn."""
        return SearchSpace(
            {
                "max_iter": IntDistribution(20, 1000, log=True),
                "learning_rate": FloatDistribution(0.005, 0.3, log=True),
                "max_leaf_nodes": IntDistribution(4, 256, log=True),
                "max_depth": IntDistribution(2, 32, log=True),
                "min_samples_leaf": IntDistribution(1, 200, log=True),
                "l2_regularization": FloatDistribution(1e-8, 10.0, log=True),
                "max_features": FloatDistribution(0.1, 1.0),
                "max_bins": IntDistribution(15, 255, log=True),
            }
        )

    def default(self) -> dict[str, ParamValue]:
        """scikit-learn's defaults; 1e-8 stands for its 0, and no tree of 31 leaves is deeper than 32."""
        return {
            "max_iter": 100,
            "learning_rate": 0.1,
            "max_leaf_nodes": 31,
            "max_depth": 32,
            "min_samples_leaf": 20,
            "l2_regularization": 1e-8,
            "max_features": 1.0,
            "max_bins": 255,
        }

    def full_steps(self, configuration: Configuration) -> int:
        """The number of rounds."""
        rounds: Any = configuration["max_iter"]
        return int(rounds)

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """No leaf larger than a quarter of the rows: with it, there would hardly be a split to choose."""
        return at_most(configuration, {"min_samples_leaf": max(1, n_rows // 4)}, "too few rows")

    def fit(
        self,
        configuration: Configuration,
        train: Dataset,
        *,
        valid: Dataset | None,
        metric: Metric,
        seed: int,
        steps: int | None = None,
        report: Report | None = None,
        threads: int = 1,
    ) -> FittedModel[pd.DataFrame]:
        """Boost; with ``valid``, stop early on it."""
        values, _ = self.clamp(configuration, train.n_rows, train.n_columns)
        rounds = self.full_steps(values) if steps is None else steps
        encoder = NativeEncoder.fit(train)
        matrix = encoder.transform(train.X)
        # scikit-learn fails on a column without any value; as a constant it is in no split, whatever comes later.
        matrix[:, np.isnan(matrix).all(axis=0)] = 0.0
        kind = HistGradientBoostingRegressor if train.kind == "regression" else HistGradientBoostingClassifier
        estimator = kind(
            **{name: values[name] for name in _PARAMETERS},
            categorical_features=_few_levels(encoder, values["max_bins"]),
            early_stopping=False,
            warm_start=True,
            random_state=seed,
        )
        with threadpool_limits(threads, user_api="openmp"):
            if valid is None:
                estimator.set_params(max_iter=rounds).fit(matrix, train.y)
                return HistGradientBoostingModel(encoder, estimator, n_classes=train.n_classes, rounds=rounds)
            curve = _Curve(valid, metric, report, every=max(1, rounds // _REPORTS))
            judged = encoder.transform(valid.X)
            while (done := len(curve.values)) < rounds and done - curve.best_step < PATIENCE:
                target = min(rounds, done + max(_FIRST_ROUNDS, done // 4))
                estimator.set_params(max_iter=target).fit(matrix, train.y)
                curve.follow(islice(_stages(estimator, judged, train.n_classes), done, None))
        best = curve.best_step
        model = HistGradientBoostingModel(encoder, estimator, n_classes=train.n_classes, rounds=best)
        model.best_step = best
        model.curve = tuple(curve.values)
        return model

    def load(self, directory: Path) -> FittedModel[pd.DataFrame]:
        """The estimator in ``directory``."""
        state = read_manifest(directory).state
        estimator = read_estimators(directory / _FILE)
        _check_trees(estimator, directory / _FILE)
        return HistGradientBoostingModel(
            NativeEncoder.from_state(state["encoder"]),
            estimator,
            n_classes=int(state["n_classes"]),
            rounds=int(state["rounds"]),
        )


class _Curve:
    """The metric on the validation rows round by round, reported now and then, until it no longer improves."""

    def __init__(self, valid: Dataset, metric: Metric, report: Report | None, *, every: int) -> None:
        self.valid = valid
        self.metric = metric
        self.report = report
        self.every = every
        self.values: list[float] = []
        self.best_step = 0
        self.best = (-np.inf, -np.inf)

    def follow(self, stages: Iterator[np.ndarray]) -> None:
        """Judge the predictions after each further round, up to ``PATIENCE`` rounds after the best."""
        for stage in stages:
            value = self._value(stage)
            self.values.append(value)
            step = len(self.values)
            score = self.metric.score(value)
            current = (score if np.isfinite(score) else -np.inf, -_loss(self.valid, stage))
            if current > self.best or not self.best_step:
                self.best, self.best_step = current, step
            if self.report is not None and step % self.every == 0 and np.isfinite(value):
                self.report(step, value)
            if step - self.best_step >= PATIENCE:
                return

    def _value(self, stage: np.ndarray) -> float:
        if self.valid.kind == "regression":
            return step_value(self.valid, self.metric, stage, None)
        return step_value(self.valid, self.metric, stage.argmax(axis=1), stage)


def _stages(estimator: BaseEstimator, matrix: np.ndarray, n_classes: int) -> Iterator[np.ndarray]:
    """Predictions after 1, 2, ... rounds: values of shape (n,), or probabilities of shape (n, ``n_classes``)."""
    if not n_classes:
        yield from estimator.staged_predict(matrix)
        return
    present = estimator.classes_
    for stage in estimator.staged_predict_proba(matrix):
        full = np.zeros((len(matrix), n_classes))
        full[:, present] = stage
        yield full


def _loss(data: Dataset, stage: np.ndarray) -> float:
    if data.kind == "regression":
        return float(np.mean((data.y - stage) ** 2))
    tiny = np.finfo(np.float64).tiny
    return float(-np.mean(np.log(np.maximum(stage[np.arange(len(stage)), data.y], tiny))))


def _check_trees(estimator: BaseEstimator, path: Path) -> None:
    # scikit-learn follows the numbers in a tree unchecked: wrong ones would read memory that is not its own, or never
    # come to a leaf. Children have larger numbers than their parent in every tree that it grows.
    for tree in (tree for stage in estimator._predictors for tree in stage):
        splits = np.flatnonzero(tree.nodes["is_leaf"] == 0)
        inner = tree.nodes[splits]
        children = np.stack([inner["left"], inner["right"]]).astype(np.int64)
        by_level = inner[inner["is_categorical"] != 0]["bitset_idx"]
        feature = inner["feature_idx"]
        if not (
            len(tree.nodes)
            and np.all((children > splits) & (children < len(tree.nodes)))
            and np.all((feature >= 0) & (feature < estimator.n_features_in_))
            and np.all(by_level < len(tree.raw_left_cat_bitsets))
        ):
            raise KnowledgeError(
                "the file holds trees that scikit-learn would not grow",
                field=str(path),
                value=type(estimator).__name__,
                remedy="Do not load it; train and save the model again.",
            )


def _few_levels(encoder: NativeEncoder, most: Any) -> list[int]:
    """Positions of the columns with at most ``most`` levels and at least one."""
    positions = encoder.categorical_positions
    return [position for position in positions if 0 < len(encoder.levels[encoder.columns[position]]) <= most]
