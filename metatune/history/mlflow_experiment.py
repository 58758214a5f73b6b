"""``MLflowExperiment``: the way to one experiment of MLflow, on which whatever MLflow raises is a ``StoreError``."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from metatune.errors import MetatuneError, StoreError, StoreUnavailableError, first_line
from metatune.history.address import Address
from metatune.history.connections import in_use
from metatune.history.mlflow_database import FAILURES, create_database, quiet
from metatune.redaction import redacted


class MLflowExperiment:
    """The experiment ``name`` at ``address``, which need not exist. Any thread may use it, one at a time."""

    def __init__(self, address: Address, name: str) -> None:
        self._address, self._name = address, name
        self._client: MlflowClient | None = None
        self._id: str | None = None
        self._lock = threading.RLock()
        self._process = os.getpid()

    @contextmanager
    def client(self) -> Iterator[MlflowClient]:
        """The client, which makes a database that is not there; inside, what MLflow raises becomes a ``StoreError``."""
        try:
            if self._process != os.getpid():
                self._after_fork()
            with in_use(self._address), self._lock, quiet():
                if self._client is None:
                    if self.absent:
                        create_database(self._address)
                    self._address.check()
                    self._client = MlflowClient(tracking_uri=self._address.uri)
                yield self._client
        except MetatuneError:
            raise
        except FAILURES as error:
            reason = first_line(error)
            kind = StoreUnavailableError if self._address.passing(str(error)) else StoreError
            raise kind(
                f"the history cannot be reached or written ({reason})",
                field="store",
                value=redacted(self._address.uri),
                remedy=self._address.remedy(str(error)),
            ) from error

    def _after_fork(self) -> None:
        """Nobody here would release the lock of the parent process, if one of its threads had it."""
        self._process, self._lock, self._client = os.getpid(), threading.RLock(), None

    @property
    def absent(self) -> bool:
        """Whether there is no database yet: reading must not make one."""
        return self._address.file is not None and not self._address.file.exists()

    def known(self, client: MlflowClient) -> str | None:
        """The id of the experiment; ``None`` if there is none. Raises ``StoreError`` if it was deleted."""
        if self._id is None:
            found = client.get_experiment_by_name(self._name)
            if found is None:
                return None
            if found.lifecycle_stage == "deleted":
                raise StoreError(
                    "the experiment was deleted in MLflow",
                    field="experiment",
                    value=self._name,
                    remedy="Restore it (`mlflow experiments restore`) or choose another name.",
                )
            self._id = str(found.experiment_id)
        return self._id

    def made(self, client: MlflowClient) -> str:
        """As ``known``, of an experiment that is made if there is none."""
        known = self.known(client)
        if known is None:
            place = self._address.artifacts(self._name)
            try:
                known = str(client.create_experiment(self._name, artifact_location=place))
            except MlflowException:
                # Another process may have created it since we looked.
                known = self.known(client)
                if known is None:
                    raise
        self._id = known
        return known
