"""``Caveats``: what ``MetaSampler`` warns of, each thing once."""

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from metatune.parameter import in_distribution, plain_distribution
from metatune.repair import shortened
from metatune.space import SearchSpace
from metatune.surrogate.family import FamilySurrogate
from metatune.trial import Configuration
from metatune.used_up import whole_space

_LOG = logging.getLogger("metatune")


class Caveats:
    """Logs a warning once for a study or parameter, however many workers come upon it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: What was warned of, or looked at and found in order: topic and name of a study or parameter.
        self._told: set[tuple[str, str]] = set()

    def __getstate__(self) -> dict[str, Any]:
        # A lock cannot be copied.
        return {"_told": set(self._told)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def several_objectives(self) -> None:
        """A study with several objectives goes without history."""
        if self._untold("several objectives", [""]):
            _warn("the study has several objectives; history is not used, TPESampler proposes.")

    def ignorance(self, surrogate: FamilySurrogate, parameters: Mapping[str, BaseDistribution]) -> None:
        """The history does not know some of the ``parameters``."""
        told = surrogate.ignorance({name: parameters[name] for name in self._untold("searched", parameters)})
        if told is not None:
            _warn(told)

    def not_asked(self, names: Iterable[str]) -> None:
        """The objective does not ask for the parameters ``names`` of the space."""
        if new := self._untold("not asked", names):
            _warn(
                f"the objective did not ask for {shortened(new)}: leave out of the space what it never asks for, and "
                "give what it asks for sometimes a Condition."
            )

    def not_default(self, trial: FrozenTrial, default: Configuration) -> None:
        """What ``trial``, which was to try the ``default``, could not have of it."""
        allowed = {name: plain_distribution(distribution) for name, distribution in trial.distributions.items()}
        lost = [n for n, value in default.items() if n not in allowed or not in_distribution(allowed[n], value)]
        if new := self._untold("default", lost):
            _warn(
                f"the default was not tried as given: the objective does not ask for, or allow, {shortened(new)} of it."
            )

    def drawn(self, names: Iterable[str], space: SearchSpace | None) -> None:
        """The parameters ``names`` are drawn at random."""
        if not (new := self._untold("drawn", names)):
            return
        if space is None:
            reason = "not every trial asks for in the same range; space= takes all parameters, with Conditions"
        else:
            reason = "the space does not have, or not under these conditions"
        _warn(f"drawn at random and not learnt from: {shortened(new)}, which {reason}.")

    def told_used_up(self, study: str) -> bool:
        """Whether it was said that the space of ``study`` is used up."""
        return ("used up", study) in self._told

    def used_up(self, study: str, tried: int) -> None:
        """All configurations of its space, ``tried`` ones, were tried in ``study``, which goes on."""
        if self._untold("used up", [study]):
            _warn(f"{whole_space(tried)}; what follows are repetitions. study.stop() ends it.")

    def _untold(self, topic: str, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that had no turn in ``topic`` yet; now they have."""
        with self._lock:
            new = [name for name in names if (topic, name) not in self._told]
            self._told.update((topic, name) for name in new)
        return new


def _warn(text: str) -> None:
    _LOG.warning("MetaSampler: %s", text)
