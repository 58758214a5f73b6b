"""Warm against cold search on the reserved datasets, of which no knowledge is made: every trial is really trained.

    python scripts/benchmark_reserved.py --packages DIR --runs DIR [--families lightgbm ...] [--datasets wine ...]
        [--seeds 3] [--trials 25] [--workers 2] [--knowledge DIR] [--summary FILE]
    python scripts/benchmark_reserved.py --runs DIR --report         # tables of what has been run so far

For every reserved dataset (``kb.reserved``) that a family is for, and every seed, ``metatune.tune`` searches twice on
the same task with the same folds and training seed: *warm*, with the knowledge, and *cold*, by Optuna's TPE without
any. Rows and folds are those of the knowledge base (``kb.worker.prepared``). The archives with the datasets (500 MB)
are read in ``--packages``, where they are downloaded if missing.

Each search that ended is a line of ``searches.jsonl`` in ``--runs``. The script can be killed at any time and goes on
where it was; a warm search is made again with another knowledge. Seeds come one after the other, so that a run
which is stopped has covered all datasets. One thread per process.

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
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from build_knowledge_base import ONE_THREAD, ROOT
from kb.catalogue import Entry, read_catalogue, select
from kb.packages import fetch
from kb.plan import ROW_CAPS
from kb.reserved import reserved
from kb.worker import prepared
from scipy.stats import binomtest

from metatune.errors import DataError, SearchError
from metatune.knowledge import Knowledge, starter_directory
from metatune.learners import family_names
from metatune.tune import tune

FAMILIES = ("lightgbm", "keras_mlp", "keras_cnn", "keras_text")
METHODS = ("cold", "warm")
#: The goal: the median number of warm trials.
GOAL = 5
FILE = "searches.jsonl"


@dataclass(frozen=True)
class Search:
    """What is to be run; ``knowledge`` is the digest of its snapshot, empty for a cold search."""

    family: str
    dataset: str
    seed: int
    method: str
    trials: int
    knowledge: str


@dataclass(frozen=True)
class Ended:
    """A search that ended. ``scores``, higher is better, has ``None`` for failed trials; ``seconds`` is wall time."""

    search: Search
    metric: str
    scores: tuple[float | None, ...]
    seconds: float
    error: str | None = None

    @property
    def best(self) -> np.ndarray:
        """Best score so far after each trial (``search.trials``,), minus infinity before the first complete one."""
        found = [-np.inf if score is None else score for score in self.scores]
        curve = np.maximum.accumulate(found) if found else np.array([-np.inf])
        return np.pad(curve, (0, self.search.trials - len(curve)), mode="edge")


def read(folder: Path) -> dict[Search, Ended]:
    """The searches that ended without an error; a line that was cut off when its writer was killed is ignored."""
    path, found = folder / FILE, {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        search = Search(**raw.pop("search"))
        ended = Ended(search, **(raw | {"scores": tuple(raw["scores"])}))
        if ended.error is None:
            found[search] = ended
    return found


def append(folder: Path, ended: Ended) -> None:
    """Write ``ended`` at the end of the file, on a line of its own whatever was cut off before."""
    path = folder / FILE
    whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a") as file:
        file.write(("" if whole else "\n") + json.dumps(asdict(ended)) + "\n")


def searches(
    entries: Sequence[Entry], families: Sequence[str], *, seeds: int, trials: int, knowledge: str
) -> Iterator[Search]:
    """All searches in their order: seed after seed, dataset after dataset."""
    for seed in range(seeds):
        for entry in entries:
            for family in families:
                if family in family_names(entry.modality):
                    for method in METHODS:
                        yield Search(family, entry.name, seed, method, trials, knowledge if method == "warm" else "")


_knowledge: list[Knowledge] = []


def _begin(folder: Path) -> None:
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
            seed=search.seed,
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


def trials_to_reach(best: np.ndarray, target: float) -> float:
    """The number, from 1, of the trial with which ``best`` (n,), ascending, reaches ``target``; infinite if none."""
    return float(np.argmax(best >= target)) + 1 if best[-1] >= target else np.inf


def summarise(done: dict[Search, Ended], *, trials: int, knowledge: str) -> dict[str, Any]:
    """Family by family what the searches of ``trials`` trials with ``knowledge`` say; infinite numbers as ``None``."""
    pairs: dict[str, dict[str, list[tuple[Ended, Ended]]]] = {}
    for search, cold in done.items():
        warm = done.get(Search(search.family, search.dataset, search.seed, "warm", trials, knowledge))
        if search.method == "cold" and search.trials == trials and warm is not None and np.isfinite(cold.best[-1]):
            pairs.setdefault(search.family, {}).setdefault(search.dataset, []).append((cold, warm))
    return {
        "trials": trials,
        "knowledge": knowledge,
        "families": {family: _of_family(datasets) for family, datasets in pairs.items()},
    }


def _of_family(datasets: dict[str, list[tuple[Ended, Ended]]]) -> dict[str, Any]:
    """``datasets``: pairs of a cold and a warm search, one for each seed."""
    needed = {name: [trials_to_reach(w.best, c.best[-1]) for c, w in pairs] for name, pairs in datasets.items()}
    cold = [np.median([trials_to_reach(c.best, c.best[-1]) for c, _ in pairs]) for pairs in datasets.values()]
    lead = {name: [float(w.best[-1] - c.best[-1]) for c, w in pairs] for name, pairs in datasets.items()}
    by_dataset = [float(np.median(numbers)) for numbers in needed.values()]
    low, middle, high = np.quantile(by_dataset, (0.25, 0.5, 0.75), method="inverted_cdf")
    median = float(np.median(by_dataset))
    return {
        "datasets": len(datasets),
        "searches": sum(map(len, datasets.values())),
        "warm_trials": {"median": _plain(median), "quartiles": [_plain(low), _plain(middle), _plain(high)]},
        "cold_trials": {"median": float(np.median(cold))},
        "within_goal": float(np.mean([number <= GOAL for number in by_dataset])),
        "reached": float(np.mean([np.isfinite(number) for number in by_dataset])),
        "goal_met": median <= GOAL,
        "at_end": {
            "datasets": sign_test([float(np.mean(leads)) for leads in lead.values()]),
            "searches": sign_test([value for leads in lead.values() for value in leads]),
        },
        "by_dataset": {
            name: {"warm_trials": [_plain(n) for n in needed[name]], "lead": [_plain(v) for v in lead[name]]}
            for name in sorted(datasets)
        },
    }


def sign_test(leads: Sequence[float]) -> dict[str, float | int]:
    """How many of ``leads`` are above, equal to and below 0, and the p-values of "behind" and "ahead" (one-sided).

    Equal ones do not count, as usual (Dixon and Mood, 1946). Without any other the p-values are 1.
    """
    ahead, behind = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    n = ahead + behind
    return {
        "ahead": ahead,
        "equal": len(leads) - n,
        "behind": behind,
        "p_behind": float(binomtest(ahead, n, alternative="less").pvalue) if n else 1.0,
        "p_ahead": float(binomtest(ahead, n, alternative="greater").pvalue) if n else 1.0,
    }


def _plain(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def table(summary: dict[str, Any]) -> str:
    """The table for ``docs/benchmarks.md``."""
    n = summary["trials"]
    heads = [
        "family", "datasets", "searches", f"warm trials to reach the cold best of {n}: median (quartiles)",
        "cold trials for it", f"within {GOAL}", f"ahead / equal / behind at {n}", "p (behind)",
        "the same of single searches", "p (behind)",
    ]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for family, found in summary["families"].items():
        low, _, high = (_number(value, n) for value in found["warm_trials"]["quartiles"])
        tests = [found["at_end"][of] for of in ("datasets", "searches")]
        cells = [
            family, found["datasets"], found["searches"],
            f"{_number(found['warm_trials']['median'], n)} ({low}, {high})",
            _number(found["cold_trials"]["median"], n), f"{found['within_goal']:.0%}",
            *(cell for t in tests for cell in (f"{t['ahead']} / {t['equal']} / {t['behind']}", f"{t['p_behind']:.2g}")),
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _number(value: float | None, most: int) -> str:
    return f"> {most}" if value is None else f"{value:g}"


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
    knowledge = Knowledge.load(options.knowledge)
    digest = knowledge.snapshot.digest
    options.runs.mkdir(parents=True, exist_ok=True)
    done = read(options.runs)
    if not options.report:
        entries = {entry.name: entry for entry in chosen(options.datasets, knowledge)}
        wanted = searches(
            list(entries.values()), options.families, seeds=options.seeds, trials=options.trials, knowledge=digest
        )
        left = [search for search in wanted if search not in done]
        fetch({entries[search.dataset].package for search in left}, options.packages)
        for ended in _in_pool(left, entries, options):
            append(options.runs, ended)
            if ended.error is None:
                done[ended.search] = ended
    summary = summarise(done, trials=options.trials, knowledge=digest)
    path = options.summary or options.runs / "summary.json"
    path.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
    print(table(summary))
    return 0


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
