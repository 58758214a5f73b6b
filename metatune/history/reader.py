"""``open_reader``: the fastest way to read a history that its store allows; where tables suffice, without MLflow."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, TypeVar

from metatune.history.address import Address, Located
from metatune.history.defects import Uneven
from metatune.history.runs import RunReader
from metatune.history.sql_reader import SqlReader
from metatune.history.sql_schema import UnknownTablesError

_LOG = logging.getLogger("metatune")
_Answer = TypeVar("_Answer")


@contextmanager
def open_reader(place: Located, *, path: Literal["auto", "sql", "api"] = "auto") -> Iterator[RunReader]:
    """A reader of the history at ``place``: by SQL where MLflow's tables are in reach and of a known version, else by
    its API.

    Raises ``StoreError``; with ``path="sql"`` also where ``"auto"`` would log a warning and take the API.
    """
    address = Address.of(place.uri)
    with ExitStack() as stack:
        reader: RunReader | None = None
        if path == "sql" or (path == "auto" and _in_reach(address)):
            try:
                reader = stack.enter_context(SqlReader(address, place.experiment))
            except UnknownTablesError as error:
                if path == "sql":
                    raise
                _LOG.warning("The history is read through MLflow's API, which is slow: %s", error.problem)
        yield reader or _api_reader(place)


def settled(place: Located) -> bool:
    """Whether no run at ``place`` is marked as running; ``False`` where only MLflow's API can tell.

    Raises ``StoreError`` where the history cannot be reached, so that nobody waits for it again.
    """
    file = Address.of(place.uri).file
    return (file is not None and not file.exists()) or _told(place, lambda reader: reader.running() == 0) is True


def uneven(place: Located) -> Uneven | None:
    """Which studies and trials at ``place`` have not one run each; ``None`` where only MLflow's API can tell.

    Raises ``StoreError``.
    """
    return _told(place, SqlReader.uneven)


def _told(place: Located, what: Callable[[SqlReader], _Answer]) -> _Answer | None:
    address = Address.of(place.uri)
    if not _in_reach(address):
        return None
    try:
        with SqlReader(address, place.experiment) as reader:
            return what(reader)
    except UnknownTablesError:
        return None


def _in_reach(address: Address) -> bool:
    return address.file.exists() if address.file is not None else address.uri.startswith("postgres")


def _api_reader(place: Located) -> RunReader:
    # Imported only now: MLflow takes seconds to load, and what is read from tables needs none of it.
    from metatune.history.api_reader import ApiReader

    return ApiReader.of(place)
