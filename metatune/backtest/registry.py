"""The methods by name."""

import importlib
from functools import partial

from metatune.backtest import engine, optuna_methods, peers, rgpe, static
from metatune.backtest.fold import Problem
from metatune.backtest.method import Method, Search
from metatune.errors import UnknownNameError


def _released(name: str, problem: Problem, seed: int) -> Search:
    """A search by a released package, whose module is imported now: hosts are heavy and need not be installed."""
    module = importlib.import_module(f"metatune.backtest.peers.{name}")
    search: Search = module.method(problem, seed)
    return search


#: Every method that a replay can run, in the order in which results are shown.
METHODS: dict[str, Method] = {
    **engine.METHODS,
    **static.METHODS,
    **optuna_methods.METHODS,
    **rgpe.METHODS,
    **{name: partial(_released, name) for name in peers.NAMES},
}


def available(name: str) -> str | None:
    """Why the method called ``name`` cannot run here; ``None`` when it can. Raises ``UnknownNameError``."""
    if name not in METHODS:
        raise UnknownNameError.of("methods", name, METHODS)
    return peers.unavailable(name) if name in peers.NAMES else None
