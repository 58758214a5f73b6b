"""What is recommended first by a history of few datasets, as a young team has it; see ``benchmark_knowledge.py``."""

import hashlib
from collections.abc import Iterator

import numpy as np

from kb.firsts import First, firsts
from metatune.knowledge import Knowledge
from metatune.metric import Metric
from metatune.snapshot import Snapshot

#: Histories of so many sources of data.
SIZES = (5, 10, 18, 40, 100)
#: Gains and losses beyond this count no more in the mean.
MOST = 0.1
#: Recommendations by each history are judged on so many other sources.
_JUDGED = 50


def reported(name: str) -> bool:
    """Whether the dataset is of the half on which no setting of the recommendation was chosen."""
    return hashlib.sha256(name.encode()).digest()[-1] % 2 == 1


def firsts_of_few(
    knowledge: Knowledge, family: str, metric: Metric | None, size: int, *, draws: int
) -> Iterator[First]:
    """The first recommendations by ``draws`` random histories of ``size`` sources, each on other sources.

    Both are of the datasets that are ``reported``. Fewer recommendations where there are not so many sources.
    """
    whole = knowledge.surrogate(family, metric)
    records = [record for record in knowledge.snapshot.only([family]).records() if reported(record[0].task.name)]
    groups = sorted({study.task.group for study, _ in records})
    for draw in range(draws):
        order = np.random.default_rng([size, draw]).permutation(groups)
        of = {str(group): place for place, group in enumerate(order)}
        known = Snapshot.of(record for record in records if of[record[0].task.group] < size)
        surrogate = Knowledge.build(known).surrogate(family, metric)
        asked = {s.task.name for s, _ in records if size <= of[s.task.group] < size + _JUDGED}
        if whole is not None and surrogate is not None and asked:
            yield from firsts(whole, asked, known=surrogate)
