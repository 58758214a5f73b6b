"""The trials of a ``Mirror``: per family, segments of rows; every run is one row of one segment.

Besides the columns of ``trial_table``, a segment has the run of each trial, its times, and the stamp of its content.
Runs that changed or were deleted are taken out of their segment, which is written anew without them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metatune.errors import StoreError
from metatune.history import schema
from metatune.history.runs import KNOWN, RunReader, StoredRun
from metatune.mirror_studies import StudyFile
from metatune.segments import Segment, SegmentFolder, Version
from metatune.study import StudyRecord
from metatune.trial import Trial
from metatune.trial_table import FIXED, OPTIONAL, table_of

#: Segments grow to at most so many rows, so that rewriting one takes seconds and little memory.
SEGMENT_ROWS = 250_000
_BATCH = 5_000
_RUN = {"run": pa.string(), "run_started": pa.int64(), "run_ended": pa.int64(), "run_stamp": pa.int64()}


class TrialFiles:
    """The trials of ``version``, and after ``update`` those of the version to come."""

    def __init__(self, folder: SegmentFolder, version: Version, studies: StudyFile) -> None:
        self._folder = folder
        self._version = version
        self._studies = studies
        self._pending: defaultdict[str, list[pa.Table]] = defaultdict(list)
        self._new: list[Segment] = []
        self._out: set[str] = set()
        #: Rows written and deleted; why runs could not be read; the end of the newest run seen.
        self.added = 0
        self.removed = 0
        self.unreadable: dict[str, str] = {}
        self.newest = 0

    def update(self, reader: RunReader, *, since: int, everything: bool) -> None:
        """Take over what changed. Raises ``StoreError``."""
        stale = self._of_edited_studies()
        known = self._known(stale)
        heads = known.select(KNOWN.names)
        tokens = self._studies.tokens
        batch: list[StoredRun] = []
        for run in reader.changes("trial", heads, since=since, studies=tokens, everything=everything):
            self.newest = max(self.newest, run.ended or 0)
            batch.append(run)
            if len(batch) == _BATCH:
                self._take(batch, known)
                batch = []
        self._take(batch, known)
        gone = reader.gone("trial", heads, everything=everything)
        self.removed = len(gone)
        self._out |= gone | set(stale.to_pylist())

    def written(self) -> tuple[Segment, ...]:
        """The segments of the version to come; small ones are merged with new ones. Raises ``SupersededError``."""
        kept = []
        out = pa.array(self._out, pa.string())
        for segment in self._version.segments:
            runs = self._folder.read(segment, ["run"])["run"] if self._out else pa.chunked_array([], pa.string())
            if not pc.any(pc.is_in(runs, value_set=out)).as_py():
                kept.append(segment)
                continue
            table = self._folder.read(segment)
            self._pending[segment.family].append(table.filter(pc.invert(pc.is_in(table["run"], value_set=out))))
        for family in sorted(self._pending):
            rows = _rows(self._pending[family])
            for segment in sorted((s for s in kept if s.family == family), key=lambda s: s.rows):
                if segment.rows <= 2 * rows and segment.rows + rows <= SEGMENT_ROWS:
                    kept.remove(segment)
                    self._pending[family].append(self._folder.read(segment))
                    rows += segment.rows
            self._flush(family)
        return (*kept, *self._new)

    def _known(self, stale: pa.Array) -> pa.Table:
        """Run, end and stamp of every trial that need not be read again."""
        names = {"run": "run", "run_ended": "ended", "run_stamp": "stamp"}
        parts = [self._folder.read(segment, list(names)) for segment in self._version.segments]
        empty = pa.schema({name: _RUN[name] for name in names}).empty_table()
        table = pa.concat_tables([empty, *(part.replace_schema_metadata() for part in parts)]).combine_chunks()
        table = table.rename_columns(list(names.values()))
        return table.filter(pc.invert(pc.is_in(table["run"], value_set=stale))) if len(stale) else table

    def _of_edited_studies(self) -> pa.Array:
        """The runs whose columns were made by a space that changed."""
        if not self._studies.edited:
            return pa.array([], pa.string())
        found: list[str] = []
        for segment in self._version.segments:
            table = self._folder.read(segment, ["run", "study"])
            rows = zip(table["run"].to_pylist(), table["study"].to_pylist(), strict=True)
            found += [run for run, study in rows if schema.token(study) in self._studies.edited]
        return pa.array(found, pa.string())

    def _take(self, batch: Sequence[StoredRun], known: pa.Table) -> None:
        if not batch:
            return
        place = pc.index_in(pa.array([run.id for run in batch], pa.string()), value_set=known["run"].combine_chunks())
        before = known.select(["ended", "stamp"]).take(place).to_pylist() if known.num_rows else [None] * len(batch)
        found: defaultdict[str, list[tuple[StudyRecord, Trial, StoredRun]]] = defaultdict(list)
        for run, row, old in zip(batch, place.to_pylist(), before, strict=True):
            token = run.tags.get(schema.STUDY_ID, "")
            same = row is not None and old == {"ended": run.ended, "stamp": run.stamp}
            if same or token not in self._studies.tokens:
                continue
            if row is not None:
                self._out.add(run.id)
            try:
                trial = schema.decode_trial(run.tags, f"run {run.id}")
            except StoreError as error:
                self.unreadable[run.id] = error.problem
                continue
            study = self._studies.of(token)
            found[study.family].append((study, trial, run))
        for family, rows in found.items():
            self.added += len(rows)
            self._pending[family].append(_segment_table(rows))
            if _rows(self._pending[family]) >= SEGMENT_ROWS:
                self._flush(family)

    def _flush(self, family: str) -> None:
        tables = self._pending.pop(family)
        if _rows(tables):
            self._new.append(self._folder.write(_together(tables), self._version.number + 1, family))


def trials_of(folder: SegmentFolder, version: Version, family: str, studies: Sequence[StudyRecord]) -> pa.Table:
    """The trials of ``studies`` in ``family``, by study and number, as ``table_of`` gives them.

    Of several runs of one trial, the last that was started counts. Raises ``KnowledgeError``.
    """
    segments = [segment for segment in version.segments if segment.family == family]
    tables = [folder.read(segment).drop(["run_ended", "run_stamp"]) for segment in segments]
    if not tables:
        return table_of([])
    table = _together(tables)
    del tables
    table = table.append_column("rank", _rank(table["study"].combine_chunks(), [study.id for study in studies]))
    table = table.filter(pc.is_valid(table["rank"]))
    if pc.count_distinct(table["key"]).as_py() < table.num_rows:
        table = _once(table)
    order = pc.sort_indices(table, [("rank", "ascending"), ("number", "ascending"), ("key", "ascending")])
    table = table.drop(["rank", "run", "run_started"]).take(order).combine_chunks()
    sparse = sorted(set(table.column_names) - FIXED.keys() - OPTIONAL.keys())
    present = [name for name in (*OPTIONAL, *sparse) if name in table.column_names and _has_values(table[name])]
    return table.select([*FIXED, *present])


def _segment_table(rows: Sequence[tuple[StudyRecord, Trial, StoredRun]]) -> pa.Table:
    table = table_of([(study, trial) for study, trial, _ in rows])
    runs = [run for _, _, run in rows]
    values = [[r.id for r in runs], [r.started for r in runs], [r.ended for r in runs], [r.stamp for r in runs]]
    for (name, kind), column in zip(_RUN.items(), values, strict=True):
        table = table.append_column(name, pa.array(column, kind))
    return table


def _together(tables: Iterable[pa.Table]) -> pa.Table:
    plain = [table.replace_schema_metadata() for table in tables]
    return pa.concat_tables(plain, promote_options="default").unify_dictionaries().combine_chunks()


def _rank(study: pa.DictionaryArray, ids: Sequence[str]) -> pa.Array:
    """The position in ``ids`` of each value of ``study``; null for one that is not there."""
    position = {study_id: i for i, study_id in enumerate(ids)}
    ranks = pa.array([position.get(study_id) for study_id in study.dictionary.to_pylist()], pa.int32())
    return ranks.take(study.indices)


def _once(table: pa.Table) -> pa.Table:
    """The row of each study and key whose run was started last."""
    table = table.sort_by([("run_started", "ascending"), ("run", "ascending")])
    last = {pair: i for i, pair in enumerate(zip(table["rank"].to_pylist(), table["key"].to_pylist(), strict=True))}
    return table.take(np.array([*last.values()]))


def _has_values(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count < len(column))


def _rows(tables: Iterable[pa.Table]) -> int:
    return sum(table.num_rows for table in tables)
