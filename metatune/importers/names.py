"""``Names``: what metatune calls the parameters, metrics and model families that others call otherwise."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metatune.errors import UsageError
from metatune.metric import Direction, Metric, usual_direction

SHIPPED = Path(__file__).with_name("names.toml")
_TABLES = ("parameters", "ignored", "families", "metrics")
#: What is put before a metric's name to say on which rows it was measured.
_PREFIX = re.compile(r"^(mean_test|val|valid|validation|test|eval|dev|cv|mean|best)(_\d+)?[_./ -]+", re.IGNORECASE)
_TRAINING = re.compile(r"(^|[^a-z])(train|training)([^a-z]|$)", re.IGNORECASE)


def is_training(metric: str) -> bool:
    """Whether ``metric`` is by its name measured on the rows that the model was fitted to."""
    return _TRAINING.search(metric) is not None


def checked_metric(metric: str | None) -> None:
    """Raise ``UsageError`` for a training score: it says nothing about other rows."""
    if metric is not None and is_training(metric):
        raise UsageError(
            "a score on the training rows, which metatune does not learn from",
            field="metric",
            value=metric,
            remedy="Name a metric of the validation rows.",
        )


@dataclass(frozen=True)
class Objective:
    """A metric as a source names it, ``raw``; ``sign`` times its value is in the unit of ``metric``."""

    raw: str
    metric: Metric
    sign: float = 1.0


@dataclass(frozen=True)
class Names:
    """``parameters`` and ``families`` map other names to metatune's; ``metrics`` map to a name and its direction."""

    parameters: Mapping[str, str]
    families: Mapping[str, str]
    metrics: Mapping[str, tuple[str, Direction]]
    ignored: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Names":
        """The names that ship with metatune, and above them those in the TOML file ``path``.

        Raises ``UsageError`` for a file that is not of the form of ``names.toml``.
        """
        raws = [_read(SHIPPED)] + ([] if path is None else [_read(Path(path))])
        metrics: dict[str, tuple[str, Direction]] = {}
        for raw in raws:
            for direction in ("maximize", "minimize"):
                known = _inverted(raw.get("metrics", {}).get(direction, {}), itself=True)
                metrics |= {other: (name, direction) for other, name in known.items()}
        return cls(
            parameters={k: v for raw in raws for k, v in _inverted(raw.get("parameters", {})).items()},
            families={k: v for raw in raws for k, v in _inverted(raw.get("families", {})).items()},
            metrics=metrics,
            ignored=frozenset(name for raw in raws for name in raw.get("ignored", {}).get("parameters", ())),
        )

    def renamed(self, names: Iterable[str]) -> dict[str, str]:
        """metatune's name for each of ``names``, parameters of one family; two never get the same."""
        names = list(dict.fromkeys(names))
        taken = set(names)
        found = {}
        for name in names:
            ours = self.parameters.get(name, name)
            found[name] = name if ours != name and ours in taken else ours
            taken.add(found[name])
        return found

    def family(self, estimator: str) -> str:
        """The model family of the class ``estimator``: ``DecisionTreeClassifier`` is ``decision_tree``."""
        plain = re.sub(r"(Classifier|Regressor)$", "", estimator)
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain).lower()
        return self.families.get(estimator, snake or estimator)

    def objective(self, raw: str, direction: Direction | None = None) -> Objective | None:
        """``raw`` as an objective; ``None`` if neither ``direction`` nor its name tells which way is better."""
        name = raw
        # The prefix one by one: that of mean_squared_error is part of its name.
        while name.lower() not in self.metrics and (shorter := _PREFIX.sub("", name)) not in ("", name):
            name = shorter
        known = self.metrics.get(name.lower())
        if known is None:
            return None if direction is None else Objective(raw, Metric(raw, direction))
        canonical, usual = known
        if name.lower().startswith("neg_"):  # scikit-learn's negated losses: better when higher
            known_direction: Direction = "maximize"
            sign = -1.0
        else:
            known_direction, sign = usual, 1.0
        if direction is not None and direction != known_direction:
            return Objective(raw, Metric(raw, direction))
        return Objective(raw, Metric(canonical, usual), sign)

    def contradiction(self, metric: Metric) -> str | None:
        """Why ``metric`` cannot be what its name says; ``None`` if it can.

        A well-known metric with the contrary direction would later be taken for the contrary of what it is.
        """
        told = self.objective(metric.name) or Objective(metric.name, metric)
        usual = usual_direction(told.metric.name)
        if usual is None or (usual == metric.direction) == (told.sign > 0):
            return None
        better, was = ("lower", "maximised") if metric.direction == "maximize" else ("higher", "minimised")
        return (
            f"{metric.name!r} is better when it is {better}, but was {was}: correct the direction, or name it "
            "otherwise with --aliases if it is another metric"
        )


def _inverted(table: Mapping[str, Iterable[str]], *, itself: bool = False) -> dict[str, str]:
    pairs = {other: name for name, others in table.items() for other in others}
    return {name: name for name in table} | pairs if itself else pairs


def _read(path: Path) -> dict[str, Any]:
    raw = read_toml(path, "aliases")
    strange = set(raw) - set(_TABLES)
    wrong = strange or any(not isinstance(table, dict) for table in raw.values())
    lists = [raw.get("parameters"), raw.get("families"), raw.get("ignored"), *raw.get("metrics", {}).values()]
    if wrong or not all(_is_lists(table) for table in lists if table is not None):
        raise UsageError(
            "not a file of names",
            field="aliases",
            value=str(path),
            remedy="Give tables [parameters], [ignored], [families], [metrics.maximize] or [metrics.minimize], with "
            'entries such as learning_rate = ["lr", "eta"].',
        )
    return raw


def _is_lists(table: object) -> bool:
    return isinstance(table, dict) and all(
        isinstance(entry, list) and all(isinstance(name, str) for name in entry) for entry in table.values()
    )


def read_toml(path: Path, argument: str) -> dict[str, Any]:
    """The TOML file ``path``, given as ``argument``. Raises ``UsageError``."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot be read ({error})", field=argument, value=str(path), remedy="Give a TOML file in UTF-8."
        ) from error
