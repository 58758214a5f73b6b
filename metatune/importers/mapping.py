"""``RunMapping``: how hand-logged MLflow runs say what was optimised, what was tuned, and on which data."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from metatune.errors import UnknownNameError, UsageError
from metatune.importers.names import checked_metric, read_toml
from metatune.metric import Direction


@dataclass(frozen=True, kw_only=True)
class RunMapping:
    """For the runs of the experiments whose name fits the pattern ``experiment``.

    ``metric`` and its ``direction``; ``family`` and ``task``, names; ``dataset_tag``, the tag or param that holds the
    task's name; ``parameters``, the params that are the configuration. What is ``None`` is told from the run.
    """

    experiment: str = "*"
    metric: str | None = None
    direction: Direction | None = None
    family: str | None = None
    task: str | None = None
    dataset_tag: str | None = None
    parameters: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        checked_metric(self.metric)
        if self.direction not in (None, "maximize", "minimize"):
            raise UsageError(
                "unknown direction", field="direction", value=self.direction, remedy="Use 'maximize' or 'minimize'."
            )


def read_mappings(path: str | Path) -> tuple[RunMapping, ...]:
    """The ``[[runs]]`` tables of a TOML file, whose entries are the fields of ``RunMapping``. Raises ``UsageError``."""
    raw = read_toml(Path(path), "mapping")
    known = {field.name for field in fields(RunMapping)}
    tables = raw.get("runs")
    if set(raw) != {"runs"} or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(
            "not a mapping of runs",
            field="mapping",
            value=str(path),
            remedy='Write tables [[runs]] with entries such as experiment = "churn-*", metric = "auc", '
            'direction = "maximize".',
        )
    return tuple(_mapping(table, known) for table in tables)


def _mapping(table: dict[str, Any], known: set[str]) -> RunMapping:
    for name, value in table.items():
        if name not in known:
            raise UnknownNameError.of("mapping", name, known)
        texts = value if name == "parameters" else [value]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UsageError("not a text", field=f"mapping, {name}", value=value, remedy="Put it in quotes.")
    parameters = table.get("parameters")
    return RunMapping(**{**table, "parameters": None if parameters is None else tuple(parameters)})


def mapping_for(experiment: str, mappings: Sequence[RunMapping]) -> RunMapping:
    """The first of ``mappings`` that fits ``experiment``; an empty one if none does."""
    return next((one for one in mappings if fnmatchcase(experiment, one.experiment)), RunMapping())
