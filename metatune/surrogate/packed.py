"""Long texts in files: trees as LightGBM writes them would be a quarter of all knowledge, and shrink to a third."""

import gzip
import zlib
from pathlib import Path

#: What unpacks to more bytes is none of ours (a million trials make some megabytes) and could fill the memory.
MOST_BYTES = 1 << 28


def write_packed(path: Path, text: str) -> None:
    """Write ``text`` into ``path``, by gzip; equal texts give equal files."""
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_packed(path: Path) -> str:
    """What ``write_packed`` wrote. Raises ``OSError`` where there is no file and ``ValueError`` for anything else."""
    try:
        with gzip.open(path) as file:
            raw = file.read(MOST_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name} cannot be unpacked: {error}") from error
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{path.name} unpacks to more than {MOST_BYTES:,} bytes")
    return raw.decode()
