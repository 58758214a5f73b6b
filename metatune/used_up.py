"""When a search has nothing new to try: how large a finite space is, and whether a repetition tells more."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from optuna.distributions import CategoricalDistribution

from metatune.parameter import nearest
from metatune.space import SearchSpace
from metatune.trial import Configuration, ParamValue
from metatune.wording import plural


def size_of(space: SearchSpace, most: int) -> int | None:
    """How many configurations ``space`` has; ``None`` for more than ``most``."""
    if any(_values(distribution) is None for distribution in space.parameters.values()):
        return None
    count = sum(1 for _ in islice(_configurations(space, list(space), {}), most + 1))
    return count if count <= most else None


def are_noisy(scored: Iterable[tuple[Hashable, float | None]]) -> bool:
    """Whether something that was tried again is known to have got another score."""
    scores = set(scored)
    return len(scores) > len({tried for tried, _ in scores})


def whole_space(tried: int) -> str:
    """That all ``tried`` configurations of a space are all that it has, in words."""
    return f"the whole space was tried ({plural(tried, 'configuration')})"


def _configurations(space: SearchSpace, names: Sequence[str], given: Configuration) -> Iterator[Configuration]:
    """Every configuration of a finite ``space`` that begins with ``given``; ``names`` are still to be decided."""
    if not names:
        yield given
    elif not space.is_active(names[0], given):
        yield from _configurations(space, names[1:], given)
    else:
        for value in _values(space[names[0]]) or ():
            yield from _configurations(space, names[1:], {**given, names[0]: value})


def _values(distribution: Any) -> Iterable[ParamValue] | None:
    """Every value of a parameter; ``None`` if there is no end of them."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if distribution.single():
        return (distribution.low,)
    if distribution.step is None:
        return None
    last = round((distribution.high - distribution.low) / distribution.step)
    return (nearest(distribution, distribution.low + i * distribution.step) for i in range(last + 1))
