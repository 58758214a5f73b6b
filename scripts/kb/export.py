"""The export: what is in the store of a build, finished or not, is added to the folder that metatune ships."""

from dataclasses import replace
from pathlib import Path

from kb.card import card
from kb.catalogue import Entry, read_catalogue
from kb.packages import fetch
from kb.reserved import reserved
from kb.worker import prepared
from metatune.history.store import HistoryStore
from metatune.knowledge import Knowledge
from metatune.snapshot import Snapshot, snapshot_of
from metatune.task import TaskRecord


def shipped(folder: Path) -> Snapshot:
    """The studies in the knowledge base ``folder``; none where it has none."""
    snapshot = folder / "snapshot"
    return Snapshot.read(snapshot) if snapshot.is_dir() else Snapshot.of(())


def export(store: HistoryStore, folder: Path, *, packages: Path) -> Snapshot:
    """Train on what ``folder`` and ``store`` hold, and write knowledge and card into ``folder``.

    Datasets that are reserved, or no longer in the catalogue, are left out. Tasks are described anew from the
    datasets, whose archives are in ``packages`` or are downloaded: trials are made once, but meta-features and
    fingerprints must be those of the present code.
    """
    entries, left_out = read_catalogue()
    withheld = reserved(entries)
    known = {entry.name: entry for entry in entries if entry.group not in withheld}
    joined = shipped(folder).merge(snapshot_of(store)).records()
    records = [(study, trials) for study, trials in joined if trials and study.task.name in known]
    fetch({known[study.task.name].package for study, _ in records}, packages)
    wanted = {(study.task.name, int(study.notes["row_cap"])) for study, _ in records}
    tasks = {(name, cap): _described(known[name], cap, packages) for name, cap in sorted(wanted)}
    snapshot = Snapshot.of(
        (replace(study, task=tasks[study.task.name, int(study.notes["row_cap"])]), trials) for study, trials in records
    )
    Knowledge.build(snapshot).save(folder)
    (folder / "README.md").write_text(card(snapshot.records(), entries, left_out), encoding="utf-8")
    return snapshot


def _described(entry: Entry, row_cap: int, packages: Path) -> TaskRecord:
    _, record, _ = prepared(entry, row_cap, False, packages)
    return record
