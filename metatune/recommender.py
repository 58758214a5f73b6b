"""The verb ``recommend``: good configurations for a task never seen, with the evidence for them."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from metatune.errors import NoHistoryError, UsageError
from metatune.knowledge import Knowledge
from metatune.learners import family_names, get_family
from metatune.learners.base import ModelFamily
from metatune.learners.choice import check_family, check_named, default_for
from metatune.metafeatures import describe
from metatune.recommendation import Recommendation, RecommendedConfiguration, SimilarTask
from metatune.search.budget import check_count
from metatune.search.candidates import identity
from metatune.search.gains import Gain, gain_of
from metatune.search.prior import Prior, percentile
from metatune.space import Change, SearchSpace, check_space
from metatune.splits import TEST, plan_splits
from metatune.surrogate.family import FamilySurrogate
from metatune.task import Task, TaskRecord, check_task
from metatune.trial import Configuration, ParamValue
from metatune.wording import sentence

#: So many similar tasks are shown as evidence.
_SIMILAR = 5
_LOW, _HIGH = 0.1, 0.9
#: A configuration comes before the default where the experts' mean advantage is so large, in copula units, and so many
#: of their deviations: what is less is often none at all on the task at hand (docs/benchmarks.md).
_MARGIN, _SURE = 0.3, 0.4
#: So much gain, in sum over the known tasks, is held against it for what was not seen: two or three harms.
_DOUBT = 0.3
#: Half of the tasks like the one at hand must gain more than this (in the metric's unit or shares).
_MATTERS = 0.001
#: So many of the portfolio may come before the default.
_JUDGED = 3
#: Kinds of tasks that tell classes apart.
_CLASSES = ("binary", "multiclass")


def recommend(
    task: Task,
    family: str | ModelFamily[Any] | None = None,
    n: int = 3,
    *,
    knowledge: Knowledge | None = None,
    space: SearchSpace | None = None,
    default: Configuration | None = None,
    strict: bool = False,
    seed: int = 0,
) -> Recommendation:
    """The ``n`` configurations of ``family`` that earlier tasks speak for, without training anything.

    ``family``: a model family or its name; the usual one for data like the task's unless given.
    ``knowledge``: ``Knowledge.find()`` unless given. ``space`` and ``default`` are the family's own unless given; a
    ``family`` that metatune does not train needs a ``space``. Configurations that promise less than the default are not
    recommended, so there may be fewer than ``n``; where none clearly promises more, or nothing is known, the default
    is the first.

    Raises ``UsageError`` for a bad ``n`` or family, ``ConfigurationError`` for a ``default`` that is not in the space,
    ``KnowledgeError`` for damaged knowledge, and, with ``strict``, ``NoHistoryError`` when there is no history of the
    family or the task is unlike all of it.
    """
    check_task(task)
    if knowledge is not None and not isinstance(knowledge, Knowledge):
        raise UsageError("not a knowledge", field="knowledge", value=knowledge, remedy="Give Knowledge.load(folder).")
    check_count("n", n, 1)
    family = default_for(task) if family is None else family
    check_named(family)
    check_space(space)
    learner = _learner(family, space)
    if learner is not None and space is None and task.data is not None:
        check_family(task, learner)
    record = task.record(describe(task))
    known = Knowledge.find() if knowledge is None else knowledge
    return recommend_for(
        record,
        family,
        n,
        knowledge=known,
        space=space,
        default=default,
        train_rows=task.train_rows,
        strict=strict,
        seed=seed,
    )


def recommend_for(
    record: TaskRecord,
    family: str | ModelFamily[Any],
    n: int = 3,
    *,
    knowledge: Knowledge,
    space: SearchSpace | None = None,
    default: Configuration | None = None,
    train_rows: int | None = None,
    strict: bool = False,
    seed: int = 0,
) -> Recommendation:
    """As ``recommend``, for a task of which only the record is known: its metric, meta-features and size.

    What cannot work on few rows is clamped as in the trials of a search, to the ``train_rows`` of the smallest fold;
    unless given, those of the split that ``Task`` makes of so many rows by itself.
    """
    learner = _learner(family, space)
    name = learner.name if learner is not None else str(family)
    where = space if space is not None else learner.space()  # type: ignore[union-attr]
    if default is not None:
        where.check(default, "default")
    start = default if default is not None else learner.default() if learner is not None else None
    surrogate = knowledge.surrogate(name, record.metric, missing_ok=True)
    prior = Prior(surrogate, record, where, seed=seed)
    if strict and (prior.empty or prior.is_unlike):
        raise NoHistoryError(
            "no known task is like this one" if not prior.empty else "nothing is known of this model family",
            field="family" if prior.empty else "task",
            value=name if prior.empty else record.name,
            remedy="Leave --strict out to get the default, or run a search first: metatune tune.",
        )
    clipped = None if start is None else where.clip(start)[0]
    listed = chosen(prior, n, clipped)
    evidence = _Evidence(prior, None if prior.empty else surrogate, record, clipped)
    if train_rows is None:
        train_rows = plan_splits(None, TEST, record.n_rows).train_rows(record.n_rows)
    items = tuple(_item(evidence, c, origin, learner, record, train_rows) for c, origin in listed)
    return Recommendation(
        family=name,
        metric=record.metric.name,
        items=items,
        similar=evidence.similar,
        tasks=0 if prior.empty or surrogate is None else len(surrogate.tasks),
        trials=0 if prior.empty or surrogate is None else sum(len(t.X) for t in surrogate.tasks),
        unlike=prior.is_unlike,
        relative_gain=record.metric.gains_are_relative,
        notes=(*_notes(prior, items, n), *_ignorance(surrogate, where)),
    )


def _learner(family: str | ModelFamily[Any], space: SearchSpace | None) -> ModelFamily[Any] | None:
    """The family that metatune trains; ``None`` for one that is only a name. Raises ``UnknownNameError``."""
    if isinstance(family, str) and (space is None or family in family_names()):
        return get_family(family)
    return family if isinstance(family, ModelFamily) else None


def chosen(prior: Prior, n: int, default: Configuration | None) -> list[tuple[Configuration, str]]:
    """Configurations and where they come from, in the order in which to try them.

    The default comes first unless the best of the first ``_JUDGED`` of the portfolio is clearly better, and did harm to
    few tasks like this one: it is the safe choice. The others follow by what is expected of them; what is worse than
    the default is left out.
    """
    if prior.empty:
        return [(default, "default")] if default is not None else [(c, "spread") for c in prior.pool[:n]]
    listed: list[tuple[Configuration, str]] = [(c, "portfolio") for c in prior.portfolio(max(n, _JUDGED))]
    if default is not None:
        differs = [identity(configuration) != identity(default) for configuration, _ in listed]
        judged = 1 + sum(differs[:_JUDGED])
        listed = [(default, "default"), *(entry for entry, other in zip(listed, differs, strict=True) if other)]
    scores = prior.predict([configuration for configuration, _ in listed])
    expected = prior.verdict @ scores
    order = np.argsort(-expected, kind="stable")
    if default is not None:
        best = int(np.argmax(expected[:judged]))
        sure = not prior.is_unlike and best > 0 and _clear(scores[:, best] - scores[:, 0], prior.verdict)
        sure = sure and _promising(gain_of(prior, listed[best][0], default), prior.same_metric)
        if not prior.is_unlike:  # else what is known does not apply here
            order = order[~(expected[order] < expected[0])]
        first = best if sure else 0
        order = np.concatenate([[first], order[order != first]])
        if len(order) < n:
            listed += _more(prior, listed, float(expected[0]))
            order = np.concatenate([order, np.arange(len(expected), len(listed))])
    return [listed[i] for i in order[:n]]


def _more(prior: Prior, listed: Sequence[tuple[Configuration, str]], least: float) -> list[tuple[Configuration, str]]:
    """What else of the pool promises at least so much as the default, most first."""
    known = {identity(configuration) for configuration, _ in listed}
    promised = prior.verdict @ prior.predicted
    ranked = [prior.pool[i] for i in np.argsort(-promised, kind="stable") if promised[i] >= least]
    return [(configuration, "portfolio") for configuration in ranked if identity(configuration) not in known]


def _clear(advantage: np.ndarray, weights: np.ndarray) -> bool:
    """Whether ``advantage`` (experts,) is worth something, and not only to some of the experts."""
    mean = float(weights @ advantage)
    return mean >= max(_MARGIN, _SURE * float(np.sqrt(weights @ (advantage - mean) ** 2)))


def _promising(gain: Gain, same_metric: np.ndarray) -> bool:
    """Whether enough tasks like this one won more than they lost, and half of those by this metric what matters."""
    return gain.evidence > _DOUBT and (not same_metric.any() or gain.quantile(0.5, same_metric) > _MATTERS)


class _Evidence:
    """What the known tasks say of a configuration."""

    def __init__(
        self, prior: Prior, surrogate: FamilySurrogate | None, record: TaskRecord, default: Configuration | None
    ) -> None:
        self._prior, self._surrogate, self._default = prior, surrogate, default
        # Meta-features hardly tell classes from numbers; what is predicted comes before how near the data are.
        others = () if surrogate is None else surrogate.records
        differs = np.array([(known.kind in _CLASSES) != (record.kind in _CLASSES) for known in others], dtype=bool)
        order = np.lexsort((prior.task_distances, differs))
        self._near = [int(i) for i in order if np.isfinite(prior.task_distances[i])][:_SIMILAR]

    @property
    def similar(self) -> tuple[SimilarTask, ...]:
        """The nearest known tasks, nearest first, those that predict the same (classes, numbers) before others."""
        if self._surrogate is None:
            return ()
        return tuple(
            SimilarTask(
                name=task.record.name,
                distance=float(self._prior.task_distances[i]),
                trials=len(task.X),
                best=task.record.metric.score(float(np.nanmax(task.score))),
                metric=task.record.metric.name,
            )
            for i, task in ((i, self._surrogate.tasks[i]) for i in self._near)
        )

    def better_than(self, configuration: Configuration) -> tuple[float, float, float]:
        """Low, expected and high share of configurations that ``configuration`` beats."""
        if self._prior.empty:
            return 0.0, 0.5, 1.0
        z, weights = self._prior.predict([configuration])[:, 0], self._prior.verdict
        order = np.argsort(z)
        cumulative = np.cumsum(weights[order])
        low, high = (z[order[min(int(np.searchsorted(cumulative, q)), len(z) - 1)]] for q in (_LOW, _HIGH))
        return percentile(float(low)), percentile(float(weights @ z)), percentile(float(high))

    def gain(self, configuration: Configuration) -> tuple[float, float, float] | None:
        """Low, median and high improvement over the default on tasks with the same metric, like ones before others."""
        same = self._prior.same_metric
        if self._default is None or not same.any():
            return None
        gain = gain_of(self._prior, configuration, self._default)
        return gain.quantile(_LOW, same), gain.quantile(0.5, same), gain.quantile(_HIGH, same)


def _item(
    evidence: _Evidence,
    configuration: Configuration,
    origin: str,
    learner: ModelFamily[Any] | None,
    record: TaskRecord,
    train_rows: int,
) -> RecommendedConfiguration:
    low, expected, high = evidence.better_than(configuration)
    gain = evidence.gain(configuration)
    kept: dict[str, ParamValue] = dict(configuration)
    changes: tuple[Change, ...] = ()
    if learner is not None and train_rows:
        kept, changes = learner.clamp(configuration, train_rows, record.n_columns)
    return RecommendedConfiguration(
        configuration=kept,
        origin=origin,
        better_than=expected,
        better_than_low=low,
        better_than_high=high,
        gain_low=gain[0] if gain else None,
        gain=gain[1] if gain else None,
        gain_high=gain[2] if gain else None,
        changes=changes,
    )


def _notes(prior: Prior, items: Sequence[RecommendedConfiguration], n: int) -> tuple[str, ...]:
    notes = []
    has_default = any(item.origin == "default" for item in items)
    if prior.empty:
        what = "this is its default, not a recommendation" if has_default else "these are spread over its space"
        notes.append(f"Nothing is known of this model family here: {what}.")
    elif prior.is_unlike:
        what = "the default comes first, take the others with care" if has_default else "take these with care"
        notes.append(f"No known task is like this one: {what}.")
    elif items and items[0].origin == "default":
        notes.append("Nothing known clearly promises to beat the default on a task like this: it comes first.")
    if len(items) < n and not prior.empty:
        reason = "nothing else that is known promises as much as the default" if has_default else "there are no more"
        notes.append(f"Only {len(items)} of {n}: {reason}.")
    notes += [f"{c.parameter} reduced to {json.dumps(c.after)}: {c.reason}." for item in items for c in item.changes]
    return tuple(dict.fromkeys(notes))


def _ignorance(surrogate: FamilySurrogate | None, space: SearchSpace) -> tuple[str, ...]:
    """Which parameters the history of the family, if there is one, does not know."""
    told = None if surrogate is None else surrogate.ignorance(space.parameters)
    return () if told is None else (sentence(told),)
