"""What the families of scikit-learn share: the fitted model, its scaling, its row cap and its file."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import skops.io
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

from metatune.errors import KnowledgeError
from metatune.learners.base import D, FittedModel
from metatune.learners.preprocessing import MatrixEncoder
from metatune.learners.saving import read_manifest, write_manifest
from metatune.learners.target_scale import TargetScale

#: Choices of the parameter ``scaling`` that the families sensitive to scale share; the first is the default.
SCALINGS = ("standard", "minmax", "quantile", "none")

_FILE = "model.skops"

#: Types that the saved models hold and skops does not trust by itself; a file with any other is not loaded.
_TRUSTED = (
    "functools.partial",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
)


class Encoder(Protocol):
    """Raw examples -> matrix, dense or sparse, shape (n, width); with a state in plain JSON."""

    def transform(self, X: Any) -> Any:
        """The matrix for the examples ``X``."""

    def to_state(self) -> dict[str, Any]:
        """The encoder as plain JSON."""


class SklearnModel(FittedModel[Any]):
    """Encoder, scaler and estimator; ``probabilities`` is the estimator for probabilities where it is another one."""

    def __init__(
        self,
        family: str,
        encoder: Encoder,
        scaler: BaseEstimator | None,
        estimator: BaseEstimator,
        *,
        n_classes: int,
        probabilities: BaseEstimator | None = None,
        target_scale: TargetScale | None = None,
    ) -> None:
        self.family = family
        self.encoder = encoder
        self.scaler = scaler
        self.estimator = estimator
        self.n_classes = n_classes
        self.probabilities = probabilities
        self.target_scale = target_scale or TargetScale()

    def _matrix(self, X: Any) -> Any:
        matrix = self.encoder.transform(X)
        return matrix if self.scaler is None else self.scaler.transform(matrix)

    def predict(self, X: Any) -> np.ndarray:
        """Class codes or values, shape (n,)."""
        predicted = self.estimator.predict(self._matrix(X))
        if self.n_classes:
            return np.asarray(predicted, dtype=np.int64)
        return self.target_scale.undo(np.asarray(predicted, dtype=np.float64).ravel())

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities, shape (n, k); 0 for a class that the training rows did not have."""
        estimator = self.estimator if self.probabilities is None else self.probabilities
        full = np.zeros((len(X), self.n_classes))
        full[:, np.asarray(estimator.classes_, dtype=np.int64)] = estimator.predict_proba(self._matrix(X))
        return full

    def save(self, directory: Path) -> Path:
        """Write ``model.skops`` and ``model.json``."""
        parts = {"scaler": self.scaler, "estimator": self.estimator, "probabilities": self.probabilities}
        skops.io.dump(parts, directory / _FILE)
        state = {
            "encoder": self.encoder.to_state(),
            "n_classes": self.n_classes,
            "target": asdict(self.target_scale),
        }
        write_manifest(directory, family=self.family, files=[_FILE], state=state)
        return directory / _FILE


def load_sklearn_model(
    family: str, directory: Path, *, encoder: Callable[[Mapping[str, Any]], Encoder] = MatrixEncoder.from_state
) -> SklearnModel:
    """The model that ``SklearnModel.save`` wrote; ``encoder`` makes its encoder from the state.

    Raises ``KnowledgeError`` for a file that holds any other type than such models do.
    """
    parts = read_estimators(directory / _FILE)
    state = read_manifest(directory).state
    return SklearnModel(
        family,
        encoder(state["encoder"]),
        parts["scaler"],
        parts["estimator"],
        n_classes=int(state["n_classes"]),
        probabilities=parts["probabilities"],
        target_scale=TargetScale(**state["target"]),
    )


def read_estimators(path: Path) -> Any:
    """What ``skops.io.dump`` wrote into ``path``. Raises ``KnowledgeError`` for types that no saved model holds."""
    strange = sorted(set(skops.io.get_untrusted_types(file=path)) - set(_TRUSTED))
    if strange:
        raise KnowledgeError(
            "the file holds types that no model of metatune has",
            field=str(path),
            value=strange,
            remedy="Do not load it; train and save the model again.",
        )
    return skops.io.load(path, trusted=list(_TRUSTED))


def make_scaler(scaling: object, n_rows: int) -> BaseEstimator | None:
    """The unfitted scaler for a choice of ``SCALINGS``; ``quantile`` maps each column to a normal distribution."""
    if scaling == "standard":
        return StandardScaler()
    if scaling == "minmax":
        return MinMaxScaler()
    if scaling == "quantile":
        quantiles = min(n_rows, 200)
        return QuantileTransformer(n_quantiles=quantiles, output_distribution="normal", subsample=None)
    return None


def capped(data: D, rows: int, seed: int) -> D:
    """At most about ``rows`` random rows of ``data``; every class keeps its share and at least two rows."""
    if data.n_rows <= rows:
        return data
    rng = np.random.default_rng(seed)
    if data.kind == "regression":
        return data.take(np.sort(rng.choice(data.n_rows, rows, replace=False)))
    kept = []
    for code in np.unique(data.y):
        members = np.flatnonzero(data.y == code)
        wanted = max(2, round(rows * len(members) / data.n_rows))
        kept.append(rng.choice(members, min(wanted, len(members)), replace=False))
    return data.take(np.sort(np.concatenate(kept)))


def no_lone_rows(train: D) -> D:
    """``train`` with the only row of a class given twice: calibration on two halves needs one in each."""
    if train.kind == "regression":
        return train
    _, first, counts = np.unique(train.y, return_index=True, return_counts=True)
    lone = first[counts == 1]
    return train.take(np.concatenate([np.arange(train.n_rows), lone])) if len(lone) else train


def calibrated(machine: BaseEstimator, seed: int) -> CalibratedClassifierCV:
    """``machine`` to be fitted with one sigmoid for its decision values (Platt, 1999), learnt on two halves.

    Half the rows twice, then all rows: 1.5 times the cost of a plain fit. The fitted machine is
    ``calibrated_classifiers_[0].estimator``.
    """
    halves = StratifiedKFold(2, shuffle=True, random_state=seed)
    return CalibratedClassifierCV(machine, method="sigmoid", cv=halves, ensemble=False)
