"""``Metric``: the name of what is optimised, and its direction; decided here and nowhere else."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from metatune.errors import UnknownNameError, UsageError

Direction: TypeAlias = Literal["maximize", "minimize"]
Values = TypeVar("Values", float, np.ndarray)
Kind: TypeAlias = Literal["binary", "multiclass", "regression", "custom"]

#: Losses by the name people use: (name of scikit-learn's negated scorer).
_LOSSES = {
    "log_loss": "neg_log_loss",
    "brier": "neg_brier_score",
    "rmse": "neg_root_mean_squared_error",
    "mse": "neg_mean_squared_error",
    "mae": "neg_mean_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "msle": "neg_mean_squared_log_error",
    "rmsle": "neg_root_mean_squared_log_error",
    "median_absolute_error": "neg_median_absolute_error",
    "max_error": "neg_max_error",
}
_SCORES = {"auc": "roc_auc"}

#: What is optimised when the user names nothing.
DEFAULT_METRIC: dict[Kind, str] = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}

_REGRESSION_SCORERS = (
    frozenset({"r2", "explained_variance", "d2_absolute_error_score"})
    | frozenset(name for name in _LOSSES.values() if name not in ("neg_log_loss", "neg_brier_score"))
    | {"neg_mean_gamma_deviance", "neg_mean_poisson_deviance"}
)
_CLUSTERING_SCORERS = frozenset(
    {"adjusted_mutual_info_score", "adjusted_rand_score", "completeness_score", "fowlkes_mallows_score",
     "homogeneity_score", "mutual_info_score", "normalized_mutual_info_score", "rand_score", "v_measure_score"}
)  # fmt: skip
#: Scorers that cannot judge a kind: likelihood ratios need two classes, two guesses out of two are always right.
_UNFIT: dict[Kind, frozenset[str]] = {
    "binary": frozenset({"top_k_accuracy"}),
    "multiclass": frozenset({"positive_likelihood_ratio", "neg_negative_likelihood_ratio"}),
    "regression": frozenset(),
}
#: The lowest target for which a scorer is defined, and whether it is so for this number itself or only above.
_LOWEST = {
    "neg_mean_squared_log_error": (-1.0, False),
    "neg_root_mean_squared_log_error": (-1.0, False),
    "neg_mean_poisson_deviance": (0.0, True),
    "neg_mean_gamma_deviance": (0.0, False),
}
#: Scores of one of two classes, the positive one.
OF_POSITIVE = frozenset(
    {"f1", "precision", "recall", "average_precision", "jaccard", "positive_likelihood_ratio",
     "neg_negative_likelihood_ratio"}
)  # fmt: skip
#: Scores that rows of a single class have, and those of several classes that need rows of every one.
_OF_ONE_CLASS = frozenset(
    {"accuracy", "balanced_accuracy", "neg_log_loss", "neg_brier_score", "f1_macro", "f1_micro", "f1_weighted",
     "jaccard_macro", "jaccard_micro", "jaccard_weighted", "precision_macro", "precision_micro", "recall_macro",
     "recall_micro", "recall_weighted"}
)  # fmt: skip
_OF_EVERY_CLASS = frozenset(
    {"average_precision", "neg_brier_score", "d2_brier_score", "d2_log_loss_score", "roc_auc_ovo",
     "roc_auc_ovo_weighted", "top_k_accuracy"}
)  # fmt: skip
_MULTICLASS_NAME = {"roc_auc": "roc_auc_ovr", "f1": "f1_macro", "precision": "precision_macro",
                    "recall": "recall_macro", "jaccard": "jaccard_macro"}  # fmt: skip
#: Scores by names that mean nothing else. A list, since asking scikit-learn for all of its scorers takes seconds.
_CERTAIN_SCORES = frozenset(
    {"accuracy", "average_precision", "balanced_accuracy", "explained_variance", "matthews_corrcoef", "r2", *_SCORES,
     *_MULTICLASS_NAME, *_MULTICLASS_NAME.values(), *_LOSSES.values()}
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A metric: the name the user reads, its direction, and scikit-learn's scorer for it.

    ``scorer`` is ``None`` for a metric that the user measures himself. A scorer of scikit-learn is always
    better when higher; ``score`` turns its result into the metric's own unit.
    """

    name: str
    direction: Direction
    scorer: str | None = None

    def __post_init__(self) -> None:
        if self.direction not in ("maximize", "minimize"):
            raise UsageError(
                "a metric is maximised or minimised",
                field="direction",
                value=self.direction,
                remedy="Use 'maximize' or 'minimize'.",
            )
        if not self.name:
            raise UsageError("a metric needs a name", field="metric", value=self.name, remedy="Name it.")

    def score(self, value: Values) -> Values:
        """``value`` in the orientation that everything below the task uses: higher is better.

        It is its own inverse: applied to such a score, it gives the value back. Arrays are taken element by element.
        """
        return value if self.direction == "maximize" else -value

    def check_targets(self, y: np.ndarray, target: str) -> None:
        """Raise ``UsageError`` unless the metric is defined for all of ``y``, values of the column ``target``."""
        low, inclusive = _LOWEST.get(self.scorer or "", (-np.inf, True))
        wrong = y < low if inclusive else y <= low
        if wrong.any():
            bound = f"from {low:g} on" if inclusive else f"above {low:g}"
            raise UsageError(
                f"it is defined for targets {bound} only, which {wrong.sum():,} of {len(y):,} values of {target!r} "
                f"are not, such as {y[wrong][0]:g}",
                field="metric",
                value=self.name,
                remedy=f"Use for example {DEFAULT_METRIC['regression']!r}, or correct or shift the target.",
            )

    def classes_judged(self, n_classes: int) -> int:
        """How many of ``n_classes`` classes the rows must have that it judges; with fewer it is not defined."""
        if n_classes > 2 and self.scorer in _OF_EVERY_CLASS:
            return n_classes
        return 1 if self.scorer in _OF_ONE_CLASS else 2

    @property
    def gains_are_relative(self) -> bool:
        """Whether people read an improvement as a share of the value: losses have no natural scale, scores have."""
        return self.direction == "minimize"

    @classmethod
    def own(cls, name: str, direction: Direction) -> "Metric":
        """A metric that the user measures himself.

        Raises ``UsageError`` for a name that everybody knows with the other direction: such trials would later be
        taken for the contrary of what they are.
        """
        known = usual_direction(name)
        metric = cls(name, direction)
        if known not in (None, direction):
            raise UsageError(
                f"{name!r} is better when it is {'lower' if known == 'minimize' else 'higher'}",
                field="direction",
                value=direction,
                remedy=f"Use direction={known!r}, or another name, such as 'my_{name}', if this is another metric.",
            )
        return metric

    @classmethod
    def of(cls, name: str | None, kind: Kind) -> "Metric":
        """The metric called ``name`` for a task of ``kind``; the kind's default for ``None``.

        Any scorer of scikit-learn, or a plain name such as ``rmse``, ``log_loss``, ``auc``. For several
        classes, ``roc_auc``, ``f1``, ``precision`` and ``recall`` mean one-versus-rest or macro averages.
        Raises ``UnknownNameError`` for an unknown name, ``UsageError`` for one that does not fit the kind.
        """
        if kind == "custom":
            raise UsageError(
                "a custom metric has no scorer that could tell its direction",
                field="metric",
                value=name,
                remedy="Use Metric(name, direction), or Task.custom(name, metric=..., direction=...).",
            )
        name = DEFAULT_METRIC[kind] if name is None else name
        if not isinstance(name, str):
            raise UsageError(
                "not the name of a metric",
                field="metric",
                value=name,
                remedy="Give one name, such as that of a scorer of scikit-learn; with a measure of your own, tune an "
                "objective= on a Task.custom.",
            )
        known = metric_names(kind)
        if name not in known:
            everything = known | _scorers() | set(_LOSSES) | set(_SCORES)
            if name in everything:
                raise UsageError(
                    f"this metric is not for {kind} tasks",
                    field="metric",
                    value=name,
                    remedy=f"Use for example {DEFAULT_METRIC[kind]!r}, or set kind= if the target was misread.",
                )
            raise UnknownNameError.of("metric", name, known)
        if name in _LOSSES:
            return cls(name, "minimize", _LOSSES[name])
        scorer = _SCORES.get(name, name)
        return cls(name, "maximize", _MULTICLASS_NAME.get(scorer, scorer) if kind == "multiclass" else scorer)


def usual_direction(name: str) -> Direction | None:
    """The direction of a metric that everybody knows by ``name``; ``None`` for a name that may mean anything."""
    return "minimize" if name in _LOSSES else "maximize" if name in _CERTAIN_SCORES else None


def metric_names(kind: Kind) -> frozenset[str]:
    """All names that ``Metric.of`` accepts for a task of ``kind``; none for ``custom``."""
    if kind == "custom":
        return frozenset()
    scorers = _scorers() - _UNFIT[kind] - _CLUSTERING_SCORERS
    scorers = {name for name in scorers if not name.endswith("_samples")}  # for several labels a row
    regression = {name for name in scorers if name in _REGRESSION_SCORERS}
    fitting = regression if kind == "regression" else scorers - regression
    return frozenset(fitting | {n for n, s in (_LOSSES | _SCORES).items() if s in fitting})


def _scorers() -> set[str]:
    # Imported only now: all of scikit-learn comes with it, which reading a history does without.
    from sklearn.metrics import get_scorer_names

    return set(get_scorer_names())
