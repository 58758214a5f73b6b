"""Hypotheses on the history: believed while they explain what is observed, and no longer."""

import numpy as np
import pytest

from metatune.search.candidates import favoured_and_random
from metatune.search.hypothesis import HYPOTHESES
from metatune.search.mixture import Mixture
from metatune.search.transfer import standardised

OWNERS = np.arange(2)
GRID = np.stack(np.meshgrid(np.linspace(0, 1, 15), np.linspace(0, 1, 15)), axis=-1).reshape(-1, 2)


def peak(U: np.ndarray, x: float, y: float) -> np.ndarray:
    """A hill with its top at (x, y), 2 high, about as copula scores are spread."""
    return 2.0 - 5.0 * np.hypot(U[:, 0] - x, U[:, 1] - y)


def experts(U: np.ndarray) -> np.ndarray:
    """Three earlier tasks whose tops lie near (.7, .3)."""
    return np.array([peak(U, 0.7, 0.3), peak(U, 0.75, 0.35), peak(U, 0.65, 0.3)])


def points(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 2))


def mixture(U: np.ndarray, score: np.ndarray, told: np.ndarray, **options: object) -> Mixture:
    base = np.full(len(told), 1.0 / max(1, len(told)))
    return Mixture(U, score, told, owners=OWNERS, base=base, **options)  # type: ignore[arg-type]


def choice(model: Mixture, told: np.ndarray, *, without_history: bool = False) -> np.ndarray:
    return np.asarray(GRID[np.argmax(model.log_improvement(GRID, told, without_history=without_history))])


def test_a_true_history_is_likelier_and_leads_to_the_top() -> None:
    U = points(6)
    model = mixture(U, peak(U, 0.7, 0.3), experts(U))
    assert model.odds > 1.0
    assert np.hypot(*(choice(model, experts(GRID)) - [0.7, 0.3])) < 0.1


def test_an_inverted_history_is_found_out_and_the_top_is_found_nevertheless() -> None:
    U = points(12)
    model = mixture(U, -peak(U, 0.2, 0.8), experts(U))
    truth = -peak(GRID, 0.2, 0.8)
    chosen = choice(model, experts(GRID))
    assert (truth < truth[np.argmin(np.hypot(*(GRID - chosen).T))]).mean() > 0.9


def test_an_unrelated_history_loses_against_none() -> None:
    rng = np.random.default_rng(1)
    U = points(25)
    noise = {tuple(u): rng.normal(size=3) for u in np.vstack([U, GRID]).tolist()}
    told, elsewhere = (np.array([noise[tuple(u)] for u in where.tolist()]).T for where in (U, GRID))
    model = mixture(U, peak(U, 0.3, 0.6), told)
    assert model.odds < 0.0
    assert np.hypot(*(choice(model, elsewhere) - [0.3, 0.6])) < 0.15


def test_where_this_task_differs_its_own_observations_win() -> None:
    U = np.vstack([points(20), [[0.3, 0.6], [0.32, 0.62], [0.7, 0.3]]])
    model = mixture(U, peak(U, 0.3, 0.6), experts(U))
    assert np.hypot(*(choice(model, experts(GRID)) - [0.3, 0.6])) < 0.15


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (1e4, -7e5)])
def test_units_of_the_score_do_not_matter(scale: float, shift: float) -> None:
    U = points(8)
    score = peak(U, 0.6, 0.4)
    one, other = mixture(U, score, experts(U)), mixture(U, scale * score + shift, experts(U))
    assert one.odds == pytest.approx(other.odds, abs=1e-6)
    assert (choice(one, experts(GRID)) == choice(other, experts(GRID))).all()


def test_without_experts_and_when_told_so_it_is_the_plain_process() -> None:
    U = points(10)
    score, nothing = peak(U, 0.4, 0.4), np.empty((0, len(GRID)))
    plain = mixture(U, score, np.empty((0, 10)))
    with_history = mixture(U, score, experts(U))
    assert plain.odds == -np.inf
    assert plain.trusted == 0
    np.testing.assert_array_equal(
        plain.log_improvement(GRID, nothing), with_history.log_improvement(GRID, experts(GRID), without_history=True)
    )


def test_running_points_lose_their_appeal() -> None:
    U = points(7)
    model = mixture(U, peak(U, 0.7, 0.3), experts(U))
    top = np.argmax(model.log_improvement(GRID, experts(GRID)))
    running = GRID[[top]]
    believing = model.believing(running, experts(running))
    lost = model.log_improvement(GRID, experts(GRID)) - believing.log_improvement(GRID, experts(GRID))
    assert lost[top] > 1.0
    assert np.argmax(model.log_improvement(GRID, experts(GRID))) == top


def test_of_many_candidates_the_favoured_and_a_random_part_are_looked_at() -> None:
    expected = np.arange(6000.0)
    first, second = (favoured_and_random(expected, 1000, np.random.default_rng(seed)) for seed in (0, 1))
    for chosen in (first, second):
        assert set(range(5750, 6000)) <= set(chosen.tolist())
        assert 900 < len(chosen) <= 1000
        assert abs(chosen[:700].mean() - 2850) < 300
    assert set(first.tolist()) != set(second.tolist())
    assert favoured_and_random(expected[:50], 1000, np.random.default_rng(0)).tolist() == list(range(50))


def test_failures_equal_scores_and_a_single_observation_are_survived() -> None:
    for score in (np.array([np.nan, 1.0, np.nan]), np.ones(3), np.full(3, np.nan)):
        model = mixture(points(3), score, experts(points(3)))
        assert np.isfinite(model.log_improvement(GRID, experts(GRID))).all()
    one = mixture(points(1), np.ones(1), experts(points(1)))
    assert np.isfinite(one.log_improvement(GRID, experts(GRID))).all()


def test_hypotheses_that_trust_blindly_have_no_odds_against_them() -> None:
    U = points(12)
    blind = tuple(h for h in HYPOTHESES if h.mean == "given" and h.share == 0.0)
    model = mixture(U, -peak(U, 0.7, 0.3), experts(U), hypotheses=blind)
    assert model.odds == np.inf
    doubting = mixture(U, -peak(U, 0.7, 0.3), experts(U))
    truth = -peak(GRID, 0.7, 0.3)
    value = {id(m): truth[np.argmax(m.log_improvement(GRID, experts(GRID)))] for m in (model, doubting)}
    assert value[id(doubting)] > value[id(model)]


def test_most_scores_equal_and_one_disaster_leave_the_others_apart() -> None:
    z = standardised(np.array([0.9, 0.9, 0.9, 0.9, 0.8, 0.7, -1e6]))
    assert z[3] - z[4] > 0.1
    assert z[4] > z[5] > z[6]
