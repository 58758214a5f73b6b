"""Who orders the observations alike, on what scale they are, and what is made of it."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metatune.search.acquisition import log_expected_improvement
from metatune.search.portfolio import greedy_portfolio
from metatune.search.transfer import discordance, expert_weights, standardised
from metatune.surrogate.targets import copula_targets


def test_discordance_counts_wrong_pairs_and_halves_ties() -> None:
    score = np.array([1.0, 2.0, 3.0])
    predicted = np.array([[1, 2, 3], [3, 2, 1], [0, 0, 0], [1, 3, 2]], dtype=float)
    assert discordance(predicted, score) == pytest.approx([0.0, 1.0, 0.5, 1 / 3])
    assert discordance(predicted, np.ones(3)) == pytest.approx([0.0] * 4)


def test_weights_favour_who_orders_well_the_more_the_more_is_observed() -> None:
    wrong, base = np.array([0.1, 0.3, 0.6]), np.full(3, 1 / 3)
    few, many = (expert_weights(wrong, n, base, sharpness=0.8) for n in (3, 20))
    assert (np.diff(few) < 0).all()
    assert many[0] > few[0]
    assert many.sum() == pytest.approx(few.sum()) == pytest.approx(1.0)
    assert expert_weights(wrong, 0, np.array([0.2, 0.3, 0.5]), sharpness=0.8) == pytest.approx([0.2, 0.3, 0.5])


@given(arrays(float, st.integers(1, 20), elements=st.one_of(st.floats(-1e6, 1e6), st.just(np.nan))))
def test_copula_targets_keep_order_and_put_failures_last(score: np.ndarray) -> None:
    target = copula_targets(score)
    assert np.isfinite(target).all()
    ok = ~np.isnan(score)
    for i in np.flatnonzero(ok):
        assert (target[ok][score[ok] > score[i]] > target[i]).all()
        assert (target[~ok] < target[i]).all()


def test_standardised_keeps_differences_among_the_good_despite_a_disaster() -> None:
    z = standardised(np.array([-1e6, 0.90, 0.91, 0.92, 0.93, np.nan]))
    assert z[4] - z[1] > 0.3
    assert z[5] < z[0] < z[1]


def test_expected_improvement_orders_as_it_should() -> None:
    ei = log_expected_improvement(np.array([0.0, 1.0, 0.0, -50.0, -60.0]), np.array([1.0, 1.0, 2.0, 1.0, 1.0]), 0.5)
    assert ei[1] > ei[2] > ei[0] > ei[3] > ei[4]
    assert np.isfinite(ei).all()


def precise_log_improvement(u: float) -> Decimal:
    """The logarithm of density(u) + u cdf(u) to some forty digits, from the continued fraction of Mills' ratio."""
    with localcontext(prec=60):
        away = abs(Decimal(u))
        fraction = away
        for k in range(4000, 0, -1):
            fraction = away + Decimal(k) / fraction
        two_pi = 2 * Decimal("3.14159265358979323846264338327950288419716939937510582097494")
        below = -away * away / 2 - two_pi.ln() / 2 + (1 - away / fraction).ln()
        return below if u <= 0 else (Decimal(u) + below.exp()).ln()


def test_the_logarithm_of_the_expected_improvement_is_exact_however_far_away() -> None:
    far = -np.array([1e6, 1e5, 3e4, 3e3, 1001, 999, 300, 100, 30, 10, 5.1, 4.9, 2, 1.01, 0.99, 0.5])
    u = np.concatenate([far, [0.5, 1.0, 2.0, 5.0]])
    with np.errstate(all="raise"):
        found = log_expected_improvement(u, np.ones(len(u)), 0.0)
    exact = [precise_log_improvement(float(one)) for one in u]
    away = [float(Decimal(float(value)) - right) for value, right in zip(found, exact, strict=True)]
    # What else is lost lies in the last places of a number as large as the logarithm of the density.
    assert np.all(np.abs(away) <= 1e-14 + 8 * np.spacing(0.5 * u * u))


def test_the_logarithm_of_the_expected_improvement_grows_everywhere() -> None:
    ends = [np.array([-1.0 - 1e-9, -1.0, -1.0 + 1e-9]), 1e3 * np.array([-1.0 - 1e-9, -1.0, -1.0 + 1e-9])]
    u = np.unique(np.concatenate([-np.geomspace(1e6, 1e-3, 5000), np.linspace(0.0, 5.0, 500), *ends]))
    with np.errstate(all="raise"):
        found = log_expected_improvement(u, np.ones(len(u)), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def test_portfolio_covers_different_kinds_of_tasks_before_repeating_itself() -> None:
    # Candidate 0 is best for tasks 0 to 2, candidate 1 for tasks 3 and 4, candidate 2 is second for all.
    surfaces = np.array([[9, 0, 8, 1], [9, 0, 8, 1], [9, 0, 8, 1], [0, 9, 8, 1], [0, 9, 8, 1]], dtype=float)
    assert set(greedy_portfolio(surfaces, 3)) == {0, 1, 2}
    assert greedy_portfolio(surfaces, 2, np.array([0, 0, 0, 1.0, 1.0]))[0] == 1
    assert sorted(greedy_portfolio(surfaces, 99)) == [0, 1, 2, 3]


def test_huge_and_nearly_equal_scores_are_survived() -> None:
    assert np.isfinite(standardised(np.array([-0.5, -1e300, -1.7e308, np.nan]))).all()
    z = standardised(np.array([-0.5, -0.4, -1e300]))
    assert z[1] > z[0] > z[2]
    assert (standardised(np.full(3, 0.1)) == 0.0).all()


@pytest.mark.parametrize(("scale", "offset"), [(1e200, 0.0), (1e-200, 0.0), (-1e299, 0.0), (0.25, 1e12), (1e-6, -1e3)])
def test_scores_of_any_scale_and_offset_are_told_apart(scale: float, offset: float) -> None:
    score = np.array([0.0, 1.0, 2.0, 4.0, np.nan])
    expected = standardised(score if scale > 0 else -score)
    assert standardised(score * scale + offset) == pytest.approx(expected, rel=1e-3)


def test_scores_that_differ_by_rounding_are_equal() -> None:
    assert standardised(0.1 + 0.2 * np.array([1.0, 1.0, 1.0 + 2e-16])) == pytest.approx([0.0] * 3)
