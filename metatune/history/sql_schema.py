"""The database of ``sql_reader`` and ``sql_writer``, and whether MLflow's tables in it are those that they know."""

import sqlite3
from collections.abc import Mapping, Sequence, Set
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, inspect, text

from metatune.errors import StoreError
from metatune.history.address import BUSY_SECONDS, Address
from metatune.redaction import redacted

#: Versions of MLflow's tables (``alembic_version``): since workspaces (January 2026) none has changed what is used.
KNOWN_VERSIONS = frozenset({
    "1b5f0d9ad7c1", "e1f2a3b4c5d6", "76601a5f987d", "c3d6457b6d8a", "a5b4c3d2e1f0", "ae8bbe7743c9", "7d34483879f0",
    "da6fb0208061", "89d3d66ed43f", "b7e4c1a90f23", "a8b9c0d1e2f3", "c1d2e3f4a5b6", "c3d9e7f1a2b4", "6f8d9c3b2a1e",
    "1971f2d9a75b", "17e22815139b", "b7e2c1a4d9f3", "75868b020152", "dc11669786a5",
})  # fmt: skip
_VERSION = {"alembic_version": {"version_num"}}


class UnknownTablesError(StoreError):
    """The database is left to MLflow's API: its tables, or the database itself, are not known here."""


def engine_of(address: Address, *, read_only: bool) -> Engine:
    """An engine for the SQLite or PostgreSQL database at ``address``, which must be there; to be disposed of."""
    if address.file is not None:
        uri = f"file:{quote(address.file.as_posix())}?mode={'ro' if read_only else 'rw'}"
        return create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        )
    if not read_only:
        return create_engine(address.uri)
    # One transaction: all queries see the same moment.
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return create_engine(address.uri, execution_options=options)


def check(
    connection: Connection, address: Address, columns: Mapping[str, Set[str]], *, exact: bool = False, instead: str
) -> None:
    """Refuse tables that have not at least, or ``exact``ly, these ``columns``, or are of an unknown version.

    ``instead`` tells what is done without them. Raises ``UnknownTablesError``.
    """
    found = inspect(connection)
    tables = set(found.get_table_names())
    for name, expected in {**columns, **_VERSION}.items():
        there = {str(column["name"]) for column in found.get_columns(name)} if name in tables else set()
        if not expected <= there or (exact and expected != there):
            raise unknown(address, f"no table {name!r} with the columns expected", sorted(there), instead=instead)
    versions: Sequence[Any] = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    if not KNOWN_VERSIONS.issuperset(versions) or len(versions) != 1:
        problem = "MLflow's tables have a version that is not known here"
        raise unknown(address, problem, ", ".join(versions), instead=instead)


def unknown(address: Address, problem: str, value: object, *, instead: str) -> UnknownTablesError:
    """The error for a database whose tables are left alone."""
    return UnknownTablesError(problem, field=redacted(address.uri), value=value, remedy=instead)
