"""The model of learning curves: what past curves teach about going on, and when they teach nothing."""

import json

import numpy as np
import pytest
from curve_families import crossing, decided_at_the_end, shuffled, steady

from metatune.errors import KnowledgeError, UsageError
from metatune.surrogate.curves import RUNGS, CurveModel, lagged, rung_steps


def looks(curves: np.ndarray, rung: int) -> tuple[np.ndarray, np.ndarray]:
    step = rung_steps(curves.shape[1])[rung]
    return curves[:, step - 1], curves[:, lagged(step) - 1]


def test_without_history_half_of_the_gain_is_expected_again() -> None:
    projected = CurveModel().project(5, np.array([1.0, 1.0, np.nan]), np.array([0.0, 1.0, 0.5]))
    assert projected.tolist() == [1.5, 1.0, -np.inf]


def test_a_lost_beginning_is_no_gain() -> None:
    assert CurveModel().project(5, np.array([1.0]), np.array([-np.inf])).tolist() == [1.0]


def test_projections_see_who_will_overtake() -> None:
    model = CurveModel.fit([crossing(60, seed=seed) for seed in range(6)])
    curves, rung = crossing(60, seed=100), RUNGS.index(0.35)
    now, earlier = looks(curves, rung)
    winners = curves[:, -1] > 0.65
    ahead = [np.mean(p[winners][:, None] > p[~winners]) for p in (now, model.project(rung, now, earlier))]
    assert ahead[0] < 0.3
    assert ahead[1] > 0.6
    assert model.weights[rung] > 1.0


def test_level_curves_are_not_continued() -> None:
    level = [np.repeat(np.random.default_rng(s).random((60, 1)), 40, axis=1) for s in range(6)]
    rng = np.random.default_rng(9)
    noisy = [curves + rng.normal(0, 0.3, curves.shape) for curves in level]
    assert (CurveModel.fit(noisy).weights < 0).all()


def test_fewer_are_kept_where_early_leaders_win() -> None:
    easy = CurveModel.fit([steady(60, seed=seed) for seed in range(6)])
    assert easy.keep == 0.04
    assert easy.regret <= 0.002
    assert easy.share < 0.26


@pytest.mark.parametrize("family", [steady, crossing])
def test_curves_that_say_nothing_about_the_end_make_it_cautious(family) -> None:
    model = CurveModel.fit([shuffled(family(60, seed=seed)) for seed in range(6)])
    assert model.keep > 0.1
    assert model.regret <= 0.002
    assert model.share > 0.4


def test_where_every_share_loses_something_nothing_is_stopped() -> None:
    model = CurveModel.fit([decided_at_the_end(60, seed=seed) for seed in range(6)])
    assert model.stops_nothing
    assert (model.regret, model.share) == (0.0, 1.0)
    others = np.arange(99.0)
    assert all(model.is_promising(rung, -1.0, others, 99, leader=98.0) for rung in range(len(RUNGS)))
    assert not CurveModel().stops_nothing


@pytest.mark.parametrize(("tolerance", "keep"), [(0.02, 0.3), (0.01, 0.4), (0.002, 0.6)])
def test_as_much_is_stopped_as_the_tolerance_allows(tolerance: float, keep: float) -> None:
    model = CurveModel.fit([shuffled(steady(60, seed=seed)) for seed in range(6)], tolerance=tolerance)
    assert model.keep == keep
    assert model.regret <= tolerance


def test_a_few_tasks_do_not_decide_on_the_share() -> None:
    model = CurveModel.fit([steady(60, seed=seed) for seed in range(4)])
    assert model.keep == CurveModel().keep
    assert model.tasks == 4


def test_no_task_is_the_same_as_no_history() -> None:
    constant, short, few = np.ones((20, 20)), steady(20, 3), steady(9)
    diverged = np.full((20, 20), np.nan)
    model = CurveModel.fit([constant, short, few, diverged])
    assert model.to_json() == CurveModel().to_json()


def test_tasks_may_differ_in_length_and_unit() -> None:
    tasks = [steady(60, steps, seed=steps, scale=10.0**i) for i, steps in enumerate((12, 20, 35, 50, 80, 100))]
    assert CurveModel.fit(tasks).keep == 0.04


def test_the_unit_of_a_task_does_not_matter() -> None:
    tasks = [crossing(60, seed=seed) for seed in range(6)]
    other = CurveModel.fit([7.0 * curves - 3.0 for curves in tasks])
    assert other.weights == pytest.approx(CurveModel.fit(tasks).weights)


def test_gaps_count_as_worst_and_unended_curves_are_left_out() -> None:
    tasks = [steady(60, seed=seed) for seed in range(6)]
    gaps = [np.vstack([curves, np.where(np.arange(50) < 30, curves[:5], np.nan)]) for curves in tasks]
    assert CurveModel.fit(gaps).tasks == 6
    tasks[0][3, :4] = np.nan
    assert np.isfinite(CurveModel.fit(tasks).weights).all()


def test_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match="trials, steps"):
        CurveModel.fit([np.ones(5)])


@pytest.mark.parametrize("n", [1, 3, 20, 80])
def test_not_behind_the_leader_goes_on(n: int) -> None:
    others = np.linspace(1.0, 2.0, n)
    model = CurveModel()
    assert model.is_promising(len(RUNGS) - 1, 0.5, others, n, leader=0.5)
    assert not model.is_promising(len(RUNGS) - 1, 0.5, others, n, leader=2.0)


def test_the_best_share_goes_on() -> None:
    others, rung = np.arange(99.0), RUNGS.index(0.2)
    model = CurveModel(keep=0.04)
    going = [model.is_promising(rung, own + 0.5, others, 99, leader=98.0) for own in range(99)]
    assert going == [False] * 79 + [True] * 20


def test_a_leader_that_would_have_been_stopped_disproves_the_history() -> None:
    others, rung = np.arange(99.0), RUNGS.index(0.2)
    model = CurveModel(keep=0.03)
    assert not model.is_promising(rung, 74.5, others, 99, leader=98.0)
    assert model.is_promising(rung, 74.5, others, 99, leader=79.0)


def test_it_survives_being_written() -> None:
    for model in (CurveModel(), CurveModel.fit([crossing(60, seed=seed) for seed in range(6)])):
        again = CurveModel.from_json(model.to_json())
        assert np.array_equal(again.weights, model.weights)
        assert again.to_json() == model.to_json()


@pytest.mark.parametrize(
    "change", [{"weights": [1.0]}, {"rungs": [0.1]}, {"keep": 0}, {"keep": "all"}, {"weights": [float("nan")] * 11}]
)
def test_a_damaged_file_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(KnowledgeError):
        CurveModel.from_json(json.dumps(json.loads(CurveModel().to_json()) | change))
    with pytest.raises(KnowledgeError):
        CurveModel.from_json("{}")


def test_a_task_whose_curves_overflow_does_not_take_away_what_others_taught() -> None:
    tasks = [crossing(40, seed=seed) for seed in range(8)]
    wild = crossing(40, seed=9)
    wild[:25, :30] = -1e300
    wild[:, -1] = 1.0 + 1e-9 * np.random.default_rng(0).random(40)
    taught, still = CurveModel.fit(tasks), CurveModel.fit([*tasks, wild])
    assert np.abs(taught.weights - 0.5).max() > 0.3
    assert still.weights == pytest.approx(taught.weights, abs=0.15)
