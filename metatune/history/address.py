"""``Address``: where a history is kept, and whether it can be reached."""

import contextlib
import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import requests
from sqlalchemy import create_engine, make_url

from metatune.errors import UsageError
from metatune.redaction import is_secret_setting

#: Where the history is when nothing is said: the file that a plain ``mlflow ui`` in this folder shows.
DEFAULT_URI = "sqlite:///mlflow.db"

#: How long a locked database and a silent server are waited for.
BUSY_SECONDS = 20.0
REACH_SECONDS = 10.0

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Address:
    """An MLflow tracking URI; ``file`` is the database file if it is SQLite, with an absolute path in ``uri``."""

    uri: str
    file: Path | None = None

    @classmethod
    def of(cls, uri: str | None) -> "Address":
        """The address ``uri``, else the environment's ``MLFLOW_TRACKING_URI``, else ``DEFAULT_URI``.

        Raises ``UsageError`` for what MLflow cannot keep a history in.
        """
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
        scheme = urlsplit(uri).scheme.split("+")[0]
        if scheme not in _SCHEMES or "://" not in uri:
            remedy = "Use sqlite:///<file>, http(s)://<server>, or postgresql://<server>/<database>."
            if scheme in ("", "file"):
                remedy += " MLflow refuses folders such as ./mlruns; `mlflow migrate-filestore` moves one to SQLite."
            raise UsageError("not the address of a history", field="store", value=uri, remedy=remedy)
        if scheme != "sqlite":
            return cls(uri)
        database = make_url(uri).database
        if not database or database == ":memory:":
            raise UsageError(
                "a history in memory would be lost",
                field="store",
                value=uri,
                remedy="Use sqlite:///<file>.",
            )
        file = Path(database).absolute()
        return cls(f"sqlite:///{file.as_posix()}", file)

    def artifacts(self, experiment: str) -> str | None:
        """Where the artifacts of a new experiment go: beside a database file, else where the server says.

        MLflow's own default is ``./mlruns`` of whichever folder the first process happened to start in.
        """
        return None if self.file is None else (self.file.parent / "mlartifacts" / quote(experiment, safe="")).as_uri()

    def check(self) -> None:
        """Fail within seconds where MLflow itself would go on trying for minutes; set an SQLite file to WAL mode.

        Raises what the driver raises.
        """
        if self.file is not None:
            with contextlib.closing(sqlite3.connect(self.file, timeout=BUSY_SECONDS)) as connection:
                if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
        elif self.uri.startswith("http"):
            self.reach()
        else:
            engine = create_engine(self.uri)
            engine.connect().close()
            engine.dispose()

    def reach(self) -> None:
        """Fail at once where a server is gone: MLflow tries each request for two minutes, and wakes up late.

        Nothing is done for databases. Raises what ``requests`` raises.
        """
        if self.uri.startswith("http"):
            # MLflow has settings of its own for certificates and proxies.
            with contextlib.suppress(requests.exceptions.SSLError, requests.exceptions.ProxyError):
                requests.head(self.uri, timeout=REACH_SECONDS)

    def passing(self, reason: str) -> bool:
        """Whether what failed for ``reason`` may work again without anybody changing the address or the rights."""
        if "No module named" in reason:
            return False
        if self.file is not None:
            return any(sign in reason for sign in ("locked", "busy", "disk is full", "No space left", "I/O error"))
        lasting = r"error code 4(?!08|29)\d\d|not in a valid JSON"  # 408 and 429: the server had no time
        return not self.uri.startswith("http") or not re.search(lasting, reason)

    def remedy(self, reason: str) -> str:
        """What to do when the history failed for ``reason``, the text of the driver's exception."""
        if self.uri.startswith("http"):
            return "Check that the MLflow server runs and that the address is right; then run the command again."
        for sign, remedy in (
            ("locked", "Another program holds the database; wait for it or end it, then run the command again."),
            ("No module named", "Install the database's driver, for PostgreSQL: pip install psycopg2-binary."),
            ("not a database", "This file is something else: give another one, or restore it from a backup."),
            ("out-of-date database schema", f"Back the database up, then run `mlflow db upgrade {self.uri}`."),
        ):
            if sign in reason:
                return remedy
        return "Check the address, the free space and your permissions there; then run the command again."


class Located(Protocol):
    """What says where its history is: the address, and the experiment there."""

    @property
    def uri(self) -> str:
        """An MLflow tracking URI."""

    @property
    def experiment(self) -> str:
        """The name of MLflow's experiment."""


@dataclass(frozen=True)
class Place:
    """Where a history is, for what may not need MLflow, which takes seconds to load."""

    uri: str
    experiment: str

    @classmethod
    def of(cls, uri: str | None, experiment: str) -> "Place":
        """The place in the experiment at the address that ``Address.of`` gives, and raises as that does."""
        return cls(Address.of(uri).uri, experiment)


def without_secrets(uri: str) -> str:
    """``uri`` without user, password and settings that may be secret."""
    parts = urlsplit(uri)
    settings = [(name, value) for name, value in parse_qsl(parts.query) if not is_secret_setting(name)]
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query=urlencode(settings), fragment="")
    # ``urlunsplit`` would drop slashes that mean something to SQLite.
    return (
        uri
        if plain == parts
        else f"{plain.scheme}://{plain.netloc}{plain.path}" + (f"?{plain.query}" if plain.query else "")
    )
