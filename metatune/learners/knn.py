"""Nearest neighbours of scikit-learn."""

from pathlib import Path
from typing import Any, ClassVar

from optuna.distributions import CategoricalDistribution, IntDistribution
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from metatune.dataset import DataKind, Dataset
from metatune.learners.base import FittedModel, ModelFamily, Report, at_most
from metatune.learners.preprocessing import MatrixEncoder
from metatune.learners.sklearn_model import SCALINGS, SklearnModel, capped, load_sklearn_model, make_scaler
from metatune.metric import Metric
from metatune.space import Change, SearchSpace
from metatune.trial import Configuration, ParamValue

#: Training rows that are used at most (a stratified random draw): each prediction searches them.
ROW_CAP = 20_000


class KNN(ModelFamily[Dataset]):
    """``KNeighborsClassifier`` and ``KNeighborsRegressor``. The fitted model holds the encoded training rows."""

    name: ClassVar[str] = "knn"
    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})

    def space(self) -> SearchSpace:
        """Four parameters."""
        return SearchSpace(
            {
                "n_neighbors": IntDistribution(1, 100, log=True),
                "weights": CategoricalDistribution(("uniform", "distance")),
                "metric": CategoricalDistribution(("euclidean", "manhattan", "cosine")),
                "scaling": CategoricalDistribution(SCALINGS),
            }
        )

    def default(self) -> dict[str, ParamValue]:
        """scikit-learn's defaults (Minkowski with p = 2), on standardised columns."""
        return {"n_neighbors": 5, "weights": "uniform", "metric": "euclidean", "scaling": "standard"}

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """No more neighbours than there are rows."""
        return at_most(configuration, {"n_neighbors": n_rows}, "too few rows")

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
    ) -> FittedModel[Any]:
        """Keep at most ``ROW_CAP`` rows; there is no curve."""
        train = capped(train, ROW_CAP, seed)
        values, _ = self.clamp(configuration, train.n_rows, train.n_columns)
        encoder = MatrixEncoder.fit(train)
        matrix = encoder.transform(train.X)
        scaler = make_scaler(values["scaling"], train.n_rows)
        if scaler is not None:
            matrix = scaler.fit_transform(matrix)
        options = {name: values[name] for name in ("n_neighbors", "weights", "metric")}
        kind = KNeighborsRegressor if train.kind == "regression" else KNeighborsClassifier
        estimator = kind(**options, n_jobs=threads).fit(matrix, train.y)
        return SklearnModel(self.name, encoder, scaler, estimator, n_classes=train.n_classes)

    def load(self, directory: Path) -> FittedModel[Any]:
        """The neighbours in ``directory``."""
        return load_sklearn_model(self.name, directory)
