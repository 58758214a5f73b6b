"""``ForeignRuns``: the MLflow runs that metatune did not write, page by page."""

import csv
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from metatune.errors import StoreError, UnknownNameError, first_line
from metatune.history import schema
from metatune.history.address import Address
from metatune.history.connections import in_use
from metatune.history.mlflow_database import FAILURES, quiet, without_links

_PAGE = 1000
_PARENT, _CONTEXT = "mlflow.parentRunId", "mlflow.data.context"
#: Tags of MLflow itself that tell what made a run; its other tags are left out.
_TOLD = {"mlflow.autologging", "mlflow.runName"}


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """One run without the client's objects. Times are seconds since the epoch, ``None`` where unknown.

    ``metrics`` are the last values. ``dataset`` is name and digest of the logged training data.
    """

    id: str
    name: str
    experiment: str
    parent: str | None
    status: str
    started: float | None
    ended: float | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: tuple[str, str] | None


class ForeignRuns:
    """The undeleted runs at ``uri`` (see ``Address.of``); only reads. Every method raises ``StoreError``."""

    def __init__(self, uri: str | None = None) -> None:
        self._address = Address.of(uri)
        self.uri = self._address.uri
        self._client: MlflowClient | None = None

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
        """The runs of one experiment, each once, oldest first; those of metatune are left out."""
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
        return sorted({int(point.step): float(point.value) for point in points}.items())

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
    # Thousands of runs share their names and most of their texts: interned, each is kept once.
    tags = {sys.intern(k): sys.intern(v) for k, v in run.data.tags.items() if not k.startswith("mlflow.") or k in _TOLD}
    return ForeignRun(
        id=run.info.run_id,
        name=str(run.info.run_name or ""),
        experiment=experiment,
        parent=run.data.tags.get(_PARENT),
        status=str(run.info.status),
        started=None if run.info.start_time is None else run.info.start_time / 1000,
        ended=None if run.info.end_time is None else run.info.end_time / 1000,
        params={sys.intern(k): sys.intern(v) for k, v in run.data.params.items()},
        metrics={sys.intern(k): float(v) for k, v in run.data.metrics.items()},
        tags=tags,
        dataset=_dataset(run),
    )


def _dataset(run: Run) -> tuple[str, str] | None:
    """The dataset that was trained on, else the first one."""
    inputs = list(run.inputs.dataset_inputs) if run.inputs is not None else []
    trained = [i for i in inputs if any(tag.key == _CONTEXT and tag.value == "train" for tag in i.tags)]
    found = next(iter(trained or inputs), None)
    return None if found is None else (str(found.dataset.name), str(found.dataset.digest))
