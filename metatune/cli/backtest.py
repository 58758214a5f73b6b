"""``metatune backtest``: what the history saves, measured by searching recorded trials again."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typer.core import TyperCommand

from metatune.cli import options
from metatune.cli.backtest_tables import shown
from metatune.cli.boundary import Answer, command, console
from metatune.cli.progress import Bar
from metatune.errors import DataError, NoHistoryError, UnknownNameError, UsageError
from metatune.wording import legible

if TYPE_CHECKING:
    from metatune.backtest.history_tables import Replayable
    from metatune.backtest.run import Run

#: What is compared unless --methods says otherwise.
METHODS = "metatune,gp,portfolio,random,tpe,default"
_PARTIAL = 6
#: Seconds between two lines of progress in a file.
_QUIET = 10.0


class Stress(StrEnum):
    """What is done to the history: nothing, its scores negated, or shuffled among its configurations."""

    none = "none"
    inverted = "inverted"
    unrelated = "unrelated"


class SeveralTables(TyperCommand):
    """A command whose ``--table`` takes all folders that follow it: what a shell makes of ``--table DIR/*``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Say ``--table`` before each folder after the first; files among several, as a README, are left out."""
        words: list[str] = []
        while args:
            word, *args = args
            if word != "--table":
                words.append(word)
                continue
            given = list(takewhile(lambda following: not following.startswith("-"), args))
            args = args[len(given) :]
            folders = [path for path in given if not Path(path).is_file()] if len(given) > 1 else given
            if not folders:
                ctx.fail("Option '--table' requires a folder.")
            words += [part for path in folders for part in (word, path)]
        return super().parse_args(ctx, words)


@command
def backtest(
    knowledge: options.KnowledgeDirectory = None,
    folders: Annotated[
        list[Path] | None,
        typer.Option(
            "--table",
            metavar="DIR ...",
            help="Folders of recorded trials instead, see docs/tables.md; DIR/* is all of them.",
        ),
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option("--family", "-f", help="Of the knowledge, this family only; may be repeated.")
    ] = None,
    methods: Annotated[str, typer.Option(metavar="A,B", help="What is compared, by name.")] = METHODS,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, averaged for each task.")] = 3,
    evaluations: Annotated[int, typer.Option(min=1, help="Length of each search.")] = 50,
    tasks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Search on so many tasks of each table, evenly spread.")
    ] = None,
    borrowed: Annotated[
        bool, typer.Option("--borrowed", help="Of knowledge that has tasks of your own, search on the others too.")
    ] = False,
    stress: Annotated[Stress, typer.Option(help="Spoil the history to see what a search does with it.")] = Stress.none,
    history: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Let each search know so many other tasks only.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, one thread each; one per core unless given.")
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Keep every search there; none is repeated by the same version on the same trials.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write a page with charts there.")
    ] = None,
    as_json: options.AsJson = False,
) -> Answer:
    """Search recorded trials again, one task left out at a time, and compare methods with and without history.

    Regret is 0 for the best configuration that was to be found and 1 for the worst. Nothing is trained but metatune.
    """
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.backtest.coverage import coverage_of, coverage_told
    from metatune.backtest.replay import run_all
    from metatune.backtest.run import Protocol
    from metatune.backtest.summary import summarise

    if html is not None:  # before hours of searches rather than after them
        html.parent.mkdir(parents=True, exist_ok=True)
    chosen, unavailable = _methods(methods)
    tables, others = (
        _read(folders, family, borrowed=borrowed) if folders else _of_knowledge(knowledge, family, borrowed=borrowed)
    )
    with ReplayProgress(console()) as progress:
        done = run_all(
            tables,
            chosen,
            range(seeds),
            protocol=Protocol(n=evaluations, stress=stress.value, n_history=history),
            workers=workers or os.cpu_count() or 1,
            directory=runs,
            progress=progress,
            tasks=tasks,
        )
    coverage = {table.name: coverage_of(table, range(seeds), tasks) for table in tables}
    if not done:
        raise DataError(
            "nothing to search for",
            field="--table" if folders else "--knowledge",
            value={name: coverage_told(**asdict(of)) for name, of in coverage.items()},
            remedy="Use tables of two tasks or more, with scores that differ.",
        )
    document = summarise(done, coverage=coverage | others, unavailable=unavailable)
    if html is not None:
        from metatune.report import backtest_page

        html.write_text(backtest_page(document), encoding="utf-8")
    return Answer(document, shown(document, html), _PARTIAL if document["failures"] else 0)


def _methods(text: str) -> tuple[list[str], dict[str, str]]:
    """The methods in ``text`` that can run here, and why the others cannot. Raises ``UsageError``."""
    from metatune.backtest.registry import METHODS as KNOWN
    from metatune.backtest.registry import available

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in KNOWN:
            raise UsageError("unknown method", field="--methods", value=name, remedy=f"Known: {', '.join(KNOWN)}.")
    reasons = {name: reason for name in names if (reason := available(name)) is not None}
    usable = [name for name in names if name not in reasons]
    if not usable:
        remedy = " ".join(f"{name}: {reason}." for name, reason in reasons.items()) or f"Known: {', '.join(KNOWN)}."
        raise UsageError("no method that can run", field="--methods", value=text, remedy=remedy)
    return usable, reasons


def _read(folders: Sequence[Path], family: Sequence[str] | None, *, borrowed: bool) -> "Replayable":
    from metatune.backtest.history_tables import Replayable
    from metatune.backtest.table import read_tables

    if family:
        raise UsageError(
            "only knowledge has families", field="--family", value=list(family), remedy="Leave --table or --family out."
        )
    if borrowed:
        remedy = "Leave --table or --borrowed out."
        raise UsageError("only knowledge has borrowed tasks", field="--borrowed", value=True, remedy=remedy)
    return Replayable([read for folder in folders for read in read_tables(folder)], {})


def _of_knowledge(directory: str | None, family: Sequence[str] | None, *, borrowed: bool) -> "Replayable":
    """The tables of the knowledge, to search on own tasks if it has any, unless on ``borrowed`` ones too.

    Raises ``UnknownNameError`` and ``NoHistoryError``.
    """
    from metatune.backtest.coverage import MIN_COMPLETED
    from metatune.backtest.history_tables import replayable

    known = options.open_knowledge(directory)
    snapshot = known.snapshot
    for name in family or ():
        if name not in snapshot.families:
            raise UnknownNameError.of("--family", name, snapshot.families)
    chosen = snapshot.only(family) if family else snapshot
    found = replayable(chosen, borrowed=known.borrowed, search_borrowed=borrowed)
    if not found.tables:
        raise NoHistoryError(
            f"no family has two tasks with {MIN_COMPLETED} completed trials"
            + (", one of them yours" if known.borrowed and not borrowed else ""),
            field="--knowledge",
            value=directory,
            remedy="Run more searches and `metatune train`, or give --borrowed, --table or --knowledge starter.",
        )
    return found


class ReplayProgress(Bar):
    """Shows how many searches have ended, as a bar in a terminal and as a line now and then in a file.

    A context manager, to be called as ``progress`` of ``run_all``.
    """

    def __init__(self, screen: Console) -> None:
        super().__init__(
            screen,
            TextColumn("{task.description}", style="default"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task("starting", total=None)
        self._told = -_QUIET

    def __call__(self, runs: "Sequence[Run]", ended: int, total: int) -> None:
        """Show that ``runs`` ended, and with them ``ended`` of ``total``."""
        last = runs[-1]
        text = legible(f"{last.table}, seed {last.seed}, {last.task}", limit=60)
        self._bar.update(self._task, completed=ended, total=total, description=text)
        now = time.monotonic()
        if not self._screen.is_terminal and (ended == total or now - self._told >= _QUIET):
            self._told = now
            self._screen.print(f"[{ended}/{total}] {text}", soft_wrap=True)
