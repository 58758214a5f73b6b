"""What the starter knowledge is worth on a dataset it never saw: leave one group of datasets out, replay its trials.

    python scripts/benchmark_knowledge.py regret [--knowledge DIR] [--families ...] [--metric NAME]
    python scripts/benchmark_knowledge.py first  [--knowledge DIR] [--families ...]
    python scripts/benchmark_knowledge.py few    [--knowledge DIR] [--families ...] [--seeds 3]
    python scripts/benchmark_knowledge.py ranks  [--knowledge DIR] [--families ...] [--seeds 3] [--tasks N]
                                                 [--workers 2] [--runs DIR] [--halves]

For every dataset, all that came from its source (its group: subsets of one parent, two studies of one survey) is taken
out of the knowledge (for the meta-surrogate, with a twentieth of all sources), and what the rest recommends is looked
up among the trials of that dataset. Nothing is trained anew, and no score is guessed: what was not tried on the dataset
cannot be recommended here. Nor is what the engine proposed for the dataset, which it chose by knowing it. So this says
how well the history ranks; it says nothing about configurations in between (``benchmark_reserved.py`` trains those).
Families with fewer than 10 sources are left out. One thread per process.

``regret``: the first configurations of the portfolio against the default and random order. Regret is 0 for the best
configuration tried on the dataset and 1 for its worst. ``--metric`` asks for another metric than each dataset was
judged by, on the datasets whose trials recorded it. Minutes.

``first``: whether the first recommendation is at least as good as the library's default. It is what ``metatune
recommend`` puts first by its own rule (the best expected of default and portfolio), if only the configurations that
were tried on the dataset existed; its score and that of the default are the ones recorded there. Classification is
recommended and judged by accuracy, regression by RMSE as a share of the target's standard deviation on the validation
rows (from RMSE and R2). One standard error is that of the default's score: sqrt(p (1 - p) / n) for an accuracy p on n
validation rows, rmse / sqrt(2 n) for an RMSE with normal errors. The goal: not worse by more than that on 90 % of the
tasks, and on none by more than 2 points of accuracy or 2 % of the spread. Those that are are listed. Minutes.

``few``: the same as ``first``, by histories of 5 to 100 sources drawn at random, on 50 others; all of the half of the
datasets (by a hash of the name) on which no setting of the recommendation was chosen. A minute a family and seed.

``ranks``: average ranks after 1, 3, 5, 10 and 25 trials of whole searches (``metatune backtest`` has the methods):
default, random, TPE, the static portfolio, kNN on meta-features, and metatune with meta-features by its own decision,
always, and never. Ties share their mean rank; a dash stands where half of the pools have no more configurations than
that, so that every method has seen all. All trials of the other datasets are history, also those with the
configurations of the pool, since a search with this knowledge proposes just these. With ``--halves`` half of the
configurations are history and the others the pools, as in ``metatune backtest``. ``--runs`` keeps the searches, so that
the script can be killed and goes on; ``--tasks`` is for trying it out. About a quarter of a second a search.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from kb.few import MOST, SIZES, firsts_of_few
from kb.firsts import HARM, First, firsts, left_out
from kb.proposed import FIRST
from scipy.stats import wilcoxon

from metatune.backtest.fold import Fold
from metatune.backtest.history_tables import tables_of
from metatune.backtest.replay import run_all
from metatune.backtest.run import Protocol, Run
from metatune.backtest.summary import summarise
from metatune.backtest.table import ReplayTable
from metatune.errors import DataError, MetatuneError, UnknownNameError
from metatune.knowledge import Knowledge
from metatune.metric import Kind, Metric, metric_names
from metatune.search.portfolio import greedy_portfolio
from metatune.snapshot import Snapshot
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.tasks import TaskTrials

AT = (1, 2, 3, 5, 10)
RANKS_AT = (1, 3, 5, 10, 25)
METHODS = {
    "default": "default",
    "random": "random",
    "tpe": "TPE",
    "portfolio": "static portfolio",
    "knn": "kNN on meta-features",
    "metatune": "metatune",
    "metatune-features-on": "metatune, meta-features on",
    "metatune-features-off": "metatune, meta-features off",
}
#: The goal: on so many tasks the first recommendation is not worse than the default by a standard error.
SHARE = 0.9
_SHUFFLES = 50
#: Of fewer sources than this, what the others say of one means nothing.
_FEWEST = 10


def regret_of(task: TaskTrials) -> np.ndarray:
    """Regret of each trial of ``task``; a failed one has that of the worst."""
    score = np.nan_to_num(task.score, nan=np.nanmin(task.score))
    return (score.max() - score) / np.ptp(score)


def replay(surrogate: FamilySurrogate, metric: str | None = None) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
    """For every task: regret of the portfolio after ``AT`` trials, of the default, of random order after ``AT``.

    ``metric``: only tasks that are judged by it.
    """
    judged = None if metric is None else {r.name for r in surrogate.records if r.metric.name == metric}
    for number, (task, prior, default) in enumerate(left_out(surrogate, judged)):
        regret = regret_of(task)
        order = greedy_portfolio(prior.predicted, max(AT), prior.base)
        places = np.array(AT) - 1
        rng = np.random.default_rng(number)
        shuffled = [np.minimum.accumulate(rng.permutation(regret))[places] for _ in range(_SHUFFLES)]
        yield np.minimum.accumulate(regret[order])[places], float(regret[default]), np.mean(shuffled, axis=0)


def regret_table(surrogates: dict[str, FamilySurrogate], metric: str | None = None) -> str:
    """A row a family that has datasets judged by ``metric``: mean regret over them. ``DataError`` if none has."""
    heads = [*(f"random {n}" for n in AT), "default", *(f"metatune {n}" for n in AT)]
    lines = [_row(["family", "datasets", *heads, "first not worse than default", "p"]), _rule(len(heads) + 4)]
    for name, surrogate in surrogates.items():
        found = list(replay(surrogate, metric))
        if not found:  # no dataset of the family is judged by the metric
            continue
        portfolio, default, chance = (np.array(part) for part in zip(*found, strict=True))
        gain = default - portfolio[:, 0]
        p = wilcoxon(gain).pvalue if np.any(gain) else 1.0
        cells = [f"{v:.3f}" for v in (*chance.mean(0), default.mean(), *portfolio.mean(0))]
        share = float(np.mean(portfolio[:, 0] <= default + 1e-9))
        lines.append(_row([name, len(default), *cells, f"{share:.0%}", f"{p:.1e}"]))
    if len(lines) == 2:
        raise DataError(
            "no dataset of these families recorded it",
            field="--metric", value=metric, remedy="Name another metric, or other families.",
        )  # fmt: skip
    return "\n".join(lines)


def first_table(found: dict[str, Sequence[First]]) -> str:
    """A row a family, one for all, and below the table every task on which the first recommendation does harm."""
    heads = ["family", "tasks", "at least as good within one standard error", "better", "equal", "worst", "harmed"]
    lines = [_row(heads), _rule(len(heads))]
    everything = [(family, one) for family, those in found.items() for one in those]
    for name, those in [*found.items(), ("all", [one for _, one in everything])]:
        gains = np.array([one.gain for one in those])
        good, better, equal = (f"{np.mean(of):.0%}" for of in ([one.good for one in those], gains > 0, gains == 0))
        harmed = sum(one.harmful for one in those)
        lines.append(_row([name, len(those), good, better, equal, f"{gains.min():+.3f}", harmed]))
    share = np.mean([one.good for _, one in everything])
    names = [f"{family} on {one.dataset} ({one.gain:+.3f})" for family, one in everything if one.harmful]
    lines += [
        "",
        f"Goal of {SHARE:.0%} within one standard error: {'met' if share >= SHARE else 'not met'} ({share:.1%}).",
    ]
    lines.append(f"Worse by more than {HARM:.0%}: {', '.join(names) or 'none'}.")
    return "\n".join(lines)


def few_table(knowledge: Knowledge, names: Sequence[str], draws: int) -> str:
    """A row a number of known sources: what the first recommendations by ``draws`` histories of each family came to."""
    heads = ["known", "recommendations", "another score than the default's", "harmed", "mean gain"]
    lines = [_row(heads), _rule(len(heads))]
    for size in SIZES:
        metric = _metric("accuracy")
        found = [one for name in names for one in firsts_of_few(knowledge, name, metric, size, draws=draws)]
        if found:
            gains = np.array([one.gain for one in found])
            mean = float(np.clip(gains, -MOST, MOST).mean())
            harmed = np.mean([one.harmful for one in found])
            lines.append(_row([size, len(found), f"{np.mean(gains != 0):.0%}", f"{harmed:.1%}", f"{mean:+.4f}"]))
    return "\n".join(lines)


def ranks_table(document: dict[str, Any], pools: dict[str, int]) -> str:
    """Average ranks of ``METHODS`` from ``summarise``; ``pools`` are the middle sizes of the pools of each table.

    The last rows are over all tasks of the families whose pools are large enough for every number of trials shown.
    """
    heads = ["family", "tasks", "method", *(f"rank at {n}" for n in RANKS_AT), "regret at 1", "regret at 5"]
    lines = [_row(heads), _rule(len(heads))]
    for name, described in document["tables"].items():
        for method, entry in described["methods"].items():
            ranks = [f"{entry['rank'][str(n)]:.2f}" if pools[name] > n else "–" for n in RANKS_AT]
            regret = [f"{entry['regret'][str(n)]:.3f}" for n in (1, 5)]
            lines.append(_row([name, described["tasks"], METHODS[method], *ranks, *regret]))
    smallest = min(pools.values())
    for method, entry in document["overall"]["methods"].items():
        found = [(entry["rank"][str(n)] if smallest > n else None) for n in RANKS_AT]
        cells = ["–" if rank is None else f"{rank:.2f}" for rank in found]
        lines.append(_row(["all", document["overall"]["tasks"], METHODS[method], *cells, "", ""]))
    return "\n".join(lines)


def ranks(knowledge: Knowledge, names: Sequence[str], options: argparse.Namespace) -> str:
    """Replay the searches that ``options`` ask for; the table of them."""
    records = ((study, [t for t in trials if t.number < FIRST]) for study, trials in knowledge.snapshot.records())
    tables = [table for table in tables_of(Snapshot.of(records)) if table.name in names]
    runs = run_all(
        tables,
        list(METHODS),
        range(options.seeds),
        protocol=Protocol(n=max(RANKS_AT), whole=not options.halves),
        workers=options.workers,
        directory=options.runs,
        progress=_told,
        tasks=options.tasks,
    )
    pools = {table.name: middle_pool(table, whole=not options.halves) for table in tables}
    return ranks_table(summarise(runs), pools)


def middle_pool(table: ReplayTable, *, whole: bool) -> int:
    """The median number of configurations that a search on a task of ``table`` can ask for."""
    fold = Fold(table, 0, whole=whole)
    return int(np.median([len(fold.pool_rows(task)) for task in fold.playable]))


def _told(runs: Sequence[Run], ended: int, total: int) -> None:
    print(f"[{ended}/{total}] {runs[-1].table}, {runs[-1].task}, seed {runs[-1].seed}", file=sys.stderr, flush=True)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def families_of(knowledge: Knowledge, names: Sequence[str] | None) -> list[str]:
    """The families in ``knowledge`` (of ``names``, unless ``None``) with enough sources.

    Raises ``UnknownNameError``, and ``DataError`` if there is none.
    """
    for name in names or ():
        if name not in knowledge.families:
            raise UnknownNameError.of("--families", name, knowledge.families)
    groups: dict[str, set[str]] = {}
    for study in knowledge.snapshot.studies:
        groups.setdefault(study.family, set()).add(study.task.group)
    found = [name for name in knowledge.families if len(groups[name]) >= _FEWEST and (names is None or name in names)]
    if not found:
        raise DataError(
            f"none has {_FEWEST} sources in the knowledge",
            field="--families", value=names, remedy="Name other families, or give another --knowledge.",
        )  # fmt: skip
    return found


def _metric(name: str | None) -> Metric | None:
    """The metric called ``name``, be it of a classification or of a regression. Raises ``UnknownNameError``."""
    if name is None:
        return None
    known = {metric: kind for kind in get_args(Kind) for metric in metric_names(kind)}
    if name not in known:
        raise UnknownNameError.of("--metric", name, known)
    return Metric.of(name, known[name])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("regret", "first", "few", "ranks"))
    parser.add_argument("--knowledge", type=Path, help="a knowledge folder; the starter unless given")
    parser.add_argument("--families", nargs="+", help="only these")
    parser.add_argument("--metric", help="of regret: recommend and judge by it")
    parser.add_argument("--seeds", type=int, default=3, help="of ranks; of few, histories of each size")
    parser.add_argument("--tasks", type=int, help="of ranks: so many of each family, evenly spread")
    parser.add_argument("--workers", type=int, default=2, help="of ranks: processes")
    parser.add_argument("--runs", type=Path, help="of ranks: the folder that keeps the searches")
    parser.add_argument(
        "--halves", action="store_true", help="of ranks: history and pools have no configuration in common"
    )
    options = parser.parse_args(arguments)
    if options.metric is not None and options.part != "regret":
        parser.error(f"--metric is of regret; {options.part} has metrics of its own")
    try:
        print(_found(options))
    except MetatuneError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _found(options: argparse.Namespace) -> str:
    """The table that ``options`` ask for."""
    knowledge = Knowledge.load(options.knowledge) if options.knowledge else Knowledge.starter()
    names = families_of(knowledge, options.families)
    if options.part == "ranks":
        return ranks(knowledge, names, options)
    if options.part == "few":
        return few_table(knowledge, names, options.seeds)
    metric = _metric("accuracy" if options.part == "first" else options.metric)
    surrogates = {name: known for name in names if (known := knowledge.surrogate(name, metric)) is not None}
    if options.part == "first":
        return first_table({name: list(firsts(surrogate)) for name, surrogate in surrogates.items()})
    return regret_table(surrogates, options.metric)


if __name__ == "__main__":
    sys.exit(main())
