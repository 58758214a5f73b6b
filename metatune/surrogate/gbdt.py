"""LightGBM as a surrogate: the only file of the engine that knows it."""

from collections.abc import Mapping, Sequence

import lightgbm as lgb
import numpy as np

from metatune.errors import KnowledgeError

#: Settings for the surface of a single task, from some ten to some thousand trials.
TASK_SETTINGS = {"learning_rate": 0.1, "num_leaves": 16, "lambda_l2": 0.1, "feature_fraction": 0.9}
#: Settings for all tasks together, where rows are many and leaves should hold several tasks.
META_SETTINGS = {
    "learning_rate": 0.06,
    "num_leaves": 31,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "extra_trees": True,
}
#: A random forest on the meta-features of some ten to some thousand tasks, one row each.
FOREST_SETTINGS: Mapping[str, float | str] = {
    "boosting": "rf",
    "bagging_fraction": 0.632,
    "bagging_freq": 1,
    "feature_fraction_bynode": 0.3,
    "num_leaves": 64,
}


class GBDT:
    """A fitted gradient-boosted regression; made by ``fit`` or ``from_text``, never altered."""

    def __init__(self, booster: lgb.Booster) -> None:
        self._booster = booster

    @classmethod
    def fit(
        cls,
        X: np.ndarray,
        y: np.ndarray,
        *,
        categorical: Sequence[int] = (),
        weight: np.ndarray | None = None,
        settings: Mapping[str, float | str],
        rounds: int,
        min_leaf: int,
    ) -> "GBDT":
        """Fit ``y`` (n,) on ``X`` (n, d); NaN in ``X`` is missing, ``categorical`` columns hold whole numbers."""
        parameters = {
            "objective": "regression",
            "min_data_in_leaf": min_leaf,
            "min_data_in_bin": 1,
            "min_data_per_group": min_leaf,
            "cat_smooth": 2.0,
            "feature_pre_filter": False,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "seed": 0,
            "verbosity": -1,
            **settings,
        }
        data = lgb.Dataset(
            X, y, weight=weight, categorical_feature=list(categorical), params=parameters, free_raw_data=True
        )
        return cls(lgb.train(parameters, data, rounds))

    @property
    def columns(self) -> int:
        """How many columns the rows have that it predicts for."""
        return int(self._booster.num_feature())

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions for the rows of ``X`` (m, d), shape (m,)."""
        if not len(X):
            return np.empty(0)
        return np.asarray(self._booster.predict(X, num_threads=1), dtype=np.float64)

    def leaves(self, X: np.ndarray) -> np.ndarray:
        """The leaf of each tree in which the rows of ``X`` (m, d) end, shape (m, trees)."""
        return np.asarray(self._booster.predict(X, pred_leaf=True, num_threads=1)).reshape(len(X), -1)

    def to_text(self) -> str:
        """LightGBM's own text format."""
        return str(self._booster.model_to_string())

    @classmethod
    def from_text(cls, text: str) -> "GBDT":
        """The model that ``to_text`` wrote. Raises ``KnowledgeError`` for text that LightGBM refuses."""
        try:
            return cls(lgb.Booster(model_str=text))
        except lgb.basic.LightGBMError as error:
            raise KnowledgeError.unreadable(
                "LightGBM cannot read this model", error, field="surrogate", value=text
            ) from error


def fit_task_model(X: np.ndarray, target: np.ndarray, *, categorical: Sequence[int] = ()) -> GBDT:
    """The surface of one task: ``target`` (n,) of its trials ``X`` (n, d), smoother the fewer they are."""
    n = len(target)
    min_leaf = 2 if n < 60 else 3 if n < 200 else 5
    return GBDT.fit(X, target, categorical=categorical, settings=TASK_SETTINGS, rounds=60, min_leaf=min_leaf)
