"""Linear models of scikit-learn: logistic regression, ridge regression and the elastic net."""

import warnings
from pathlib import Path
from typing import Any, ClassVar

from optuna.distributions import CategoricalDistribution, FloatDistribution
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge

from metatune.dataset import DataKind, Dataset
from metatune.learners.base import FittedModel, ModelFamily, Report
from metatune.learners.preprocessing import MatrixEncoder
from metatune.learners.sklearn_model import SCALINGS, SklearnModel, load_sklearn_model, make_scaler
from metatune.learners.target_scale import standardised
from metatune.metric import Metric
from metatune.space import Condition, SearchSpace
from metatune.trial import Configuration, ParamValue

#: Passes over the data at which a solver is stopped, converged or not: the bound on the time of a trial.
_LBFGS_ITERATIONS = 100
_SAGA_ITERATIONS = 60
_ELASTIC_NET_ITERATIONS = 300


class Linear(ModelFamily[Dataset]):
    """Logistic regression for classes, ridge regression or the elastic net (Zou and Hastie, 2005) for numbers.

    All minimise  sum of losses + ``strength`` * (l1_ratio * |w|_1 + (1 - l1_ratio) / 2 * |w|_2^2),  with half the
    squared error as the loss of regression: ``C = 1 / strength`` in ``LogisticRegression``, ``alpha = strength`` in
    ``Ridge``, ``alpha = strength / n`` in ``ElasticNet``. The target of a regression is standardised, so that an L1
    strength means the same in any unit. ``class_weight`` has no effect on regression.
    """

    name: ClassVar[str] = "linear"
    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})

    def space(self) -> SearchSpace:
        """Five parameters; ``l1_ratio`` only for the elastic net."""
        return SearchSpace(
            {
                "strength": FloatDistribution(1e-4, 1e4, log=True),
                "penalty": CategoricalDistribution(("l2", "elasticnet")),
                "l1_ratio": FloatDistribution(0.05, 1.0),
                "scaling": CategoricalDistribution(SCALINGS),
                "class_weight": CategoricalDistribution((None, "balanced")),
            },
            {"l1_ratio": Condition("penalty", ("elasticnet",))},
        )

    def default(self) -> dict[str, ParamValue]:
        """The defaults of ``LogisticRegression`` and ``Ridge``, on standardised columns."""
        return {"strength": 1.0, "penalty": "l2", "scaling": "standard", "class_weight": None}

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
        """Train with a bounded number of iterations; there is no curve."""
        train, scale = standardised(train)
        encoder = MatrixEncoder.fit(train)
        matrix = encoder.transform(train.X)
        scaler = make_scaler(configuration["scaling"], train.n_rows)
        if scaler is not None:
            matrix = scaler.fit_transform(matrix)
        estimator = _estimator(configuration, train, seed)
        with warnings.catch_warnings():
            # The bound on the iterations is part of the family, not an accident to warn of.
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(matrix, train.y)
        return SklearnModel(self.name, encoder, scaler, estimator, n_classes=train.n_classes, target_scale=scale)

    def load(self, directory: Path) -> FittedModel[Any]:
        """The model in ``directory``."""
        return load_sklearn_model(self.name, directory)


def _estimator(configuration: Configuration, train: Dataset, seed: int) -> BaseEstimator:
    strength: Any = configuration["strength"]
    ratio: Any = configuration.get("l1_ratio", 0.0)
    l2 = configuration["penalty"] == "l2"
    if train.kind == "regression":
        if l2:
            return Ridge(alpha=strength)
        return ElasticNet(alpha=strength / train.n_rows, l1_ratio=ratio, max_iter=_ELASTIC_NET_ITERATIONS)
    return LogisticRegression(
        C=1.0 / strength,
        l1_ratio=ratio,
        solver="lbfgs" if l2 else "saga",
        max_iter=_LBFGS_ITERATIONS if l2 else _SAGA_ITERATIONS,
        class_weight=configuration["class_weight"],
        random_state=seed,
    )
