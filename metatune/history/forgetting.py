"""``erase``: studies and their trials out of MLflow, for good where the backend is a database.

In a database, rows of runs, of their metrics, params, tags and inputs, and of datasets that no other run has are
deleted, and so are the files; SQLite files are compacted, so that no page keeps the old bytes. An MLflow server
deletes the files that it serves, but no runs: they are marked as deleted, until they are erased in its database.
(``mlflow gc`` leaves datasets, with the names of tasks.)
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlInput, SqlInputTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import text

from metatune.errors import StoreError
from metatune.history import schema
from metatune.history.address import Address
from metatune.history.filters import tag_equals
from metatune.history.mlflow_database import connected
from metatune.study import StudyRecord

#: Names the server whose database is given.
_SERVER = "MLFLOW_TRACKING_URI"
#: How the place of files begins that only a server can reach.
_SERVED = "mlflow-artifacts:"

_PAGE = 1000
_CHUNK = 500


@dataclass(frozen=True)
class Found:
    """A study in the history, deleted or not: the token of its id, its record, its runs and where their files are."""

    token: str
    record: StudyRecord
    runs: tuple[str, ...]
    artifacts: tuple[str, ...]

    @property
    def trials(self) -> int:
        """How many runs are trials."""
        return len(self.runs) - 1


def find(uri: str, experiment: str, wanted: Callable[[StudyRecord], bool]) -> list[Found]:
    """The studies in ``experiment`` that are ``wanted``, runs that were deleted in MLflow included.

    Those whose record cannot be read are left out. Raises ``StoreError``.
    """
    address = Address.of(uri)
    if address.file is not None and not address.file.exists():
        return []
    with connected(address) as client:
        known = client.get_experiment_by_name(experiment)
        if known is None:
            return []
        studies: dict[str, list[Run]] = {}
        records: dict[str, StudyRecord] = {}
        for run in _runs(client, known.experiment_id, tag_equals(schema.RECORD, "study")):
            try:
                record = schema.decode_study(run.data.tags, f"run {run.info.run_id}")
            except StoreError:
                continue
            if wanted(record):
                token = schema.token(record.id)
                records[token] = record
                studies.setdefault(token, [])
        for token, runs in studies.items():
            runs += _runs(client, known.experiment_id, tag_equals(schema.STUDY_ID, token))
    return [
        Found(token, records[token], tuple(r.info.run_id for r in runs), tuple(r.info.artifact_uri for r in runs))
        for token, runs in studies.items()
    ]


def erase(uri: str, found: Sequence[Found]) -> bool:
    """Remove the runs of ``found``; whether for good. May be repeated. Raises ``StoreError``."""
    address = Address.of(uri)
    runs = [run for study in found for run in study.runs]
    if not runs:
        return not address.uri.startswith("http")
    with connected(address) as client:
        for place in (place for study in found for place in study.artifacts):
            _delete_files(address, place)
        if address.uri.startswith("http"):
            for run in runs:
                _mark_deleted(client, run)
            return False
        store = SqlAlchemyStore(address.uri, address.artifacts("Default") or "./mlartifacts")  # type: ignore[no-untyped-call]
        try:
            for run in runs:
                _delete(store, run)
            _delete_inputs(store, runs)
            if address.file is not None:
                _compact(store)
        finally:
            store.engine.dispose()
    return True


def _runs(client: MlflowClient, experiment: str, condition: str) -> list[Run]:
    found: dict[str, Run] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            condition,
            ViewType.ALL,
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found.update((run.info.run_id, run) for run in page)
        token = page.token
        if not token:
            return list(found.values())


def _delete_files(address: Address, place: str) -> None:
    """Delete the files in ``place``: those that a server serves through it, others only where the database is given."""
    by_server = address.uri.startswith("http")
    server = address.uri if by_server else os.environ.get(_SERVER, "")
    if not place.startswith(_SERVED):
        if not by_server:
            get_artifact_repository(place, tracking_uri=address.uri).delete_artifacts()  # type: ignore[no-untyped-call]
    elif server.startswith("http"):
        get_artifact_repository(place, tracking_uri=server).delete_artifacts()  # type: ignore[no-untyped-call]
    else:
        raise StoreError(
            "the files of these runs are deleted by the MLflow server that serves them",
            field=_SERVER,
            value=server,
            remedy=f"Set {_SERVER} to the address of the server, and give the database by --tracking-uri.",
        )


def _mark_deleted(client: MlflowClient, run: str) -> None:
    try:
        client.delete_run(run)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # gone or marked already
            raise


def _delete(store: SqlAlchemyStore, run: str) -> None:
    try:
        # What `mlflow gc` calls; there is no public name for it.
        store._hard_delete_run(run)  # type: ignore[no-untyped-call]
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # somebody else was first
            raise


def _delete_inputs(store: SqlAlchemyStore, runs: Sequence[str]) -> None:
    """What ``_hard_delete_run`` leaves: which datasets the runs had, and the datasets that no run has any more."""
    for start in range(0, len(runs), _CHUNK):
        with store.ManagedSessionMaker(read_only=False) as session:
            mine = session.query(SqlInput).filter(SqlInput.destination_id.in_(runs[start : start + _CHUNK]))
            ids, sources = (
                zip(*((one.input_uuid, one.source_id) for one in mine), strict=True) if mine.count() else ((), ())
            )
            session.query(SqlInputTag).filter(SqlInputTag.input_uuid.in_(ids)).delete(synchronize_session=False)
            session.query(SqlInput).filter(SqlInput.input_uuid.in_(ids)).delete(synchronize_session=False)
            session.flush()
            used = {source for (source,) in session.query(SqlInput.source_id).filter(SqlInput.source_id.in_(sources))}
            orphans = set(sources) - used
            session.query(SqlDataset).filter(SqlDataset.dataset_uuid.in_(orphans)).delete(synchronize_session=False)


def _compact(store: SqlAlchemyStore) -> None:
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
