"""Which study holds the trials of a family on a dataset: its id says what the data are and how they are judged.

A catalogue row that is changed, another package version or another validation makes another study, so that no study
is continued with scores that do not compare. The first 17,000 trials were made under ids without these: ``locked.csv``
holds the datasets of that time. Where identity and validation are as they were then, so is the id.
"""

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from kb.catalogue import Entry
from kb.packages import ARCHIVES

LOCKED = Path(__file__).with_name("locked.csv")
DESIGN_SEED = 2026
#: Families that train networks: fewer configurations. Until there were identities they had a holdout always.
SLOW = frozenset({"keras_mlp", "keras_cnn", "keras_text", "keras_series"})
#: Datasets with so many cells are judged on a holdout whatever the number of rows: it bounds time.
HOLDOUT_CELLS = 50_000
#: How scores come about (``kb.worker.prepared``, ``metatune.task.Task``); to be changed where that changes.
JUDGED = f"3 folds below 2000 rows and {HOLDOUT_CELLS} cells, else holdout"
#: How a family trains on a kind of data, where that is otherwise than when its first trials were made.
TRAINED = {("lightgbm", "regression"): "standardised target"}


@dataclass(frozen=True)
class Locked:
    """A dataset as it was: its ``identity``, and into how many ``folds`` its rows are split."""

    identity: str
    folds: int


def _read(path: Path = LOCKED) -> dict[str, Locked]:
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["name"]: Locked(row["identity"], int(row["folds"])) for row in csv.DictReader(stream)}


_LOCKED = _read()


def identity(entry: Entry) -> str:
    """A digest of all that decides on the rows and columns of ``entry``; not of its group, licence and notes."""
    # What scikit-learn bundles has no version of its own: it is not read from a pinned archive.
    archive = ARCHIVES.get(entry.package)
    parts = [
        entry.name, entry.modality, entry.package, archive.version if archive else "", entry.file, entry.kind,
        entry.format, entry.target, entry.drop, entry.input, entry.subset,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def study_id(entry: Entry, family: str, space: str, row_cap: int) -> str:
    """The study that holds the design of ``family`` on ``entry``: always the same, so that a resumed build finds it.

    ``space`` is the digest of the space. Another space, seed of the design, row cap, identity, validation or way of
    training makes other trials, hence another study.
    """
    trained = TRAINED.get((family, entry.kind))
    others = () if trained is None else (trained,)
    locked = locked_as(entry)
    if locked is None:
        return _id(entry, family, space, row_cap, identity(entry), JUDGED, *others)
    if family in SLOW and locked.folds > 1:
        others = (JUDGED, *others)
    return _id(entry, family, space, row_cap, *others)


def locked_as(entry: Entry) -> Locked | None:
    """``entry`` as it was locked; ``None`` if it was not, or is something else now."""
    locked = _LOCKED.get(entry.name)
    return locked if locked is not None and locked.identity == identity(entry) else None


def _id(entry: Entry, family: str, space: str, row_cap: int, *others: str) -> str:
    parts = (entry.name, family, space, str(DESIGN_SEED), str(row_cap), *others)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
