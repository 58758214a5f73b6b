"""Warm against cold search on the reserved datasets, of which no knowledge is made: every trial is really trained.

    python scripts/benchmark_reserved.py --packages DIR --runs DIR [--families lightgbm ...] [--datasets wine ...]
        [--seeds 3] [--trials 25] [--workers 2] [--knowledge DIR] [--summary FILE]
    python scripts/benchmark_reserved.py --runs DIR --report         # tables of what has been run so far

For every reserved dataset (``kb.reserved``) that a family is for, and every seed, ``metatune.tune`` searches twice on
the same task with the same folds and training seed: *warm*, with the knowledge, and *cold*, by Optuna's TPE without
any. Rows and folds are those of the knowledge base (``kb.worker.prepared``). The archives with the datasets (500 MB)
are read in ``--packages``, where they are downloaded if missing.

Each search that ended is a line of ``searches.jsonl`` in ``--runs``. The script can be killed at any time and goes on
where it was; a warm search is made again with another knowledge of its family, every search by another version. Seeds
come one after the other, so that a run which is stopped has covered all datasets; each dataset has random numbers of
its own. One thread per process.

What is reported, for each family:

- *Trials to reach the cold best*: the number of the first warm trial that is at least as good as the best of all cold
  trials; more than ``--trials`` where none is. Of a dataset it is the median over its seeds.
- *At the end*: whether the best of the warm trials is better than, equal to or worse than that of the cold ones; of a
  dataset by the mean over its seeds. The sign test over datasets asks whether warm is behind (one-sided). Where there
  are few datasets, so that it can say nothing, the one over single searches is there too; seeds of one dataset are
  not independent, so its p-value is too small.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from build_knowledge_base import ONE_THREAD, ROOT
from kb.catalogue import Entry, read_catalogue, select
from kb.packages import fetch
from kb.plan import ROW_CAPS
from kb.reserved import reserved
from kb.searches import Ended, Search, append, read, summarise, table
from kb.worker import prepared

from metatune.errors import DataError, MetatuneError, SearchError
from metatune.knowledge import Knowledge, starter_directory
from metatune.learners import family_names
from metatune.orphan import end_with_parent
from metatune.tuner import tune

FAMILIES = ("lightgbm", "keras_mlp", "keras_cnn", "keras_text")
METHODS = ("cold", "warm")


def planned(entries: Sequence[Entry], knowledge: Mapping[str, str], *, seeds: int, trials: int) -> Iterator[Search]:
    """All searches in their order: seed after seed, dataset after dataset. ``knowledge``: its digests by family."""
    for seed in range(seeds):
        for entry in entries:
            for family, digest in knowledge.items():
                if family in family_names(entry.modality):
                    for method in METHODS:
                        yield Search(family, entry.name, seed, method, trials, digest if method == "warm" else "")


def digests(knowledge: Knowledge, families: Sequence[str]) -> dict[str, str]:
    """What ``knowledge`` has of each of ``families``: all that a search of the family is guided by.

    Raises ``UnknownNameError`` for a family that it does not have.
    """
    return {name: knowledge.snapshot.only([name]).digest for name in families}


_knowledge: list[Knowledge] = []


def _begin(folder: Path) -> None:
    end_with_parent()
    _knowledge.append(Knowledge.load(folder))


def run(search: Search, entry: Entry, packages: Path) -> Ended:
    """Search on ``entry``; with the error where no trial was complete. In a process that ``_begin`` prepared."""
    task, _, _ = prepared(entry, ROW_CAPS[entry.modality], packages)
    warm = search.method == "warm"
    try:
        result = tune(
            task,
            search.family,
            n_trials=search.trials,
            strategy="meta" if warm else "tpe",
            knowledge=_knowledge[0] if warm else False,
            store=False,
            seed=search.random_seed,
            refit=False,
        )
    except SearchError as error:
        return Ended(search, task.metric.name, (), 0.0, str(error))
    if result.interrupted:
        raise KeyboardInterrupt
    scores = [t.value if t.status == "complete" else None for t in result.trials]
    return Ended(
        search,
        task.metric.name,
        tuple(None if value is None else float(f"{task.metric.score(value):.10g}") for value in scores),
        round(result.seconds, 2),
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=ROOT / ".cache", help="where the archives are kept")
    parser.add_argument("--runs", type=Path, required=True, help="the folder that keeps the searches")
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=family_names())
    parser.add_argument("--datasets", nargs="+", help="of the reserved ones, by name; all unless given")
    parser.add_argument("--seeds", type=int, default=3, help="searches for each dataset")
    parser.add_argument("--trials", type=int, default=25, help="length of a search")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--knowledge", type=Path, default=starter_directory(), help="the starter unless given")
    parser.add_argument("--summary", type=Path, help="where the summary is written; in --runs unless given")
    parser.add_argument("--report", action="store_true", help="train nothing")
    return parser.parse_args(arguments)


def chosen(names: Sequence[str] | None, knowledge: Knowledge) -> list[Entry]:
    """The reserved datasets called ``names``. Raises ``DataError`` if ``knowledge`` was made from one of them."""
    catalogue, _ = read_catalogue()
    withheld = reserved(catalogue)
    entries = select([entry for entry in catalogue if entry.group in withheld], names)
    seen = {study.task.group for study in knowledge.snapshot.studies} & {entry.group for entry in entries}
    if seen:
        raise DataError(
            "the knowledge was made from it", field="--datasets", value=sorted(seen), remedy="Leave it out."
        )
    return entries


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    os.environ.update(ONE_THREAD)
    os.environ.pop("METATUNE_KEY", None)
    try:
        print(table(_summary(options)))
    except MetatuneError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _summary(options: argparse.Namespace) -> dict[str, Any]:
    """Run what is left to be run, unless only a report is wanted; what all searches say, also in a file."""
    knowledge = Knowledge.load(options.knowledge)
    known = digests(knowledge, options.families)
    options.runs.mkdir(parents=True, exist_ok=True)
    done = read(options.runs)
    if not options.report:
        entries = {entry.name: entry for entry in chosen(options.datasets, knowledge)}
        wanted = planned(list(entries.values()), known, seeds=options.seeds, trials=options.trials)
        left = [search for search in wanted if search not in done]
        fetch({entries[search.dataset].package for search in left}, options.packages)
        for ended in _in_pool(left, entries, options):
            append(options.runs, ended)
            if ended.error is None:
                done[ended.search] = ended
    summary = summarise(done, trials=options.trials, knowledge=known)
    path = options.summary or options.runs / "summary.json"
    path.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return summary


def _in_pool(left: Sequence[Search], entries: dict[str, Entry], options: argparse.Namespace) -> Iterator[Ended]:
    """The searches as they end, in processes of one thread each."""
    # Not forked: threads of the libraries loaded here would be lost in the middle of what they do.
    pool = ProcessPoolExecutor(options.workers, get_context("spawn"), initializer=_begin, initargs=(options.knowledge,))
    try:
        futures = [pool.submit(run, search, entries[search.dataset], options.packages.resolve()) for search in left]
        for number, future in enumerate(as_completed(futures), start=1):
            ended = future.result()
            found = ended.error or f"{ended.metric}, best score {ended.best[-1]:.5g}, {ended.seconds:.0f} s"
            name = " ".join(
                map(str, (ended.search.family, ended.search.dataset, ended.search.seed, ended.search.method))
            )
            print(f"[{number}/{len(left)}] {name}: {found}", file=sys.stderr, flush=True)
            yield ended
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    sys.exit(main())
