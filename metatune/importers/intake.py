"""``take_in``: the trials of a source become studies of the history, each trial once."""

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from metatune.errors import SpaceError
from metatune.fingerprint import fingerprint_of_name
from metatune.history.schema import to_json, token
from metatune.history.store import HistoryStore
from metatune.importers.columns import Column, coerced, columns_of
from metatune.importers.foreign import ForeignTrial, ImportLog, Origin
from metatune.importers.names import Names
from metatune.importers.report import ImportReport, StudyImport
from metatune.metafeatures import describe
from metatune.metric import Metric, metric_names
from metatune.parameter import describe as describe_range
from metatune.provenance import provenance
from metatune.space import Condition, SearchSpace
from metatune.study import StudyRecord
from metatune.task import Task, TaskRecord
from metatune.trial import COLLECTED, ParamValue, Trial

_BATCH = 5_000
_LOG = logging.getLogger("metatune")


@dataclass(frozen=True)
class Settings:
    """What all importers are told alike; see ``import_table``."""

    store: HistoryStore
    names: Names
    task: Task | None = None
    dry_run: bool = False


def take_in(trials: Iterable[ForeignTrial], log: ImportLog, settings: Settings, *, source: str) -> ImportReport:
    """Bring ``trials`` into the history; what ``log`` has when they are read through is part of the report.

    Trials that were imported before are left as they are. Raises ``StoreError``.
    """
    by_family: defaultdict[str, defaultdict[Origin, list[ForeignTrial]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        by_family[trial.origin.family][trial.origin].append(trial)
    intake = _Intake(log, settings)
    for family in sorted(by_family):
        intake.add_family(family, by_family[family])
    return ImportReport(
        source=source,
        studies=tuple(intake.studies),
        skipped=dict(log.skipped),
        refused=dict(log.refused),
        aliases=intake.aliases,
        types=intake.types,
        inferred=tuple(intake.inferred),
        ignored=intake.ignored,
        notes=(*log.notes, *(str(repair) for repair in (settings.task.repairs if settings.task else ()))),
        dry_run=settings.dry_run,
    )


class _Intake:
    """The state of one import."""

    def __init__(self, log: ImportLog, settings: Settings) -> None:
        self._log = log
        self._settings = settings
        self._history = {study.id: study for study in settings.store.studies()}
        task = settings.task
        self._record = None if task is None else task.record(describe(task))
        self._provenance = provenance()
        self.studies: list[StudyImport] = []
        self.aliases: dict[str, dict[str, str]] = {}
        self.types: dict[str, dict[str, str]] = {}
        self.inferred: list[str] = []
        self.ignored: dict[str, str] = {}

    def add_family(self, family: str, studies: Mapping[Origin, Sequence[ForeignTrial]]) -> None:
        """Import the trials of one family, whose parameters are named and typed alike."""
        studies = {origin: found for origin, found in studies.items() if self._is_sound(origin.metric, len(found))}
        names = {name: None for found in studies.values() for trial in found for name in trial.parameters}
        names |= {name: None for origin in studies if origin.space is not None for name in origin.space}
        plain = [name for name in names if name not in self._settings.names.ignored]
        self.ignored |= dict.fromkeys(set(names) - set(plain), "not a hyperparameter")
        renamed = self._settings.names.renamed(plain)
        inferred = self._inferred(family, studies, renamed)
        for origin, found in studies.items():
            space = inferred if origin.space is None else _renamed_space(origin.space, renamed)
            if space is None:
                self._log.skip("no parameters that vary or are numbers", len(found))
                continue
            if origin.space is not None:
                self._note_types(family, space)
            self._note_aliases(family, space, renamed, {name for trial in found for name in trial.parameters})
            self._add_study(origin, space, _trials(found, space, renamed))

    def _is_sound(self, metric: Metric, trials: int) -> bool:
        """Whether ``trials`` judged by ``metric`` can be learnt from; the log is told if not."""
        reason = self._settings.names.contradiction(metric)
        if reason is not None:
            self._log.skip(reason, trials)
        return reason is None

    def _inferred(
        self, family: str, studies: Mapping[Origin, Sequence[ForeignTrial]], renamed: Mapping[str, str]
    ) -> SearchSpace | None:
        rows = [trial.parameters for origin, found in studies.items() if origin.space is None for trial in found]
        if not rows:
            return None
        columns = columns_of({renamed[k]: v for k, v in row.items() if k in renamed} for row in rows)
        kept = {name: column for name, column in columns.items() if column.distribution is not None}
        self.ignored |= {name: column.reason for name, column in columns.items() if column.distribution is None}
        self.inferred.append(family)
        self.types[family] = {name: str(column) for name, column in kept.items()}
        return _space_of(kept)

    def _note_aliases(self, family: str, space: SearchSpace, renamed: Mapping[str, str], used: Collection[str]) -> None:
        changed = {name: ours for name, ours in renamed.items() if name != ours and name in used and ours in space}
        if changed:
            self.aliases.setdefault(family, {}).update(changed)

    def _note_types(self, family: str, space: SearchSpace) -> None:
        shown = {name: describe_range(distribution) for name, distribution in space.parameters.items()}
        self.types.setdefault(family, {}).update(shown)

    def _add_study(self, origin: Origin, space: SearchSpace, trials: Sequence[Trial]) -> None:
        record, known = self._study(origin, space, trials)
        unique = _merged(trials)
        new = [trial for trial in unique if token(trial.key) not in known]
        values = [trial.value for trial in unique if trial.value is not None and trial.status == "complete"]
        metric = record.task.metric
        self.studies.append(
            StudyImport(
                id=record.id,
                name=origin.name or origin.study,
                task=record.task.name,
                family=origin.family,
                metric=metric.name,
                direction=metric.direction,
                imported=len(new),
                known=len(unique) - len(new),
                merged=len(trials) - len(unique),
                best=max(values, key=metric.score, default=None),
            )
        )
        if new and not self._settings.dry_run:
            store = self._settings.store
            store.open_study(record)
            for start in range(0, len(new), _BATCH):
                store.add_many(record.id, new[start : start + _BATCH])
            store.close_study(record.id, status="finished")

    def _study(self, origin: Origin, space: SearchSpace, trials: Sequence[Trial]) -> tuple[StudyRecord, set[str]]:
        """The study that the new ones of ``trials`` go to, and the keys of those that are in the history.

        A study keeps its space. Later trials outside of it make a second study, on the same task.
        """
        record = StudyRecord(
            task=self._task(origin),
            family=origin.family,
            space=space,
            strategy=origin.tool,
            created=min((trial.started for trial in trials if trial.started == trial.started), default=time.time()),
            notes=self._provenance | {"imported from": origin.tool, "study": origin.name or origin.study},
        )
        base = _digest(origin.tool, origin.study, record.task.fingerprint, origin.family, record.task.metric.name)[:12]
        known = self._collected(record)
        part = 1
        while True:
            study_id = base if part == 1 else f"{base}-{part}"
            earlier = self._history.get(study_id)
            if earlier is None:
                return replace(record, id=study_id), known
            known |= self._settings.store.keys(study_id)
            if all(token(trial.key) in known or _fits(trial, earlier.space) for trial in trials):
                return earlier, known
            part += 1

    def _collected(self, record: StudyRecord) -> set[str]:
        """The keys of the trials that were collected for the task and family of ``record``, under any metric."""
        return {
            key
            for study in self._history.values()
            if study.strategy == COLLECTED
            and (study.task.fingerprint, study.family) == (record.task.fingerprint, record.family)
            for key in self._settings.store.keys(study.id)
        }

    def _task(self, origin: Origin) -> TaskRecord:
        if self._record is None:
            return TaskRecord(
                name=origin.task,
                kind="custom",
                metric=origin.metric,
                fingerprint=fingerprint_of_name(origin.task),
            )
        metric, kind = origin.metric, self._record.kind
        known = Metric.of(metric.name, kind) if metric.name in metric_names(kind) else metric
        return replace(self._record, metric=known if known.direction == metric.direction else metric)


def _space_of(columns: Mapping[str, Column]) -> SearchSpace | None:
    return SearchSpace({n: c.distribution for n, c in columns.items() if c.distribution}) if columns else None


def _renamed_space(space: SearchSpace, renamed: Mapping[str, str]) -> SearchSpace | None:
    """``space`` under metatune's names, without parameters that are not among ``renamed``."""
    parameters = {renamed[name]: d for name, d in space.parameters.items() if name in renamed}
    conditions = {
        renamed[child]: Condition(renamed[condition.parent], condition.values)
        for child, condition in space.conditions.items()
        if child in renamed and condition.parent in renamed
    }
    try:
        return SearchSpace(parameters, conditions) if parameters else None
    except SpaceError:  # conditions that another tool allows and a space does not
        return SearchSpace(parameters)


def _trials(found: Sequence[ForeignTrial], space: SearchSpace, renamed: Mapping[str, str]) -> list[Trial]:
    return [_trial(trial, number, space, renamed) for number, trial in enumerate(found)]


def _trial(foreign: ForeignTrial, number: int, space: SearchSpace, renamed: Mapping[str, str]) -> Trial:
    configuration: dict[str, ParamValue] = {}
    for name, value in foreign.parameters.items():
        ours = renamed.get(name)
        if ours is not None and ours in space:
            configuration[ours] = coerced(value, space[ours])
    return Trial(
        configuration=configuration,
        status=foreign.status,
        value=foreign.value,
        number=number,
        key=foreign.key or _digest(foreign.origin.tool, foreign.id),
        metrics=foreign.metrics,
        curve=foreign.curve,
        best_step=foreign.best_step,
        reported=foreign.reported,
        fidelity=foreign.fidelity,
        seconds=foreign.seconds,
        origin="import",
        error=foreign.error,
        started=foreign.started,
    )


def _merged(trials: Sequence[Trial]) -> list[Trial]:
    """Trials with one key, or with one configuration, status and value, once: the first."""
    found: dict[str, Trial] = {}
    seen: set[str] = set()
    for trial in trials:
        content = to_json([sorted(trial.configuration.items()), trial.status, trial.value, trial.fidelity])
        if trial.key not in found and content not in seen:
            found[trial.key] = trial
            seen.add(content)
    return list(found.values())


def _fits(trial: Trial, space: SearchSpace) -> bool:
    """Whether every parameter of ``trial`` is in ``space`` with its value; some may be missing."""
    return all(name in space for name in trial.configuration) and not [
        change for change in space.clip(trial.configuration)[1] if change.reason == "out of range"
    ]


def _digest(*parts: str) -> str:
    return hashlib.sha256(to_json(parts).encode()).hexdigest()[:32]
