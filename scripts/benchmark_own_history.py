"""How much own tasks should weigh beside borrowed ones: the choice of the opening, replayed on the starter knowledge.

    python scripts/benchmark_own_history.py

A team has n tasks of its own; the rest of what it knows is borrowed and of another kind. Here the own tasks are of
the kind of the task at hand (classification or regression), the borrowed ones of the other. Regret is that of the best
of one and of three configurations of the portfolio, among the configurations that are no history (see ``Fold``).
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from metatune.backtest.fold import Fold, Problem
from metatune.backtest.history_tables import tables_of
from metatune.knowledge import Knowledge
from metatune.search.portfolio import greedy_portfolio
from metatune.search.prior import task_weights

#: Own tasks together weigh n / (n + credit), or as every task alike (infinite).
CREDITS = (0.0, 1.0, 3.0, 10.0, 30.0, np.inf)
OWN = (1, 3, 10)
SEEDS = 3
#: Both kinds of tasks must have so many.
ENOUGH = 10


def regrets(problem: Problem, own: np.ndarray, borrowed: np.ndarray, credit: float) -> tuple[float, float]:
    predicted = problem.fold.learnt.surfaces()[np.ix_(np.concatenate([own, borrowed]), problem.rows)]
    is_own = np.arange(len(own) + len(borrowed)) < len(own)
    tasks = problem.fold.table.tasks
    groups = np.array([tasks[i].record.group for i in np.concatenate([own, borrowed])])
    chosen = greedy_portfolio(predicted, 3, task_weights(is_own, groups, credit=credit))
    regret = problem.regret(problem.score[chosen])
    return float(regret[0]), float(regret[2])


def main() -> None:
    found: dict[tuple[int, float], list[tuple[float, float]]] = {}
    for table in tables_of(Knowledge.starter().snapshot):
        kinds = np.array([task.record.kind for task in table.tasks])
        for seed in range(SEEDS):
            fold, rng = Fold(table, seed), np.random.default_rng(seed)
            for task in fold.playable:
                problem = fold.problem(task)
                same = kinds[problem.others] == kinds[task]
                alike, borrowed = problem.others[same], problem.others[~same]
                if min(len(alike), len(borrowed)) < ENOUGH:
                    continue
                for n in OWN:
                    own = rng.choice(alike, n, replace=False)
                    for credit in CREDITS:
                        found.setdefault((n, credit), []).append(regrets(problem, own, borrowed, credit))
    print("| own tasks | " + " | ".join("alike" if np.isinf(c) else f"{c:g}" for c in CREDITS) + " |")
    print("|" + "---|" * (len(CREDITS) + 1))
    for n in OWN:
        cells = (np.mean(found[n, credit], axis=0) for credit in CREDITS)
        print(f"| {n} | " + " | ".join(f"{one:.3f} / {three:.3f}" for one, three in cells) + " |")


if __name__ == "__main__":
    main()
