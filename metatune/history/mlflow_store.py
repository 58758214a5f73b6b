"""``MLflowStore``: the history in MLflow, a parent run per study and a child run per trial. Alone knows MLflow."""

import logging
import math
import os
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from metatune.errors import MetatuneError, StoreError, UsageError
from metatune.history import schema
from metatune.history.schema import RunData
from metatune.study import StudyRecord
from metatune.trial import Trial

#: Where the history is when nothing is said: the file that a plain ``mlflow ui`` in this folder shows.
DEFAULT_URI = "sqlite:///mlflow.db"

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
_PARENT = "mlflow.parentRunId"
_NO_LINKS = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"  # else a client prints two lines for every run
_PAGE = 1000
_BATCH = 100  # MLflow's limit for the params of one call; metrics may be ten times as many
_BUSY_SECONDS = 20.0
_REACH_SECONDS = 10.0

#: What MLflow lets through when a store cannot be used; ``ImportError`` is a missing database driver.
_FAILURES = (MlflowException, SQLAlchemyError, sqlite3.Error, requests.RequestException, OSError, ImportError)


class MLflowStore:
    """The history in one experiment of an MLflow server or database; a ``HistoryStore``.

    ``uri`` is an MLflow tracking URI; by default the environment's ``MLFLOW_TRACKING_URI``, else ``DEFAULT_URI``.
    A new SQLite file gets its tables on first use (seconds), in WAL mode; its artifacts go to ``mlartifacts``
    beside it. Nothing is read or written before the first method is called. MLflow's global state is left alone.

    Raises ``UsageError`` for what is not a tracking URI; every method raises ``StoreError``.
    """

    def __init__(self, uri: str | None = None, experiment: str = "metatune") -> None:
        self.experiment = experiment
        self.uri, self._file = _checked_uri(uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)
        self._connection: tuple[MlflowClient, str] | None = None
        self._open: dict[str, _OpenStudy] = {}

    def open_study(self, study: StudyRecord) -> None:
        """See ``HistoryStore``."""
        with self._boundary() as (client, experiment):
            run = self._parent(client, experiment, study.id)
            if run is None:
                data = schema.encode_study(study)
                created = client.create_run(experiment, run_name=data.name, tags=dict(data.tags))
                client.log_inputs(created.info.run_id, [_dataset(study)])
                self._open[study.id] = _OpenStudy(study, created.info.run_id)
            else:
                client.update_run(run.info.run_id, status="RUNNING")
                self._open[study.id] = self._reopened(client, experiment, run)

    def add_trials(self, study_id: str, trials: Sequence[Trial]) -> None:
        """See ``HistoryStore``."""
        with self._boundary() as (client, experiment):
            study = self._opened(client, experiment, study_id)
            for trial in trials:
                key = schema.token(trial.key)
                if key in study.ended:
                    continue
                data = schema.encode_trial(trial, study.record)
                if key not in study.started:
                    # The tags hold the whole trial: from this call on, it is in the history.
                    run = client.create_run(experiment, run_name=data.name, tags={**data.tags, _PARENT: study.run_id})
                    study.started[key] = run.info.run_id
                _finish(client, study.started[key], data, trial)
                study.ended.add(key)

    def close_study(self, study_id: str, *, status: str, artifacts: Sequence[Path] = ()) -> None:
        """See ``HistoryStore``."""
        if status not in ("finished", "interrupted", "failed"):
            raise UsageError(
                "unknown status of a study",
                field="status",
                value=status,
                remedy="Use 'finished', 'interrupted' or 'failed'.",
            )
        with self._boundary() as (client, experiment):
            study = self._opened(client, experiment, study_id)
            for path in artifacts:
                client.log_artifact(study.run_id, str(path))
            client.set_terminated(study.run_id, schema.RUN_STATUS[status])

    def studies(self) -> list[StudyRecord]:
        """See ``HistoryStore``."""
        with self._boundary() as (client, experiment):
            runs = _search(client, experiment, {schema.RECORD: "study"})
            found = {study.id: study for study in map(_decoded_study, runs)}
        return sorted(found.values(), key=lambda study: (study.created, study.id))

    def study(self, study_id: str) -> StudyRecord:
        """See ``HistoryStore``. Raises ``UsageError`` for an unknown or ambiguous beginning of an id."""
        found = [study for study in self.studies() if study.id.startswith(study_id)]
        exact = [study for study in found if study.id == study_id]
        if len(exact or found) == 1:
            return (exact or found)[0]
        raise UsageError(
            "no study has this id" if not found else f"{len(found)} studies have ids that begin like this",
            field="study",
            value=study_id,
            remedy="`metatune history` lists the studies with their ids.",
        )

    def trials(self, study_id: str) -> list[Trial]:
        """See ``HistoryStore``."""
        with self._boundary() as (client, experiment):
            runs = _search(client, experiment, {schema.RECORD: "trial", schema.STUDY_ID: schema.token(study_id)})
            return _ordered(_decoded_trial(run) for run in runs)

    def records(self) -> Iterator[tuple[StudyRecord, list[Trial]]]:
        """See ``HistoryStore``. Trials whose study was deleted are left out."""
        studies = self.studies()
        trials: defaultdict[str, list[Trial]] = defaultdict(list)
        with self._boundary() as (client, experiment):
            for run in _search(client, experiment, {schema.RECORD: "trial"}):
                trials[run.data.tags[schema.STUDY_ID]].append(_decoded_trial(run))
        for study in studies:
            yield study, _ordered(trials[schema.token(study.id)])

    def _parent(self, client: MlflowClient, experiment: str, study_id: str) -> Run | None:
        return next(
            _search(client, experiment, {schema.RECORD: "study", schema.STUDY_ID: schema.token(study_id)}), None
        )

    def _opened(self, client: MlflowClient, experiment: str, study_id: str) -> "_OpenStudy":
        if study_id not in self._open:
            run = self._parent(client, experiment, study_id)
            if run is None:
                raise StoreError(
                    "no such study in the history",
                    field="study",
                    value=study_id,
                    remedy="Call open_study first; the study may have been deleted in MLflow.",
                )
            self._open[study_id] = self._reopened(client, experiment, run)
        return self._open[study_id]

    def _reopened(self, client: MlflowClient, experiment: str, run: Run) -> "_OpenStudy":
        """The state of a study that an earlier process wrote; trials it did not complete are completed later."""
        study = _OpenStudy(_decoded_study(run), run.info.run_id)
        for child in _search(
            client, experiment, {schema.RECORD: "trial", schema.STUDY_ID: schema.token(study.record.id)}
        ):
            key = child.data.tags[schema.TRIAL_KEY]
            study.started[key] = child.info.run_id
            if child.info.status != "RUNNING":
                study.ended.add(key)
        return study

    @contextmanager
    def _boundary(self) -> Iterator[tuple[MlflowClient, str]]:
        """Client and experiment id; inside, whatever MLflow raises becomes a ``StoreError``."""
        try:
            with _quiet():
                if self._connection is None:
                    self._connection = self._connect()
                yield self._connection
        except MetatuneError:
            raise
        except _FAILURES as error:
            raise StoreError(
                f"the history cannot be reached or written ({_first_line(error)})",
                field="store",
                value=self.uri,
                remedy=_remedy(self.uri, str(error)),
            ) from error

    def _connect(self) -> tuple[MlflowClient, str]:
        _check_reachable(self.uri, self._file)
        client = MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(self.experiment)
        if known is None:
            return client, self._new_experiment(client)
        if known.lifecycle_stage == "deleted":
            raise StoreError(
                "the experiment was deleted in MLflow",
                field="experiment",
                value=self.experiment,
                remedy="Restore it (`mlflow experiments restore`) or choose another name.",
            )
        return client, known.experiment_id

    def _new_experiment(self, client: MlflowClient) -> str:
        # MLflow's own default is ./mlruns of whichever folder the first process happened to start in.
        folder = None if self._file is None else self._file.parent / "mlartifacts" / quote(self.experiment, safe="")
        location = None if folder is None else folder.as_uri()
        try:
            return str(client.create_experiment(self.experiment, artifact_location=location))
        except MlflowException:
            # Another process may have created it since we looked.
            known = client.get_experiment_by_name(self.experiment)
            if known is None:
                raise
            return str(known.experiment_id)


class _OpenStudy:
    """What is known of a study that is being written: its record, its run, and the runs of its trials by key."""

    def __init__(self, record: StudyRecord, run_id: str) -> None:
        self.record = record
        self.run_id = run_id
        self.started: dict[str, str] = {}
        self.ended: set[str] = set()


def _finish(client: MlflowClient, run_id: str, data: RunData, trial: Trial) -> None:
    """Write params and metrics and end the run. May be repeated: equal points at equal times are one to MLflow."""
    at = int(1000 * trial.started) if math.isfinite(trial.started) and trial.started > 0 else 0
    metrics = [Metric(point.name, point.value, at, point.step) for point in data.metrics]
    params = [Param(name, value) for name, value in data.params.items()]
    while metrics or params:
        client.log_batch(run_id, metrics=metrics[: 9 * _BATCH], params=params[:_BATCH])
        metrics, params = metrics[9 * _BATCH :], params[_BATCH:]
    client.set_terminated(run_id, data.status)


def _search(client: MlflowClient, experiment: str, tags: dict[str, str]) -> Iterator[Run]:
    """The undeleted runs that carry ``tags``, each once, in the order in which they were made."""
    condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    seen: set[str] = set()
    token = None
    while True:
        # Oldest first: page tokens are offsets, and this way runs written meanwhile come after the last page.
        page = client.search_runs(
            [experiment],
            condition,
            ViewType.ACTIVE_ONLY,
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        for run in page:
            if run.info.run_id not in seen:
                seen.add(run.info.run_id)
                yield run
        token = page.token
        if not token:
            return


def _decoded_study(run: Run) -> StudyRecord:
    return schema.decode_study(run.data.tags, f"run {run.info.run_id}")


def _decoded_trial(run: Run) -> Trial:
    return schema.decode_trial(run.data.tags, f"run {run.info.run_id}")


def _ordered(trials: Iterable[Trial]) -> list[Trial]:
    """By number, each key once."""
    return sorted({trial.key: trial for trial in trials}.values(), key=lambda trial: (trial.number, trial.key))


def _dataset(study: StudyRecord) -> DatasetInput:
    task = study.task
    source = schema.to_json({"name": task.name, "rows": task.n_rows, "columns": task.n_columns})
    return DatasetInput(Dataset(schema.readable(task.name, 500), task.fingerprint[:36], "metatune", source))


def _checked_uri(uri: str) -> tuple[str, Path | None]:
    """``uri`` with an absolute path, and the file if it is SQLite. Raises ``UsageError``."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme not in _SCHEMES:
        remedy = "Use sqlite:///<file>, http(s)://<server>, or postgresql://<server>/<database>."
        if scheme in ("", "file") or os.path.sep in uri:
            remedy += " MLflow refuses folders such as ./mlruns: move one with `mlflow migrate-filestore`."
        raise UsageError("not the address of a history", field="store", value=uri, remedy=remedy)
    if scheme != "sqlite":
        return uri, None
    database = make_url(uri).database
    if not database or database == ":memory:":
        raise UsageError("a history in memory would be lost", field="store", value=uri, remedy="Use sqlite:///<file>.")
    file = Path(database).absolute()
    return f"sqlite:///{file.as_posix()}", file


def _check_reachable(uri: str, file: Path | None) -> None:
    """Fail within seconds where MLflow itself would go on trying for minutes."""
    if file is not None:
        _prepare(file)
    elif uri.startswith("http"):
        try:
            requests.head(uri, timeout=_REACH_SECONDS)
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError):
            pass  # MLflow has settings of its own for these
    else:
        engine = create_engine(uri)
        engine.connect().close()
        engine.dispose()


def _prepare(file: Path) -> None:
    """Make ``file`` an MLflow database in WAL mode, unless it is one."""
    if not file.exists():
        _create(file)
    with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as connection:
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _create(file: Path) -> None:
    """A new database: made under another name and then linked, so that no other process sees it half made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        store = SqlAlchemyStore(f"sqlite:///{partial.as_posix()}", (file.parent / "mlartifacts").as_uri())
        store.engine.dispose()
        try:
            os.link(partial, file)
        except FileExistsError:
            return  # another process was first; its database serves as well
        except OSError:
            partial.rename(file)  # a file system without links
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what MLflow and Alembic log while tables are made, failures that we raise anyway, and links to runs."""
    levels = {"alembic": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    links = os.environ.get(_NO_LINKS)
    os.environ[_NO_LINKS] = "true"
    try:
        yield
    finally:
        os.environ.pop(_NO_LINKS)
        if links is not None:
            os.environ[_NO_LINKS] = links
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _remedy(uri: str, reason: str) -> str:
    if uri.startswith("http"):
        return "Check that the MLflow server runs and that the address is right; then run the command again."
    if "locked" in reason:
        return "Another program holds the database; wait for it or end it, then run the command again."
    if "No module named" in reason:
        return "Install the database's driver, for PostgreSQL: pip install psycopg2-binary."
    if "not a database" in reason:
        return "This file is something else: give another one, or restore it from a backup."
    if "out-of-date database schema" in reason:
        return f"Back the database up, then run `mlflow db upgrade {uri}`."
    return "Check the address, the free space and your permissions there; then run the command again."
