"""Where the next configuration is looked for: points spread over the space, known good ones, and their neighbours."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from optuna.distributions import CategoricalDistribution
from scipy.stats import qmc

from metatune.parameter import units_at, value_at
from metatune.space import SearchSpace
from metatune.trial import Configuration, ParamValue

Identity: TypeAlias = tuple[tuple[str, type, ParamValue], ...]

#: Deviation of a step to a neighbour, as a share of the range; one is drawn per neighbour.
_STEPS = (0.02, 0.08, 0.2)
#: Chance that a neighbour differs in a given parameter.
_CHANGED = 0.4


def identity(configuration: Configuration) -> Identity:
    """A key that two configurations share exactly when they are equal, ``True`` and 1 told apart."""
    return tuple((name, type(value), value) for name, value in sorted(configuration.items()))


def unique(configurations: Iterable[Configuration]) -> list[dict[str, ParamValue]]:
    """``configurations`` without repetitions, in their order."""
    return list({identity(c): dict(c) for c in configurations}.values())


def spread(space: SearchSpace, n: int, seed: int) -> list[dict[str, ParamValue]]:
    """``n`` configurations that fill ``space`` evenly: scrambled Sobol points (Owen, 1998)."""
    sobol = qmc.Sobol(d=len(space), scramble=True, rng=np.random.default_rng(seed))
    points = sobol.random_base2(max(0, int(np.ceil(np.log2(max(n, 1))))))
    return [space.from_unit(point) for point in points[:n]]


def neighbours(
    space: SearchSpace,
    centres: Sequence[Configuration],
    n: int,
    rng: np.random.Generator,
    *,
    step: float | None = None,
) -> list[dict[str, ParamValue]]:
    """``n`` configurations near ``centres``, in turn: some parameters moved a little, some choices redrawn.

    ``step`` is the deviation of a move as a share of the range; drawn anew for each neighbour unless given.
    """
    if not centres:
        return []
    places = [_places(space, centre) for centre in centres]
    steps = rng.choice(_STEPS, n) if step is None else np.full(n, step)
    moves = steps[:, None] * rng.normal(size=(n, len(space)))
    changed = rng.random((n, len(space))) < _CHANGED
    changed[np.arange(n), rng.integers(len(space), size=n)] = True
    drawn = rng.random((n, len(space)))
    found = []
    for i in range(n):
        centre, place = centres[i % len(centres)], places[i % len(centres)] + moves[i]
        values: dict[str, ParamValue] = {}
        for j, (name, distribution) in enumerate(space.parameters.items()):
            if name in centre and not changed[i, j]:
                values[name] = centre[name]
            else:  # a choice, or a parameter that was not active, has no place to move from
                values[name] = value_at(distribution, float(drawn[i, j] if math.isnan(place[j]) else place[j]))
        found.append(space.active(values))
    return found


def _places(space: SearchSpace, centre: Configuration) -> np.ndarray:
    """Where the numbers of ``centre`` lie in the unit cube, NaN for choices and for what is not active."""
    places = np.full(len(space), np.nan)
    for j, (name, distribution) in enumerate(space.parameters.items()):
        if name in centre and not isinstance(distribution, CategoricalDistribution):
            places[j] = units_at(distribution, np.float64(centre[name]))  # type: ignore[arg-type]
    return places


def favoured_and_random(expected: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of at most ``n`` candidates, ascending: a quarter of them the best of ``expected`` (m,), others random.

    Of very many candidates, those alike to the best so far are so many that one of them always promises a little more.
    To look at a random part of them is what keeps a search from staying there.
    """
    m = len(expected)
    if m <= n:
        return np.arange(m)
    favoured = np.argpartition(-expected, n // 4)[: n // 4]
    return np.union1d(favoured, rng.permutation(m)[: n - n // 4])
