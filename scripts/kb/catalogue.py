"""The datasets of the starter knowledge base: what they are, where they lie, and which were left out and why.

The rows of ``catalogue.csv`` are in the order of the build: the cheaper ones first, kinds in turn.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from metatune.dataset import DataKind
from metatune.errors import DataError, UnknownNameError

CATALOGUE = Path(__file__).with_name("catalogue.csv")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dataset.

    ``file`` lies inside ``package``: ``a|b`` pastes the columns of two files. ``format`` names the separator, with
    ``-header`` where the first row has names; ``target`` and ``drop`` are positions of columns, negative from the
    end. ``group`` joins datasets of one source.
    """

    name: str
    package: str
    file: str
    kind: DataKind
    format: str
    target: int
    drop: tuple[int, ...]
    group: str
    licence: str
    notes: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A dataset of the packages that is not in the knowledge base."""

    name: str
    package: str
    reason: str


def read_catalogue(path: Path = CATALOGUE) -> tuple[list[Entry], list[LeftOut]]:
    """The datasets in the order of the file, and those left out. Raises ``DataError`` for a wrong row."""
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["left_out"]:
                left_out.append(LeftOut(name=row["name"], package=row["package"], reason=row["left_out"]))
            else:
                entries.append(_entry(row))
    return entries, left_out


def _entry(row: dict[str, str]) -> Entry:
    kind = row["kind"]
    if kind not in get_args(DataKind):
        raise DataError(
            "unknown kind", field=row["name"], value=kind, remedy=f"Use one of {', '.join(get_args(DataKind))}."
        )
    return Entry(
        name=row["name"],
        package=row["package"],
        file=row["file"],
        kind=kind,  # type: ignore[arg-type]  # checked above
        format=row["format"],
        target=int(row["target"] or -1),
        drop=tuple(int(position) for position in row["drop"].split()),
        group=row["group"],
        licence=row["licence"],
        notes=row["notes"],
    )


def select(entries: Sequence[Entry], names: Sequence[str] | None, *, first: int | None = None) -> list[Entry]:
    """The entries called ``names`` (all for ``None``), at most the ``first`` ones.

    Raises ``UnknownNameError`` for a name that the catalogue does not have.
    """
    known = {entry.name: entry for entry in entries}
    for name in names or ():
        if name not in known:
            raise UnknownNameError.of("datasets", name, known)
    chosen = list(entries) if names is None else [known[name] for name in names]
    return chosen[:first]
