"""``Mirror``: a local copy of a history in Parquet, brought up to date by what changed; training reads it."""

import hashlib
import logging
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from metatune.errors import KnowledgeError, StoreError, UnknownNameError
from metatune.history import schema
from metatune.history.address import Located
from metatune.history.reader import open_reader
from metatune.history.runs import RunReader
from metatune.history.spool import Destination
from metatune.mirror_studies import StudyFile, studies_of
from metatune.mirror_trials import TrialFiles, trials_of
from metatune.segments import SegmentFolder, SupersededError, Version
from metatune.snapshot import Snapshot
from metatune.user_folder import user_folder

#: How far clocks of the machines that write may be apart (milliseconds) without a run being seen late: an hour, the
#: usual mistake, and some minutes.
OVERLAP = 65 * 60 * 1000
#: After how many seconds all runs are compared again, for edits, deletions and worse clocks.
COMPARE_AFTER = 24 * 3600.0
#: Names the folder in which copies are kept, instead of the user's cache folder.
MIRROR_VARIABLE = "METATUNE_MIRROR"

_ATTEMPTS = 10
_LOG = logging.getLogger("metatune")


@dataclass(frozen=True)
class Refreshed:
    """What ``Mirror.refresh`` found: numbers of trials, and why runs could not be read, by their id."""

    path: Literal["sql", "api"]
    trials: int
    written: int
    removed: int
    seconds: float
    unreadable: dict[str, str] = field(default_factory=dict)


class Mirror:
    """The copy in ``directory`` of the history in one experiment.

    ``refresh`` brings it up to date, ``snapshot`` is what it holds. Both may be called by many processes at once. The
    folder may be deleted at any time: the next ``refresh`` makes it again.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self._folder = SegmentFolder(self.directory)

    def refresh(self, reader: RunReader, *, everything: bool = False) -> Refreshed:
        """Copy what changed since the last time; runs that cannot be read are left out, with one warning.

        With ``everything``, and by itself once a day, every run is compared. Raises ``StoreError``.
        """
        for _ in range(_ATTEMPTS):
            version = self._current()
            try:
                found = self._refreshed(reader, version, everything)
            except SupersededError:
                continue
            except KnowledgeError as error:
                if self._folder.last_number() == version.number:
                    _LOG.warning("The copy of the history is damaged and made again: %s", error)
                    self._folder.commit(Version(version.number))
                continue
            if found.unreadable:
                _LOG.warning(
                    "Runs of the history that cannot be read and are left out: %d (%s): %s",
                    len(found.unreadable),
                    next(iter(found.unreadable.values())),
                    ", ".join(found.unreadable),
                )
            return found
        raise StoreError(
            "other processes changed the copy of the history all the time",
            field="mirror",
            value=str(self.directory),
            remedy="Run the command again.",
        )

    def snapshot(self, families: Collection[str] | None = None) -> Snapshot:
        """What the copy holds, or that of some families: equal to ``snapshot_of`` the store when it was refreshed.

        Raises ``UnknownNameError`` for a family without studies, ``KnowledgeError`` for a damaged file.
        """
        return self._folder.load(lambda version: self._snapshot(version, families))

    def delete(self) -> None:
        """Delete the folder. Raises ``KnowledgeError`` if it cannot be deleted."""
        try:
            shutil.rmtree(self.directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise KnowledgeError(
                f"the copy of the history cannot be deleted ({error})",
                field="mirror",
                value=str(self.directory),
                remedy="Delete the folder.",
            ) from error

    def _current(self) -> Version:
        try:
            return self._folder.current()
        except KnowledgeError as error:
            _LOG.warning("The copy of the history is damaged and made again: %s", error)
            return Version(self._folder.last_number())

    def _refreshed(self, reader: RunReader, version: Version, everything: bool) -> Refreshed:
        start, now = time.perf_counter(), time.time()
        experiment = reader.experiment()
        old = version if version.experiment == experiment else Version(version.number, experiment)
        since = max(0, old.watermark - OVERLAP)
        # Times to come are of a clock that was ahead, and say nothing.
        everything = everything or abs(now - old.compared) > COMPARE_AFTER or since > 1000 * now
        studies = StudyFile(self._folder, old)
        studies.update(reader, since=since, everything=everything)
        trials = TrialFiles(self._folder, old, studies)
        trials.update(reader, since=since, everything=everything or studies.shrunk or bool(studies.edited))
        newest = min(max(old.watermark, studies.newest, trials.newest), int(now * 1000))
        new = replace(
            old,
            watermark=newest,
            compared=now if everything else old.compared,
            studies=studies.written(),
            segments=trials.written(),
        )
        if new != version:
            self._folder.commit(new)
        return Refreshed(
            path=reader.path,
            trials=sum(segment.rows for segment in new.segments),
            written=trials.added,
            removed=trials.removed,
            seconds=time.perf_counter() - start,
            unreadable=studies.unreadable | trials.unreadable,
        )

    def _snapshot(self, version: Version, families: Collection[str] | None) -> Snapshot:
        studies = studies_of(self._folder, version)
        known = {study.family for study in studies}
        for name in families or ():
            if name not in known:
                raise UnknownNameError.of("family", name, known)
        if families:
            studies = [study for study in studies if study.family in families]
            known &= set(families)
        return Snapshot(studies, {name: trials_of(self._folder, version, name, studies) for name in sorted(known)})


def mirror_of(place: Located) -> Mirror:
    """The copy of the history at ``place``, in the user's cache folder or the one that ``$METATUNE_MIRROR`` names."""
    known = Destination.of(place)  # without credentials, which change and are no part of a name
    name = hashlib.sha256(schema.to_json([known.store, known.experiment]).encode()).hexdigest()[:24]
    return Mirror(user_folder(MIRROR_VARIABLE, "cache", "mirror") / name)


def refreshed_snapshot(place: Located, families: Collection[str] | None = None) -> Snapshot:
    """The history at ``place``, or that of some families, through its local copy. Raises as ``Mirror`` does.

    Where the copy cannot be kept, one is made for this time only, with a warning.
    """
    return refreshed(place, families)[0]


def refreshed(
    place: Located, families: Collection[str] | None = None, *, named: bool = False
) -> tuple[Snapshot, Refreshed]:
    """As ``refreshed_snapshot``, and what was found; with ``named``, all runs that cannot be read are among that."""
    mirror = mirror_of(place)
    with open_reader(place) as reader:
        # From tables, they are read again each time.
        everything = named and reader.path == "api"
        try:
            found = mirror.refresh(reader, everything=everything)
        except OSError as error:
            _LOG.warning("No copy of the history can be kept: %s. Name a folder in $%s.", error, MIRROR_VARIABLE)
            with TemporaryDirectory() as folder:
                mirror = Mirror(Path(folder))
                found = mirror.refresh(reader, everything=everything)
                return mirror.snapshot(families), found
    return mirror.snapshot(families), found
