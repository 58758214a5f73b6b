"""``ApiReader``: runs through MLflow's API, paged by time and never by its page tokens.

A token is an offset into a list that others write to: a write between two pages repeats a run, a deletion skips one.
"""

from collections.abc import Container, Iterator
from itertools import chain
from typing import Literal

import pyarrow as pa
from mlflow.entities import Run

from metatune.history import schema
from metatune.history.address import Located
from metatune.history.filters import tag_equals
from metatune.history.mlflow_store import MLflowStore
from metatune.history.runs import Record, StoredRun, is_content

_PAGE = 1000
_HEXADECIMAL = "0123456789abcdef"


class ApiReader:
    """A ``RunReader`` of any MLflow server or database."""

    path: Literal["sql", "api"] = "api"

    def __init__(self, store: MLflowStore, *, page: int = _PAGE) -> None:
        self._store = store
        self._page = page
        self._seen: dict[Record, set[str]] = {}

    @classmethod
    def of(cls, place: Located) -> "ApiReader":
        """The reader of the history at ``place``, which may be a store already."""
        return cls(place if isinstance(place, MLflowStore) else MLflowStore(place.uri, place.experiment))

    def experiment(self) -> str | None:
        """See ``RunReader``."""
        return self._store.identity()

    def changes(
        self, record: Record, known: pa.Table, *, since: int, studies: Container[str], everything: bool
    ) -> Iterator[StoredRun]:
        """See ``RunReader``."""
        ours = tag_equals(schema.RECORD, record)
        seen = self._seen[record] = set()
        if everything:
            searches = [self._by_time(ours, "start_time", 0)]
        else:
            # Those that run have no end, and come first: one that ends meanwhile is found by the other search.
            running = self._by_time(f"{ours} and attributes.status = 'RUNNING'", "start_time", 0)
            searches = [running, self._by_time(ours, "end_time", since)]
        for run in chain.from_iterable(searches):
            if run.info.run_id not in seen:
                seen.add(run.info.run_id)
                yield _stored(run)

    def gone(self, record: Record, known: pa.Table, *, everything: bool) -> set[str]:
        """See ``RunReader``.

        Studies, which are few, are all listed: those that are gone for good are not among the deleted runs.
        """
        runs = set(known["run"].to_pylist())
        if everything:
            return runs - self._seen[record]
        ours = tag_equals(schema.RECORD, record)
        if record == "study":
            return runs - {run.info.run_id for run in self._by_time(ours, "start_time", 0)}
        return runs & {run.info.run_id for run in self._by_time(ours, "start_time", 0, deleted=True)}

    def _by_time(self, condition: str, attribute: str, since: int, *, deleted: bool = False) -> Iterator[Run]:
        """The runs whose time ``attribute`` is not before ``since``, each once, in the order of that time."""
        seen: set[str] = set()
        while True:
            later = f"{condition} and attributes.{attribute} >= {since}"
            page = self._found(later, attribute, deleted)
            yield from (run for run in page if run.info.run_id not in seen)
            if len(page) < self._page:
                return
            last = getattr(page[-1].info, attribute)
            if last > since or getattr(page[0].info, attribute) > since:
                since = last
                seen = {run.info.run_id for run in page if getattr(run.info, attribute) == last}
            else:
                # A whole page of one millisecond: time cannot order it, the beginnings of ids divide it.
                moment = f"{condition} and attributes.{attribute} = {since}"
                seen |= {run.info.run_id for run in page}
                yield from (run for run in self._by_id(moment, "", deleted) if run.info.run_id not in seen)
                since, seen = since + 1, set()

    def _found(self, condition: str, order: str, deleted: bool) -> list[Run]:
        with self._store.runs() as find:
            return find.page(condition, order=order, limit=self._page, deleted=deleted)

    def _by_id(self, condition: str, prefix: str, deleted: bool) -> Iterator[Run]:
        for digit in _HEXADECIMAL:
            these = f"{condition} and attributes.run_id LIKE '{prefix}{digit}%'"
            page = self._found(these, "start_time", deleted)
            yield from page if len(page) < self._page else self._by_id(condition, prefix + digit, deleted)


def _stored(run: Run) -> StoredRun:
    tags = {name: value for name, value in run.data.tags.items() if is_content(name)}
    return StoredRun(run.info.run_id, int(run.info.start_time or 0), run.info.end_time or None, tags)
