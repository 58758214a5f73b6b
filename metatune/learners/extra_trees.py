"""Extremely randomised trees of scikit-learn."""

from typing import ClassVar

from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from metatune.learners.random_forest import RandomForest
from metatune.trial import ParamValue


class ExtraTrees(RandomForest):
    """``ExtraTreesClassifier`` and ``ExtraTreesRegressor`` (Geurts, Ernst & Wehenkel, 2006).

    A random forest that draws its thresholds at random, in the space of ``RandomForest``.
    """

    name: ClassVar[str] = "extra_trees"
    classifier: ClassVar[type[BaseEstimator]] = ExtraTreesClassifier
    regressor: ClassVar[type[BaseEstimator]] = ExtraTreesRegressor

    def default(self) -> dict[str, ParamValue]:
        """scikit-learn's defaults: those of the random forest, but every tree sees all rows."""
        shared = super().default()
        del shared["max_samples"]
        return shared | {"bootstrap": False}
