"""Empty MLflow databases: making one takes seconds, so that tests copy one that is made once per process."""

import atexit
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path

from metatune.history.address import Address
from metatune.history.mlflow_database import create_database, quiet


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "mlflow.db"
    with quiet():
        create_database(Address.of(f"sqlite:///{file}"))
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM experiments")  # the default one remembers where its artifacts were to go
    connection.close()
    return file


def empty_database(folder: Path) -> str:
    """The tracking URI of a new database in ``folder``."""
    shutil.copy(_template(), folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"
