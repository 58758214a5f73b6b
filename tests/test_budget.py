"""A time budget is short when the trials that are left do not fit, at the pace of the latest ones."""

import math

import pytest

from metatune.search.budget import TimeBudget

NAN = math.nan


@pytest.mark.parametrize(
    ("took", "before", "short"),
    [
        ([], [], False),  # nothing is known yet
        ([NAN, NAN], [], False),
        ([1.0] * 5, [], False),  # five left for five seconds: they fit exactly
        ([1.0] * 4 + [1.1], [], True),
        ([1.0, NAN, 1.0, 3.0], [], True),  # a trial of unknown length counts as a trial
        ([9.5] + [0.01] * 8, [], True),  # most of the time is gone
        ([0.5] * 3 + [0.1] * 6, [], False),
        ([], [1.5], True),  # a search that is taken up: its pace is known, no time is spent
        ([], [0.5], False),
        ([0.1] * 8, [90.0] * 20, True),  # two left, and the pace is still that of ten trials
        ([0.1] * 10, [], False),  # nothing is left to be done
    ],
)
def test_short(took: list[float], before: list[float], short: bool) -> None:
    assert TimeBudget(10.0, n_trials=10).is_short(took, before) is short


def test_without_a_number_of_trials_every_second_counts() -> None:
    assert TimeBudget(1e9).is_short([])
    assert TimeBudget(1e9).is_short([1.0])
