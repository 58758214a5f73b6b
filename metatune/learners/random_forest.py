"""Random forests of scikit-learn."""

from pathlib import Path
from typing import Any, ClassVar

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from metatune.dataset import DataKind, Dataset
from metatune.learners.base import FittedModel, ModelFamily, Report, at_most
from metatune.learners.preprocessing import MatrixEncoder
from metatune.learners.sklearn_model import SklearnModel, load_sklearn_model
from metatune.learners.target_scale import standardised
from metatune.metric import Metric
from metatune.space import Change, Condition, SearchSpace
from metatune.trial import Configuration, ParamValue


class RandomForest(ModelFamily[Dataset]):
    """``RandomForestClassifier`` and ``RandomForestRegressor`` (Breiman, 2001).

    ``max_features="default"`` is scikit-learn's own choice, which differs between the two (square root of the
    columns, all columns); ``"share"`` takes the share ``max_features_share`` of them. The target of a regression is
    standardised. ``class_weight`` has no effect on regression.
    """

    name: ClassVar[str] = "random_forest"
    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})
    #: What is trained; ``ExtraTrees`` names others.
    classifier: ClassVar[type[BaseEstimator]] = RandomForestClassifier
    regressor: ClassVar[type[BaseEstimator]] = RandomForestRegressor

    def space(self) -> SearchSpace:
        """Eight parameters."""
        return SearchSpace(
            {
                "n_estimators": IntDistribution(10, 300, log=True),
                "max_features": CategoricalDistribution(("default", "share")),
                "max_features_share": FloatDistribution(0.05, 1.0),
                "min_samples_leaf": IntDistribution(1, 50, log=True),
                "min_samples_split": IntDistribution(2, 50, log=True),
                "bootstrap": CategoricalDistribution((True, False)),
                "max_samples": FloatDistribution(0.2, 1.0),
                "class_weight": CategoricalDistribution((None, "balanced")),
            },
            {
                "max_features_share": Condition("max_features", ("share",)),
                "max_samples": Condition("bootstrap", (True,)),
            },
        )

    def default(self) -> dict[str, ParamValue]:
        """scikit-learn's defaults; ``max_samples=1`` draws as many rows as there are, as its ``None`` does."""
        return {
            "n_estimators": 100,
            "max_features": "default",
            "min_samples_leaf": 1,
            "min_samples_split": 2,
            "bootstrap": True,
            "max_samples": 1.0,
            "class_weight": None,
        }

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """No leaf larger than half the rows: with it, a tree could not split at all."""
        return at_most(configuration, {"min_samples_leaf": max(1, n_rows // 2)}, "too few rows")

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
        """Train the forest; there is no curve."""
        values, _ = self.clamp(configuration, train.n_rows, train.n_columns)
        options: dict[str, Any] = {
            name: values[name] for name in ("n_estimators", "min_samples_leaf", "min_samples_split", "bootstrap")
        }
        if values["max_features"] == "share":
            options["max_features"] = values["max_features_share"]
        if values["bootstrap"]:
            share: Any = values["max_samples"]
            options["max_samples"] = max(1, round(share * train.n_rows))
        train, scale = standardised(train)
        encoder = MatrixEncoder.fit(train)
        matrix = encoder.transform(train.X)
        if train.kind == "regression":
            forest = self.regressor(**options, random_state=seed, n_jobs=threads)
        else:
            weight = values["class_weight"]
            forest = self.classifier(**options, class_weight=weight, random_state=seed, n_jobs=threads)
        forest.fit(matrix, train.y)
        return SklearnModel(self.name, encoder, None, forest, n_classes=train.n_classes, target_scale=scale)

    def load(self, directory: Path) -> FittedModel[Any]:
        """The forest in ``directory``."""
        return load_sklearn_model(self.name, directory)
