"""What the suite runs, stage by stage; every stage leaves its runs in the same journal and repeats none."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from metatune.backtest import peers
from metatune.backtest.engine import ABLATIONS
from metatune.backtest.registry import METHODS, available
from metatune.backtest.replay import Progress, run_all
from metatune.backtest.run import Protocol, Run
from metatune.backtest.table import ReplayTable, read_tables

#: The tables of the search benchmark; settings were chosen on the first three.
SEARCH = ("lcbench", "hpobench_mlp", "rbv2_ranger", "rbv2_rpart", "taskset_adam8p", "salinas_xgboost")
PIPELINES = "askl2016"

PLAIN = Protocol()
STRESS = {
    "inverted history": Protocol(stress="inverted"),
    "unrelated history": Protocol(stress="unrelated"),
    "1 task of history": Protocol(n_history=1),
    "3 tasks of history": Protocol(n_history=3),
}
#: Everything but released packages and metatune without a part.
OWN = tuple(name for name in METHODS if name not in peers.NAMES and name not in ABLATIONS)
#: What the bars are about.
MAIN = ("metatune", "gp", "portfolio")
FEATURES = tuple(f"metatune-features-{mode}" for mode in ("on", "off", "shuffled"))
PIPELINE_METHODS = ("metatune", *FEATURES, "portfolio", "knn", "gp", "random")

#: A table with fewer tasks than this is searched with so many times the seeds.
_FEW, _STEADY = 20, 3
#: Seconds between two lines of progress.
_QUIET = 30.0


@dataclass(frozen=True)
class Part:
    """Searches by ``methods`` on ``tasks`` tasks of each of ``tables``, all of them for ``None``.

    ``steady``: tables of few tasks get more seeds, since their means rest on little else.
    """

    tables: tuple[str, ...]
    methods: tuple[str, ...]
    tasks: int | None = None
    protocol: Protocol = PLAIN
    steady: bool = False


def parts_of(
    stage: str,
    *,
    tables: Sequence[str] = SEARCH,
    simple_tasks: int | None,
    ablation_tasks: int,
    peer_tasks: int,
    stress_tasks: int,
) -> list[Part]:
    """The parts of stage a to e. What a stage compares with is in it too, at no cost if this version has run it."""
    searched = tuple(table for table in tables if table != PIPELINES)
    if stage == "a":
        return [Part(searched, MAIN, steady=True), Part(searched, OWN, simple_tasks, steady=True)]
    if stage == "b":
        return [Part(searched, ("metatune", "gp", *ABLATIONS), ablation_tasks)]
    if stage == "c":
        return [Part(searched, ("metatune", "gp", "portfolio", *peers.NAMES), peer_tasks)]
    if stage == "d":
        # A search without history is the same whatever was done to the history: it is run once, with a good one.
        spoilt = [Part(searched, ("metatune",), stress_tasks, protocol) for protocol in STRESS.values()]
        return [Part(searched, ("gp",), stress_tasks), *spoilt]
    return [Part((PIPELINES,), PIPELINE_METHODS)]


def run(parts: Sequence[Part], seeds: int, *, label: str, benchmarks: Path, runs: Path, workers: int) -> None:
    """Run ``parts`` seed by seed, so that an interrupted suite has everything for its first seeds."""
    for seed in range(seeds * _STEADY):
        for part in parts:
            methods = [name for name in part.methods if available(name) is None]
            for name in sorted(set(part.methods) - set(methods)):
                _say(f"stage {label}: {name} cannot run here: {available(name)}")
            for folder in part.tables:
                table = first_table(benchmarks / folder)
                if seed >= seeds and not (part.steady and len(table.tasks) < _FEW):
                    continue
                run_all(
                    [table], methods, [seed], protocol=part.protocol, workers=workers, directory=runs,
                    progress=_progress(f"stage {label}, seed {seed}, {_told(part.protocol)}{table.name}"),
                    tasks=part.tasks,
                )  # fmt: skip


def first_table(folder: Path) -> ReplayTable:
    """The table in ``folder``; of the five metrics of the pipelines, the first one (accuracy)."""
    return read_tables(folder)[0]


def digests(benchmarks: Path) -> dict[str, str]:
    """What the tables of the suite that are there contain: name by name ``ReplayTable.digest``."""
    folders = [benchmarks / name for name in (*SEARCH, PIPELINES)]
    return {table.name: table.digest for table in map(first_table, filter(Path.is_dir, folders))}


def unavailable() -> Iterator[tuple[str, str]]:
    """The released packages that cannot run here, with the reason."""
    for name in peers.NAMES:
        reason = available(name)
        if reason is not None:
            yield name, reason


def _told(protocol: Protocol) -> str:
    return next((f"{name}, " for name, known in STRESS.items() if known == protocol), "")


def _progress(label: str) -> Progress:
    began = told = time.monotonic()

    def show(ended_now: Sequence[Run], ended: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        for failed in (one for one in ended_now if one.error is not None):
            _say(f"{label}: {failed.method} failed on {failed.task}: {failed.error}")
        if ended == total or now - told >= _QUIET:
            told = now
            _say(f"{label}: {ended} of {total} searches, {now - began:.0f} s")

    return show


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


#: The stages in the order in which they run.
STAGES: dict[str, str] = {
    "a": "own and simple methods on all tasks",
    "b": "metatune without one of its parts",
    "c": "released packages",
    "d": "spoilt history",
    "e": "pipelines: what meta-features are worth",
}
