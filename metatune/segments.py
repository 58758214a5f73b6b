"""``SegmentFolder``: versions of a growing set of Parquet files; a reader always sees one whole version.

Files never change once they are named. A version is a manifest that lists its files; it appears under its number
after they are on the disk, at once and only if nobody else took that number. Whatever is killed in between, the
newest manifest is that of the last whole version.
"""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from metatune.errors import KnowledgeError
from metatune.manifest import safe_path
from metatune.table_file import damaged, read_table, write_table

#: Raised when the files change their meaning.
SEGMENTS_VERSION = 1
_MANIFEST = "manifest-"
_Loaded = TypeVar("_Loaded")


class SupersededError(Exception):
    """Another process committed a version first."""


@dataclass(frozen=True)
class Segment:
    """A file with ``rows`` rows of one model family."""

    file: str
    family: str
    rows: int


@dataclass(frozen=True)
class Version:
    """One state of the folder: its number, its files, and how far they go.

    ``experiment`` is what was copied; ``watermark`` the end (milliseconds) of the newest run that was seen;
    ``compared`` when (seconds) all runs were last compared; ``studies`` the file of the studies.
    """

    number: int = 0
    experiment: str | None = None
    watermark: int = 0
    compared: float = 0.0
    studies: Segment | None = None
    segments: tuple[Segment, ...] = ()

    @property
    def files(self) -> set[str]:
        """The names of all files."""
        return {segment.file for segment in (*self.segments, *([self.studies] if self.studies else []))}


class SegmentFolder:
    """The versions in ``directory``, which only its user may read; it is made when first written to."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)

    def current(self) -> Version:
        """The newest version, empty if there is none. Raises ``KnowledgeError`` for a damaged manifest."""
        while True:
            path = max(self._manifests(), default=None)
            if path is None:
                return Version()
            try:
                return _version(json.loads(path.read_text()))
            except FileNotFoundError:
                continue  # two versions were committed since the folder was listed
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise damaged(path, error) from error

    def last_number(self) -> int:
        """The number of the newest version, be it damaged."""
        return max((int(path.stem.removeprefix(_MANIFEST)) for path in self._manifests()), default=0)

    def load(self, read: Callable[[Version], _Loaded]) -> _Loaded:
        """``read`` of the current version, again if its files were replaced by a newer one meanwhile."""
        while True:
            version = self.current()
            try:
                return read(version)
            except KnowledgeError:
                if self.current().number == version.number:
                    raise

    def write(self, table: pa.Table, number: int, family: str = "") -> Segment:
        """A new file, for the version ``number`` that is to come. Raises ``SupersededError``."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{number:08d}-{uuid.uuid4().hex[:12]}.parquet"
        try:
            write_table(table, self.directory / name, {"family": family})
        except FileNotFoundError as error:
            raise SupersededError(name) from error  # cleaned away, since the number was taken meanwhile
        return Segment(name, family, table.num_rows)

    def read(self, segment: Segment, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of ``segment``. Raises ``KnowledgeError``."""
        table, _ = read_table(self.directory / segment.file, columns)
        if table.num_rows != segment.rows:
            raise damaged(self.directory / segment.file, f"{table.num_rows} rows where there were {segment.rows}")
        return table

    def commit(self, version: Version) -> Version:
        """Make ``version`` the current one, under the next number. Raises ``SupersededError``."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        version = replace(version, number=version.number + 1)
        path = self._manifest(version.number)
        partial = self.directory / f".{path.name}.{uuid.uuid4().hex[:8]}"
        try:
            with partial.open("w") as file:
                json.dump({"version": SEGMENTS_VERSION, **asdict(version)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.link(partial, path)  # unlike a rename, this fails where the name is taken
        except (FileExistsError, FileNotFoundError) as error:
            raise SupersededError(path.name) from error  # the number is taken, or was and ours has been cleaned away
        finally:
            partial.unlink(missing_ok=True)
        self._clean(version)
        return version

    def _clean(self, version: Version) -> None:
        """Delete what neither ``version`` nor the one before needs; higher numbers may belong to a version to come."""
        before = self._manifest(version.number - 1)
        needed = {self._manifest(version.number).name, before.name, *version.files}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError, KnowledgeError):
            needed |= _version(json.loads(before.read_text())).files
        for path in self.directory.iterdir():
            number = re.match(rf"\.?(?:{_MANIFEST})?(\d{{8}})", path.name)
            if number and int(number[1]) <= version.number and path.name not in needed:
                path.unlink(missing_ok=True)

    def _manifest(self, number: int) -> Path:
        return self.directory / f"{_MANIFEST}{number:08d}.json"

    def _manifests(self) -> list[Path]:
        return list(self.directory.glob(f"{_MANIFEST}*.json"))


def _version(raw: dict[str, object]) -> Version:
    fields = dict(raw)
    if fields.pop("version") != SEGMENTS_VERSION:
        raise ValueError(f"not of version {SEGMENTS_VERSION}")
    studies, segments = fields.pop("studies"), fields.pop("segments")
    version = Version(
        **fields,  # type: ignore[arg-type]
        studies=None if studies is None else Segment(**studies),  # type: ignore[arg-type]
        segments=tuple(Segment(**segment) for segment in segments),  # type: ignore[attr-defined]
    )
    for file in version.files:
        safe_path(Path(), file)
    return version
