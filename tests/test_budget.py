"""A time budget is short when the trials that are left do not fit, at the pace of the latest ones."""

import math

import numpy as np
import pytest

from metatune.errors import UsageError
from metatune.search.budget import TimeBudget

NAN = math.nan


@pytest.mark.parametrize(
    ("took", "before", "short"),
    [
        ([], [], False),  # nothing is known yet
        ([NAN, NAN], [], False),
        ([1.0] * 5, [], False),  # five left for five seconds: they fit exactly
        ([1.0] * 4 + [1.1], [], True),
        ([2.0, NAN, 2.0, NAN], [], True),  # six left at 2 s, six seconds left
        ([1.2, NAN, 1.2, 1.2, 1.2, NAN], [], False),  # one of unknown length is a trial: four are left, not six
        ([9.5] + [0.01] * 8, [], True),  # most of the time is gone
        ([0.5] * 3 + [0.1] * 6, [], False),
        ([], [1.5], True),  # a search that is taken up: its pace is known, no time is spent
        ([], [0.5], False),
        ([0.1] * 8, [90.0] * 20, True),  # two left, and the pace is still that of ten trials
        ([0.5] * 8, [0.1] * 20 + [90.0] * 2, True),  # the latest come last, also of those before
        ([0.1] * 10, [], False),  # nothing is left to be done
        ([2.5] * 10, [], False),  # ... nor after all seconds are gone
        ([2.5] * 15, [], False),  # the budget was of fewer trials
    ],
)
def test_short(took: list[float], before: list[float], short: bool) -> None:
    assert TimeBudget(10.0, n_trials=10).is_short(took, before) is short


def test_the_pace_is_that_of_the_latest_ten() -> None:
    budget = TimeBudget(100.0, n_trials=40)
    assert not budget.is_short([5.0] * 10 + [1.0] * 10)  # 20 left at 1 s, 40 seconds left; at 3 s they would not fit
    assert TimeBudget(120.0, n_trials=40).is_short([1.0] * 10 + [5.0] * 10)  # 60 seconds left; at 3 s they would fit
    assert not budget.is_short([2.0] * 10, [90.0] * 5)  # what was before is out of the window


def test_numbers_of_numpy_are_amounts() -> None:
    assert not TimeBudget(np.float32(60), n_trials=np.int64(5)).is_short([1.0])  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", ["600", 0, -1.0, NAN, True])
def test_seconds_must_be_an_amount(seconds: object) -> None:
    with pytest.raises(UsageError, match="timeout"):
        TimeBudget(seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_trials", ["5", -1, 2.5, True])
def test_trials_must_be_a_number(n_trials: object) -> None:
    with pytest.raises(UsageError, match="n_trials"):
        TimeBudget(1.0, n_trials)  # type: ignore[arg-type]


def test_without_a_number_of_trials_every_second_counts() -> None:
    assert TimeBudget(1e9).is_short([])
    assert TimeBudget(1e9).is_short([1.0])
