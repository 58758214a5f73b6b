"""``FamilySurrogate``: all that was learnt about one model family, and its files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from metatune.encoding import ConfigurationEncoder
from metatune.errors import KnowledgeError
from metatune.family_table import FamilyTable
from metatune.metric import Metric
from metatune.repair import shortened
from metatune.space import SearchSpace
from metatune.study import latest
from metatune.surrogate.cost import CostModel
from metatune.surrogate.curves import CurveModel
from metatune.surrogate.design import PRECISION, Design, design_points, typical_length
from metatune.surrogate.gbdt import GBDT
from metatune.surrogate.gp import Hyperparameters
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.packed import read_packed, write_packed
from metatune.surrogate.parallel import each
from metatune.surrogate.running import cost_of, curves_of
from metatune.surrogate.surface import TaskSurface
from metatune.surrogate.tasks import TaskTrials, feature_names, tasks_of
from metatune.surrogate.validation import FamilyValidation, validate
from metatune.task import TaskRecord


@dataclass(frozen=True, eq=False)
class FamilySurrogate:
    """The surrogates of one model family, trained on ``table``.

    ``design`` has what every task is predicted to score on a common set of configurations; ``smoothness`` has an entry
    per entry of ``tasks``, ``None`` where trees were fitted. ``meta`` and ``design`` are ``None`` with no task at all.
    ``cost`` and ``curves`` say how long a trial takes and how it will end, where trials recorded that.
    ``borrowed`` are the ids of the studies that are not the team's own, such as those of the starter knowledge.
    """

    table: FamilyTable
    encoder: ConfigurationEncoder
    tasks: tuple[TaskTrials, ...]
    design: Design | None
    smoothness: tuple[Hyperparameters | None, ...]
    meta: MetaSurrogate | None
    validation: FamilyValidation
    borrowed: frozenset[str] = frozenset()
    cost: CostModel | None = None
    curves: CurveModel | None = None

    @classmethod
    def fit(cls, table: FamilyTable, *, borrowed: frozenset[str] = frozenset()) -> "FamilySurrogate":
        """Train on all usable trials in ``table``; studies whose id is in ``borrowed`` are not the team's own."""
        encoder = ConfigurationEncoder.of(table)
        tasks = tasks_of(table, encoder)
        if not tasks:
            nothing = FamilyValidation(0, 0, float("nan"), float("nan"), False)
            return cls(table, encoder, (), None, (), None, nothing, borrowed)
        features = feature_names(tasks)
        validation = validate(tasks, encoder, features)
        meta = MetaSurrogate.fit(tasks, encoder, features=features if validation.use_features else ())
        surfaces = each(lambda task: TaskSurface.fit(task, encoder), tasks)
        design = Design.of(
            surfaces, encoder, design_points(table, tasks, encoder), length=typical_length(tasks, encoder)
        )
        smoothness = tuple(surface.hyperparameters for surface in surfaces)
        cost, curves = cost_of(table, tasks, encoder), curves_of(table, tasks)
        return cls(table, encoder, tasks, design, smoothness, meta, validation, borrowed, cost, curves)

    def judged_by(self, metric: Metric) -> "FamilySurrogate":
        """The same history by ``metric``, where trials recorded it; smoothness and gate stay as they were learnt.

        Unchanged where no task teaches anything by it.
        """
        tasks = tasks_of(self.table, self.encoder, metric)
        if (
            not tasks
            or self.meta is None
            or self.design is None
            or [t.record for t in tasks] == [t.record for t in self.tasks]
        ):
            return self
        near = {task.record.fingerprint: smooth for task, smooth in zip(self.tasks, self.smoothness, strict=True)}
        like = [near.get(task.record.fingerprint) for task in tasks]
        surfaces = each(lambda i: TaskSurface.fit(tasks[i], self.encoder, like=like[i]), range(len(tasks)))
        design = Design.of(
            surfaces, self.encoder, design_points(self.table, tasks, self.encoder), length=self.design.length
        )
        meta = MetaSurrogate.fit(tasks, self.encoder, features=self.meta.features)
        smoothness = tuple(surface.hyperparameters for surface in surfaces)
        return replace(self, tasks=tasks, design=design, smoothness=smoothness, meta=meta)

    @cached_property
    def records(self) -> tuple[TaskRecord, ...]:
        """The tasks' records, in the order of ``tasks``."""
        return tuple(task.record for task in self.tasks)

    @cached_property
    def is_own(self) -> np.ndarray:
        """Whether each task has a study of the team's own, bool, shape (tasks,)."""
        own = np.array([study.id not in self.borrowed for study in self.table.studies], dtype=bool)
        return np.array([own[self.table.study[task.rows]].any() for task in self.tasks], dtype=bool)

    @cached_property
    def space(self) -> SearchSpace:
        """That of the latest study."""
        return latest(self.table.studies).space

    def ignorance(self, parameters: Mapping[str, BaseDistribution]) -> str | None:
        """In words, which of ``parameters`` the history never saw, be it that it calls them otherwise.

        Constants, where there is nothing to know, are not meant.
        """
        known = [*self.encoder.scales, *self.encoder.levels]
        unknown = [name for name, one in parameters.items() if name not in known and not one.single()]
        if not unknown:
            return None
        return (
            f"the history of {self.table.family!r} knows no {shortened(unknown)}, searched as if nothing was known; "
            f"it knows {', '.join(sorted(known))}."
        )

    def write(self, directory: Path) -> None:
        """Write everything but the trials into ``directory``, which is made."""
        directory.mkdir(parents=True)
        (directory / "encoder.json").write_text(self.encoder.to_json())
        described: dict[str, object] = {
            "tasks": [[task.record.fingerprint, task.record.metric.name] for task in self.tasks],
            "smoothness": [_as_json(smooth) for smooth in self.smoothness],
            "borrowed": sorted(self.borrowed),
            "features": list(self.meta.features) if self.meta else [],
            "validation": {k: None if v != v else v for k, v in asdict(self.validation).items()},
        }
        if self.design is not None:
            described["length"] = self.design.length.tolist()
            np.save(directory / "design.npy", self.design.X)
            np.save(directory / "scores.npy", self.design.scores.astype(PRECISION))
        if self.meta is not None:
            write_packed(directory / "meta.txt.gz", self.meta.trees.to_text())
        for name, model in (("cost", self.cost), ("curves", self.curves)):
            if model is not None:
                write_packed(directory / f"{name}.json.gz", model.to_json())
        (directory / "surrogate.json").write_text(json.dumps(described))

    @classmethod
    def read(cls, directory: Path, table: FamilyTable) -> "FamilySurrogate":
        """What ``write`` wrote, for the same ``table``. Raises ``KnowledgeError`` for missing or damaged files."""
        try:
            encoder = ConfigurationEncoder.from_json((directory / "encoder.json").read_text())
            raw = json.loads((directory / "surrogate.json").read_text())
            tasks = tasks_of(table, encoder)
            _check_same(raw["tasks"], tasks)
            smoothness = tuple(_from_json(entry) for entry in raw["smoothness"])
            design = meta = None
            if tasks:
                X, scores = (np.load(directory / name) for name in ("design.npy", "scores.npy"))
                design = Design(encoder, X, scores.astype(np.float64), np.array(raw["length"], dtype=np.float64))
                meta = MetaSurrogate(GBDT.from_text(read_packed(directory / "meta.txt.gz")), tuple(raw["features"]))
            fields: dict[str, Any] = {k: float("nan") if v is None else v for k, v in raw["validation"].items()}
            validation = FamilyValidation(**fields)
            borrowed = frozenset(map(str, raw["borrowed"]))
            costs, learning = directory / "cost.json.gz", directory / "curves.json.gz"
            cost = CostModel.from_json(read_packed(costs)) if costs.is_file() else None
            curves = CurveModel.from_json(read_packed(learning)) if learning.is_file() else None
            _check_choices(encoder, table)
            _check_shapes(encoder, smoothness, design, meta, cost)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise KnowledgeError.unreadable(
                "the surrogate of this family cannot be read", error, field="knowledge", value=str(directory)
            ) from error
        return cls(table, encoder, tasks, design, smoothness, meta, validation, borrowed, cost, curves)


def _check_same(recorded: Sequence[Sequence[str]], tasks: Sequence[TaskTrials]) -> None:
    found = [[task.record.fingerprint, task.record.metric.name] for task in tasks]
    if found != list(recorded):
        raise ValueError(f"it was trained on {len(recorded)} tasks, which are not the {len(found)} of the snapshot")


def _check_choices(encoder: ConfigurationEncoder, table: FamilyTable) -> None:
    """Refuse codes of other choices than the trials have: they would stand for others without a sign."""
    if {name: list(levels) for name, levels in encoder.levels.items()} != {
        name: list(column.levels) for name, column in table.categorical.items()
    }:
        raise ValueError("its encoder is of other choices")


def _check_shapes(
    encoder: ConfigurationEncoder,
    smoothness: Sequence[Hyperparameters | None],
    design: Design | None,
    meta: MetaSurrogate | None,
    cost: CostModel | None,
) -> None:
    """Refuse parts that were made for other parameters, meta-features or tasks than the rest."""
    columns, lengths = len(encoder.columns), (len(encoder.scales) + len(encoder.levels),)
    if design is not None:
        fits = (design.X.ndim, design.X.shape[1:], design.length.shape) == (2, (columns,), lengths)
        if not fits or design.scores.shape != (len(smoothness), len(design.X)):
            raise ValueError("its design is of other parameters or tasks")
    if meta is not None and meta.trees.columns != columns + len(meta.features):
        raise ValueError("its trees are of other parameters or meta-features")
    if cost is not None and cost.trees.columns != columns:
        raise ValueError("its model of costs is of other parameters")
    if any(smooth is not None and smooth.length.shape != lengths for smooth in smoothness):
        raise ValueError("its lengthscales are of other parameters")


def _as_json(smooth: Hyperparameters | None) -> dict[str, object] | None:
    return None if smooth is None else {**vars(smooth), "length": smooth.length.tolist()}


def _from_json(entry: dict[str, Any] | None) -> Hyperparameters | None:
    if entry is None:
        return None
    return Hyperparameters(np.array(entry["length"]), float(entry["signal"]), float(entry["noise"]))
