"""Forgetting in the spool: lines of studies out of the files in which they wait, or lie beside as unreadable."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metatune.errors import StoreError
from metatune.history import schema
from metatune.history.replay import spool_files
from metatune.history.spool import UNREADABLE, Destination, locked, rewrite
from metatune.history.spool_reader import DAMAGED, entry_of, read
from metatune.study import StudyRecord
from metatune.trial import Trial


@dataclass(frozen=True)
class Spooled:
    """A file of the spool with lines to be forgotten, ``trials`` of them trials.

    ``studies`` are the ids, and ``names`` what a damaged line tells it by. ``owned``: a living process writes it.
    """

    path: Path
    studies: frozenset[str]
    names: frozenset[str]
    lines: int
    trials: int
    owned: bool


def spooled_studies(
    folders: Iterable[Path], destination: Destination, wanted: Callable[[StudyRecord], bool]
) -> set[str]:
    """The ids of the studies in the spool for ``destination`` that are ``wanted``. Raises ``StoreError``."""
    with _boundary():
        return {
            study.id for path in _files(folders, destination) for study in read(path).studies.values() if wanted(study)
        }


def find_spooled(
    folders: Sequence[Path], destination: Destination, studies: Collection[str], name: str
) -> list[Spooled]:
    """The files with lines of ``studies``, and with damaged lines that name one of them or ``name``.

    Which history unreadable lines were for is not known; those count for any. Raises ``StoreError``.
    """
    ids, names = frozenset(studies), frozenset(map(schema.to_json, (*studies, name)))
    found = []
    aside = (path for folder in folders for path in sorted(folder.glob(f"*{UNREADABLE}")))
    with _boundary():
        for path in (*_files(folders, destination), *aside):
            here = Spooled(path, ids, names, 0, 0, False)
            gone = [line for line in _lines(path) if _is_of(line, here)]
            if gone:
                with locked(path) as fd:
                    found.append(replace(here, lines=len(gone), trials=sum(map(_is_trial, gone)), owned=fd is None))
    return found


def erase_spooled(found: Iterable[Spooled]) -> list[Path]:
    """Drop the lines of ``found``; the files left alone, since a living process writes them. Raises ``StoreError``."""
    owned = []
    for one in found:
        with _boundary(), locked(one.path) as fd:
            if fd is not None:
                left = [line for line in _lines(one.path) if not _is_of(line, one)]
                rewrite(one.path, "\n".join(left).encode("latin-1"))
            elif one.path.exists():
                owned.append(one.path)
    return owned


@contextlib.contextmanager
def _boundary() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the spool cannot be read or written ({error})",
            field="spool",
            value=error.filename,
            remedy="Check the permissions there; then run the command again.",
        ) from error


def _files(folders: Iterable[Path], destination: Destination) -> Iterator[Path]:
    for path in spool_files(folders):
        try:
            if read(path).destination == destination:
                yield path
        except FileNotFoundError:
            continue  # everything in it was sent meanwhile


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("latin-1").split("\n")
    except FileNotFoundError:
        return []


def _is_of(line: str, spooled: Spooled) -> bool:
    try:
        raw = schema.from_json(line)
        if "spool" in raw or "sent" in raw:
            return False
        return entry_of(raw).study_id in spooled.studies
    except DAMAGED:
        return any(name in line for name in spooled.names)


def _is_trial(line: str) -> bool:
    try:
        return isinstance(entry_of(schema.from_json(line)).what, Trial)
    except DAMAGED:
        return False
