"""Connections to MLflow: a new SQLite database, MLflow's silence, and one kind of error for what it raises."""

import logging
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from mlflow import MlflowClient
from mlflow.entities import DatasetInput
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from metatune.errors import MetatuneError, StoreError, first_line
from metatune.history.address import Address
from metatune.history.connections import in_use

_LEVELS = {"alembic": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}
_SILENCE = threading.Lock()
#: Alembic, which makes the tables, keeps its state in globals: one new database at a time.
_MAKING = threading.Lock()
_BEFORE: list[int] = []
_INSIDE = [0]
#: What MLflow lets through when a store cannot be used; ``ImportError`` is a missing database driver.
FAILURES = (MlflowException, SQLAlchemyError, sqlite3.Error, requests.RequestException, OSError, ImportError)


def create_database(address: Address) -> None:
    """A new SQLite file, unless it is there: made under another name, then linked, so that nobody sees it half made."""
    with _MAKING:
        assert address.file is not None
        if not address.file.exists():
            _create(address, address.file)


def _create(address: Address, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    # Fails at once where MLflow would try for more than a minute; SQLite would give the same rights.
    partial.touch(mode=0o644)
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


def _after_fork() -> None:
    """Nobody here would release the parent's locks, or end the silence of its other threads."""
    global _MAKING, _SILENCE
    _MAKING, _SILENCE = threading.Lock(), threading.Lock()
    if _INSIDE[0]:
        _silence(-_INSIDE[0])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
        _INSIDE[0] = max(_INSIDE[0] + change, 0)  # a fork ended it for all
        if not _INSIDE[0]:
            for logger, level in zip(loggers, _BEFORE, strict=True):
                logger.setLevel(level)
            _BEFORE.clear()


def without_links() -> None:
    """Keep MLflow's client from printing lines for every run that ends, and bars for files, unless the user set it.

    Once and for all: to change the environment again and again, while other threads read it, is not safe.
    """
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@contextmanager
def connected(address: Address, *, what: str = "history", make: bool = False) -> Iterator[MlflowClient]:
    """A client for ``address``; inside, whatever MLflow raises becomes a ``StoreError`` about the field ``what``.

    A database that is not there is made only if ``make`` says so, and is an error otherwise.
    """
    without_links()
    try:
        with in_use(address), quiet():
            if address.file is not None and not address.file.exists():
                if not make:
                    raise FileNotFoundError(f"no such database: {address.file}")
                create_database(address)
            address.check()
            yield MlflowClient(tracking_uri=address.uri, registry_uri=address.uri)
    except MetatuneError:
        raise
    except FAILURES as error:
        raise StoreError(
            f"the {what} cannot be reached or written ({first_line(error)})",
            field=what,
            value=address.uri,
            remedy=address.remedy(str(error)),
        ) from error
