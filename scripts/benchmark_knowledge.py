"""What the starter knowledge is worth on a dataset it never saw: leave one group of datasets out, replay its trials.

    python scripts/benchmark_knowledge.py [--knowledge DIR]

For every dataset, all that came from its source is taken out of the knowledge; then the first configurations that the
rest recommends are looked up among the trials of that dataset. Regret is 0 for its best configuration tried and 1 for
its worst. Both sides are tried configurations of one design, so this says how well the history ranks; it says nothing
about configurations in between.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from scipy.stats import wilcoxon

from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.search.portfolio import greedy_portfolio
from metatune.search.prior import Prior
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.tasks import TaskTrials

AT = (1, 2, 3, 5, 10)
_SHUFFLES = 50
#: Of fewer sources than this, what the others say of one means nothing.
_FEWEST = 10


def without_group(surrogate: FamilySurrogate, group: str) -> FamilySurrogate:
    """``surrogate`` as if it had never seen a dataset of ``group``; whether it uses meta-features stays as decided."""
    kept = [i for i, task in enumerate(surrogate.tasks) if task.record.group != group]
    tasks = tuple(surrogate.tasks[i] for i in kept)
    features = surrogate.meta.features if surrogate.meta else ()
    meta = MetaSurrogate.fit(tasks, surrogate.encoder, features=features)
    assert surrogate.design is not None
    return replace(
        surrogate,
        tasks=tasks,
        design=surrogate.design.of_tasks(np.array(kept)),
        smoothness=tuple(surrogate.smoothness[i] for i in kept),
        meta=meta,
    )


def regret_of(task: TaskTrials) -> np.ndarray:
    """Regret of each trial of ``task``; a failed one has that of the worst."""
    score = np.nan_to_num(task.score, nan=np.nanmin(task.score))
    return (score.max() - score) / np.ptp(score)


def replay(surrogate: FamilySurrogate) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
    """For every task: regret of the portfolio after ``AT`` trials, of the default, of random order after ``AT``."""
    family = get_family(surrogate.table.family)
    space, default = family.space(), family.default()
    for number, task in enumerate(surrogate.tasks):
        configurations = [surrogate.table.configuration(int(row)) for row in task.rows]
        if default not in configurations or len(configurations) < max(AT):
            continue
        prior = Prior(without_group(surrogate, task.record.group), task.record, space)
        regret = regret_of(task)
        order = greedy_portfolio(prior.predict(configurations), max(AT), prior.base)
        places = np.array(AT) - 1
        rng = np.random.default_rng(number)
        shuffled = [np.minimum.accumulate(rng.permutation(regret))[places] for _ in range(_SHUFFLES)]
        yield (
            np.minimum.accumulate(regret[order])[places],
            float(regret[configurations.index(default)]),
            np.mean(shuffled, axis=0),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--knowledge", type=Path, help="a knowledge folder; the starter unless given")
    arguments = parser.parse_args()
    knowledge = Knowledge.load(arguments.knowledge) if arguments.knowledge else Knowledge.starter()
    heads = " | ".join(f"random {n}" for n in AT) + " | default | " + " | ".join(f"metatune {n}" for n in AT)
    print(f"| family | datasets | {heads} | first not worse than default | p |")
    print("|" + "---|" * (2 * len(AT) + 5))
    for name in knowledge.families:
        surrogate = knowledge.surrogate(name)
        if surrogate is None or len({task.record.group for task in surrogate.tasks}) < _FEWEST:
            continue
        portfolio, default, chance = (np.array(part) for part in zip(*replay(surrogate), strict=True))
        gain = default - portfolio[:, 0]
        p = wilcoxon(gain).pvalue if np.any(gain) else 1.0
        cells = [f"{v:.3f}" for v in (*chance.mean(0), default.mean(), *portfolio.mean(0))]
        share = float(np.mean(portfolio[:, 0] <= default + 1e-9))
        print(f"| {name} | {len(default)} | {' | '.join(cells)} | {share:.0%} | {p:.1e} |")


if __name__ == "__main__":
    main()
