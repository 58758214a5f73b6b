"""What ``MLflowStore`` does with single runs: find them, end them, and tell who owns them."""

import time
from collections.abc import Iterator
from dataclasses import replace

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, LifecycleStage, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from metatune.history import schema
from metatune.history.filters import tag_equals
from metatune.history.owner import Owner
from metatune.history.schema import RunData
from metatune.study import StudyRecord
from metatune.trial import Trial

PARENT = "mlflow.parentRunId"
#: Tags of a study's run: the process that writes it, and when it last said so, in seconds since the epoch.
OWNER, HEARTBEAT = "metatune.owner", "metatune.heartbeat"
_PAGE = 1000
_YEAR_10000 = 253_402_300_800.0


class OpenStudy:
    """What is known of a study that is being written: its record, its run, and the runs of its trials by key.

    ``doubtful`` are keys whose run may have been created although the call failed.
    """

    def __init__(self, record: StudyRecord, run_id: str) -> None:
        self.record = record
        self.run_id = run_id
        self.started: dict[str, str] = {}
        self.ended: set[str] = set()
        self.doubtful: set[str] = set()


def finish(client: MlflowClient, run_id: str, data: RunData, trial: Trial) -> None:
    """Write params and metrics and end the run. May be repeated: equal points at equal times are one to MLflow."""
    at = metric_time(trial)
    metrics = [Metric(point.name, point.value, at, point.step) for point in data.metrics]
    params = [Param(name, value) for name, value in data.params.items()]
    client.log_batch(run_id, metrics=metrics, params=params)  # MLflow splits what is too much for one request
    client.set_terminated(run_id, data.status)


def metric_time(trial: Trial) -> int:
    """The time of all points of ``trial``, in milliseconds since the epoch; 0 for what is no time at all."""
    return int(1000 * trial.started) if 0 < trial.started < _YEAR_10000 else 0


def search(
    client: MlflowClient, experiment: str, record: str, study_id: str = "", key: str = "", *, running: bool = False
) -> Iterator[Run]:
    """The undeleted runs of studies or of trials, each once, in the order in which they were made.

    ``study_id`` and ``key``, already a ``schema.token``, keep those of one study or one trial, ``running`` those that
    have not ended.
    """
    condition = tag_equals(schema.RECORD, record)
    if study_id:
        condition += f" and {tag_equals(schema.STUDY_ID, schema.token(study_id))}"
    if key:
        condition += f" and {tag_equals(schema.TRIAL_KEY, key)}"
    if running:
        condition += " and attributes.status = 'RUNNING'"
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


class Find:
    """Finds the runs of all studies (``find("study")``) or trials (``find("trial")``), or those of one ``study``."""

    def __init__(self, client: MlflowClient | None = None, experiment: str | None = None) -> None:
        self._client = client
        self._experiment = experiment

    @property
    def client(self) -> MlflowClient:
        """MLflow's client. There is one wherever a run was found; to make one would make the database."""
        assert self._client is not None
        return self._client

    def __call__(self, record: str, *, study: str = "", key: str = "", running: bool = False) -> Iterator[Run]:
        """In the order in which they were made; see ``search``."""
        if self._experiment is None:
            return iter(())
        return search(self.client, self._experiment, record, study, key, running=running)

    def page(self, condition: str, *, order: str, limit: int, deleted: bool = False) -> list[Run]:
        """The first ``limit`` runs, at most, that fulfil ``condition`` (MLflow's filter), by their time ``order``."""
        if self._experiment is None:
            return []
        view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        by = [f"attributes.{order} ASC"]
        return list(self.client.search_runs([self._experiment], condition, view, max_results=limit, order_by=by))


def single(client: MlflowClient, runs: Iterator[Run]) -> Run | None:
    """The first of ``runs`` that hold one and the same; a request that was sent twice made the others: deleted."""
    first: Run | None = None
    for run in runs:
        if first is None:
            first = run
            continue
        first, extra = sorted((first, run), key=order)
        client.delete_run(extra.info.run_id)
    return first


def take_over(client: MlflowClient, known: OpenStudy, study: StudyRecord) -> None:
    """Mark the run of a ``known`` study as running, and as written by this process, which has it as ``study``."""
    client.update_run(known.run_id, status="RUNNING")
    for name, value in signature().items():
        client.set_tag(known.run_id, name, value)
    if known.record.space.is_settled_by(study.space):
        known.record = replace(known.record, space=study.space)
        tags = [RunTag(name, value) for name, value in schema.encode_study(known.record).tags.items()]
        client.log_batch(known.run_id, tags=tags)  # in one request: readers see either record


def is_there(client: MlflowClient, run_id: str) -> bool:
    """Whether the run is neither marked as deleted nor gone for good."""
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == LifecycleStage.ACTIVE)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def order(run: Run) -> tuple[int, str]:
    """By this, processes that see several runs of one and the same agree on the first."""
    return run.info.start_time, run.info.run_id


def dataset(study: StudyRecord) -> DatasetInput:
    """What MLflow shows as the dataset of a study: its name, digest and size."""
    task = study.task
    source = schema.to_json({"name": task.name, "rows": task.n_rows, "columns": task.n_columns})
    return DatasetInput(Dataset(schema.readable(task.name, 500), task.fingerprint[:36], "metatune", source))


def decoded_study(run: Run) -> StudyRecord:
    """The study in the tags of ``run``. Raises ``StoreError`` for what is damaged or of another version."""
    return schema.decode_study(run.data.tags, f"run {run.info.run_id}")


def decoded_trial(run: Run) -> Trial:
    """The trial in the tags of ``run``. Raises ``StoreError`` for what is damaged or of another version."""
    return schema.decode_trial(run.data.tags, f"run {run.info.run_id}")


def signature() -> dict[str, str]:
    """Tags that say which process writes, and that it lives."""
    return {OWNER: str(Owner.current()), HEARTBEAT: f"{time.time():.0f}"}
