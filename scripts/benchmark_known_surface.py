"""How near searches come to one that knows its task: the pool's rows in the order of the task's own surface.

    python scripts/benchmark_known_surface.py --benchmarks DIR --runs DIR [--tables lcbench ...] [--tasks 24]

No search can have this: the surface (the mean of extremely randomised trees and LightGBM on Gaussian ranks) is learnt
from nine tenths of all trials of the task itself and asked about the tenth that it has not seen, all tenths in turn. It
does not know how single rows fell out, so its regret is what remains of luck, and of detail that so many trials do not
show. Its searches join those of ``benchmark_transfer.py`` in ``--runs``, as the method ``known-surface``; what is there
is not run again. Prints the regret divided by that of ``gp``, beside that of ``metatune``, on what all three have run.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from lightgbm import LGBMRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold
from transfer.reading import Runs, summary
from transfer.stages import PLAIN, SEARCH, digests, first_table
from transfer.text import number, table, tasks_told

from metatune.backtest.coverage import drawn
from metatune.backtest.fold import Fold, Problem
from metatune.backtest.run import Journal, Run
from metatune.backtest.table import ReplayTable
from metatune.surrogate.targets import copula_targets
from metatune.version import __version__

METHOD = "known-surface"
TENTHS = 10
SHOWN = ("5", "10", "25", "50")


def surface(X: np.ndarray, score: np.ndarray) -> np.ndarray:
    """What each of the n trials promises according to the others, shape (n,); higher is better."""
    target, filled = copula_targets(score), np.nan_to_num(X, nan=-1.0)
    promised = np.empty(len(target))
    for seen, asked in KFold(TENTHS, shuffle=True, random_state=0).split(X):
        trees = ExtraTreesRegressor(200, min_samples_leaf=2, random_state=0).fit(filled[seen], target[seen])
        boosted = LGBMRegressor(
            n_estimators=300, learning_rate=0.05, min_child_samples=5, n_jobs=1, random_state=0, verbose=-1
        ).fit(X[seen], target[seen])
        promised[asked] = trees.predict(filled[asked]) + np.asarray(boosted.predict(X[asked]))
    return promised


def searched(problem: Problem, promised: np.ndarray) -> Run:
    """The search that takes the pool's rows as ``promised`` ranks them, which is one number per configuration."""
    order = np.argsort(-promised[problem.rows], kind="stable")[: PLAIN.n]
    found = problem.fold.table
    return Run(
        found.name, found.labels[problem.task], problem.fold.seed, METHOD, PLAIN,
        problem.regret(problem.score[order]), np.zeros(len(order)), digest=found.digest, version=__version__,
    )  # fmt: skip


def run(found: ReplayTable, seeds: int, tasks: int | None, journal: Journal) -> None:
    """The searches on one table that ``journal`` has not."""
    done = {(one.digest, one.version, one.task, one.seed) for one in journal.read(found.name, METHOD)}
    folds = [Fold(found, seed) for seed in range(seeds)]
    for task in drawn(folds[0], tasks):
        label = found.labels[task]
        left = [fold for fold in folds if (found.digest, __version__, label, fold.seed) not in done]
        if not left:
            continue
        of = found.tasks[task]
        promised = np.full(len(found.configurations), np.nan)
        promised[of.rows] = surface(found.X[of.rows], of.score)
        journal.append([searched(fold.problem(task), promised) for fold in left])
        print(f"{found.name}: {label}", file=sys.stderr, flush=True)


def told(runs: Runs, names: Sequence[str]) -> str:
    """The table of relative regrets, and on what it rests."""
    compared = summary(runs.of(names, ["gp", "metatune", METHOD], PLAIN))
    heads = ["regret / gp", *(f"known surface at {e}" for e in SHOWN), *(f"metatune at {e}" for e in SHOWN)]
    parts = [(f"`{name}`", one["methods"]) for name, one in compared["tables"].items()]
    rows = [
        [name, *(number(methods[method]["relative"].get(e), 3) for method in (METHOD, "metatune") for e in SHOWN)]
        for name, methods in [*parts, ("**all**", compared["overall"]["methods"])]
    ]
    return f"{tasks_told(compared)}\n\n{table(heads, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", type=Path, required=True, help="the folder of the tables")
    parser.add_argument(
        "--runs", type=Path, required=True, help="where searches are kept, with those of gp and metatune"
    )
    parser.add_argument("--tables", nargs="+", default=SEARCH)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", type=int, metavar="N", help="so many tasks of each table")
    options = parser.parse_args()
    for name in options.tables:
        run(first_table(options.benchmarks / name), options.seeds, options.tasks, Journal(options.runs))
    print(told(Runs(options.runs, digests(options.benchmarks)), options.tables))


if __name__ == "__main__":
    main()
