"""Histories with a planted optimum: what a search with memory must find at once."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from metatune.metric import Direction, Metric
from metatune.snapshot import Snapshot
from metatune.space import Condition, SearchSpace
from metatune.study import StudyRecord
from metatune.surrogate.family import FamilySurrogate
from metatune.task import TaskRecord
from metatune.trial import Configuration, Trial

FAMILY = "planted"

#: x and y are where the optimum is; ``kind`` has one good choice, and ``extra`` is active with it only.
SPACE = SearchSpace(
    {
        "x": {"low": 0.0, "high": 1.0},
        "y": {"low": 1e-4, "high": 1.0, "log": True},
        "kind": ["good", "bad"],
        "extra": {"type": "int", "low": 1, "high": 9},
    },
    {"extra": Condition("kind", ("good",))},
)


def utility(configuration: Configuration, x: float = 0.3, y: float = 1e-2, extra: int = 7) -> float:
    """Higher is better, 0 at the optimum ``x``, ``y``, kind good, ``extra``."""
    values = {"x": x, "y": y, "kind": "good", "extra": extra, **configuration}
    loss = 4.0 * (float(values["x"]) - x) ** 2 + 0.3 * np.log10(float(values["y"]) / y) ** 2  # type: ignore[arg-type]
    loss += 0.05 * abs(int(values["extra"]) - extra) if values["kind"] == "good" else 1.0  # type: ignore[arg-type]
    return -float(loss)


def record(name: str, direction: Direction = "maximize", metafeatures: Mapping[str, float] | None = None) -> TaskRecord:
    return TaskRecord(
        name=name,
        kind="custom",
        metric=Metric("utility" if direction == "maximize" else "loss", direction),
        fingerprint=f"fingerprint-of-{name}",
        metafeatures=metafeatures or {},
    )


def study_of(
    task: TaskRecord,
    function: Callable[[Configuration], float],
    *,
    space: SearchSpace = SPACE,
    configurations: Sequence[Configuration],
    family: str = FAMILY,
    seconds: Callable[[Configuration], float] = lambda c: 1.0,
) -> tuple[StudyRecord, list[Trial]]:
    """A study whose trials have the utility ``function`` (higher is better), in the unit of the task's metric."""
    study = StudyRecord(task=task, family=family, space=space, id=f"study-{task.name}", strategy="design", created=0.0)
    trials = [
        Trial(
            configuration=c,
            status="complete",
            value=task.metric.score(function(c)),
            number=i,
            key=f"{task.name}-{i}",
            seconds=seconds(c),
        )
        for i, c in enumerate(configurations)
    ]
    return study, trials


def planted_snapshot(
    tasks: int = 6,
    trials: int = 40,
    *,
    direction: Direction = "maximize",
    space: SearchSpace = SPACE,
    function: Callable[..., float] = utility,
    seed: int = 0,
    prefix: str = "task",
    seconds: Callable[[Configuration], float] = lambda c: 1.0,
) -> Snapshot:
    """``tasks`` related tasks: their optima lie within a few hundredths of each other; no shared configurations."""
    rng = np.random.default_rng(seed)
    records = []
    for t in range(tasks):
        x, y = 0.3 + rng.normal(0, 0.02), 10 ** (-2 + rng.normal(0, 0.1))
        configurations = space.sample(trials, rng)
        task = record(f"{prefix}{t}", direction)
        records.append(
            study_of(
                task,
                lambda c, x=x, y=y: function(c, x, y),
                space=space,
                configurations=configurations,
                seconds=seconds,
            )
        )
    return Snapshot.of(records)


def surrogate_of(snapshot: Snapshot, family: str = FAMILY) -> FamilySurrogate:
    return FamilySurrogate.fit(snapshot.family(family))


@cache
def planted_surrogate(tasks: int = 6, trials: int = 40, direction: Direction = "maximize") -> FamilySurrogate:
    """``planted_snapshot``, trained once."""
    return surrogate_of(planted_snapshot(tasks, trials, direction=direction))
