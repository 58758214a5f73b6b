"""``MetaPruner`` in real Optuna studies: what it promises, in both directions and with any history."""

from typing import Any

import numpy as np
import optuna
import pytest
from curve_families import crossing, decided_at_the_end, shuffled, steady
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from metatune.errors import UsageError
from metatune.pruner import MetaPruner
from metatune.surrogate.curves import CurveModel


def search(
    curves: np.ndarray, pruner: BasePruner, *, direction: str = "maximize", every: int = 1, first: int = 1
) -> optuna.Study:
    """A study whose trials follow ``curves`` in order; they report every so many steps, counted from ``first``."""
    study = optuna.create_study(direction=direction, pruner=pruner, study_name="curves")
    sign = 1.0 if direction == "maximize" else -1.0
    for curve in sign * curves:
        trial = study.ask()
        state = None
        for step in range(every - 1, len(curve), every):
            trial.report(float(curve[step]), step + first)
            if trial.should_prune():
                state = TrialState.PRUNED
                break
        study.tell(trial, None if state else float(curve[-1]), state=state)
    return study


def lengths(study: optuna.Study) -> list[int]:
    return [len(trial.intermediate_values) for trial in study.trials]


def regret(study: optuna.Study, curves: np.ndarray) -> float:
    final = curves[:, -1]
    return float((final.max() - abs(study.best_value)) / np.ptp(final))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_it_saves_most_steps_and_keeps_the_best(direction: str) -> None:
    curves = steady(60)
    study = search(curves, MetaPruner(), direction=direction)
    assert sum(lengths(study)) < 0.4 * curves.size
    assert regret(study, curves) < 0.005


def test_the_direction_changes_no_decision() -> None:
    curves = crossing(40)
    up, down = (search(curves, MetaPruner(), direction=d) for d in ("maximize", "minimize"))
    assert lengths(up) == lengths(down)


def test_late_winners_survive_where_other_pruners_stop_them() -> None:
    own = MetaPruner(CurveModel.fit([crossing(60, seed=s) for s in range(10, 16)]))
    lost: dict[str, list[float]] = {"own": [], "median": [], "hyperband": [], "halving": []}
    for seed in range(4):
        curves = crossing(60, seed=seed)
        study = search(curves, own)
        assert sum(lengths(study)) < 0.55 * curves.size
        lost["own"].append(regret(study, curves))
        lost["median"].append(regret(search(curves, MedianPruner()), curves))
        lost["hyperband"].append(regret(search(curves, HyperbandPruner(1, 50)), curves))
        lost["halving"].append(regret(search(curves, SuccessiveHalvingPruner(4)), curves))
    mean = {name: float(np.mean(those)) for name, those in lost.items()}
    assert mean.pop("own") < 0.005
    assert min(mean.values()) > 0.05


@pytest.mark.parametrize("seed", range(3))
def test_unrelated_history_does_no_harm(seed: int) -> None:
    curves = steady(60, seed=seed)
    for history in (
        [shuffled(steady(60, seed=s)) for s in range(10, 16)],
        [-steady(60, seed=s) for s in range(10, 16)],
        [crossing(60, seed=s) for s in range(10, 16)],
    ):
        assert regret(search(curves, MetaPruner(CurveModel.fit(history))), curves) < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_history_of_early_winners_loses_little_on_late_ones(seed: int) -> None:
    curves = crossing(60, seed=seed)
    misled = search(curves, MetaPruner(CurveModel.fit([steady(60, seed=s) for s in range(10, 16)])))
    assert regret(misled, curves) < 0.1


def test_where_past_curves_tell_too_little_nothing_is_stopped_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    MetaPruner()
    pruner = MetaPruner(CurveModel.fit([decided_at_the_end(60, seed=s) for s in range(6)]))
    assert [record.getMessage() for record in caplog.records] == [
        "MetaPruner: past learning curves tell too little about how trials end; none is stopped."
    ]
    assert set(lengths(search(crossing(30), pruner))) == {50}


def test_nothing_is_stopped_before_enough_are_complete() -> None:
    falling = np.linspace(1, 0, 12)[:, None] * np.linspace(0.1, 1, 50)
    assert all(n == 50 for n in lengths(search(falling, MetaPruner(startup=7)))[:7])
    assert lengths(search(falling, MetaPruner(startup=7)))[8] < 50


def test_nothing_is_stopped_within_the_warmup() -> None:
    falling = np.linspace(1, 0, 30)[:, None] * np.linspace(0.1, 1, 50)
    assert min(lengths(search(falling, MetaPruner()))) < 20
    assert min(lengths(search(falling, MetaPruner(warmup=20)))) == 22  # the first rung beyond


def test_who_is_not_behind_the_leader_is_never_stopped() -> None:
    rng = np.random.default_rng(0)
    slow = 0.1 * np.linspace(0, 1, 50) ** 3 + np.where(np.arange(50) == 49, 1.0, 0.0)
    fast = [0.8 * (1 - np.exp(-np.arange(50) / (3 + 3 * rng.random()))) for _ in range(30)]
    study = search(np.array([*fast[:3], slow, *fast[3:], slow + 0.01]), MetaPruner(CurveModel(keep=0.03)))
    assert study.best_trial.number == 31


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_value_that_is_not_finite_counts_as_worst(value: float) -> None:
    curves = steady(20)
    curves[10, 3:] = value
    assert lengths(search(curves[:15], MetaPruner()))[10] < 15


@pytest.mark.parametrize(("every", "first"), [(7, 1), (1, 0), (10, 100), (35, 1)])
def test_sparse_reports_and_other_counts_work(every: int, first: int) -> None:
    curves = steady(60, 70)
    study = search(curves, MetaPruner(), every=every, first=first)
    assert sum(lengths(study)) < 0.8 * 60 * (70 // every)
    stopped = [trial.last_step for trial in study.trials if trial.state == TrialState.PRUNED]
    assert max(stopped) < study.best_trial.last_step
    assert regret(study, curves) < 0.005


def test_a_decision_follows_from_the_trials_alone() -> None:
    curves = crossing(30, seed=1)
    whole = search(curves, MetaPruner())
    half = search(curves[:15], MetaPruner())
    resumed = optuna.create_study(direction="maximize", pruner=MetaPruner(), study_name="curves")
    resumed.add_trials(half.trials)
    for curve in curves[15:]:
        trial = resumed.ask()
        for step, value in enumerate(curve, start=1):
            trial.report(float(value), step)
            if trial.should_prune():
                resumed.tell(trial, state=TrialState.PRUNED)
                break
        else:
            resumed.tell(trial, float(curve[-1]))
    assert lengths(resumed) == lengths(whole)


def test_trials_without_reports_and_failed_ones_do_not_count() -> None:
    study = optuna.create_study(direction="maximize", pruner=MetaPruner(startup=1))
    study.tell(study.ask(), 5.0)
    study.tell(study.ask(), state=TrialState.FAIL)
    trial = study.ask()
    for step in range(1, 30):
        trial.report(0.0, step)
        assert not trial.should_prune()


def test_running_trials_that_are_not_as_far_are_not_held_to_be_worse() -> None:
    def decision(running: int) -> bool:
        study = search(steady(6), MetaPruner(CurveModel(keep=0.1)))
        for _ in range(running):
            study.ask().report(0.0, 1)
        trial = study.ask()
        trial.report(0.01, 25)
        return trial.should_prune()

    assert decision(0)
    assert decision(40)


@pytest.mark.parametrize(("stopped", "at", "pruned"), [(18, 30, True), (18, 3, True), (31, 3, False), (31, 30, False)])
def test_each_stopped_trial_counts_once(stopped: int, at: int, pruned: bool) -> None:
    study = search(np.ones((6, 50)), MetaPruner(CurveModel(keep=0.1)))
    for _ in range(stopped):
        trial = study.ask()
        for step in range(1, at + 1):
            trial.report(0.5, step)
        study.tell(trial, state=TrialState.PRUNED)
    trial = study.ask()
    trial.report(0.6, 25)  # seventh, where 22 % go on
    assert trial.should_prune() is pruned


def test_a_longer_budget_can_be_told() -> None:
    flat = np.linspace(1, 0, 30)[:, None] * np.ones(50)
    shortest = [min(lengths(search(flat, MetaPruner(budget=budget)))) for budget in (50, 200)]
    assert shortest[1] > shortest[0]


@pytest.mark.parametrize(("field", "wrong"), [("startup", 0), ("startup", "5"), ("warmup", -1), ("budget", 2.5)])
def test_numbers_out_of_range_are_refused(field: str, wrong: Any) -> None:
    with pytest.raises(UsageError) as caught:
        MetaPruner(**{field: wrong})
    assert (caught.value.field, caught.value.value) == (field, wrong)


def test_a_complete_trial_is_looked_at_once_to_know_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    last_step = FrozenTrial.last_step
    monkeypatch.setattr(
        FrozenTrial, "last_step", property(lambda trial: (looked.append(trial.number), last_step.fget(trial))[1])
    )
    study = search(steady(12, steps=40), MetaPruner(startup=10))
    complete = [trial.number for trial in study.get_trials(deepcopy=False)[:10]]
    running = sum(len(trial.intermediate_values) for trial in study.trials)
    assert sum(number in complete for number in looked) <= running + len(complete)
