"""A new SQLite database for MLflow, and MLflow's silence while it is made."""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import DatasetInput
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from metatune.history.address import Address

_NO_LINKS = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"  # else a client prints two lines for every run


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
        del os.environ[_NO_LINKS]
        if links is not None:
            os.environ[_NO_LINKS] = links
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
