"""The studies of a ``Mirror``: one file, rewritten when a study is added, changed or deleted."""

from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from metatune.errors import StoreError
from metatune.history import schema
from metatune.history.runs import RunReader, StoredRun
from metatune.segments import Segment, SegmentFolder, Version
from metatune.study import StudyRecord

#: ``stamp`` tells contents apart; ``token`` is what trials name their study by.
_SCHEMA = pa.schema(
    {
        "run": pa.string(),
        "started": pa.int64(),
        "ended": pa.int64(),
        "stamp": pa.int64(),
        "token": pa.string(),
        "document": pa.string(),
    }
)
_KNOWN = ["run", "ended", "stamp", "token"]


class StudyFile:
    """The studies of ``version``, and after ``update`` those of the version to come."""

    def __init__(self, folder: SegmentFolder, version: Version) -> None:
        self._folder = folder
        self._version = version
        self._known = _table(folder, version, _KNOWN)
        self._fresh: dict[str, tuple[StoredRun, StudyRecord]] = {}
        self._gone: set[str] = set()
        #: Tokens of the studies whose content changed; why runs could not be read; the end of the newest run seen.
        self.edited: set[str] = set()
        self.unreadable: dict[str, str] = {}
        self.newest = 0
        #: Whether a study is no longer there.
        self.shrunk = False

    def update(self, reader: RunReader, *, since: int, everything: bool) -> None:
        """Take over what changed. Raises ``StoreError``."""
        rows = (row.values() for row in self._known.to_pylist())
        known = {run: (ended, stamp, token) for run, ended, stamp, token in rows}
        for run in reader.changes("study", self._known, since=since, studies=(), everything=everything):
            self.newest = max(self.newest, run.ended or 0)
            ended, stamp, token = known.get(run.id, (None, None, None))
            if (ended, stamp) == (run.ended, run.stamp):
                continue
            try:
                study = schema.decode_study(run.tags, f"run {run.id}")
            except StoreError as error:
                self.unreadable[run.id] = error.problem
                self._gone |= {run.id} & known.keys()
                continue
            self._fresh[run.id] = (run, study)
            if stamp not in (None, run.stamp):
                self.edited |= {schema.token(study.id), str(token)}
        gone = reader.gone("study", self._known, everything=everything)
        self.shrunk = bool(gone)
        self._gone |= gone

    @cached_property
    def tokens(self) -> frozenset[str]:
        """The tokens of all studies."""
        kept = self._known.filter(self._kept(self._known["run"]))["token"].to_pylist()
        return frozenset(kept) | {schema.token(study.id) for _, study in self._fresh.values()}

    def of(self, token: str) -> StudyRecord:
        """The study whose trials name it ``token``."""
        return self._by_token[token]

    def written(self) -> Segment | None:
        """The file for the version to come: a new one if something changed."""
        if not self._fresh and not self._gone:
            return self._version.studies
        return self._folder.write(self._merged, self._version.number + 1)

    def _kept(self, runs: pa.ChunkedArray) -> pa.ChunkedArray:
        replaced = pa.array([*self._fresh, *self._gone], pa.string())
        return pc.invert(pc.is_in(runs, value_set=replaced))

    @cached_property
    def _merged(self) -> pa.Table:
        old = _table(self._folder, self._version)
        fresh = [
            {
                "run": run.id,
                "started": run.started,
                "ended": run.ended,
                "stamp": run.stamp,
                "token": schema.token(study.id),
                "document": schema.study_document(study),
            }
            for run, study in self._fresh.values()
        ]
        return pa.concat_tables([old.filter(self._kept(old["run"])), pa.Table.from_pylist(fresh, _SCHEMA)])

    @cached_property
    def _by_token(self) -> dict[str, StudyRecord]:
        return {schema.token(study.id): study for study in _decoded(self._merged)}


def studies_of(folder: SegmentFolder, version: Version) -> list[StudyRecord]:
    """All studies of ``version``, oldest first. Raises ``KnowledgeError``."""
    return sorted(_decoded(_table(folder, version)), key=lambda study: (study.created, study.id))


def _table(folder: SegmentFolder, version: Version, columns: list[str] | None = None) -> pa.Table:
    if version.studies is not None:
        return folder.read(version.studies, columns)
    empty = _SCHEMA.empty_table()
    return empty if columns is None else empty.select(columns)


def _decoded(table: pa.Table) -> list[StudyRecord]:
    """Each study once: of several runs of one, the last that was started counts."""
    ordered = table.sort_by([("started", "ascending"), ("run", "ascending")])
    return list({study.id: study for study in map(schema.study_of, ordered["document"].to_pylist())}.values())
