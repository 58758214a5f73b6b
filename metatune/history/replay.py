"""Bring what is spooled into a store: the entries of this process, and files that other processes left behind."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from metatune.errors import MetatuneError, StoreError
from metatune.history import schema
from metatune.history.spool import SUFFIX, UNREADABLE, Destination, Ended, Entry, locked
from metatune.history.spool_reader import Content, read
from metatune.history.store import HistoryStore
from metatune.study import StudyRecord
from metatune.trial import Trial

_BATCH = 50


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What became of one spool file: how many trials went to ``destination``, how many wait, and why.

    ``unreadable`` counts its damaged lines. ``owned``: its writer lives and sends it itself.
    """

    path: Path
    destination: Destination | None
    sent: int = 0
    waiting: int = 0
    unreadable: int = 0
    owned: bool = False
    reason: str = ""


def send(store: HistoryStore, entries: Sequence[Entry]) -> None:
    """Give ``store`` the ``entries``, in their order. May be repeated. Raises ``StoreError``."""
    for (study_id, kind), group in groupby(entries, lambda entry: (entry.study_id, type(entry.what))):
        found = [entry.what for entry in group]
        if kind is Trial:
            store.add_trials(study_id, [what for what in found if isinstance(what, Trial)])
        for what in found:
            if isinstance(what, StudyRecord):
                store.open_study(what)
            elif isinstance(what, Ended):
                _close(store, study_id, what)


def _close(store: HistoryStore, study_id: str, ended: Ended) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in ended.artifacts.items():
            path = Path(folder) / Path(name).name  # a name in a damaged spool leads nowhere else
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        store.close_study(study_id, status=ended.status, artifacts=paths)


def spool_files(folders: Iterable[Path]) -> list[Path]:
    """The spool files in ``folders``, oldest first; a folder that is not there or cannot be read has none."""
    found = []
    for folder in folders:
        for path in folder.glob(f"[!.]*{SUFFIX}"):
            try:
                found.append((path.stat().st_mtime, path))
            except OSError:
                continue
    return [path for _, path in sorted(found)]


def look(folders: Iterable[Path]) -> Iterator[Replayed]:
    """What waits in ``folders``, without changing anything."""
    folders = list(folders)
    for path in spool_files(folders):
        try:
            with locked(path) as fd:
                owned = fd is None
            content = read(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Replayed(path=path, destination=None, reason=str(error))
            continue
        yield replace(_about(path, content), waiting=content.trials, owned=owned)
    for folder in folders:
        for path in sorted(folder.glob(f"*{UNREADABLE}")):
            yield Replayed(path=path, destination=None, unreadable=len(path.read_bytes().splitlines()))


def sync(
    folders: Iterable[Path],
    open_store: Callable[[Destination], HistoryStore],
    *,
    wanted: Callable[[Destination], bool] = lambda destination: True,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Replayed]:
    """Replay the files of processes that ended, and remove those of which nothing is left.

    Only files for ``wanted`` destinations, in the store that ``open_store`` gives for them. ``stop`` is asked between
    batches. What cannot be sent stays; damaged lines are moved to a file beside theirs that ends in ``.unreadable``.
    """
    stores: dict[Destination, HistoryStore] = {}
    for path in spool_files(folders):
        if stop():
            return
        try:
            with locked(path) as fd:
                content = read(path)
                if content.destination is not None and not wanted(content.destination):
                    continue
                if fd is None:
                    yield replace(_about(path, content), waiting=content.trials, owned=True)
                    continue
                yield _replayed(path, fd, content, stores, open_store, stop)
        except FileNotFoundError:
            continue  # its writer, or another replay, was done with it
        except OSError as error:
            yield Replayed(path=path, destination=None, reason=str(error))


def send_orphans(store: HistoryStore, folders: Iterable[Path], *, stop: Callable[[], bool]) -> list[Replayed]:
    """Bring into ``store`` what processes that died left for it; ``stop`` is asked between batches."""
    own = Destination.of(store)
    return list(sync(folders, lambda destination: store, wanted=lambda destination: destination == own, stop=stop))


def _about(path: Path, content: Content) -> Replayed:
    unreadable = len(content.unreadable)
    return Replayed(path=path, destination=content.destination, unreadable=unreadable, reason=content.reason)


def _replayed(
    path: Path,
    fd: int,
    content: Content,
    stores: dict[Destination, HistoryStore],
    open_store: Callable[[Destination], HistoryStore],
    stop: Callable[[], bool],
) -> Replayed:
    if content.destination is None:
        return _about(path, content)
    reason = ""
    sent: list[Entry] = []
    try:
        if content.destination not in stores:
            stores[content.destination] = open_store(content.destination)
        store = stores[content.destination]
    except MetatuneError as error:
        return replace(_about(path, content), waiting=content.trials, reason=_said(error))
    for batch in _batches(content):
        if stop():
            reason = "interrupted"
            break
        try:
            send(store, batch)
        except StoreError as error:
            reason = _said(error)
            continue
        sent += batch
    numbers = {entry.n for entry in sent}
    left = [entry for entry in content.entries if entry.n not in numbers]
    if content.unreadable:
        _set_aside(path, content)
    if not left:
        path.unlink()
    elif sent:
        os.write(fd, b"\n" + schema.to_json({"sent": sorted(numbers)}).encode("ascii") + b"\n")
    trials = sum(isinstance(entry.what, Trial) for entry in left)
    return replace(_about(path, content), sent=content.trials - trials, waiting=trials, reason=reason)


def _batches(content: Content) -> Iterator[list[Entry]]:
    """The entries study by study, so that one that is refused keeps none of the others back."""
    by_study: dict[str, list[Entry]] = {}
    for entry in content.entries:
        by_study.setdefault(entry.study_id, []).append(entry)
    for study_id, entries in by_study.items():
        study = content.studies.get(study_id)
        if study is not None and not isinstance(entries[0].what, StudyRecord):
            # Another store than the one that got it may be asked for the rest.
            entries.insert(0, Entry(study_id, study))
        if not any(isinstance(entry.what, Ended) for entry in entries):
            entries.append(Entry(study_id, Ended("interrupted")))
        for start in range(0, len(entries), _BATCH):
            yield entries[start : start + _BATCH]


def _set_aside(path: Path, content: Content) -> None:
    """Keep the damaged lines for a person to look at."""
    kept = path.with_suffix(UNREADABLE)
    fd = os.open(kept, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii", errors="replace") as file:
        file.writelines(line + "\n" for line in content.unreadable.values())


def _said(error: MetatuneError) -> str:
    return f"{error.problem} {error.remedy}"
