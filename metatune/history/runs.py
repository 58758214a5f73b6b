"""``StoredRun`` and ``RunReader``: what a local copy of the history asks of the store."""

import hashlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

import pyarrow as pa

from metatune.history import schema

Record: TypeAlias = Literal["study", "trial"]

#: Columns of what a copy knows: the run's id, and when it ended, in milliseconds since the epoch; null while it runs.
KNOWN = pa.schema({"run": pa.string(), "ended": pa.int64()})


@dataclass(frozen=True)
class StoredRun:
    """An undeleted run of MLflow, as far as the history is concerned: ``tags`` are its content.

    ``started`` and ``ended`` are milliseconds since the epoch by the clock of whoever wrote the run.
    """

    id: str
    started: int
    ended: int | None
    tags: Mapping[str, str]

    @cached_property
    def stamp(self) -> int:
        """64 bits by which equal content is recognised."""
        content = schema.to_json(sorted(self.tags.items())).encode()
        return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big", signed=True)


def is_content(tag: str) -> bool:
    """Whether a record is decoded from the tag of this name."""
    return tag in (schema.SCHEMA, schema.STUDY_ID) or tag.startswith(f"{schema.DOCUMENT}.")


class RunReader(Protocol):
    """One pass over the runs of an experiment that differ from those in ``known``, a table with the columns ``KNOWN``.

    ``changes`` gives each run once.
    Order of calls, for studies and then for trials: ``changes``, read to its end, then ``gone``.
    Both raise ``StoreError``. ``everything`` compares all runs, to find edits and what clocks have hidden.
    """

    path: Literal["sql", "api"]

    def experiment(self) -> str | None:
        """What tells the experiment from every other one that had its name; ``None`` if there is none."""

    def changes(
        self, record: Record, known: pa.Table, *, since: int, studies: Container[str], everything: bool
    ) -> Iterator[StoredRun]:
        """Every run that is new or may have changed, of those that did not end before ``since`` (milliseconds).

        May also give runs that did not change, and leave out trials of studies whose token is not in ``studies``.
        """

    def gone(self, record: Record, known: pa.Table, *, everything: bool) -> set[str]:
        """Runs in ``known`` that were deleted since."""
