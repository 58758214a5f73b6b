"""``Proposer``: the next configuration, as a function of what is known and what was observed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from scipy.special import log_ndtr

from metatune.encoding import UnitEncoder
from metatune.search.candidates import Identity, favoured_and_random, identity, neighbours, spread, unique
from metatune.search.feasibility import Feasibility
from metatune.search.mixture import Mixture
from metatune.search.prior import Prior
from metatune.space import SearchSpace
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.tasks import best_and_even
from metatune.task import TaskRecord
from metatune.trial import Configuration, ParamValue

#: Log seconds that configurations are expected to take, shape (configurations,).
_Cost: TypeAlias = Callable[[Sequence[Configuration]], np.ndarray]
#: Configurations that open a search.
PORTFOLIO = 3
#: The same for workers that begin together: beyond it, a cover of the tasks has nothing left to add.
_LONG = 16
#: Points spread over the space that open a search without history, after the default.
_COLD_START = 4
#: With so many configurations tried or running, an opening move that is still missing is not worth a trial.
_OPENING_ENDS = 10
#: A Gaussian process on more points than this takes longer than most trials do.
_MAX_OBSERVED = 300
#: So many of the pool are looked at for each proposal, beside fresh points and neighbours of the best.
CANDIDATES = 1000
_FRESH, _NEIGHBOURS, _CENTRES = 32, 60, 3
#: While the history is less than so much likelier (logarithm) than none, one proposal in ``_SHARE`` does without it.
_PROVEN, _SHARE = 1.0, 8
#: Widths of the steps, as shares of the range, and number of neighbours, of the climb from the best candidate.
_CLIMB, _NEAR = (0.05, 0.015), 16


@dataclass(frozen=True)
class Observation:
    """A configuration of this search and its score, higher is better; ``None`` if it failed. ``seconds`` it took."""

    configuration: Configuration
    score: float | None
    seconds: float = float("nan")

    # Kept with the observation, since every further proposal asks for both.

    @cached_property
    def identity(self) -> Identity:
        """That of the configuration."""
        return identity(self.configuration)

    @cached_property
    def order(self) -> tuple[str, bool, float]:
        """A key that sorts observations the same way in whatever order they come."""
        return repr(sorted(self.configuration.items())), self.score is None, self.score or 0.0


@dataclass(frozen=True)
class Proposal:
    """What to try next, and why.

    ``origin``: ``default``, ``portfolio``, ``model``, ``model-doubting-history`` (most of it disbelieves the history),
    ``model-without-history`` (the share of proposals that goes without), ``spread`` (a space-filling point) or
    ``random``. ``odds`` is the logarithm of how much likelier the observations are with the
    history than without it, ``trusted`` the number of experts that carry nine tenths of the history's weight, NaN where
    no model was asked.
    """

    configuration: dict[str, ParamValue]
    origin: str
    odds: float = float("nan")
    trusted: float = float("nan")


class Proposer:
    """Proposes configurations of ``space`` for the task ``record``.

    ``surrogate`` is what is known of the model family (``None``: nothing), ``default`` a configuration that is always
    among the first trials. Asking changes nothing: equal arguments give equal answers, whatever was asked before.
    """

    def __init__(
        self,
        record: TaskRecord,
        space: SearchSpace,
        *,
        surrogate: FamilySurrogate | None = None,
        default: Configuration | None = None,
        seed: int = 0,
    ) -> None:
        self.space, self.seed = space, seed
        self._surrogate = surrogate
        self.prior = Prior(surrogate, record, space, seed=seed)
        self._default = None if default is None else space.clip(default)[0]
        self._units = UnitEncoder(space)

    @cached_property
    def opening(self) -> list[tuple[dict[str, ParamValue], str]]:
        """The first configurations of a search and their origins, before there is anything to learn from.

        The default comes second, or first where the history is silent or the task is unlike all it knows.
        """
        moves = [(c, "portfolio") for c in self.prior.portfolio(PORTFOLIO)]
        if self.prior.empty:
            moves = [(c, "spread") for c in spread(self.space, _COLD_START, self.seed)]
        if self._default is not None:
            first = self.prior.empty or self.prior.is_unlike
            moves.insert(0 if first else 1, (self._default, "default"))
        found: dict[Identity, tuple[dict[str, ParamValue], str]] = {}
        for configuration, origin in moves:
            found.setdefault(identity(configuration), (configuration, origin))
        return list(found.values())

    def propose(
        self,
        observed: Sequence[Observation],
        running: Sequence[Configuration] = (),
        *,
        number: int,
        ahead: int = 0,
        per_second: bool = False,
    ) -> Proposal:
        """The configuration for trial ``number``, given ended and running trials in any order.

        ``ahead``: running trials whose configuration is not known yet, since another worker is asking at this moment;
        as many of the best moves are left to them. ``per_second``: what counts is the improvement per second that a
        trial is expected to take, where the history knows that.
        """
        observed = sorted(observed, key=lambda observation: observation.order)
        taken = {o.identity for o in observed} | {identity(c) for c in running}
        # However much was tried before, the default has its turn.
        default = [] if self._default is None else [(self._default, "default")]
        moves = self.opening if len(taken) < _OPENING_ENDS else default
        missing = [move for move in moves if identity(move[0]) not in taken]
        if ahead < len(missing):
            return Proposal(*missing[ahead])
        if sum(o.score is not None for o in observed) < 2:
            left = taken.union(identity(c) for c, _ in missing)
            return self._by_history_alone(observed, left, number, ahead - len(missing))
        cost = self._log_seconds(observed) if per_second else _nothing
        return self._by_model(observed, running, taken, number, ahead, cost)

    def _by_history_alone(
        self, observed: Sequence[Observation], taken: set[Identity], number: int, ahead: int
    ) -> Proposal:
        """What earlier tasks promise, while fewer than two trials worked here; random for its share, or in silence."""
        alone = self.prior.empty or in_share(number)
        left = [] if alone else [c for c in self._promising(observed) if identity(c) not in taken]
        if ahead < len(left):
            return Proposal(left[ahead], "portfolio")
        return Proposal(self._random(taken, number), "random")

    def _promising(self, observed: Sequence[Observation]) -> list[dict[str, ParamValue]]:
        """The pool, what earlier tasks promise most first; where trials failed, as far as it is likely not to fail."""
        promised = log_ndtr(self.prior.base @ self.prior.predicted)
        ended_well = np.array([o.score is not None for o in observed], dtype=bool)
        if ended_well.all():  # workers that begin together get a long portfolio: it differs more than the best do
            first = self.prior.portfolio(_LONG)
        else:
            tried = self._units.encode([o.configuration for o in observed])
            feasibility = Feasibility(tried, ended_well, self._units.owners, np.arange(len(tried)))
            first, promised = [], promised + feasibility.log_factor(self._pool_points)
        return unique([*first, *(self.prior.pool[i] for i in np.argsort(-promised, kind="stable"))])

    def _by_model(
        self,
        observed: Sequence[Observation],
        running: Sequence[Configuration],
        taken: set[Identity],
        number: int,
        ahead: int,
        cost: _Cost,
    ) -> Proposal:
        # Workers that ask at the same moment rank the same candidates, and each takes another place.
        rng = np.random.default_rng([self.seed, number - ahead])
        score = np.array([np.nan if o.score is None else o.score for o in observed])
        kept = best_and_even(score, _MAX_OBSERVED)
        done, score = [observed[i].configuration for i in kept], score[kept]
        model = Mixture(
            self._units.encode(done),
            score,
            self.prior.told(done),
            owners=self._units.owners,
            base=self.prior.base,
            length=self.prior.length,
        )
        if running:
            model = model.believing(self._units.encode(running), self.prior.told(running))
        candidates, points, predicted = self._candidates(done, score, model.weights, taken, rng)
        if not candidates:  # all were tried: of a study that has parameters beyond the space, or whose scores are noisy
            taken = set()
            candidates, points, predicted = self._candidates(done, score, model.weights, taken, rng)
        if ahead >= len(candidates):
            return Proposal(self._random(taken, number), "random")
        alone = self.prior.empty or turn_without_history(model, number - ahead)
        improvement = model.log_improvement(points, predicted, without_history=alone) - cost(candidates)
        choice = candidates[int(np.argsort(-improvement, kind="stable")[ahead])]
        if not ahead:  # other places of the ranking would climb to the same top
            choice = self._refined(choice, model, cost, taken, rng, alone=alone)
        origin = "model-without-history" if alone else "model" if model.believed >= 0.5 else "model-doubting-history"
        return Proposal(choice, origin, model.odds, model.trusted)

    def _refined(
        self,
        choice: dict[str, ParamValue],
        model: Mixture,
        cost: _Cost,
        taken: set[Identity],
        rng: np.random.Generator,
        *,
        alone: bool,
    ) -> dict[str, ParamValue]:
        """The best of ``choice`` and its close neighbours, found by a short climb."""
        for step in _CLIMB:
            near = [c for c in neighbours(self.space, [choice], _NEAR, rng, step=step) if identity(c) not in taken]
            tried = [choice, *near]
            improvement = model.log_improvement(
                self._units.encode(tried), self.prior.predict(tried), without_history=alone
            )
            choice = tried[int(np.argmax(improvement - cost(tried)))]
        return choice

    def _log_seconds(self, observed: Sequence[Observation]) -> _Cost:
        """Log seconds that candidates are expected to take, by past trials and this search; 0 if nothing is known."""
        known = self._surrogate
        if known is None or known.cost is None:
            return _nothing
        encoder, space = known.encoder, self.space
        tried = encoder.encode([o.configuration for o in observed], space)
        cost = known.cost.anchored(tried, np.array([o.seconds for o in observed]))
        return lambda candidates: cost.predict(encoder.encode(candidates, space))

    def _candidates(
        self,
        done: Sequence[Configuration],
        score: np.ndarray,
        weights: np.ndarray,
        taken: set[Identity],
        rng: np.random.Generator,
    ) -> tuple[list[dict[str, ParamValue]], np.ndarray, np.ndarray]:
        """Candidates that are not taken, their points, and the experts' scores of them (experts, candidates).

        ``weights`` (experts,) say which part of the pool is looked at.
        """
        order = np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")[:_CENTRES]
        pool, keys, predicted = self.prior.pool, self._pool_keys, self.prior.predicted
        expected = weights @ predicted if len(weights) else np.zeros(len(pool))
        likely = np.argsort(-expected, kind="stable")[:_CENTRES]
        centres = [done[i] for i in order] + [pool[i] for i in likely if not self.prior.empty]
        near = neighbours(self.space, centres, _NEIGHBOURS, rng)
        fresh = spread(self.space, _FRESH, int(rng.integers(2**31)))
        kept = [int(i) for i in favoured_and_random(expected, CANDIDATES, rng) if keys[i] not in taken]
        known = taken.union(keys)
        new = [c for c in unique([*near, *fresh]) if identity(c) not in known]
        points = np.vstack([self._pool_points[kept], self._units.encode(new)])
        return [pool[i] for i in kept] + new, points, np.hstack([predicted[:, kept], self.prior.predict(new)])

    @cached_property
    def _pool_keys(self) -> list[Identity]:
        return [identity(c) for c in self.prior.pool]

    @cached_property
    def _pool_points(self) -> np.ndarray:
        return self._units.encode(self.prior.pool)

    def _random(self, taken: set[Identity], number: int) -> dict[str, ParamValue]:
        """A random configuration that is not taken, if one can be found."""
        found = self.space.sample(32, np.random.default_rng([self.seed, number]))
        return next((configuration for configuration in found if identity(configuration) not in taken), found[0])


def _nothing(candidates: Sequence[Configuration]) -> np.ndarray:
    return np.zeros(len(candidates))


def turn_without_history(model: Mixture, number: int) -> bool:
    """Whether trial ``number`` belongs to the model without history: its share, while the history is unproven."""
    return model.odds < _PROVEN and in_share(number)


def in_share(number: int) -> bool:
    """Whether trial ``number`` is of the guaranteed share of proposals without history."""
    return number % _SHARE == _SHARE - 1
