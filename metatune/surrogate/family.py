"""``FamilySurrogate``: all that was learnt about one model family, and its files."""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from metatune.encoding import ConfigurationEncoder
from metatune.errors import KnowledgeError
from metatune.metric import Metric
from metatune.surrogate.gbdt import GBDT
from metatune.surrogate.gp import Hyperparameters
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.surface import TaskSurface
from metatune.surrogate.tasks import TaskTrials, tasks_of
from metatune.surrogate.validation import FamilyValidation, validate
from metatune.task import TaskRecord
from metatune.trial import ParamValue
from metatune.trial_table import FamilyTable


@dataclass(frozen=True, eq=False)
class FamilySurrogate:
    """The surrogates of one model family, trained on ``table``.

    ``surfaces`` has one entry per entry of ``tasks``. ``meta`` is ``None`` with no task at all.
    """

    table: FamilyTable
    encoder: ConfigurationEncoder
    tasks: tuple[TaskTrials, ...]
    surfaces: tuple[TaskSurface, ...]
    meta: MetaSurrogate | None
    validation: FamilyValidation

    @classmethod
    def fit(cls, table: FamilyTable) -> "FamilySurrogate":
        """Train on all usable trials in ``table``."""
        encoder = ConfigurationEncoder.of(table)
        tasks = tasks_of(table, encoder)
        if not tasks:
            nothing = FamilyValidation(0, 0, float("nan"), float("nan"), False, 1.0)
            return cls(table, encoder, (), (), None, nothing)
        features = sorted({name for task in tasks for name in task.record.metafeatures})
        validation = validate(tasks, encoder, features)
        meta = MetaSurrogate.fit(tasks, encoder, features=features if validation.use_features else ())
        surfaces = tuple(TaskSurface.fit(task, encoder) for task in tasks)
        return cls(table, encoder, tasks, surfaces, meta, validation)

    def judged_by(self, metric: Metric) -> "FamilySurrogate":
        """The same history by ``metric``, where trials recorded it; smoothness and gate stay as they were learnt."""
        tasks = tasks_of(self.table, self.encoder, metric)
        if self.meta is None or [t.record for t in tasks] == [t.record for t in self.tasks]:
            return self
        near = {task.record.fingerprint: s for task, s in zip(self.tasks, self.surfaces, strict=True)}
        surfaces = [TaskSurface.fit(task, self.encoder, like=near.get(task.record.fingerprint)) for task in tasks]
        meta = MetaSurrogate.fit(tasks, self.encoder, features=self.meta.features)
        return replace(self, tasks=tasks, surfaces=tuple(surfaces), meta=meta)

    @cached_property
    def records(self) -> tuple[TaskRecord, ...]:
        """The tasks' records, in the order of ``tasks``."""
        return tuple(task.record for task in self.tasks)

    def incumbents(self, per_task: int) -> list[dict[str, ParamValue]]:
        """The ``per_task`` best configurations of each task as they were recorded; tasks may share some."""
        return [self.table.configuration(int(row)) for task in self.tasks for row in task.best_rows(per_task)]

    def write(self, directory: Path) -> None:
        """Write everything but the trials into ``directory``, which is made."""
        directory.mkdir(parents=True)
        (directory / "encoder.json").write_text(self.encoder.to_json())
        surfaces = []
        for i, (task, surface) in enumerate(zip(self.tasks, self.surfaces, strict=True)):
            entry: dict[str, object] = {"fingerprint": task.record.fingerprint, "metric": task.record.metric.name}
            if surface.hyperparameters is not None:
                h = surface.hyperparameters
                entry["gp"] = {"length": h.length.tolist(), "signal": h.signal, "noise": h.noise}
            if surface.trees is not None:
                entry["trees"] = f"task-{i:05d}.txt"
                (directory / f"task-{i:05d}.txt").write_text(surface.trees.to_text())
            surfaces.append(entry)
        if self.meta is not None:
            (directory / "meta.txt").write_text(self.meta.trees.to_text())
        described = {
            "surfaces": surfaces,
            "features": list(self.meta.features) if self.meta else [],
            "validation": {k: None if v != v else v for k, v in asdict(self.validation).items()},
        }
        (directory / "surrogate.json").write_text(json.dumps(described, indent=1))

    @classmethod
    def read(cls, directory: Path, table: FamilyTable) -> "FamilySurrogate":
        """What ``write`` wrote, for the same ``table``. Raises ``KnowledgeError`` for missing or damaged files."""
        try:
            encoder = ConfigurationEncoder.from_json((directory / "encoder.json").read_text())
            raw = json.loads((directory / "surrogate.json").read_text())
            tasks = tasks_of(table, encoder)
            surfaces = tuple(
                _surface(directory, task, entry, encoder) for task, entry in zip(tasks, raw["surfaces"], strict=True)
            )
            meta = None
            if tasks:
                text = (directory / "meta.txt").read_text()
                meta = MetaSurrogate(GBDT.from_text(text), tuple(raw["features"]))
            fields: dict[str, Any] = {k: float("nan") if v is None else v for k, v in raw["validation"].items()}
            validation = FamilyValidation(**fields)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KnowledgeError(
                f"the surrogate of this family cannot be read ({error})",
                field="knowledge",
                value=str(directory),
                remedy="Train the knowledge again: metatune train.",
            ) from error
        return cls(table, encoder, tasks, surfaces, meta, validation)


def _surface(directory: Path, task: TaskTrials, entry: dict[str, object], encoder: ConfigurationEncoder) -> TaskSurface:
    if (entry["fingerprint"], entry["metric"]) != (task.record.fingerprint, task.record.metric.name):
        raise ValueError(f"surface of {entry['fingerprint']} where {task.record.fingerprint} was expected")
    if "trees" in entry:
        trees = GBDT.from_text((directory / Path(str(entry["trees"])).name).read_text())
        return TaskSurface.of(task, encoder, trees=trees)
    gp: dict[str, object] = entry["gp"]  # type: ignore[assignment]
    hyperparameters = Hyperparameters(np.array(gp["length"]), float(gp["signal"]), float(gp["noise"]))  # type: ignore[arg-type]
    return TaskSurface.of(task, encoder, hyperparameters=hyperparameters)
