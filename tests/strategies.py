"""Hypothesis strategies for the values that metatune speaks in: spaces, configurations, trials, tasks, studies."""

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from metatune.metric import Metric, metric_names
from metatune.parameter import same_value
from metatune.space import Condition, SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial

# How long an example takes says nothing on a machine that does other work too.
settings.register_profile("metatune", deadline=None, max_examples=60)
settings.load_profile("metatune")

#: Any non-empty text names a parameter, a task or a metric; lone surrogates cannot be written as UTF-8.
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
moderate = st.floats(-1e6, 1e6, allow_nan=False)
choices = st.one_of(st.none(), st.booleans(), st.integers(-1000, 1000), moderate, st.text(max_size=8))
seeds = st.integers(0, 2**32 - 1)


@st.composite
def float_distributions(draw: st.DrawFn) -> FloatDistribution:
    """Linear, logarithmic or stepped ranges of floats, some of them a single point."""
    form = draw(st.sampled_from(["linear", "log", "step"]))
    if form == "log":
        low = draw(st.floats(1e-9, 1e3))
        return FloatDistribution(low, low * draw(st.floats(1.0, 1e6)), log=True)
    if form == "step":
        step = draw(st.sampled_from([0.01, 0.1, 0.25, 0.5, 2.0]))
        first, count = draw(st.integers(-50, 50)), draw(st.integers(0, 40))
        return FloatDistribution(round(first * step, 2), round((first + count) * step, 2), step=step)
    low = draw(moderate)
    return FloatDistribution(low, low + draw(st.floats(0.0, 1e6)))


@st.composite
def int_distributions(draw: st.DrawFn) -> IntDistribution:
    """Linear, logarithmic or stepped ranges of whole numbers, some of them a single point."""
    form = draw(st.sampled_from(["linear", "log", "step"]))
    if form == "log":
        low = draw(st.integers(1, 100))
        return IntDistribution(low, low + draw(st.integers(0, 100_000)), log=True)
    low, step = draw(st.integers(-1000, 1000)), draw(st.integers(1, 7)) if form == "step" else 1
    return IntDistribution(low, low + step * draw(st.integers(0, 200)), step=step)


numeric_distributions = st.one_of(float_distributions(), int_distributions())


@st.composite
def categorical_distributions(draw: st.DrawFn) -> CategoricalDistribution:
    """Up to five different choices of mixed types."""
    found: list[Any] = []
    for choice in draw(st.lists(choices, min_size=1, max_size=5)):
        if not any(same_value(choice, other) for other in found):
            found.append(choice)
    return CategoricalDistribution(tuple(found))


distributions = st.one_of(numeric_distributions, categorical_distributions())


@st.composite
def search_spaces(draw: st.DrawFn, max_size: int = 6, conditional: bool = True) -> SearchSpace:
    """Spaces of up to ``max_size`` parameters, some of which depend on earlier ones, to any depth."""
    parameters: dict[str, BaseDistribution] = draw(st.dictionaries(names, distributions, min_size=1, max_size=max_size))
    conditions: dict[str, Condition] = {}
    order = list(parameters)
    for i, child in enumerate(order[1:], start=1):
        if conditional and draw(st.booleans()):
            parent = draw(st.sampled_from(order[:i]))
            values = draw(st.lists(values_of(parameters[parent]), min_size=1, max_size=2))
            conditions[child] = Condition(parent, tuple(values))
    return SearchSpace(parameters, conditions)


def values_of(distribution: BaseDistribution) -> st.SearchStrategy[Any]:
    """Values that ``distribution`` allows."""
    if isinstance(distribution, CategoricalDistribution):
        return st.sampled_from(distribution.choices)
    d: Any = distribution
    if d.step is not None:
        steps = st.integers(0, round((d.high - d.low) / d.step))
        return steps.map(lambda k: min(type(d.low)(d.low + k * d.step), d.high))
    return st.floats(d.low, d.high)


@st.composite
def configurations(draw: st.DrawFn, space: SearchSpace) -> dict[str, Any]:
    """Configurations of ``space``, not only those that its own sampling reaches."""
    values: dict[str, Any] = {}
    for name, distribution in space.parameters.items():
        if space.is_active(name, values):
            values[name] = draw(values_of(distribution))
    return values


#: What somebody may have logged: known and unknown names, any values.
anything = st.one_of(choices, st.floats(), st.integers(), st.sampled_from([math.inf, math.nan, 1e308, 10**400]))


@st.composite
def foreign_configurations(draw: st.DrawFn, space: SearchSpace) -> dict[str, Any]:
    """Configurations that need not belong to ``space``: values out of range, of other types, missing, unknown."""
    wrong = draw(st.dictionaries(st.one_of(st.sampled_from(list(space)), names), anything, max_size=5))
    right = draw(configurations(space))
    kept = draw(st.sets(st.sampled_from(list(right)))) if right else set()
    return {**{name: right[name] for name in right if name in kept}, **wrong}


@st.composite
def trials(draw: st.DrawFn, space: SearchSpace) -> Trial:
    """Trials of ``space`` with any status, complete or not."""
    status = draw(st.sampled_from(["complete", "pruned", "failed", "interrupted"]))
    value = draw(finite) if status == "complete" or (status == "pruned" and draw(st.booleans())) else None
    return Trial(
        configuration=draw(configurations(space)),
        status=status,
        value=value,
        number=draw(st.integers(0, 10_000)),
        metrics=draw(st.dictionaries(names, finite, max_size=3)),
        curve=tuple(draw(st.lists(st.one_of(finite, st.just(math.nan)), max_size=5))),
        best_step=draw(st.one_of(st.none(), st.integers(1, 1000))),
        reported=tuple(draw(st.lists(st.tuples(st.integers(1, 1000), finite), max_size=3))),
        fidelity=draw(st.floats(0.01, 1.0)),
        seconds=draw(st.floats(0.0, 1e5)),
        origin=draw(st.sampled_from(["default", "portfolio", "model", "random", "warm-start"])),
        odds=draw(st.one_of(st.none(), st.just(-math.inf), finite)),
        trusted=draw(st.one_of(st.none(), st.integers(0, 1000))),
        error=draw(names) if status == "failed" else None,
        started=draw(st.floats(0.0, 2e9)),
    )


#: Asked for here: it loads scikit-learn, which uses ``random``, and no strategy may do so while it draws.
_METRICS = {kind: sorted(metric_names(kind)) for kind in ("binary", "multiclass", "regression")}


@st.composite
def metrics(draw: st.DrawFn, kind: str) -> Metric:
    """Metrics that fit ``kind``."""
    if kind == "custom":
        return Metric(draw(names), draw(st.sampled_from(["maximize", "minimize"])))
    return Metric.of(draw(st.sampled_from(_METRICS[kind])), kind)


@st.composite
def task_records(draw: st.DrawFn) -> TaskRecord:
    """Records of tasks of every kind, some meta-features unknown."""
    kind = draw(st.sampled_from(["binary", "multiclass", "regression", "custom"]))
    return TaskRecord(
        name=draw(names),
        kind=kind,
        metric=draw(metrics(kind)),
        fingerprint=f"{draw(st.integers(0, 2**128 - 1)):032x}",
        group=draw(st.one_of(st.just(""), names)),
        metafeatures=draw(st.dictionaries(names, st.one_of(finite, st.just(math.nan)), max_size=4)),
        n_rows=draw(st.integers(0, 10**6)),
        n_columns=draw(st.integers(0, 1000)),
    )


@st.composite
def study_records(draw: st.DrawFn) -> StudyRecord:
    """Records of studies on any task in any space."""
    return StudyRecord(
        task=draw(task_records()),
        family=draw(names),
        space=draw(search_spaces()),
        strategy=draw(st.sampled_from(["meta", "random", "tpe", "design"])),
        seed=draw(seeds),
        created=draw(st.floats(0.0, 2e9)),
        notes=draw(st.dictionaries(names, names, max_size=2)),
    )
