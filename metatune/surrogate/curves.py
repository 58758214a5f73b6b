"""What learning curves of past tasks teach about stopping: how a partial curve goes on, and how many to keep.

A trial is judged by the *projection* of its curve: its value, and a part of what it gained in the second half of its
steps so far. How large a part, at which position in the budget, is learnt from past curves by ridge regression. At
position ``r`` in (0, 1], a trial goes on if its projection is among the best ``keep / r`` of all trials so far, which
makes every position cost the same, as in successive halving (Jamieson and Talwalkar, 2016); or if it is not behind
the projection that the best complete trial had then, so that where winners start slowly they are not measured against
early leaders.
``keep`` is the smallest share with which replayed searches on past tasks, projected by other tasks, lose next to
nothing. Where past curves say so little about the end that every share loses something, all trials go on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from metatune.errors import KnowledgeError, UsageError

#: Positions in the full budget at which trials are judged.
RUNGS = (0.04, 0.06, 0.08, 0.115, 0.15, 0.2, 0.27, 0.35, 0.45, 0.6, 0.8)
#: A gain is what was won since this share of the steps so far.
LAG = 0.5
#: Complete trials before the first one is stopped. With fewer, all of them may be early leaders.
STARTUP = 4

#: Without history, half of the gain is expected to come again.
_PRIOR = 0.5
_PRIOR_KEEP = 0.06
#: The other shares that are tried; history decides between these bounds only.
_FEWER, _MORE = (0.05, 0.04), (0.07, 0.08, 0.1)
#: Shares for curves that tell little about the end; with the last one every trial goes on.
_CAUTIOUS = (0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0)
#: Fewer past tasks do not decide on the share.
_MIN_TASKS = 5
#: The prior on the weights counts as much as a task with gains of the size of its spread.
_PRIOR_TASKS = 1.0
#: More curves of one task than this add little.
_MAX_CURVES = 200
_SEARCH = 100
_REPLAYS = 4
_FOLDS = 5
#: A value farther from the final ones than so many of their spreads could overflow.
_FAR = 1e6


def _no_history() -> np.ndarray:
    return np.full(len(RUNGS), _PRIOR)


@dataclass(frozen=True, eq=False)
class CurveModel:
    """``CurveModel()`` knows no history and is cautious; ``fit`` learns from it.

    ``weights`` (rungs,): the part of the gain that a projection adds. ``keep``: see the module. ``tasks``: past tasks
    learnt from. ``regret`` and ``share``: mean loss of replayed searches on them, in units of the range of a task's
    final scores, and the share of the steps that they used; NaN when no replay decided on ``keep``.
    """

    weights: np.ndarray = field(default_factory=_no_history)
    keep: float = _PRIOR_KEEP
    tasks: int = 0
    regret: float = float("nan")
    share: float = float("nan")

    @classmethod
    def fit(cls, tasks: Sequence[np.ndarray], *, tolerance: float = 0.002, seed: int = 0) -> "CurveModel":
        """Learn from ``tasks``: arrays (trials, steps) of scores, higher is better, columns even over the budget.

        Lengths may differ between tasks. Only complete curves teach: a row whose last value is not finite is left out,
        other values that are not finite count as worst. Tasks with fewer than four steps, ten complete curves, or equal
        final scores teach nothing. ``tolerance``: the mean regret that replays may lose.
        Raises ``UsageError`` for arrays of another shape.
        """
        rng = np.random.default_rng(seed)
        usable = [usable for curves in tasks if (usable := _usable(curves, rng)) is not None]
        looks = [_looks(curves) for curves in usable]
        normal = [_normal_equations(x, curves[:, -1]) for x, curves in zip(looks, usable, strict=True)]
        weights = _solve(normal)
        if len(usable) < _MIN_TASKS:
            return cls(weights, tasks=len(usable))
        fold = rng.permutation(len(usable)) % _FOLDS
        left_out = [_solve([n for n, f in zip(normal, fold, strict=True) if f != out]) for out in range(_FOLDS)]
        replays = [
            _Replay.of(x, curves[:, -1], left_out[f], rng)
            for x, curves, f in zip(looks, usable, fold, strict=True)
            for _ in range(_REPLAYS)
        ]
        keep, expected = _chosen(replays, len(usable), tolerance)
        return cls(weights, keep, len(usable), *expected)

    @property
    def stops_nothing(self) -> bool:
        """Whether every trial goes on: past curves told too little about the end."""
        return self.keep >= RUNGS[-1]

    def project(self, rung: int, value: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        """Projections at ``RUNGS[rung]`` of trials with ``value`` (n,) now and ``earlier`` (n,) at ``LAG``.

        Higher is better, shape (n,). They compare within a task and a rung. -inf for a value that is not finite.
        """
        return _project(self.weights[rung], value, earlier)

    def is_promising(self, rung: int, own: float, others: np.ndarray, started: int, *, leader: float) -> bool:
        """Whether a trial with the projection ``own`` at ``RUNGS[rung]`` goes on.

        ``others``: projections of those among ``started`` other trials that came as far; the rest counts as worse.
        ``leader``: that of the best complete trial. Where this task's own leader would have been stopped, history is
        disproved, and the share is at least that of a model without history.
        """
        ahead = np.array([np.count_nonzero(others > own), np.count_nonzero(others > leader)])
        keep, cautious = min(self.keep / RUNGS[rung], 1.0), min(max(self.keep, _PRIOR_KEEP) / RUNGS[rung], 1.0)
        share = keep if ahead[1] + 1 <= keep * (started + 1) else cautious
        return bool(own >= leader or ahead[0] + 1 <= share * (started + 1))

    def to_json(self) -> str:
        """The model as JSON text; ``from_json`` gives an equal one back."""
        expected = {"regret": self.regret, "share": self.share}
        raw = {"rungs": RUNGS, "weights": self.weights.tolist(), "keep": self.keep, "tasks": self.tasks}
        return json.dumps(raw | {name: None if value != value else value for name, value in expected.items()})

    @classmethod
    def from_json(cls, text: str) -> "CurveModel":
        """The model that ``to_json`` wrote. Raises ``KnowledgeError`` for anything else."""
        try:
            raw = json.loads(text)
            weights = np.array(raw["weights"], dtype=np.float64)
            if tuple(raw["rungs"]) != RUNGS or weights.shape != (len(RUNGS),):
                raise ValueError("other positions than these")
            if not np.isfinite(weights).all() or not 0 < raw["keep"] <= 1:
                raise ValueError("numbers out of range")
            expected = [float("nan") if raw[name] is None else float(raw[name]) for name in ("regret", "share")]
            return cls(weights, float(raw["keep"]), int(raw["tasks"]), *expected)
        except (ValueError, KeyError, TypeError) as error:
            raise KnowledgeError.unreadable(
                "not a model of learning curves", error, field="curves", value=text
            ) from error


def rung_steps(budget: int) -> np.ndarray:
    """The step, counted from 1, at which each rung is reached in a budget of so many steps; ascending."""
    return np.maximum(np.round(np.array(RUNGS) * budget), 1).astype(np.int64)


def _usable(curves: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The complete curves, at most ``_MAX_CURVES`` of them, without gaps; ``None`` if they teach nothing."""
    curves = np.asarray(curves, dtype=np.float64)
    if curves.ndim != 2:
        raise UsageError(
            "curves are an array (trials, steps) per task", field="tasks", value=curves.shape, remedy="Give 2-d arrays."
        )
    if curves.shape[1] < 4:
        return None
    complete = curves[np.isfinite(curves[:, -1])]
    if len(complete) < 10 or np.ptp(complete[:, -1]) <= 0:
        return None
    finite = np.isfinite(complete)
    filled: np.ndarray = np.where(finite, complete, complete[finite].min())
    return filled[rng.permutation(len(filled))[:_MAX_CURVES]]


def _looks(curves: np.ndarray) -> np.ndarray:
    """What is seen of each curve at each rung, (trials, rungs, 2): the value, and the one at ``LAG``."""
    steps = rung_steps(curves.shape[1])
    return np.stack([curves[:, steps - 1], curves[:, lagged(steps) - 1]], axis=2)


def lagged(steps: np.ndarray) -> np.ndarray:
    """The steps, counted from 1, at ``LAG`` of ``steps``."""
    return np.maximum(np.floor(LAG * steps), 1).astype(np.int64)


def _project(weights: np.ndarray | float, value: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        gain = value - earlier
        projected = value + weights * np.where(np.isfinite(gain), gain, 0.0)
    return np.where(np.isfinite(value), projected, -np.inf)


def _normal_equations(looks: np.ndarray, final: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per rung, the equations for what is still won, from the value and its gain, in units of the task's spread.

    Shapes (rungs, 2, 2) and (rungs, 2).
    """
    middle, high = np.quantile(final, [0.5, 0.95])
    spread = high - middle or np.ptp(final)
    left, right = [], []
    for value, earlier in np.clip(looks, middle - _FAR * spread, middle + _FAR * spread).transpose(1, 2, 0):
        x = np.column_stack([value, value - earlier]) / spread
        x, y = np.clip(x - np.median(x, axis=0), -3.0, 3.0), np.clip((final - value) / spread, -3.0, 3.0)
        x, y = x - x.mean(axis=0), y - y.mean()
        left.append(x.T @ x / len(y))
        right.append(x.T @ y / len(y))
    return np.array(left), np.array(right)


def _solve(equations: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """``weights`` from the equations of all tasks, drawn towards the prior."""
    if not equations:
        return _no_history()
    ridge = _PRIOR_TASKS + 0.01 * len(equations)
    left = np.sum([a for a, _ in equations], axis=0) + ridge * np.eye(2)
    right = np.sum([b for _, b in equations], axis=0) + ridge * np.array([0.0, _PRIOR])
    level, gain = np.linalg.solve(left, right[:, :, None])[:, :, 0].T
    # Where the value itself says nothing about the end, no gain does either: the curves are not of this kind.
    return np.where(1.0 + level > 0.25, np.clip(gain / np.maximum(1.0 + level, 0.25), -0.5, 2.0), _PRIOR)


def _chosen(replays: Sequence["_Replay"], n_tasks: int, tolerance: float) -> tuple[float, tuple[float, float]]:
    """The share to keep, and the mean regret and share of steps that it had in ``replays``, given task by task.

    A few searches decide how large a mean regret is, so the share departs from that without history on evidence only:
    upwards while the regret is above the tolerance by a standard error, else downwards while below it by two. Where
    that leads to ``_CAUTIOUS`` shares, harm is proven, and only a regret within the tolerance itself ends the ascent.
    """

    def lost(keep: float) -> tuple[float, float, float]:
        results = np.array([replay.run(CurveModel(keep=keep)) for replay in replays])
        by_task = results[:, 0].reshape(n_tasks, -1).mean(axis=1)
        return float(by_task.mean()), float(results[:, 1].mean()), float(by_task.std(ddof=1) / np.sqrt(n_tasks))

    keep, (regret, share, error) = _PRIOR_KEEP, lost(_PRIOR_KEEP)
    if regret - error > tolerance:
        for keep in (*_MORE, *_CAUTIOUS):
            regret, share, error = lost(keep)
            if regret - (error if keep in _MORE else 0.0) <= tolerance:
                break
        return keep, (regret, share)
    for fewer in _FEWER:
        less = lost(fewer)
        if less[0] + 2.0 * less[2] > tolerance:
            break
        keep, (regret, share, _) = fewer, less
    return keep, (regret, share)


@dataclass(frozen=True, eq=False)
class _Replay:
    """A random search on a past task: projections (trials, rungs) and final scores (trials,) of its trials."""

    projected: np.ndarray
    final: np.ndarray
    range: float

    @classmethod
    def of(cls, looks: np.ndarray, final: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> "_Replay":
        order = rng.permutation(len(final))[:_SEARCH]
        return cls(_project(weights, looks[order, :, 0], looks[order, :, 1]), final[order], float(np.ptp(final)))

    def run(self, model: CurveModel) -> tuple[float, float]:
        """Regret against the search that stops nothing, and share of the steps used."""
        n, rungs = self.projected.shape
        reached = np.full((n, rungs), np.nan)
        used, best, complete = 0.0, 0, 0
        for i, own in enumerate(self.projected):
            end = rungs
            if complete >= STARTUP:
                leader, others = self.projected[best], reached[:i]
                going = (model.is_promising(k, own[k], others[:, k], i, leader=leader[k]) for k in range(rungs))
                end = next((k for k, goes in enumerate(going) if not goes), rungs)
            reached[i, : end + 1] = own[: end + 1]
            used += RUNGS[end] if end < rungs else 1.0
            if end == rungs:
                complete += 1
                best = i if complete == 1 or self.final[i] > self.final[best] else best
        return (float(self.final.max()) - float(self.final[best])) / self.range, used / n
