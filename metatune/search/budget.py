"""``TimeBudget``: the seconds a search has, and whether the trials that are left fit into them."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from metatune.errors import UsageError

#: The pace is that of so many trials.
_RECENT = 10


def check_amount(field: str, value: object, unit: str = "seconds") -> None:
    """Raise ``UsageError`` unless ``value`` is a real number above 0, of Python or numpy."""
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) > 0:
        raise UsageError("not an amount", field=field, value=value, remedy=f"Give {unit} above 0, or None.")


def check_count(field: str, value: object, least: int) -> None:
    """Raise ``UsageError`` unless ``value`` is a whole number, of Python or numpy, that is not below ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UsageError("not a whole number in range", field=field, value=value, remedy=f"Give {least} or more.")


@dataclass(frozen=True)
class TimeBudget:
    """``seconds`` for ``n_trials`` trials; ``None``: for as many as there is time for.

    Where several workers share a search, both are those of all of them together. Raises ``UsageError``.
    """

    seconds: float
    n_trials: int | None = None

    def __post_init__(self) -> None:
        check_amount("timeout", self.seconds)
        if self.n_trials is not None:
            check_count("n_trials", self.n_trials, 0)

    def is_short(self, took: Sequence[float], before: Sequence[float] = ()) -> bool:
        """Whether the trials that are left do not fit into the seconds that are left, at the pace of the latest.

        ``took`` are the seconds of the trials that this budget paid for, in their order, NaN where they are not known;
        ``before`` those of trials that ended before it began, which only tell the pace. Unless time is short a second
        is worth nothing: a search that ends by the number of its trials has time to spare.
        """
        if self.n_trials is None:
            return True
        left = self.n_trials - len(took)
        if left <= 0:  # or the sampler is used for more than it was told of
            return False
        pace = np.array([*before, *took], dtype=float)
        pace = pace[np.isfinite(pace)][-_RECENT:]
        return bool(len(pace)) and left * float(pace.mean()) > self.seconds - float(np.nansum(took))
