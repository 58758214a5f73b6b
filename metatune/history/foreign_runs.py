"""``ForeignRuns``: the MLflow runs that metatune did not write, page by page."""

import csv
import logging
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from sqlalchemy.exc import SQLAlchemyError

from metatune.errors import StoreError, UnknownNameError, first_line
from metatune.history import schema, sql_foreign
from metatune.history.address import Address
from metatune.history.connections import in_use
from metatune.history.foreign_run import TRAINED_ON, ForeignRun, foreign_run, measured
from metatune.history.mlflow_database import FAILURES, quiet, without_links

_PAGE = 1000
_LOG = logging.getLogger("metatune")


class ForeignRuns:
    """The undeleted runs at ``uri`` (see ``Address.of``); only reads. Every method raises ``StoreError``."""

    def __init__(self, uri: str | None = None) -> None:
        self._address = Address.of(uri)
        self.uri = self._address.uri
        self._client: MlflowClient | None = None
        self._by_api = self._address.file is None and not self.uri.startswith("postgres")

    def experiments(self, names: Sequence[str] = ()) -> dict[str, str]:
        """Id by name of the experiments ``names``, or of all. Raises ``UnknownNameError``."""
        with self._boundary() as client:
            found: dict[str, str] = {}
            token = None
            while True:
                page = client.search_experiments(max_results=_PAGE, page_token=token)
                found |= {str(experiment.name): str(experiment.experiment_id) for experiment in page}
                token = page.token
                if not token:
                    break
        for name in names:
            if name not in found:
                raise UnknownNameError.of("experiment", name, found)
        return {name: found[name] for name in names} if names else dict(sorted(found.items()))

    def runs(self, experiment: str, experiment_id: str) -> Iterator[ForeignRun]:
        """The runs of one experiment, each once, oldest first; those of metatune are left out.

        From MLflow's tables where they are in reach and of a known version, else through its API.
        """
        tabled = self._tabled(experiment, experiment_id)
        yield from self._paged(experiment, experiment_id) if tabled is None else tabled

    def _tabled(self, experiment: str, experiment_id: str) -> list[ForeignRun] | None:
        """The runs by SQL; ``None``, with one warning, where that cannot be."""
        if self._by_api:
            return None
        try:
            return sql_foreign.read(self._address, experiment, int(experiment_id))
        except (StoreError, SQLAlchemyError, sqlite3.Error) as error:
            self._by_api = True
            _LOG.warning("The runs are read through MLflow's API, which is slow: %s", first_line(error))
            return None

    def _paged(self, experiment: str, experiment_id: str) -> Iterator[ForeignRun]:
        seen: set[str] = set()
        token = None
        while True:
            with self._boundary() as client:
                page = client.search_runs(
                    [experiment_id],
                    f"tags.`{schema.SCHEMA}` IS NULL",
                    ViewType.ACTIVE_ONLY,
                    max_results=_PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            for run in page:
                if run.info.run_id not in seen:
                    seen.add(run.info.run_id)
                    yield _plain(run, experiment)
            token = page.token
            if not token:
                return

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Pairs (step, value) of one metric, by step; of a step logged twice the later value."""
        with self._boundary() as client:
            points = sorted(client.get_metric_history(run_id, metric), key=lambda point: (point.step, point.timestamp))
        return sorted({int(point.step): measured(point.value) for point in points}.items())

    def table(self, run_id: str, artifact: str) -> list[dict[str, str]] | None:
        """The rows of the CSV artifact ``artifact``, a plain file name; ``None`` if it is not there or not readable."""
        assert Path(artifact).name == artifact
        try:
            with in_use(self._address), quiet(), tempfile.TemporaryDirectory() as folder:
                path = Path(self._connected().download_artifacts(run_id, artifact, folder))
                with path.open(encoding="utf-8", newline="") as file:
                    return list(csv.DictReader(file))
        except (*FAILURES, csv.Error, UnicodeDecodeError):
            return None  # artifacts are often out of reach where the runs are not

    def _connected(self) -> MlflowClient:
        if self._client is None:
            file = self._address.file
            if file is not None and not file.is_file():
                raise FileNotFoundError("no such file")
            if file is None:
                self._address.check()
            without_links()
            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    @contextmanager
    def _boundary(self) -> Iterator[MlflowClient]:
        try:
            with in_use(self._address), quiet():
                yield self._connected()
        except FAILURES as error:
            raise StoreError(
                f"the runs cannot be read ({first_line(error)})",
                field="uri",
                value=self.uri,
                remedy=self._address.remedy(str(error)),
            ) from error


def _plain(run: Run, experiment: str) -> ForeignRun:
    return foreign_run(
        id=run.info.run_id,
        name=run.info.run_name,
        experiment=experiment,
        status=run.info.status,
        times=(run.info.start_time, run.info.end_time),
        params=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
        datasets=_datasets(run),
    )


def _datasets(run: Run) -> list[tuple[str, str, bool]]:
    inputs = run.inputs.dataset_inputs if run.inputs is not None else []
    return [
        (str(one.dataset.name), str(one.dataset.digest), any((tag.key, tag.value) == TRAINED_ON for tag in one.tags))
        for one in inputs
    ]
