"""``Snapshot``: many studies and their trials as immutable columns in Parquet; what training and proposing read."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from metatune.errors import MetatuneError, UnknownNameError, UsageError
from metatune.family_table import FamilyTable
from metatune.history.schema import study_document, study_of
from metatune.history.store import HistoryStore
from metatune.manifest import safe_path
from metatune.study import StudyRecord
from metatune.table_file import damaged, read_table, write_table
from metatune.trial import Trial
from metatune.trial_table import FIXED, content_digest, table_of

_STUDIES = "studies.parquet"


class Snapshot:
    """Studies and their trials, unchangeable, one table per model family.

    Made by ``Snapshot.of`` (from records), ``Snapshot.read`` (from files; a family's file is read when it is first
    asked for) or ``merge``. ``studies`` are in the order given, each once.
    """

    def __init__(
        self,
        studies: Iterable[StudyRecord],
        tables: Mapping[str, pa.Table],
        files: Mapping[str, tuple[Path, int]] | None = None,
    ) -> None:
        self.studies = tuple(studies)
        self._tables = dict(tables)
        self._files = dict(files or {})
        self._views: dict[str, FamilyTable] = {}

    @classmethod
    def of(cls, records: Iterable[tuple[StudyRecord, Iterable[Trial]]]) -> "Snapshot":
        """The snapshot of studies with their trials; of a study id or trial key given twice, the later counts."""
        studies: dict[str, StudyRecord] = {}
        trials: dict[str, tuple[str, Trial]] = {}
        for study, those in records:
            studies[study.id] = study
            trials.update((trial.key, (study.id, trial)) for trial in those)
        pairs: defaultdict[str, list[tuple[StudyRecord, Trial]]] = defaultdict(list)
        for study in studies.values():
            pairs[study.family]
        for study_id, trial in trials.values():
            pairs[studies[study_id].family].append((studies[study_id], trial))
        return cls(studies.values(), {family: table_of(those) for family, those in pairs.items()})

    @property
    def families(self) -> tuple[str, ...]:
        """The model families of the studies, sorted."""
        return tuple(sorted({study.family for study in self.studies}))

    def family(self, name: str) -> FamilyTable:
        """The trials of one family. Raises ``UnknownNameError``, ``KnowledgeError`` for a damaged file."""
        if name not in self.families:
            raise UnknownNameError.of("family", name, self.families)
        if name not in self._views:
            if name not in self._tables:
                self._tables[name] = _family_table(*self._files[name], {study.id for study in self.studies})
            self._views[name] = FamilyTable(name, self.studies, self._tables[name])
        return self._views[name]

    def only(self, families: Collection[str]) -> "Snapshot":
        """The same of some families. Raises as ``family``."""
        return Snapshot(
            (study for study in self.studies if study.family in families),
            {name: self.family(name).table for name in families},
        )

    def records(self) -> list[tuple[StudyRecord, tuple[Trial, ...]]]:
        """Every study with its trials, equal to those that the snapshot was made of. Raises ``KnowledgeError``."""
        trials: list[list[Trial]] = [[] for _ in self.studies]
        for name in self.families:
            try:
                for study, trial in self.family(name).trials():
                    trials[study].append(trial)
            except (UsageError, ValueError, TypeError) as error:
                raise damaged(self._files[name][0], error) from error
        return [(study, tuple(those)) for study, those in zip(self.studies, trials, strict=True)]

    def merge(self, other: "Snapshot") -> "Snapshot":
        """Both together; where both have a study id or a trial key, ``other`` counts."""
        studies = {study.id: study for study in (*self.studies, *other.studies)}
        replaced = pa.chunked_array(
            [other.family(name).table["key"].combine_chunks() for name in other.families], pa.string()
        )
        tables = {}
        for name in {*self.families, *other.families}:
            parts = []
            if name in self.families:
                mine = self.family(name).table
                parts.append(mine.filter(pc.invert(pc.is_in(mine["key"], value_set=replaced))))
            if name in other.families:
                parts.append(other.family(name).table)
            tables[name] = pa.concat_tables(parts, promote_options="default").unify_dictionaries().combine_chunks()
        return Snapshot(studies.values(), tables)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content: equal for equal studies and trials in equal order, before and after writing."""
        parts = [study_document(study) for study in self.studies]
        parts += [f"{name}:{content_digest(self.family(name).table)}" for name in self.families]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def write(self, directory: Path) -> None:
        """Write ``studies.parquet`` and ``trials/<family>.parquet`` into ``directory``, in place of what was there."""
        trials = Path(directory) / "trials"
        trials.mkdir(parents=True, exist_ok=True)
        tables = {name: self.family(name).table for name in self.families}
        names = {name: f"{_file_name(name)}.parquet" for name in tables}
        for name, table in tables.items():
            write_table(table, trials / names[name], {"family": name})
        content = {name: {"file": names[name], "rows": table.num_rows} for name, table in tables.items()}
        meta = {"studies": len(self.studies), "families": content}
        write_table(_study_table(self.studies), Path(directory) / _STUDIES, meta)
        for stale in set(trials.glob("*.parquet")) - {trials / name for name in names.values()}:
            stale.unlink()

    @classmethod
    def read(cls, directory: Path) -> "Snapshot":
        """What ``write`` wrote. Raises ``KnowledgeError`` naming a missing or damaged file."""
        path = Path(directory) / _STUDIES
        table, meta = read_table(path)
        try:
            studies = [study_of(document) for document in table["record"].to_pylist()]
            folder, families = Path(directory) / "trials", meta["families"].items()
            files = {name: (safe_path(folder, entry["file"]), int(entry["rows"])) for name, entry in families}
            lost = meta["studies"] - len(studies)
        except (KeyError, TypeError, AttributeError, MetatuneError) as error:
            raise damaged(path, error) from error
        if lost or {study.family for study in studies} != set(files):
            raise damaged(path, f"{lost} studies are missing")
        for file, _ in files.values():
            if not file.is_file():
                raise damaged(file, "no such file")
        return cls(studies, {}, files)


def snapshot_of(store: HistoryStore) -> Snapshot:
    """The whole history in ``store`` as a snapshot. Raises ``StoreError``."""
    return Snapshot.of(store.records())


def _family_table(path: Path, rows: int, studies: set[str]) -> pa.Table:
    """The trials in ``path``, of which there must be ``rows``, all of these studies. Raises ``KnowledgeError``."""
    table, _ = read_table(path)
    missing = set(FIXED) - set(table.column_names)
    if missing:
        raise damaged(path, f"no columns {', '.join(sorted(missing))}")
    if table.num_rows != rows:
        raise damaged(path, f"{table.num_rows} rows where there were {rows}")
    if not studies.issuperset(pc.unique(table["study"].cast(pa.string())).to_pylist()):
        raise damaged(path, "trials of unknown studies")
    return table


def _study_table(studies: Sequence[StudyRecord]) -> pa.Table:
    """One row per study: its document, and the fields that other readers of the file look for."""
    features = sorted({name for study in studies for name in study.task.metafeatures})
    columns: dict[str, Any] = {
        "id": [study.id for study in studies],
        "record": [study_document(study) for study in studies],
    }
    for name in features:
        columns[f"mf__{name}"] = pa.array([study.task.metafeatures.get(name) for study in studies], pa.float64())
    return pa.table(columns)


def _file_name(family: str) -> str:
    """``family`` as a file name that no other family has, on any file system."""
    name = re.sub(r"[^a-z0-9_-]", lambda match: f"%{ord(match[0]):x}", family)
    return name if len(name) <= 100 else f"{name[:80]}%{hashlib.sha256(family.encode()).hexdigest()[:16]}"
