"""The export: the store of a build, finished or not, becomes the folder that metatune ships."""

from pathlib import Path

from kb.card import card
from kb.catalogue import read_catalogue
from metatune.history.store import HistoryStore
from metatune.snapshot import Snapshot, snapshot_of


def export(store: HistoryStore, folder: Path) -> Snapshot:
    """Write ``snapshot/`` and the card of what ``store`` holds into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    snapshot = snapshot_of(store)
    snapshot.write(folder / "snapshot")
    (folder / "README.md").write_text(card(snapshot.records(), *read_catalogue()), encoding="utf-8")
    return snapshot
