"""What all importers hand over: trials as the source has them, and a log of what was left out and why."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from metatune.errors import SpaceError
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.trial import Status


@dataclass(frozen=True)
class Origin:
    """What the trials of one study of a source have in common.

    ``study`` is the source's own identifier, ``name`` what people call it. ``space`` is the declared search space;
    ``None`` where the source has none and it must be inferred. ``tool`` is what made the trials.
    """

    tool: str
    study: str
    task: str
    family: str
    metric: Metric
    name: str = ""
    space: SearchSpace | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignTrial:
    """One trial of a source; ``id`` is the source's own, unique in the tool. Other fields: see ``Trial``.

    ``key`` is that of a trial that may have been collected as well; unless given, it is made from ``id``.

    Parameters may be texts whatever they mean. ``value`` is in the unit of the origin's metric.
    """

    origin: Origin
    id: str
    parameters: Mapping[str, object]
    status: Status
    value: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    best_step: int | None = None
    reported: tuple[tuple[int, float], ...] = ()
    fidelity: float = 1.0
    seconds: float = math.nan
    error: str | None = None
    started: float = math.nan
    key: str = ""


class ImportLog:
    """Why records of a source were left out, by reason, how often; and what else the user should know."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.notes: dict[str, None] = {}

    def skip(self, reason: str, count: int = 1) -> None:
        """Leave ``count`` records out because of ``reason``."""
        self.skipped[reason] += count

    def skip_space(self, error: SpaceError, count: int) -> None:
        """Leave ``count`` records out because their space cannot be held."""
        self.skip(f"a space that metatune cannot hold: {error.field}, {error.problem}", count)

    def refuse(self, metric: str) -> None:
        """Leave a record out because all it has are training scores, ``metric`` for example."""
        self.refused[metric] += 1

    def note(self, text: str) -> None:
        """Tell the user ``text``, once."""
        self.notes[text] = None


def finite(value: object) -> float | None:
    """``value`` as a finite number, else ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # whole numbers of Python have no largest
        return None
    return number if math.isfinite(number) else None
