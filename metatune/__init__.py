"""metatune: the tuning memory of a team.

The names below are loaded when first used, so that importing metatune costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

from metatune.version import __version__

if TYPE_CHECKING:
    from metatune.collector import collect
    from metatune.knowledge import Knowledge
    from metatune.metafeatures import describe
    from metatune.optuna_trials import OptunaCollector
    from metatune.pruner import MetaPruner
    from metatune.recommender import recommend
    from metatune.sampler import MetaSampler
    from metatune.space import Condition, SearchSpace
    from metatune.task import Task
    from metatune.trial import Trial
    from metatune.tuner import tune

__all__ = [
    "Condition",
    "Knowledge",
    "MetaPruner",
    "MetaSampler",
    "OptunaCollector",
    "SearchSpace",
    "Task",
    "Trial",
    "__version__",
    "collect",
    "describe",
    "recommend",
    "tune",
]

_HOME = {
    "Condition": "metatune.space",
    "Knowledge": "metatune.knowledge",
    "MetaPruner": "metatune.pruner",
    "MetaSampler": "metatune.sampler",
    "OptunaCollector": "metatune.optuna_trials",
    "SearchSpace": "metatune.space",
    "Task": "metatune.task",
    "Trial": "metatune.trial",
    "collect": "metatune.collector",
    "describe": "metatune.metafeatures",
    "recommend": "metatune.recommender",
    "tune": "metatune.tuner",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'metatune' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next access is direct
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
