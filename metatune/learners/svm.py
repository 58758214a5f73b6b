"""Support vector machines of scikit-learn."""

import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, SVR

from metatune.dataset import DataKind, Dataset
from metatune.learners.base import FittedModel, ModelFamily, Report
from metatune.learners.preprocessing import MatrixEncoder
from metatune.learners.sklearn_model import (
    SCALINGS,
    SklearnModel,
    calibrated,
    capped,
    load_sklearn_model,
    make_scaler,
    no_lone_rows,
)
from metatune.learners.target_scale import standardised
from metatune.metric import Metric
from metatune.space import Condition, SearchSpace
from metatune.trial import Configuration, ParamValue

#: Training rows that are used at most (a stratified random draw): time grows with their square.
ROW_CAP = 5_000
#: Iterations of the solver at most; a hard margin on overlapping classes would not end otherwise.
_ITERATIONS = 100_000


class SVM(ModelFamily[Dataset]):
    """``SVC`` and ``SVR`` with an RBF, polynomial or linear kernel (Cortes and Vapnik, 1995).

    ``gamma`` is a multiple of scikit-learn's ``"scale"``, 1 / (columns * variance). The target of a regression is
    standardised. Probabilities are sigmoids of cross-validated decision values (Platt, 1999); predicted classes are
    the machine's own. ``class_weight`` has no effect on regression.
    """

    name: ClassVar[str] = "svm"
    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})

    def space(self) -> SearchSpace:
        """Seven parameters; ``gamma``, ``degree`` and ``coef0`` where the kernel has them."""
        return SearchSpace(
            {
                "kernel": CategoricalDistribution(("rbf", "poly", "linear")),
                "C": FloatDistribution(1e-3, 1e3, log=True),
                "gamma": FloatDistribution(1e-3, 1e2, log=True),
                "degree": IntDistribution(2, 4),
                "coef0": FloatDistribution(0.0, 2.0),
                "scaling": CategoricalDistribution(SCALINGS),
                "class_weight": CategoricalDistribution((None, "balanced")),
            },
            {
                "gamma": Condition("kernel", ("rbf", "poly")),
                "degree": Condition("kernel", ("poly",)),
                "coef0": Condition("kernel", ("poly",)),
            },
        )

    def default(self) -> dict[str, ParamValue]:
        """The defaults of ``SVC`` and ``SVR``, on standardised columns."""
        return {"kernel": "rbf", "C": 1.0, "gamma": 1.0, "scaling": "standard", "class_weight": None}

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
        """Train on at most ``ROW_CAP`` rows; there is no curve."""
        train, scale = standardised(no_lone_rows(capped(train, ROW_CAP, seed)))
        encoder = MatrixEncoder.fit(train)
        matrix = encoder.transform(train.X)
        scaler = make_scaler(configuration["scaling"], train.n_rows)
        if scaler is not None:
            matrix = scaler.fit_transform(matrix)
        options = _options(configuration, matrix)
        with warnings.catch_warnings():
            # The bound on the iterations is part of the family, not an accident to warn of.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if train.kind == "regression":
                machine = SVR(**options).fit(matrix, train.y)
                return SklearnModel(self.name, encoder, scaler, machine, n_classes=0, target_scale=scale)
            machine = SVC(**options, class_weight=configuration["class_weight"], random_state=seed)
            sigmoid = calibrated(machine, seed).fit(matrix, train.y)
        trained = sigmoid.calibrated_classifiers_[0].estimator
        return SklearnModel(self.name, encoder, scaler, trained, n_classes=train.n_classes, probabilities=sigmoid)

    def load(self, directory: Path) -> FittedModel[Any]:
        """The machine in ``directory``."""
        return load_sklearn_model(self.name, directory)


def _options(configuration: Configuration, matrix: np.ndarray) -> dict[str, Any]:
    options: dict[str, Any] = {name: configuration[name] for name in ("kernel", "C")}
    for name in ("degree", "coef0"):
        if name in configuration:
            options[name] = configuration[name]
    if "gamma" in configuration:
        multiple: Any = configuration["gamma"]
        variance = float(matrix.var()) or 1.0
        options["gamma"] = multiple / (matrix.shape[1] * variance)
    return options | {"max_iter": _ITERATIONS}
