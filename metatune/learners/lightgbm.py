"""Gradient boosted trees of LightGBM."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import lightgbm as lgb
import numpy as np
import pandas as pd
from optuna.distributions import FloatDistribution, IntDistribution

from metatune.dataset import DataKind, Dataset
from metatune.learners.base import FittedModel, ModelFamily, Report, at_most
from metatune.learners.preprocessing import NativeEncoder
from metatune.learners.saving import read_manifest, write_manifest
from metatune.learners.target_scale import TargetScale, standardised
from metatune.metric import Metric
from metatune.space import Change, SearchSpace
from metatune.trial import Configuration, ParamValue

#: Rounds without a better value on the validation rows after which boosting stops.
PATIENCE = 50
#: Reports per fit, about.
_REPORTS = 100

_FILE = "model.txt"
_INTEGERS = ("num_leaves", "min_child_samples", "max_bin")
_FLOATS = ("learning_rate", "subsample", "colsample_bytree", "reg_alpha", "reg_lambda")


class LightGBMModel(FittedModel[pd.DataFrame]):
    """A booster cut at its best round, with the encoder of its columns."""

    def __init__(
        self,
        encoder: NativeEncoder,
        booster: lgb.Booster,
        *,
        n_classes: int,
        target_scale: TargetScale,
        threads: int = 1,
    ) -> None:
        self.encoder = encoder
        self.booster = booster
        self.n_classes = n_classes
        self.target_scale = target_scale
        self.threads = threads

    def _raw(self, X: pd.DataFrame) -> np.ndarray:
        matrix = self.encoder.transform(X)
        rounds = self.best_step or -1
        return np.asarray(self.booster.predict(matrix, num_iteration=rounds, num_threads=self.threads))

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Class codes or values, shape (n,)."""
        if not self.n_classes:
            return self.target_scale.undo(np.asarray(self._raw(X), dtype=np.float64))
        return np.asarray(np.argmax(self.predict_proba(X), axis=1), dtype=np.int64)

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Class probabilities, shape (n, k)."""
        raw = self._raw(X)
        return np.column_stack([1.0 - raw, raw]) if raw.ndim == 1 else raw

    def save(self, directory: Path) -> Path:
        """Write ``model.txt`` (LightGBM's own text) and ``model.json``."""
        self.booster.save_model(directory / _FILE, num_iteration=self.best_step or -1)
        state = {
            "encoder": self.encoder.to_state(),
            "n_classes": self.n_classes,
            "target": asdict(self.target_scale),
        }
        write_manifest(directory, family=LightGBM.name, files=[_FILE], state=state)
        return directory / _FILE


class LightGBM(ModelFamily[Dataset]):
    """Gradient boosted trees (Ke et al., 2017) with native categories and missing values.

    With validation rows, boosting stops ``PATIENCE`` rounds after the best one and keeps that. The best round and the
    curve are by the task's metric where LightGBM can compute it per round (see ``_native``), equal values by
    LightGBM's own loss. For any other metric the loss alone decides, and there is no curve. The target of a regression
    is standardised, so that ``reg_alpha``, which is compared with sums of residuals, means the same in any unit.
    """

    name: ClassVar[str] = "lightgbm"
    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})
    fidelity: ClassVar[str] = "boosting rounds"

    def space(self) -> SearchSpace:
        """Nine parameters, named as in ``LGBMClassifier``; with ``subsample`` below 1 rows are drawn every round."""
        return SearchSpace(
            {
                "n_estimators": IntDistribution(20, 1000, log=True),
                "learning_rate": FloatDistribution(0.005, 0.3, log=True),
                "num_leaves": IntDistribution(4, 256, log=True),
                "min_child_samples": IntDistribution(1, 200, log=True),
                "subsample": FloatDistribution(0.4, 1.0),
                "colsample_bytree": FloatDistribution(0.3, 1.0),
                "reg_alpha": FloatDistribution(1e-8, 10.0, log=True),
                "reg_lambda": FloatDistribution(1e-8, 10.0, log=True),
                "max_bin": IntDistribution(15, 255, log=True),
            }
        )

    def default(self) -> dict[str, ParamValue]:
        """LightGBM's defaults; 1e-8 stands for its 0 on the logarithmic scales."""
        return {
            "n_estimators": 100,
            "learning_rate": 0.1,
            "num_leaves": 31,
            "min_child_samples": 20,
            "subsample": 1.0,
            "colsample_bytree": 1.0,
            "reg_alpha": 1e-8,
            "reg_lambda": 1e-8,
            "max_bin": 255,
        }

    def full_steps(self, configuration: Configuration) -> int:
        """The number of rounds."""
        rounds: Any = configuration["n_estimators"]
        return int(rounds)

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """No leaf larger than a quarter of the rows: with it, there would hardly be a split to choose."""
        return at_most(configuration, {"min_child_samples": max(1, n_rows // 4)}, "too few rows")

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
        encoder = NativeEncoder.fit(train)
        train, scale = standardised(train)
        native = _native(metric, train, valid, scale)
        rounds = self.full_steps(values) if steps is None else steps
        metrics = [native.name] if native.name == native.loss else [native.name, native.loss]
        params = _params(values, train) | {"metric": metrics, "seed": seed, "num_threads": threads}
        data = lgb.Dataset(
            encoder.transform(train.X), train.y, categorical_feature=encoder.categorical_positions, free_raw_data=True
        )
        if valid is None:
            booster = lgb.train(params, data, num_boost_round=rounds)
            return LightGBMModel(encoder, booster, n_classes=train.n_classes, target_scale=scale, threads=threads)
        curve = _Curve(native, metric, report, every=max(1, rounds // _REPORTS))
        judge = data.create_valid(encoder.transform(valid.X), scale.apply(valid.y))
        booster = lgb.train(params, data, num_boost_round=rounds, valid_sets=[judge], callbacks=[curve])
        model = LightGBMModel(encoder, booster, n_classes=train.n_classes, target_scale=scale, threads=threads)
        model.best_step = curve.best_step
        model.curve = tuple(curve.values)
        return model

    def load(self, directory: Path) -> FittedModel[pd.DataFrame]:
        """The booster in ``directory``."""
        state = read_manifest(directory).state
        booster = lgb.Booster(model_str=(directory / _FILE).read_text(encoding="utf-8"))
        encoder, scale = NativeEncoder.from_state(state["encoder"]), TargetScale(**state["target"])
        return LightGBMModel(encoder, booster, n_classes=int(state["n_classes"]), target_scale=scale)


@dataclass(frozen=True)
class _Native:
    """A metric of LightGBM; ``to_score`` turns its value into that of the task's scorer, ``None`` if it cannot.

    LightGBM gives values of the standardised target, the scorer has the target's own unit.
    """

    loss: str
    name: str
    to_score: Callable[[float], float] | None = None


def _native(metric: Metric, train: Dataset, valid: Dataset | None, scale: TargetScale) -> _Native:
    """LightGBM's metric for the task's, or its loss for the kind of task."""
    loss = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "l2"}[train.kind]
    error = {"binary": "binary_error", "multiclass": "multi_error", "regression": ""}[train.kind]
    variance = float(np.var(valid.y)) if valid is not None and train.kind == "regression" else 0.0
    unit = scale.std
    known: dict[str, tuple[str, Callable[[float], float]]] = {
        "neg_log_loss": (loss, lambda v: -v),
        "accuracy": (error, lambda v: 1.0 - v),
        "neg_root_mean_squared_error": ("rmse", lambda v: -v * unit),
        "neg_mean_squared_error": ("l2", lambda v: -v * unit * unit),
        "neg_mean_absolute_error": ("l1", lambda v: -v * unit),
    }
    if train.kind == "binary":
        known["roc_auc"] = ("auc", lambda v: v)
    if variance > 0:
        known["r2"] = ("l2", lambda v: 1.0 - v * unit * unit / variance)
    name, to_score = known.get(metric.scorer or "", (loss, None))
    return _Native(loss, name, to_score)


class _Curve:
    """Callback of LightGBM: follows the metric, reports it now and then, and stops when it no longer improves."""

    order = 10
    before_iteration = False

    def __init__(self, native: _Native, metric: Metric, report: Report | None, *, every: int) -> None:
        self.native = native
        self.metric = metric
        self.report = report
        self.every = every
        self.values: list[float] = []
        self.best_step = 0
        self.best = (-math.inf, -math.inf)

    def __call__(self, env: Any) -> None:
        step = env.iteration + 1
        found = {name: value for _, name, value, _ in env.evaluation_result_list}
        quality = -found[self.native.loss]
        if self.native.to_score is None:
            current = (quality, quality)
        else:
            score = self.native.to_score(found[self.native.name])
            current = (score, quality)
            self.values.append(self.metric.score(score))
        if current > self.best:
            self.best, self.best_step = current, step
        if self.values and self.report is not None and step % self.every == 0:
            self.report(step, self.values[-1])
        if step - self.best_step >= PATIENCE:
            raise lgb.EarlyStopException(self.best_step - 1, env.evaluation_result_list)


def _params(values: Configuration, train: Dataset) -> dict[str, Any]:
    params: dict[str, Any] = {name: values[name] for name in (*_INTEGERS, *_FLOATS)}
    objective = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}[train.kind]
    if train.kind == "multiclass":
        params["num_class"] = train.n_classes
    # Row-wise histograms are forced because LightGBM would time both kinds, which makes runs differ.
    fixed = {"verbosity": -1, "deterministic": True, "force_row_wise": True}
    return params | fixed | {"objective": objective, "subsample_freq": 1 if params["subsample"] < 1 else 0}
