"""Runs from the journal, cut down to what can be compared."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metatune.backtest.run import Journal, Key, Protocol, Run
from metatune.backtest.summary import summarise
from metatune.version import __version__


class Runs:
    """The runs in the folder ``directory`` by this version of metatune, on tables whose content is that of now.

    ``digests``: table by table what ``ReplayTable.digest`` is. Runs of another version or content would be compared
    with what they cannot be compared with; a stage makes them again.
    """

    def __init__(self, directory: Path, digests: Mapping[str, str]) -> None:
        self._journal = Journal(directory)
        self._digests = digests

    def of(self, tables: Iterable[str], methods: Iterable[str], protocol: Protocol) -> list[Run]:
        """The last run of each table, task, seed and method."""
        found: dict[Key, Run] = {}
        names = list(methods)
        for table in tables:
            digest = self._digests.get(table)
            for method in names:
                for run in self._journal.read(table, method):
                    if (run.protocol, run.digest, run.version) == (protocol, digest, __version__):
                        found[run.key] = run
        return list(found.values())

    def tables(self, prefix: str) -> list[str]:
        """The tables whose names start with ``prefix``."""
        return sorted(name for name in self._digests if name.startswith(prefix))


def common(runs: Sequence[Run]) -> list[Run]:
    """``runs`` on those tasks and seeds of each table on which every method of the table has a result.

    A method without any result on a table does not count there.
    """
    usable = [run for run in runs if len(run.regret)]
    methods: defaultdict[str, set[str]] = defaultdict(set)
    where: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
    for run in usable:
        methods[run.table].add(run.method)
        where[run.table, run.task, run.seed].add(run.method)
    return [run for run in usable if where[run.table, run.task, run.seed] == methods[run.table]]


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """The summary of what is common to ``runs``, with the failures of all of them."""
    return summarise(common(runs)) | {"failures": summarise(runs)["failures"]}


def as_if(runs: Iterable[Run], protocol: Protocol) -> list[Run]:
    """``runs`` of a method that reads no history, under another ``protocol`` for the history."""
    return [replace(run, protocol=protocol) for run in runs]


def on(runs: Iterable[Run], tasks: Iterable[str]) -> list[Run]:
    """Those of ``runs`` that are on ``tasks``."""
    chosen = set(tasks)
    return [run for run in runs if run.task in chosen]


def gate(runs: Sequence[Run]) -> tuple[int, int]:
    """How many searches of metatune went as with meta-features, and as without, where the two differ."""
    by: defaultdict[tuple[str, str, int], dict[str, np.ndarray]] = defaultdict(dict)
    for run in common(runs):
        by[run.table, run.task, run.seed][run.method] = run.regret
    used = unused = 0
    for curves in by.values():
        own, on_, off = (curves.get(f"metatune{end}") for end in ("", "-features-on", "-features-off"))
        if own is None or on_ is None or off is None or np.array_equal(on_, off):
            continue
        used += np.array_equal(own, on_)
        unused += np.array_equal(own, off)
    return used, unused
