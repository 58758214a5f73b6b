"""``import_optuna``: studies of an Optuna storage, a journal file or a database."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optuna.distributions import BaseDistribution
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from sqlalchemy import URL, Engine, create_engine, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError

from metatune.errors import SpaceError, StoreError, UnknownNameError, first_line
from metatune.fingerprint import fingerprint_of_name
from metatune.history.store import HistoryStore
from metatune.importers.foreign import ForeignTrial, ImportLog, Origin
from metatune.importers.intake import Settings, take_in
from metatune.importers.names import Names
from metatune.importers.report import ImportReport
from metatune.metric import Direction, Metric
from metatune.optuna_trials import ENDED, key_of, trial_of
from metatune.parameter import joined, plain_distribution
from metatune.redaction import redacted
from metatune.space import SearchSpace
from metatune.task import Task

#: Without one of these, Optuna writes into a database on opening it.
_TABLES = {"version_info", "alembic_version", "studies"}


def import_optuna(
    storage: str | Path,
    store: HistoryStore,
    *,
    studies: Sequence[str] = (),
    metric: str | None = None,
    family: str | None = None,
    task: Task | str | None = None,
    names: Names | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Import ``studies`` (all unless given) of an Optuna ``storage``: a journal file, or the URL of a database.

    ``metric`` names what the studies optimised, ``family`` what they tuned; without, the study's own metric name
    and the study's name. ``task``: a task with data, whose meta-features are then recorded, or the name of one; the
    study's name unless given. ``names``: see ``Names.load``.

    Raises ``StoreError`` for a storage that cannot be read, ``UnknownNameError`` for an unknown study.
    """
    log = ImportLog()
    settings = Settings(store, names or Names.load(), task if isinstance(task, Task) else None, dry_run)
    trials = _trials(_read(storage, studies), log, settings.names, metric=metric, family=family, task=task)
    return take_in(trials, log, settings, source=f"Optuna storage {Path(redacted(str(storage))).name}")


@contextmanager
def _boundary(storage: str | Path) -> Iterator[None]:
    """Inside, what Optuna and the drivers raise becomes a ``StoreError`` about ``storage``."""
    try:
        yield
    except (OSError, ImportError, SQLAlchemyError, OptunaError, RuntimeError, ValueError, KeyError) as error:
        reason = first_line(error)
        raise StoreError(
            f"not an Optuna storage that can be read ({redacted(reason)})",
            field="storage",
            value=redacted(str(storage)),
            remedy="Give the path of a journal file, or a URL such as sqlite:///study.db; `optuna storage upgrade` "
            "brings an old database up to date.",
        ) from error


def _opened(storage: str | Path) -> BaseStorage:
    text = str(storage)
    if "://" not in text:
        if not Path(text).is_file():
            raise FileNotFoundError(f"no such file: {text}")
        return JournalStorage(JournalFileBackend(text))
    options = _read_only(make_url(text))
    _look_for_tables(create_engine(text, **options))
    return RDBStorage(text, engine_kwargs=options, skip_table_creation=True)


def _read(storage: str | Path, wanted: Sequence[str]) -> Iterator[tuple[FrozenStudy, list[FrozenTrial]]]:
    """The studies ``wanted``, or all, with their trials."""
    with _boundary(storage):
        opened = _opened(storage)
        studies = {study.study_name: study for study in opened.get_all_studies()}
    for name in wanted:
        if name not in studies:
            raise UnknownNameError.of("study", name, studies)
    for name in wanted or studies:
        with _boundary(storage):
            found = opened.get_all_trials(studies[name]._study_id, deepcopy=False)
        yield studies[name], found


def _read_only(url: URL) -> dict[str, Any]:
    """Options of an engine that can only read; such options of drivers other than SQLite's are not alike."""
    if not url.drivername.startswith("sqlite"):
        return {}
    file = Path(url.database or "").absolute()
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {url.database}")
    uri = f"file:{quote(file.as_posix())}?mode=ro"
    return {"creator": lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)}


def _look_for_tables(engine: Engine) -> None:
    """Raise ``ValueError`` unless Optuna's tables are there: in any other database, Optuna would make them."""
    try:
        missing = _TABLES - set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if missing:
        raise ValueError(f"no table {min(missing)}")


def _trials(
    studies: Iterable[tuple[FrozenStudy, list[FrozenTrial]]],
    log: ImportLog,
    names: Names,
    *,
    metric: str | None,
    family: str | None,
    task: Task | str | None,
) -> Iterator[ForeignTrial]:
    for study, found in studies:
        name = study.study_name
        if len(study.directions) != 1:
            log.skip("several objectives: metatune learns from one", len(found))
            continue
        try:
            space = _space_of(found)
        except SpaceError as error:
            log.skip_space(error, len(found))
            continue
        if space is None:
            log.skip("no parameters", len(found))
            continue
        fingerprint = task.fingerprint if isinstance(task, Task) else fingerprint_of_name(task or name)
        judged, sign = _metric(study, metric, names)
        origin = Origin(
            "optuna", name, task.name if isinstance(task, Task) else task or name, family or name, judged, name, space
        )
        for trial in found:
            if trial.state not in ENDED:
                log.skip("not finished: waiting or running")
            elif trial.params:
                yield _foreign(trial, origin, sign, fingerprint)
            else:
                log.skip("no parameters")


def _metric(study: FrozenStudy, given: str | None, names: Names) -> tuple[Metric, float]:
    direction: Direction = "maximize" if study.direction is StudyDirection.MAXIMIZE else "minimize"
    own = (study.system_attrs or {}).get("study:metric_names") or ["objective"]
    objective = names.objective(given or str(own[0]), direction)
    assert objective is not None  # the direction is known
    return objective.metric, objective.sign


def _foreign(frozen: FrozenTrial, origin: Origin, sign: float, task: str) -> ForeignTrial:
    """``task`` is the task's fingerprint."""
    trial = trial_of(frozen, key_of(frozen, origin.study, task=task, family=origin.family))
    return ForeignTrial(
        origin=origin,
        id=trial.key,
        key=trial.key,
        parameters=trial.configuration,
        status=trial.status,
        value=None if trial.value is None else sign * trial.value,
        curve=tuple(sign * value for value in trial.curve),
        reported=tuple((step, sign * value) for step, value in trial.reported),
        seconds=trial.seconds,
        started=trial.started,
        error=trial.error,
    )


def _space_of(trials: Sequence[FrozenTrial]) -> SearchSpace | None:
    """The smallest space that holds the distributions of all ``trials``."""
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            distribution = plain_distribution(distribution)
            known = found.get(name)
            found[name] = distribution if known is None or known == distribution else joined(known, distribution)
    return SearchSpace(found) if found else None
