"""The verb ``export``: a history as a snapshot in a folder; with ``public``, one that can be given to anybody.

A public export is made from an allow-list. Kept as they are: numbers (values, curves, seconds, sizes, meta-features),
the names of what metatune itself declares (families, parameters and their choices, metrics, meta-features,
strategies, origins), and nothing else. Other names become tokens: a keyed hash, under a key that is drawn for this
export and thrown away, so that equal names stay equal within it and none can be guessed. Left out: notes, errors,
times, seeds, undeclared parameters, and meta-features and further metrics that metatune does not know.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution

from metatune.errors import MissingDependencyError, UsageError
from metatune.learners import family_names, get_family
from metatune.metafeatures import image, series, tabular, text
from metatune.metric import Kind, Metric, metric_names
from metatune.parameter import same_value
from metatune.snapshot import Snapshot
from metatune.space import Condition, SearchSpace
from metatune.strategies import STRATEGIES
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import COLLECTED, WARM_START, ParamValue, Trial

_FEATURES = frozenset({*tabular.NAMES, *image.NAMES, *series.NAMES, *text.NAMES})
_METRICS = frozenset(name for kind in get_args(Kind) for name in metric_names(kind))
_STRATEGIES = frozenset({*STRATEGIES, "design", COLLECTED, "optuna", "mlflow", "kerastuner", "ray", "table"})
_ORIGINS = frozenset(
    {*STRATEGIES, "default", "portfolio", "model", "model-doubting-history", "model-without-history", "spread",
     "design", "import", WARM_START, COLLECTED}
)  # fmt: skip


def export(snapshot: Snapshot, directory: Path, *, public: bool = False) -> Snapshot:
    """Write ``snapshot`` into the new or empty folder ``directory``; what was written.

    Raises ``UsageError`` for a folder that holds something.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(
            "there is something already", field="DIR", value=str(directory), remedy="Name a new or empty folder."
        )
    written = publishable(snapshot) if public else snapshot
    written.write(directory)
    return written


def publishable(snapshot: Snapshot) -> Snapshot:
    """What of ``snapshot`` anybody may see, in an order that says nothing."""
    tokens = _Tokens()
    records = []
    for study, trials in snapshot.records():
        names = _Names.of(study, tokens)
        records.append((_study(study, names, tokens), [_trial(trial, study, names, tokens) for trial in trials]))
    return Snapshot.of(sorted(records, key=lambda record: record[0].id))


class _Tokens:
    """Names for names, under a key that nobody keeps."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, purpose: str, name: object) -> str:
        digest = hashlib.blake2b(
            f"{purpose}\0{type(name).__name__}\0{name}".encode("utf-8", "surrogatepass"), key=self._key
        )
        return f"{purpose}-{digest.hexdigest()[:16]}"

    def unless(self, known: Iterable[str], purpose: str, name: str) -> str:
        return name if name in known else self.of(purpose, name)


class _Names:
    """What the parameters of one study and their choices are called in the export."""

    def __init__(self, family: str, space: SearchSpace, tokens: _Tokens) -> None:
        self.family, self.space = family, space
        self._declared, self._tokens = _declared(family), tokens
        self.parameters = {name: tokens.unless(self._declared, "parameter", name) for name in space}

    @classmethod
    def of(cls, study: StudyRecord, tokens: _Tokens) -> "_Names":
        return cls(study.family, study.space, tokens)

    def choice(self, parameter: str, value: ParamValue) -> ParamValue:
        """``value`` if the family itself declares it for ``parameter``, else a token."""
        own = self._declared.get(parameter)
        if isinstance(own, CategoricalDistribution):
            for choice in own.choices:
                if same_value(choice, value):
                    return choice
        return self._tokens.of("choice", value)

    def public_space(self) -> SearchSpace:
        """The space under the new names."""
        parameters: dict[str, BaseDistribution] = {}
        for name, distribution in self.space.parameters.items():
            if isinstance(distribution, CategoricalDistribution):
                distribution = CategoricalDistribution([self.choice(name, choice) for choice in distribution.choices])
            parameters[self.parameters[name]] = distribution
        conditions = {
            self.parameters[child]: Condition(
                self.parameters[c.parent], tuple(self._value(c.parent, v) for v in c.values)
            )
            for child, c in self.space.conditions.items()
        }
        return SearchSpace(parameters, conditions)

    def public_configuration(self, configuration: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """The declared parameters of ``configuration`` under the new names."""
        kept = {}
        for name, value in configuration.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name in self.space and (number or isinstance(self.space[name], CategoricalDistribution)):
                kept[self.parameters[name]] = self._value(name, value)
        return kept

    def _value(self, name: str, value: ParamValue) -> ParamValue:
        return self.choice(name, value) if isinstance(self.space[name], CategoricalDistribution) else value


@lru_cache(maxsize=64)
def _declared(family: str) -> Mapping[str, BaseDistribution]:
    """The parameters that metatune declares for ``family``; none for one that it does not train here."""
    if family not in family_names():
        return {}
    try:
        return get_family(family).space().parameters
    except MissingDependencyError:
        return {}


def _study(study: StudyRecord, names: _Names, tokens: _Tokens) -> StudyRecord:
    task = study.task
    kind = task.kind if task.kind in get_args(Kind) else "custom"
    return StudyRecord(
        id=tokens.of("study", study.id),
        task=TaskRecord(
            name=tokens.of("task", task.fingerprint),
            kind=kind,
            metric=_metric(task.metric, tokens),
            fingerprint=tokens.of("fingerprint", task.fingerprint),
            group=tokens.of("group", task.group),
            metafeatures={name: float(value) for name, value in task.metafeatures.items() if name in _FEATURES},
            n_rows=int(task.n_rows),
            n_columns=int(task.n_columns),
        ),
        family=tokens.unless(family_names(), "family", study.family),
        space=names.public_space(),
        strategy=study.strategy if study.strategy in _STRATEGIES else "unknown",
        seed=0,
        created=0.0,
    )


def _metric(metric: Metric, tokens: _Tokens) -> Metric:
    scorer = metric.scorer if metric.scorer in _METRICS or metric.scorer is None else None
    return Metric(tokens.unless(_METRICS, "metric", metric.name), metric.direction, scorer)


def _trial(trial: Trial, study: StudyRecord, names: _Names, tokens: _Tokens) -> Trial:
    return Trial(
        configuration=names.public_configuration(trial.configuration),
        status=trial.status,
        value=trial.value,
        number=trial.number,
        key=tokens.of("trial", f"{study.id} {trial.key}"),
        metrics={name: float(value) for name, value in trial.metrics.items() if name in _METRICS},
        curve=trial.curve,
        best_step=trial.best_step,
        reported=trial.reported,
        fidelity=trial.fidelity,
        seconds=trial.seconds,
        odds=trial.odds,
        trusted=trial.trusted,
        origin=trial.origin if trial.origin in _ORIGINS else "unknown",
    )
