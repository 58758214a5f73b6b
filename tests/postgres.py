"""A PostgreSQL of the tests' own: a new cluster in a temporary folder, on loopback, by an unprivileged user."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps them out of the search path."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def cluster() -> Iterator[str]:
    """The address of an empty database; the server is stopped and deleted at the end."""
    folder, port, user = programs(), free_port(), _unprivileged()
    assert folder is not None
    place = Path(tempfile.mkdtemp(prefix="metatune-pg-"))
    if user is not None:
        shutil.chown(place, user)
    data = place / "data"

    def run(program: str, *arguments: str) -> None:
        command = [str(folder / program), "-D", str(data), *arguments]
        done = subprocess.run(
            command, user=user, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    try:
        run("initdb", "-U", "metatune", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c fsync=off -c max_connections=200 -k {place}"
        run("pg_ctl", "-w", "-l", str(place / "log"), "-o", options, "start")
        try:
            yield f"postgresql://metatune@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place)


def _unprivileged() -> str | None:
    """Whom the server runs as; PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


needs_postgres = pytest.mark.skipif(
    programs() is None or importlib.util.find_spec("psycopg2") is None,
    reason="needs PostgreSQL (Debian: postgresql) and its driver (pip install metatune[postgres])",
)
