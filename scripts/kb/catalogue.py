"""The datasets of the starter knowledge base: what they are, where they lie, and which were left out and why.

The rows of ``catalogue.csv`` are in the order of the build: the cheaper ones first, kinds in turn.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from metatune.dataset import DataKind, Modality
from metatune.errors import DataError, UnknownNameError

CATALOGUE = Path(__file__).with_name("catalogue.csv")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dataset.

    ``file`` lies inside ``package``: ``a|b`` are two files, see ``kb.frames``. ``format`` names the separator, with
    ``-header`` where the first row has names; ``target`` and ``drop`` are columns: names, or positions, negative
    from the end. ``input`` is the column with texts or photographs, ``subset`` says which rows are meant: values of a
    column, ``classes`` or ``rows``. ``group`` joins datasets of one source.
    """

    name: str
    modality: Modality
    package: str
    file: str
    kind: DataKind
    format: str
    target: str
    drop: tuple[str, ...]
    input: str
    subset: tuple[tuple[str, str], ...]
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
    return Entry(
        name=row["name"],
        modality=_one_of(row, "modality", get_args(Modality)),
        package=row["package"],
        file=row["file"],
        kind=_one_of(row, "kind", get_args(DataKind)),
        format=row["format"],
        target=row["target"] or "-1",
        drop=tuple(column for column in row["drop"].split(";") if column),
        input=row["input"],
        subset=tuple(
            (key, value) for key, _, value in (part.partition("=") for part in row["subset"].split(";")) if key
        ),
        group=row["group"],
        licence=row["licence"],
        notes=row["notes"],
    )


def _one_of(row: dict[str, str], field: str, known: Sequence[str]) -> Any:
    if row[field] not in known:
        raise DataError(
            f"unknown {field}", field=row["name"], value=row[field], remedy=f"Use one of {', '.join(known)}."
        )
    return row[field]


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
