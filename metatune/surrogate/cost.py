"""``CostModel``: how long a configuration takes, learnt from past tasks and anchored by the trials of this search."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from metatune.encoding import ConfigurationEncoder
from metatune.errors import KnowledgeError, NoHistoryError
from metatune.surrogate.gbdt import GBDT, META_SETTINGS

_ROUNDS = 120
#: Log seconds that two trials of one task differ by without a reason, and how far a task's slope may be from 1.
_NOISE, _SLOPE_DEVIATION = 0.5, 0.5
#: With so many past tasks, the guess of a new task's level follows its features by half.
_LEVEL_RIDGE = 5.0
_MIN_TRIALS = 4


@dataclass(frozen=True, eq=False)
class CostModel:
    """Predicted log seconds: ``level + slope * trees(X)``.

    ``trees`` predict by how much a configuration differs from the median of its task. ``level`` of a task is unknown
    before its first trial; the guess is the past tasks' mean, or follows ``features`` (log rows and the like) where
    ``fit`` got any: ``level + coefficients @ (features - centre)``.
    """

    trees: GBDT
    level: float
    slope: float = 1.0
    coefficients: tuple[float, ...] = ()
    centre: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        X: np.ndarray,
        seconds: np.ndarray,
        *,
        groups: np.ndarray,
        encoder: ConfigurationEncoder,
        features: np.ndarray | None = None,
    ) -> "CostModel":
        """Learn from trials ``X`` (n, columns of ``encoder``) that took ``seconds`` (n,) on the tasks ``groups`` (n,).

        ``features`` (n, f), equal within a task. Trials without positive finite seconds, and tasks with fewer than four
        others, are left out. Every task has the same weight. Raises ``NoHistoryError`` if nothing is left.
        """
        known = _known(seconds)
        _, member, count = np.unique(groups[known], return_inverse=True, return_counts=True)
        enough = count[member] >= _MIN_TRIALS
        rows, member = np.flatnonzero(known)[enough], member[enough]
        if not len(rows):
            raise NoHistoryError(
                "no past task has enough trials whose seconds are known",
                field="seconds",
                value=int(known.sum()),
                remedy="Record the seconds of at least four trials of a task.",
            )
        log = np.log(seconds[rows])
        tasks = np.unique(member)
        levels = {int(task): float(np.median(log[member == task])) for task in tasks}
        trees = GBDT.fit(
            X[rows],
            log - np.array([levels[int(task)] for task in member]),
            categorical=encoder.categorical_columns,
            weight=len(rows) / len(tasks) / count[member],
            settings=META_SETTINGS,
            rounds=_ROUNDS,
            min_leaf=min(20, max(3, len(rows) // 50)),
        )
        found = np.array(list(levels.values()))
        model = cls(trees, float(found.mean()))
        if features is None or len(tasks) < 2:
            return model
        described = np.array([features[rows[member == task][0]] for task in tasks])
        coefficients, centre = _linear(np.asarray(described, dtype=np.float64), found)
        return replace(model, coefficients=coefficients, centre=centre)

    def predict(self, X: np.ndarray, features: Sequence[float] = ()) -> np.ndarray:
        """Log seconds of the encoded configurations ``X`` (m, columns) on a task with ``features``, shape (m,).

        After ``anchored``, features no longer matter. Without features, or with some unknown (NaN), the mean counts.
        """
        level = self.level
        if len(features) and self.coefficients:
            known = np.nan_to_num(np.asarray(features, dtype=np.float64) - self.centre)
            level += float(known @ np.array(self.coefficients))
        return level + self.slope * self.trees.predict(X)

    def anchored(self, X: np.ndarray, seconds: np.ndarray) -> "CostModel":
        """The model for the task on which ``X`` (n, columns) took ``seconds`` (n,); unknown ones are ignored.

        The level is the median of the log ratios. The slope is regressed from 1 towards what is seen here, and never
        negative: where past costs say nothing about this task, all configurations are predicted to take as long.
        """
        known = _known(seconds)
        if not known.any():
            return self
        predicted, log = self.trees.predict(X[known]), np.log(seconds[known])
        dx, dy = predicted - predicted.mean(), log - log.mean()
        prior = (_NOISE / _SLOPE_DEVIATION) ** 2
        slope = float(np.clip((dx @ dy + prior) / (dx @ dx + prior), 0.0, 2.0))
        return replace(self, level=float(np.median(log - slope * predicted)), slope=slope, coefficients=(), centre=())

    def to_json(self) -> str:
        """The model as JSON text, the trees in LightGBM's own format; ``from_json`` gives an equal one back."""
        return json.dumps(
            {
                "level": self.level,
                "slope": self.slope,
                "coefficients": self.coefficients,
                "centre": self.centre,
                "trees": self.trees.to_text(),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "CostModel":
        """The model that ``to_json`` wrote. Raises ``KnowledgeError`` for anything else."""
        try:
            raw = json.loads(text)
            coefficients, centre = (tuple(map(float, raw[name])) for name in ("coefficients", "centre"))
            if len(coefficients) != len(centre):
                raise ValueError("coefficients do not fit the centre")
            return cls(GBDT.from_text(raw["trees"]), float(raw["level"]), float(raw["slope"]), coefficients, centre)
        except (ValueError, KeyError, TypeError) as error:
            raise KnowledgeError.unreadable("not a model of costs", error, field="cost", value=text) from error


def _known(seconds: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(seconds) & (seconds > 0))


def _linear(features: np.ndarray, level: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Ridge regression of ``level`` (tasks,) on scaled ``features`` (tasks, f): their coefficients and their centre."""
    centre = np.array([float(np.mean(f[np.isfinite(f)])) if np.isfinite(f).any() else 0.0 for f in features.T])
    x = np.where(np.isfinite(features), features - centre, 0.0)
    scale = x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    x = x / scale
    solved = np.linalg.solve(x.T @ x + _LEVEL_RIDGE * np.eye(x.shape[1]), x.T @ (level - level.mean())) / scale
    return tuple(map(float, solved)), tuple(map(float, centre))
