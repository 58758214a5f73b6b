"""Connections to MLflow: a new SQLite database, MLflow's silence, and one kind of error for what it raises."""

import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from metatune.errors import MetatuneError, StoreError
from metatune.history.address import Address

#: What MLflow lets through when a store cannot be used; ``ImportError`` is a missing database driver.
FAILURES = (MlflowException, SQLAlchemyError, sqlite3.Error, requests.RequestException, OSError, ImportError)

#: Else a client prints two lines for every run, and a bar for every file.
_SILENT = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


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


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what MLflow and Alembic log while tables are made, failures that we raise anyway, links and bars."""
    levels = {"alembic": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    own = {name: os.environ.get(name) for name in _SILENT}
    os.environ.update(_SILENT)
    try:
        yield
    finally:
        for variable, value in own.items():
            os.environ.pop(variable, None)  # another thread may be here too
            if value is not None:
                os.environ[variable] = value
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def connected(address: Address, *, what: str = "history", make: bool = False) -> Iterator[MlflowClient]:
    """A client for ``address``; inside, whatever MLflow raises becomes a ``StoreError`` about the field ``what``.

    A database that is not there is made only if ``make`` says so, and is an error otherwise.
    """
    try:
        with quiet():
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
            f"the {what} cannot be reached or written ({next(iter(str(error).splitlines()), type(error).__name__)})",
            field=what,
            value=address.uri,
            remedy=address.remedy(str(error)),
        ) from error
