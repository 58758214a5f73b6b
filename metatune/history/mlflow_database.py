"""A new SQLite database for MLflow, and MLflow's silence while it is made."""

import logging
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import DatasetInput
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from metatune.history.address import Address

_LEVELS = {"alembic": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}
_SILENCE = threading.Lock()
_BEFORE: list[int] = []
_INSIDE = [0]


def create_database(address: Address) -> None:
    """A new SQLite file: made under another name and then linked, so that no other process sees it half made."""
    file = address.file
    assert file is not None
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        store = SqlAlchemyStore(f"sqlite:///{partial.as_posix()}", address.artifacts("Default"))  # type: ignore[no-untyped-call]
        store.engine.dispose()
        try:
            os.link(partial, file)
        except FileExistsError:
            return  # another process was first; its database serves as well
        except OSError:
            partial.rename(file)  # a file system without links
    finally:
        partial.unlink(missing_ok=True)


def log_dataset(client: MlflowClient, run_id: str, dataset: DatasetInput) -> None:
    """Log the dataset of a run; a second time where MLflow failed, as it does if two register one dataset at once."""
    try:
        client.log_inputs(run_id, [dataset])
    except MlflowException:
        client.log_inputs(run_id, [dataset])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what MLflow and Alembic log while tables are made, and failures that we raise anyway.

    For several threads at once: the levels are as before when the last one is done.
    """
    _silence(+1)
    try:
        yield
    finally:
        _silence(-1)


def _silence(change: int) -> None:
    with _SILENCE:
        loggers = [logging.getLogger(name) for name in _LEVELS]
        if not _BEFORE:
            _BEFORE.extend(logger.level for logger in loggers)
            for logger, level in zip(loggers, _LEVELS.values(), strict=True):
                logger.setLevel(level)
        _INSIDE[0] += change
        if not _INSIDE[0]:
            for logger, level in zip(loggers, _BEFORE, strict=True):
                logger.setLevel(level)
            _BEFORE.clear()


def without_links() -> None:
    """Keep MLflow's client from printing two lines for every run that ends, in this process, unless the user set it.

    Once and for all: to change the environment again and again, while other threads read it, is not safe.
    """
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def forget_connections(uri: str) -> None:
    """Leave the connections to a database to the process that this one was forked from, and make new ones."""
    engine = SqlAlchemyStore._engine_map.get(uri)
    if engine is not None:
        engine.dispose(close=False)
