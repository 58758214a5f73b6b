"""Weights, slope and robustness of the model that joins history and observations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metatune.search.acquisition import log_expected_improvement
from metatune.search.portfolio import greedy_portfolio
from metatune.search.transfer import TransferModel, discordance, expert_weights, standardised
from metatune.surrogate.targets import copula_targets


def test_discordance_counts_wrong_pairs_and_halves_ties() -> None:
    score = np.array([1.0, 2.0, 3.0])
    predicted = np.array([[1, 2, 3], [3, 2, 1], [0, 0, 0], [1, 3, 2]], dtype=float)
    assert discordance(predicted, score) == pytest.approx([0.0, 1.0, 0.5, 1 / 3])
    assert discordance(predicted, np.ones(3)) == pytest.approx([0.0] * 4)


def test_weights_favour_who_orders_well_and_drop_who_is_worse_than_chance() -> None:
    weights = expert_weights(np.array([0.1, 0.3, 0.6]), 10, np.full(3, 1 / 3))
    assert weights[0] > weights[1] > 0
    assert weights[2] == 0
    assert weights.sum() == pytest.approx(1.0)
    assert expert_weights(np.array([0.6, 0.9]), 10, np.full(2, 0.5)).sum() == 0.0


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


def _line(n: int, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    U = rng.random((n, 2))
    return U, U[:, 0] + noise * rng.normal(size=n)


def test_a_true_history_is_followed_and_an_inverted_one_is_forgotten() -> None:
    U, score = _line(12)
    true, inverted = 3 * (U[:, 0] - 0.5), -3 * (U[:, 0] - 0.5)
    owners, base = np.arange(2), np.ones(1)
    follows = TransferModel.fit(U, score, true[None, :], owners=owners, base=base)
    forgets = TransferModel.fit(U, score, inverted[None, :], owners=owners, base=base)
    assert follows.slope > 0.5
    assert follows.wrong < 0.1
    assert forgets.slope == 0.0
    Z = np.array([[0.05, 0.5], [0.95, 0.5]])
    mean, _ = forgets.predict(Z, np.array([[3.0, -3.0]]))
    assert mean[1] > mean[0]


def test_without_experts_it_is_a_gaussian_process() -> None:
    U, score = _line(10)
    model = TransferModel.fit(U, score, np.empty((0, 10)), owners=np.arange(2), base=np.empty(0))
    mean, deviation = model.predict(U, np.empty((0, 10)))
    assert model.slope == 0.0
    np.testing.assert_allclose(mean, model.z, atol=0.2)
    assert (deviation > 0).all()


def test_expected_improvement_orders_as_it_should() -> None:
    ei = log_expected_improvement(np.array([0.0, 1.0, 0.0, -50.0, -60.0]), np.array([1.0, 1.0, 2.0, 1.0, 1.0]), 0.5)
    assert ei[1] > ei[2] > ei[0] > ei[3] > ei[4]
    assert np.isfinite(ei).all()
    near = log_expected_improvement(np.array([-5.0 + 1e-9, -5.0 - 1e-9]), np.ones(2), 0.0)
    assert near[0] == pytest.approx(near[1], abs=1e-6)


def test_portfolio_covers_different_kinds_of_tasks_before_repeating_itself() -> None:
    # Candidate 0 is best for tasks 0 to 2, candidate 1 for tasks 3 and 4, candidate 2 is second for all.
    surfaces = np.array([[9, 0, 8, 1], [9, 0, 8, 1], [9, 0, 8, 1], [0, 9, 8, 1], [0, 9, 8, 1]], dtype=float)
    assert set(greedy_portfolio(surfaces, 3)) == {0, 1, 2}
    assert greedy_portfolio(surfaces, 2, np.array([0, 0, 0, 1.0, 1.0]))[0] == 1
    assert sorted(greedy_portfolio(surfaces, 99)) == [0, 1, 2, 3]


def test_evidence_tells_a_helpful_history_from_a_misleading_one() -> None:
    U, score = _line(15, noise=0.02)
    owners, base = np.arange(2), np.ones(1)
    without = TransferModel.fit(U, score, np.empty((0, 15)), owners=owners, base=np.empty(0))
    helpful = TransferModel.fit(U, score, 3 * (U[None, :, 0] - 0.5), owners=owners, base=base)
    rng = np.random.default_rng(1)
    # Right about four pairs in five, and rough: worse than the smooth function that the points suggest.
    misleading = TransferModel.fit(U, score, (score + rng.normal(0, 0.6, 15))[None, :] * 3, owners=owners, base=base)
    assert helpful.evidence > without.evidence > misleading.evidence


def test_huge_and_nearly_equal_scores_are_survived() -> None:
    assert np.isfinite(standardised(np.array([-0.5, -1e300, -1.7e308, np.nan]))).all()
    z = standardised(np.array([-0.5, -0.4, -1e300]))
    assert z[1] > z[0] > z[2]
    assert (standardised(np.full(3, 0.1)) == 0.0).all()
