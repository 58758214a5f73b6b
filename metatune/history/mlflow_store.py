"""``MLflowStore``: the history in MLflow, a parent run per study and a child run per trial."""

import logging
import math
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import requests
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from metatune.errors import MetatuneError, StoreError, UsageError
from metatune.history import schema
from metatune.history.address import Address
from metatune.history.filters import tag_equals
from metatune.history.mlflow_database import create_database, quiet
from metatune.history.schema import RunData
from metatune.study import StudyRecord
from metatune.trial import Trial

_PARENT = "mlflow.parentRunId"
_PAGE = 1000
_LOG = logging.getLogger("metatune")
_Record = TypeVar("_Record")

# What `quiet` changes is the process's.
_LOCK = threading.RLock()

#: What MLflow lets through when a store cannot be used; ``ImportError`` is a missing database driver.
_FAILURES = (MlflowException, SQLAlchemyError, sqlite3.Error, requests.RequestException, OSError, ImportError)


class MLflowStore:
    """The history in one experiment of an MLflow server or database; a ``HistoryStore``.

    ``uri`` is an MLflow tracking URI; its default and what may be used: see ``Address.of``.
    A new SQLite file gets its tables on first use (seconds), in WAL mode; its artifacts go to ``mlartifacts``
    beside it. Nothing is read or written before the first method is called. MLflow's global state is left alone.

    Raises ``UsageError`` for what is not a tracking URI; every method raises ``StoreError``. Runs that are damaged, or
    were written by another version, are left out by what reads, with one warning: see ``unreadable``.
    """

    def __init__(self, uri: str | None = None, experiment: str = "metatune") -> None:
        self.experiment = experiment
        self._address = Address.of(uri)
        self.uri = self._address.uri
        self._client: MlflowClient | None = None
        self._experiment_id: str | None = None
        self._open: dict[str, _OpenStudy] = {}
        #: Why, by the id of the run, for every run that was left out so far.
        self.unreadable: dict[str, str] = {}

    def open_study(self, study: StudyRecord) -> None:
        """See ``HistoryStore``."""
        with self._boundary() as client:
            known = self._reopened(client, study.id)
            if known is None:
                data = schema.encode_study(study)
                run = client.create_run(self._made_experiment(client), run_name=data.name, tags=dict(data.tags))
                client.log_inputs(run.info.run_id, [_dataset(study)])
                known = _OpenStudy(study, run.info.run_id)
            else:
                client.update_run(known.run_id, status="RUNNING")
            self._open[study.id] = known

    def add_trials(self, study_id: str, trials: Sequence[Trial]) -> None:
        """See ``HistoryStore``."""
        with self._boundary() as client:
            study, experiment = self._opened(client, study_id), self._made_experiment(client)
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
        with self._boundary() as client:
            study = self._opened(client, study_id)
            for path in artifacts:
                client.log_artifact(study.run_id, str(path))
            client.set_terminated(study.run_id, schema.RUN_STATUS[status])

    def studies(self) -> list[StudyRecord]:
        """See ``HistoryStore``."""
        if self._absent():
            return []
        with self._boundary() as client:
            runs = self._runs(client, "study")
            found = {study.id: study for _, study in self._decoded(runs, _decoded_study)}
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
        if self._absent():
            return []
        with self._boundary() as client:
            runs = self._runs(client, "trial", study_id)
            return _ordered(trial for _, trial in self._decoded(runs, _decoded_trial))

    def records(self) -> Iterator[tuple[StudyRecord, list[Trial]]]:
        """See ``HistoryStore``. Trials whose study was deleted are left out."""
        if self._absent():
            return
        studies = self.studies()
        trials: defaultdict[str, list[Trial]] = defaultdict(list)
        with self._boundary() as client:
            for run, trial in self._decoded(self._runs(client, "trial"), _decoded_trial):
                trials[run.data.tags.get(schema.STUDY_ID, "")].append(trial)
        for study in studies:
            yield study, _ordered(trials[schema.token(study.id)])

    def unfinished(self) -> list[str]:
        """Ids of the studies whose search runs now or was killed."""
        if self._absent():
            return []
        with self._boundary() as client:
            running = (run for run in self._runs(client, "study") if run.info.status == "RUNNING")
            return [study.id for _, study in self._decoded(running, _decoded_study)]

    def _decoded(self, runs: Iterable[Run], decode: Callable[[Run], _Record]) -> list[tuple[Run, _Record]]:
        """The readable ones of ``runs``; one warning names those that are not and were not named before."""
        found, failed = [], {}
        for run in runs:
            try:
                found.append((run, decode(run)))
            except StoreError as error:
                failed[run.info.run_id] = error.problem
        new = {run_id: problem for run_id, problem in failed.items() if run_id not in self.unreadable}
        if new:
            self.unreadable |= new
            _LOG.warning(
                "Runs of the history that cannot be read and are left out: %d (%s): %s",
                len(new),
                next(iter(new.values())),
                ", ".join(new),
            )
        return found

    def _absent(self) -> bool:
        """Whether there is no database yet: reading must not make one."""
        return self._address.file is not None and not self._address.file.exists()

    def _runs(self, client: MlflowClient, record: str, study_id: str = "") -> Iterator[Run]:
        experiment = self._known_experiment(client)
        return iter(()) if experiment is None else _search(client, experiment, record, study_id)

    def _opened(self, client: MlflowClient, study_id: str) -> "_OpenStudy":
        known = self._open.get(study_id) or self._reopened(client, study_id)
        if known is None:
            raise StoreError(
                "no such study in the history",
                field="study",
                value=study_id,
                remedy="Call open_study first; the study may have been deleted in MLflow.",
            )
        self._open[study_id] = known
        return known

    def _reopened(self, client: MlflowClient, study_id: str) -> "_OpenStudy | None":
        """A study that is in the store; trials that an earlier process did not complete are completed later."""
        run = next(self._runs(client, "study", study_id), None)
        if run is None:
            return None
        study = _OpenStudy(_decoded_study(run), run.info.run_id)
        for child in self._runs(client, "trial", study_id):
            key = child.data.tags.get(schema.TRIAL_KEY, "")
            study.started[key] = child.info.run_id
            if child.info.status != "RUNNING":
                study.ended.add(key)
        return study

    @contextmanager
    def _boundary(self) -> Iterator[MlflowClient]:
        """The client; inside, whatever MLflow raises becomes a ``StoreError``. One thread at a time."""
        try:
            with _LOCK, quiet():
                if self._client is None:
                    if self._absent():
                        create_database(self._address)
                    self._address.check()
                    self._client = MlflowClient(tracking_uri=self.uri)
                yield self._client
        except MetatuneError:
            raise
        except _FAILURES as error:
            raise StoreError(
                f"the history cannot be reached or written ({_first_line(error)})",
                field="store",
                value=self.uri,
                remedy=self._address.remedy(str(error)),
            ) from error

    def _known_experiment(self, client: MlflowClient) -> str | None:
        if self._experiment_id is None:
            known = client.get_experiment_by_name(self.experiment)
            if known is None:
                return None
            if known.lifecycle_stage == "deleted":
                raise StoreError(
                    "the experiment was deleted in MLflow",
                    field="experiment",
                    value=self.experiment,
                    remedy="Restore it (`mlflow experiments restore`) or choose another name.",
                )
            self._experiment_id = str(known.experiment_id)
        return self._experiment_id

    def _made_experiment(self, client: MlflowClient) -> str:
        known = self._known_experiment(client)
        if known is None:
            place = self._address.artifacts(self.experiment)
            try:
                known = str(client.create_experiment(self.experiment, artifact_location=place))
            except MlflowException:
                # Another process may have created it since we looked.
                known = self._known_experiment(client)
                if known is None:
                    raise
        self._experiment_id = known
        return known


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
    client.log_batch(run_id, metrics=metrics, params=params)  # MLflow splits what is too much for one request
    client.set_terminated(run_id, data.status)


def _search(client: MlflowClient, experiment: str, record: str, study_id: str = "") -> Iterator[Run]:
    """The undeleted runs of studies or of trials, each once, in the order in which they were made."""
    condition = tag_equals(schema.RECORD, record)
    if study_id:
        condition += f" and {tag_equals(schema.STUDY_ID, schema.token(study_id))}"
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


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
