"""What a search method is in a replay, and what several of them need."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from metatune.backtest.fold import Problem

#: Evaluations in their order: position in the pool, and the score there (NaN for a failure).
Observed: TypeAlias = Sequence[tuple[int, float]]


class Search(Protocol):
    """One search under way."""

    def ask(self, observed: Observed) -> int:
        """The position in the pool to evaluate next, given everything evaluated so far; never one that was before."""


#: Starts a search on a problem, with a seed.
Method: TypeAlias = Callable[[Problem, int], Search]


class Listed:
    """A search that takes the positions of a list in turn, but those evaluated already, whatever comes of them."""

    def __init__(self, order: np.ndarray) -> None:
        self._order = order

    def ask(self, observed: Observed) -> int:
        """See ``Search``."""
        taken = {position for position, _ in observed}
        return next(int(position) for position in self._order if position not in taken)


def nearest_free(U: np.ndarray, point: np.ndarray, observed: Observed) -> int:
    """Position of the row of ``U`` (m, d) nearest to ``point`` (d,) that was not evaluated yet."""
    squares = ((U - point) ** 2).sum(axis=1)
    squares[[position for position, _ in observed]] = np.inf
    return int(np.argmin(squares))
