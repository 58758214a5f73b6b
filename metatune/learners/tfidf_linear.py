"""Linear models on tf-idf weights of words or characters, for texts."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC, LinearSVR

from metatune.dataset import DataKind, Modality
from metatune.examples import Texts
from metatune.learners.base import FittedModel, ModelFamily, Report, at_most
from metatune.learners.sklearn_model import (
    SklearnModel,
    calibrated,
    capped,
    load_sklearn_model,
    no_lone_rows,
)
from metatune.learners.target_scale import standardised
from metatune.metric import Metric
from metatune.space import Change, Condition, SearchSpace
from metatune.trial import Configuration, ParamValue

#: Training texts, and about as many characters of them, that are used at most (a stratified random draw): with the
#: longest runs of characters, a million of them take some seconds.
ROW_CAP = 50_000
CHARACTER_CAP = 20_000_000
#: Iterations at which a solver is stopped, converged or not: the bound on the time of a trial.
_ITERATIONS = 100
_SVM_ITERATIONS = 1_000
#: ``min_df`` is limited to this part of the rows.
_RARE = 1 / 20


class TextEncoder:
    """Texts -> sparse matrix of tf-idf weights (Salton and Buckley, 1988), each row of Euclidean length 1.

    Terms that the training texts did not have, or that were pruned, are ignored.
    """

    def __init__(self, options: Mapping[str, Any], vectorizer: TfidfVectorizer) -> None:
        self.options = dict(options)
        self.vectorizer = vectorizer

    @classmethod
    def fit(cls, texts: np.ndarray, c: Mapping[str, Any]) -> tuple["TextEncoder", scipy.sparse.csr_matrix]:
        """The encoder that configuration ``c`` describes, and the matrix of the training ``texts``.

        Raises ``ValueError`` where no term is left.
        """
        ngrams = [1, c["word_ngrams"]] if c["analyzer"] == "word" else [2, c["char_ngrams"]]
        options = {
            "analyzer": c["analyzer"],
            "ngram_range": ngrams,
            "sublinear_tf": c["sublinear_tf"],
            "use_idf": c["use_idf"],
        }
        pruned = {name: c[name] for name in ("min_df", "max_df", "max_features")}
        vectorizer = _vectorizer(options, **pruned)
        matrix = vectorizer.fit_transform(texts)
        return cls(options, vectorizer), matrix

    def transform(self, X: np.ndarray) -> scipy.sparse.csr_matrix:
        """The matrix for the texts ``X``."""
        return self.vectorizer.transform(X)

    def to_state(self) -> dict[str, Any]:
        """The encoder as plain JSON: options, terms in the order of the columns, and their weights."""
        weights = self.vectorizer.idf_.tolist() if self.options["use_idf"] else None
        return {"options": self.options, "terms": self.vectorizer.get_feature_names_out().tolist(), "idf": weights}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "TextEncoder":
        """The encoder that ``to_state`` described."""
        terms: Sequence[str] = state["terms"]
        # Weights of 1 stand for none: scikit-learn takes a vectoriser for fitted only if it has weights.
        vectorizer = _vectorizer(
            {**state["options"], "use_idf": True}, vocabulary={term: i for i, term in enumerate(terms)}
        )
        vectorizer.idf_ = np.ones(len(terms)) if state["idf"] is None else np.array(state["idf"], dtype=np.float64)
        return cls(state["options"], vectorizer)


def _vectorizer(options: Mapping[str, Any], **more: Any) -> TfidfVectorizer:
    return TfidfVectorizer(**{**options, "ngram_range": tuple(options["ngram_range"])}, **more)


class TfidfLinear(ModelFamily[Texts]):
    """``TfidfVectorizer`` and a linear model: the strong plain baseline of text classification.

    ``model``: ``logistic`` is logistic regression for classes and ridge regression for numbers, ``svm`` a linear
    support vector machine for both (Joachims, 1998), with sigmoids for probabilities. ``C`` is the inverse strength
    of the L2 penalty. Words are in runs of 1 to ``word_ngrams``; characters, within words, of 2 to ``char_ngrams``.
    The target of a regression is standardised. ``class_weight`` has no effect on regression.
    """

    name: ClassVar[str] = "tfidf_linear"
    kinds: ClassVar[frozenset[DataKind]] = frozenset({"binary", "multiclass", "regression"})
    modality: ClassVar[Modality] = "text"

    def space(self) -> SearchSpace:
        """Eleven parameters; the length of runs for the analyser that has it."""
        return SearchSpace(
            {
                "analyzer": CategoricalDistribution(("word", "char_wb")),
                "word_ngrams": IntDistribution(1, 3),
                "char_ngrams": IntDistribution(3, 6),
                "min_df": IntDistribution(1, 20, log=True),
                "max_df": FloatDistribution(0.3, 1.0),
                "max_features": IntDistribution(1_000, 100_000, log=True),
                "sublinear_tf": CategoricalDistribution((False, True)),
                "use_idf": CategoricalDistribution((False, True)),
                "model": CategoricalDistribution(("logistic", "svm")),
                "C": FloatDistribution(1e-3, 1e3, log=True),
                "class_weight": CategoricalDistribution((None, "balanced")),
            },
            {
                "word_ngrams": Condition("analyzer", ("word",)),
                "char_ngrams": Condition("analyzer", ("char_wb",)),
            },
        )

    def default(self) -> dict[str, ParamValue]:
        """scikit-learn's defaults; 100,000 stands for its unlimited number of terms."""
        return {
            "analyzer": "word",
            "word_ngrams": 1,
            "min_df": 1,
            "max_df": 1.0,
            "max_features": 100_000,
            "sublinear_tf": False,
            "use_idf": True,
            "model": "logistic",
            "C": 1.0,
            "class_weight": None,
        }

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """No term needs to be in more than a twentieth of the texts."""
        return at_most(configuration, {"min_df": max(1, int(n_rows * _RARE))}, "too few rows")

    def fit(
        self,
        configuration: Configuration,
        train: Texts,
        *,
        valid: Texts | None,
        metric: Metric,
        seed: int,
        steps: int | None = None,
        report: Report | None = None,
        threads: int = 1,
    ) -> FittedModel[Any]:
        """Train on texts within the caps with a bounded number of iterations; there is no curve."""
        mean_length = sum(map(len, train.X)) / train.n_rows
        train = no_lone_rows(capped(train, min(ROW_CAP, int(CHARACTER_CAP / mean_length) + 1), seed))
        train, scale = standardised(train)
        values: Mapping[str, Any] = self.clamp(configuration, train.n_rows, train.n_columns)[0]
        encoder, matrix = TextEncoder.fit(train.X, values)
        with warnings.catch_warnings():
            # The bound on the iterations is part of the family, not an accident to warn of.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if train.kind == "regression":
                estimator = _regressor(values, seed).fit(matrix, train.y)
                return SklearnModel(self.name, encoder, None, estimator, n_classes=0, target_scale=scale)
            if values["model"] == "logistic":
                estimator = LogisticRegression(
                    C=values["C"], class_weight=values["class_weight"], max_iter=_ITERATIONS, random_state=seed
                ).fit(matrix, train.y)
                return SklearnModel(self.name, encoder, None, estimator, n_classes=train.n_classes)
            machine = LinearSVC(
                C=values["C"], class_weight=values["class_weight"], max_iter=_SVM_ITERATIONS, random_state=seed
            )
            sigmoid = calibrated(machine, seed).fit(matrix, train.y)
        trained = sigmoid.calibrated_classifiers_[0].estimator
        return SklearnModel(self.name, encoder, None, trained, n_classes=train.n_classes, probabilities=sigmoid)

    def load(self, directory: Path) -> FittedModel[Any]:
        """The model in ``directory``."""
        return load_sklearn_model(self.name, directory, encoder=TextEncoder.from_state)


def _regressor(values: Mapping[str, Any], seed: int) -> BaseEstimator:
    if values["model"] == "logistic":
        return Ridge(alpha=1.0 / values["C"])
    return LinearSVR(C=values["C"], epsilon=0.1, max_iter=_SVM_ITERATIONS, random_state=seed)
