"""``open_reader``: the fastest way to read a history that its store allows."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from metatune.errors import StoreError
from metatune.history.address import Address
from metatune.history.api_reader import ApiReader
from metatune.history.mlflow_store import MLflowStore
from metatune.history.runs import RunReader
from metatune.history.sql_reader import SqlReader

_LOG = logging.getLogger("metatune")


@contextmanager
def open_reader(store: MLflowStore, *, path: Literal["auto", "sql", "api"] = "auto") -> Iterator[RunReader]:
    """A reader of ``store``: by SQL where MLflow's tables are in reach and of a known version, else by its API.

    Raises ``StoreError``; with ``path="sql"`` also where ``"auto"`` would log a warning and take the API.
    """
    address = Address.of(store.uri)
    database = address.file.exists() if address.file is not None else address.uri.startswith("postgres")
    with ExitStack() as stack:
        reader: RunReader = ApiReader(store)
        if path == "sql" or (path == "auto" and database):
            try:
                reader = stack.enter_context(SqlReader(address, store.experiment))
            except StoreError as error:
                if path == "sql":
                    raise
                _LOG.warning("The history is read through MLflow's API, which is slow: %s", error.problem)
        yield reader
