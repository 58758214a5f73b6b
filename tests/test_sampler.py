"""``MetaSampler`` in Optuna studies: the planted optimum in both directions, failures, workers, several objectives."""

import logging
import math
import pickle
import time
import warnings
from collections.abc import Callable
from datetime import datetime

import numpy as np
import optuna
import pytest
from learner_contract import iris
from optuna.trial import create_trial
from planted import SPACE, planted_snapshot, planted_surrogate, record, surrogate_of, utility

from metatune.errors import ConfigurationError, UsageError
from metatune.metafeatures import describe
from metatune.sampler import ORIGIN, MetaSampler
from metatune.search.budget import TimeBudget
from metatune.space import Condition, SearchSpace
from metatune.trial import Configuration


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def search(sampler: MetaSampler, direction: str, n: int, n_jobs: int = 1) -> optuna.Study:
    sign = 1.0 if direction == "maximize" else -1.0
    study = optuna.create_study(direction=direction, sampler=sampler)
    study.optimize(lambda trial: sign * utility(SPACE.suggest(trial)), n_trials=n, n_jobs=n_jobs)
    return study


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("learnt_from", ["maximize", "minimize"])
def test_history_helps_whatever_the_directions(direction: str, learnt_from: str) -> None:
    sampler = MetaSampler(planted_surrogate(direction=learnt_from), task=record("new"), space=SPACE, seed=0)  # type: ignore[arg-type]
    study = search(sampler, direction, 8)
    assert abs(study.trials[0].value or 9.0) < 0.2
    assert abs(study.best_value) < 0.03


def test_the_origin_of_every_trial_is_kept() -> None:
    study = search(MetaSampler(planted_surrogate(), space=SPACE, seed=0), "maximize", 8)
    origins = [t.system_attrs[ORIGIN] for t in study.trials]
    assert origins[0] == "portfolio"
    assert origins[-1] == "model"
    assert study.trials[-1].system_attrs["metatune:odds"] > 0.0
    assert 1 <= study.trials[-1].system_attrs["metatune:trusted"] <= len(planted_surrogate().tasks)


def test_conditions_of_the_space_are_respected() -> None:
    study = search(MetaSampler(planted_surrogate(), space=SPACE, seed=0), "maximize", 15)
    assert all(SPACE.contains(t.params) for t in study.trials)


def test_without_a_space_the_parameters_in_common_are_proposed_together() -> None:
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), seed=0))
    study.optimize(lambda t: utility({"x": t.suggest_float("x", 0, 1), "kind": "good", "extra": 7}), n_trials=10)
    assert {t.system_attrs[ORIGIN] for t in study.trials[:3]} == {"portfolio"}
    assert study.best_value > -0.02


def define_by_run(trial: optuna.Trial) -> float:
    """The planted utility, whose parameters nobody knows before the first trial asks for them."""
    values: Configuration = {"x": trial.suggest_float("x", 0, 1), "y": trial.suggest_float("y", 1e-4, 1, log=True)}
    kind = trial.suggest_categorical("kind", ["bad", "good"])
    extra = {"extra": trial.suggest_int("extra", 1, 9)} if kind == "good" else {}
    return utility({**values, "kind": kind, **extra})


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("seed", range(3))
def test_without_a_space_the_first_trial_has_what_the_history_proposes(direction: str, seed: int) -> None:
    sampler = MetaSampler(planted_surrogate(direction=direction), seed=seed)  # type: ignore[arg-type]
    study = optuna.create_study(direction=direction, sampler=sampler)
    sign = 1.0 if direction == "maximize" else -1.0
    study.optimize(lambda trial: sign * define_by_run(trial), n_trials=1)
    assert study.trials[0].system_attrs[ORIGIN] == "portfolio"
    assert abs(study.trials[0].value or 9.0) < 0.2


def test_without_a_space_workers_that_begin_together_try_different_things() -> None:
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), seed=0))
    asked = [study.ask() for _ in range(4)]
    values = [define_by_run(trial) for trial in asked]
    assert len({str(trial.params) for trial in asked}) == 4
    assert sorted(values)[1] > -1.0  # three of four are among the good


def test_the_first_trial_takes_the_nearest_that_the_objective_allows() -> None:
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), seed=0))
    study.optimize(lambda t: utility({"x": t.suggest_float("x", 0.6, 1), "kind": "good", "extra": 7}), n_trials=1)
    assert study.trials[0].params == {"x": 0.6}


def test_a_first_trial_that_the_history_knows_nothing_of_is_random() -> None:
    study = optuna.create_study(sampler=MetaSampler(planted_surrogate(), seed=0))
    study.optimize(lambda trial: trial.suggest_float("unheard", 0, 1), n_trials=1)
    assert study.trials[0].system_attrs[ORIGIN] == "random"


def test_without_history_or_a_space_the_default_is_first() -> None:
    study = optuna.create_study(sampler=MetaSampler(default={"x": 0.25}, seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert [trial.params["x"] == 0.25 for trial in study.trials] == [True, False, False]
    assert study.trials[0].system_attrs[ORIGIN] == "default"


def test_a_choice_that_all_trials_have_in_common_is_learnt_although_both_ways_were_tried() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("kind", ["bad", "good"]) == "bad":
            return trial.suggest_float("below", 0.0, 1.0) - 2.0
        return trial.suggest_float("above", 0.0, 1.0)

    study = optuna.create_study(direction="maximize", sampler=MetaSampler(seed=0))
    study.optimize(objective, n_trials=40)
    assert sum(trial.params["kind"] == "good" for trial in study.trials[10:]) >= 24


def test_a_resumed_study_goes_on_as_it_would_have() -> None:
    whole = search(MetaSampler(planted_surrogate(), space=SPACE, seed=5), "maximize", 12)
    resumed = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), space=SPACE, seed=5))
    resumed.add_trials(whole.trials[:7])
    resumed.optimize(lambda trial: utility(SPACE.suggest(trial)), n_trials=5)
    assert [t.params for t in resumed.trials] == [t.params for t in whole.trials]


def test_parallel_workers_never_try_the_same() -> None:
    study = search(MetaSampler(planted_surrogate(), space=SPACE, seed=0), "maximize", 16, n_jobs=4)
    assert len({str(sorted(t.params.items())) for t in study.trials}) == 16


def test_failed_trials_and_infinite_values_are_survived() -> None:
    def objective(trial: optuna.Trial) -> float:
        configuration = SPACE.suggest(trial)
        if trial.number % 3 == 1:
            raise ValueError("diverged")
        return float("-inf") if trial.number % 3 == 2 else utility(configuration)

    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), space=SPACE, seed=0))
    study.optimize(objective, n_trials=15, catch=(ValueError,))
    assert study.best_value > -0.1


def test_pruned_trials_count_with_their_last_value() -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.report(utility(SPACE.suggest(trial)), 1)
        raise optuna.TrialPruned

    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), space=SPACE, seed=0))
    study.optimize(objective, n_trials=12)
    assert study.trials[-1].system_attrs[ORIGIN].startswith("model")


def test_several_objectives_are_sampled_without_history_and_say_so_once(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=MetaSampler(planted_surrogate(), seed=0))
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)), n_trials=4)
    assert sum("several objectives" in r.message for r in caplog.records) == 1


DEFAULT: Configuration = {"x": 0.25, "y": 0.75, "kind": "bad"}


def several(sampler: MetaSampler) -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)


def two_values(trial: optuna.Trial) -> tuple[float, float]:
    configuration = SPACE.suggest(trial)
    return utility(configuration), float(configuration["x"])  # type: ignore[arg-type]


def origins(study: optuna.Study) -> list[str]:
    return [trial.system_attrs[ORIGIN] for trial in study.trials]


@pytest.mark.parametrize("space", [SPACE, None])
def test_with_several_objectives_the_default_comes_first_and_trials_say_what_proposed_them(
    space: SearchSpace | None,
) -> None:
    study = several(MetaSampler(planted_surrogate(), space=space, default=DEFAULT, seed=0))
    study.optimize(two_values, n_trials=3)
    study.sampler = MetaSampler(planted_surrogate(), space=space, default=DEFAULT, seed=0)
    study.optimize(two_values, n_trials=10)
    assert study.trials[0].params == DEFAULT
    assert origins(study) == ["default"] + ["tpe"] * 12
    assert all(trial.params != DEFAULT for trial in study.trials[1:])


def test_with_several_objectives_enqueued_trials_come_before_the_default() -> None:
    study = several(MetaSampler(default={**DEFAULT, "x": 7.0, "other": 1}, seed=0))
    study.enqueue_trial({"x": 0.9})
    study.optimize(two_values, n_trials=3)
    assert study.trials[0].params["x"] == 0.9
    assert study.trials[1].params == DEFAULT | {"x": 1.0}
    assert origins(study) == ["tpe", "default", "tpe"]


def test_with_several_objectives_and_no_default_all_trials_are_sampled() -> None:
    study = several(MetaSampler(planted_surrogate(), space=SPACE, seed=0))
    study.optimize(two_values, n_trials=3)
    assert origins(study) == ["tpe"] * 3


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
def test_choices_of_any_kind_can_be_the_default_of_several_objectives() -> None:
    layers = [(8,) * n for n in range(1, 9)]
    study = several(MetaSampler(default={"layers": "(8, 8, 8)"}, seed=0))
    study.optimize(lambda trial: (len(trial.suggest_categorical("layers", layers)), 0.0), n_trials=1)
    assert study.trials[0].params == {"layers": (8, 8, 8)}


def test_workers_that_begin_together_say_it_once() -> None:
    said: list[str] = []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            time.sleep(0.05)
            said.append(record.getMessage())

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=MetaSampler(planted_surrogate(), seed=0))
    logger, handler = logging.getLogger("metatune"), Slow()
    logger.addHandler(handler)
    handler.lock = None  # so that one thread does not wait until the other has spoken
    try:
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), 0.0), n_trials=4, n_jobs=4)
    finally:
        logger.removeHandler(handler)
    assert len(said) == 1


FEW = SearchSpace({"a": ["u", "v"], "n": {"type": "int", "low": 1, "high": 3}}, {"n": Condition("a", ("u",))})


def told_of_repetitions(
    caplog: pytest.LogCaptureFixture, function: Callable[[optuna.Trial], float], space: SearchSpace | None, n: int
) -> list[str]:
    """What is said of a used-up space in ``n`` trials, which must all be made, by two calls of ``optimize``."""
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(space=space, seed=0))
    study.optimize(function, n_trials=n // 2, catch=(ArithmeticError,))
    study.optimize(function, n_trials=n - n // 2, catch=(ArithmeticError,))
    assert len(study.trials) == n
    return [r.getMessage() for r in caplog.records if "tried" in r.getMessage()]


@pytest.mark.parametrize("space", [FEW, None])
@pytest.mark.parametrize("score", [lambda n: float(n), lambda n: 1.0 // (n - 2)])
def test_a_finite_space_that_is_used_up_is_said_once(
    space: SearchSpace | None, score: Callable[[int], float], caplog: pytest.LogCaptureFixture
) -> None:
    if space is None:  # the parameters that are asked for are known from the trials
        said = told_of_repetitions(caplog, lambda t: score(t.suggest_int("n", 1, 4)), None, 16)
    else:
        said = told_of_repetitions(caplog, lambda t: score(space.suggest(t).get("n", 9)), space, 16)  # type: ignore[arg-type]
    (message,) = said
    assert "the whole space was tried (4 configurations)" in message
    assert "study.stop()" in message


def test_repetitions_that_tell_more_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    draw = iter(np.random.default_rng(0).random(12))
    warm = [{"a": "v"}] * 2

    def noisy(trial: optuna.Trial) -> float:
        if trial.number < len(warm):
            trial.study.enqueue_trial(warm[trial.number])
        FEW.suggest(trial)
        return float(next(draw))

    assert not told_of_repetitions(caplog, noisy, FEW, 12)
    beyond = SearchSpace({"a": ["u", "v"]})
    assert not told_of_repetitions(caplog, lambda t: len(beyond.suggest(t)) + t.suggest_float("x", 0, 1), beyond, 8)


def test_enqueued_trials_come_first_and_are_learnt_from() -> None:
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), space=SPACE, seed=0))
    study.enqueue_trial({"x": 0.9, "y": 0.5, "kind": "bad"})
    study.optimize(lambda trial: utility(SPACE.suggest(trial)), n_trials=6)
    assert study.trials[0].params == {"x": 0.9, "y": 0.5, "kind": "bad"}
    assert study.best_value > -0.1


def test_an_unknown_parameter_space_needs_no_history() -> None:
    space = SearchSpace({"never": {"low": 0.0, "high": 1.0}})
    study = optuna.create_study(sampler=MetaSampler(planted_surrogate(), space=space, seed=0))
    study.optimize(lambda t: (space.suggest(t)["never"] - 0.4) ** 2, n_trials=15)  # type: ignore[operator]
    assert study.best_value < 0.005


def test_workers_that_ask_at_the_same_moment_get_different_proposals() -> None:
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), space=SPACE, seed=0))
    for warm, workers in ((0, 8), (6, 4)):
        study.optimize(lambda trial: utility(SPACE.suggest(trial)), n_trials=warm) if warm else None
        sampler = MetaSampler(planted_surrogate(), space=SPACE, seed=0)
        ids = [study._storage.create_new_trial(study._study_id) for _ in range(workers)]
        asking = [study._storage.get_trial(i) for i in ids]
        # None of them has declared its configuration when the others are made.
        found = [sampler.propose(study, trial, dict(SPACE.parameters)).configuration for trial in asking]
        assert len({str(sorted(c.items())) for c in found}) == workers
        for trial in asking:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def test_a_sampler_can_be_pickled_with_its_study() -> None:
    sampler = MetaSampler(planted_surrogate(), space=SPACE, seed=0)
    study = search(sampler, "maximize", 5)
    copy = pickle.loads(pickle.dumps(sampler))
    for one in (sampler, copy):
        study.sampler = one
        trial = study.ask()
        params = SPACE.suggest(trial)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        assert SPACE.contains(params)


def test_a_worker_that_was_killed_before_it_declared_is_not_waited_for() -> None:
    def first(dead: int) -> dict[str, object]:
        sampler = MetaSampler(planted_surrogate(), space=SPACE, seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for _ in range(dead):
            killed = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
            killed.datetime_start = datetime(2020, 1, 1)
            study.add_trial(killed)
        return SPACE.suggest(study.ask())  # type: ignore[return-value]

    assert first(dead=5) == first(dead=0)


def test_independent_draws_depend_on_seed_number_and_name_only() -> None:
    def draws(restart: bool) -> list[float]:
        sampler = MetaSampler(seed=3)
        study = optuna.create_study(sampler=sampler)
        values = []
        for _ in range(4):
            trial = study.ask()
            # A fresh parameter each time is never in common, so it is always sampled independently.
            values.append(trial.suggest_float(f"p{trial.number}", 0, 1))
            study.tell(trial, 0.0)
            study.sampler = MetaSampler(seed=3) if restart else sampler
        return values

    assert draws(restart=True) == draws(restart=False)
    assert len(set(draws(restart=True))) == 4


def test_the_default_has_its_turn_after_any_number_of_warm_starts() -> None:
    default = {"x": 0.95, "y": 0.9, "kind": "bad"}
    study = optuna.create_study(
        direction="maximize", sampler=MetaSampler(planted_surrogate(), space=SPACE, default=default, seed=0)
    )
    for configuration in SPACE.sample(12, 5):
        study.enqueue_trial(configuration)
    study.optimize(lambda trial: utility(SPACE.suggest(trial)), n_trials=14)
    assert default in [t.params for t in study.trials]


def test_one_sampler_serves_two_studies_without_mixing_them_up() -> None:
    sampler = MetaSampler(space=SPACE, seed=0)
    first = search(sampler, "maximize", 12)
    again = search(MetaSampler(space=SPACE, seed=0), "minimize", 12)
    second = search(sampler, "minimize", 12)
    assert [t.params for t in second.trials] == [t.params for t in again.trials]
    assert first.best_value != second.best_value


def asked_budget(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[float], list[float]]]:
    """What the budget was asked: seconds of the trials that it paid for, and of those before."""
    asked: list[tuple[list[float], list[float]]] = []

    def is_short(self: TimeBudget, took: list[float], before: list[float]) -> bool:
        asked.append((list(took), list(before)))
        return False

    monkeypatch.setattr(TimeBudget, "is_short", is_short)
    return asked


def test_trials_before_the_first_of_the_sampler_cost_none_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    study = search(optuna.samplers.RandomSampler(seed=0), "maximize", 3)  # type: ignore[arg-type]
    added = optuna.create_trial(value=0.1, params=study.trials[0].params, distributions=study.trials[0].distributions)
    study.add_trial(added)
    asked = asked_budget(monkeypatch)
    study.sampler = MetaSampler(planted_surrogate(), space=SPACE, timeout=60.0, n_trials=3, seed=0)
    study.optimize(lambda trial: utility(SPACE.suggest(trial)), n_trials=3)
    assert [len(took) for took, _ in asked] == [0, 1, 2]
    seconds = [t.duration.total_seconds() for t in study.trials if t.duration is not None]
    for took, before in asked:
        assert took == seconds[4 : 4 + len(took)]
        assert before[:3] == seconds[:3]
        assert math.isnan(before[3])  # nobody knows what a trial took that was run elsewhere
        assert len(before) == 4


def test_without_a_timeout_no_budget_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_budget(monkeypatch)
    search(MetaSampler(planted_surrogate(), space=SPACE, n_trials=3, seed=0), "maximize", 3)
    assert asked == []


@pytest.mark.parametrize("wrong", [{"timeout": "600"}, {"timeout": -1.0}, {"timeout": 60.0, "n_trials": -1}])
def test_a_wrong_time_budget_is_said_at_once(wrong: dict) -> None:
    with pytest.raises(UsageError, match=list(wrong)[-1]):
        MetaSampler(planted_surrogate(), **wrong)


def _narrowed(configuration: Configuration) -> float:
    """Best at x = .98; what lay beyond 1 is bad, and so is the border, if it is taken for that."""
    x = float(configuration["x"])  # type: ignore[arg-type]
    return -((x - 0.98) ** 2) if x <= 1.0 else -10.0 - x


def _without_a_choice(configuration: Configuration) -> float:
    """Best with the kind "good", the first choice that is left once "third" is dropped."""
    distance = (float(configuration["x"]) - 0.4) ** 2  # type: ignore[arg-type]
    return -distance - {"good": 0.0, "bad": 1.0, "third": 10.0}[str(configuration["kind"])]


_UNIT = {"low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    ("function", "before", "now"),
    [
        (_narrowed, {"x": {"low": 0.0, "high": 10.0}}, {"x": _UNIT}),
        (_without_a_choice, {"kind": ["good", "bad", "third"], "x": _UNIT}, {"kind": ["good", "bad"], "x": _UNIT}),
    ],
)
def test_trials_outside_of_the_space_say_nothing_about_its_border(function, before, now) -> None:
    earlier, space = SearchSpace(before), SearchSpace(now)
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(space=space, seed=0))
    for configuration in earlier.sample(20, 0):
        study.add_trial(
            create_trial(params=configuration, distributions=dict(earlier.parameters), value=function(configuration))
        )
    study.optimize(lambda trial: function(space.suggest(trial)), n_trials=12)
    assert max(trial.value for trial in study.trials[20:]) > -0.01


@pytest.mark.parametrize(
    "choices",
    [
        [1, True],
        [(64,), (64, 64)],
        [np.int64(16), np.int64(32)],
        [int, float],
        [math.nan, 1.0],
        [1, 1.0, 2],
        ["a", "a", "b"],
    ],
    ids=str,
)
def test_whatever_choices_optuna_allows_are_sampled(choices: list[object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's own: such choices cannot be kept in a database
        study = optuna.create_study(sampler=MetaSampler(seed=0))
        study.optimize(
            lambda t: float(t.suggest_categorical("a", choices) is choices[0]) + t.suggest_float("x", 0, 1), 12
        )
    assert {id(trial.params["a"]) for trial in study.trials} <= {id(choice) for choice in choices}
    assert study.best_value < 0.1


def test_a_choice_that_is_no_parameter_is_learnt_by_its_text() -> None:
    """The history, whoever wrote it, has the same text."""
    layers = [(64,), (64, 64), (64, 64, 64)]
    space = SearchSpace({"layers": [repr(choice) for choice in layers], "x": _UNIT})
    best = repr(layers[1])
    known = surrogate_of(planted_snapshot(space=space, function=lambda c, x, y: float(c["layers"] == best) - c["x"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction="maximize", sampler=MetaSampler(known, seed=0))
        study.optimize(lambda t: len(t.suggest_categorical("layers", layers)) - t.suggest_float("x", 0, 1), n_trials=4)
    assert [trial.params["layers"] for trial in study.trials[1:]].count(layers[1]) >= 2


def test_a_parameter_that_the_objective_does_not_ask_for_keeps_no_trial_from_counting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), space=SPACE, seed=0))
    study.optimize(lambda t: utility({"x": t.suggest_float("x", 0, 1), "kind": "good", "extra": 7}), n_trials=10)
    assert len({trial.params["x"] for trial in study.trials}) == 10
    assert origins(study)[-1].startswith("model")
    assert sum("did not ask for 'y'" in r.message for r in caplog.records) == 1
    assert len(caplog.records) <= 2  # "extra" may come later


def test_an_objective_that_asks_for_a_parameter_sometimes_is_learnt_from() -> None:
    flat = SearchSpace({"kind": ["good", "bad"], "x": {"low": 0.0, "high": 1.0}})

    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ["good", "bad"])
        return -1.0 if kind == "bad" else -abs(trial.suggest_float("x", 0.0, 1.0) - 0.3)

    study = optuna.create_study(direction="maximize", sampler=MetaSampler(space=flat, seed=0))
    study.optimize(objective, n_trials=20)
    assert sum(trial.params["kind"] == "good" for trial in study.trials[10:]) >= 8
    assert study.best_value > -0.03


def test_a_trial_that_breaks_a_constraint_is_no_solution() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_constraint("at most .4", x - 0.4)
        return x

    study = optuna.create_study(
        direction="maximize", sampler=MetaSampler(space=SearchSpace({"x": {"low": 0.0, "high": 1.0}}), seed=0)
    )
    study.optimize(objective, n_trials=20)
    assert 0.39 < study.best_value <= 0.4


def test_parameters_that_the_history_calls_otherwise_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(direction="maximize", sampler=MetaSampler(planted_surrogate(), seed=0))

    def objective(trial: optuna.Trial) -> float:
        late = [trial.suggest_float("Z", 0, 1)] if trial.number < 2 else []
        return trial.suggest_float("x", 0, 1) + trial.suggest_float("Y", 0, 1) + sum(late)

    study.optimize(objective, n_trials=5)
    (message,) = [r.message for r in caplog.records]
    assert "the history of 'planted' knows no 'Y', 'Z'" in message
    assert "it knows extra, kind, x, y." in message


def test_a_task_with_its_data_is_known_by_its_meta_features() -> None:
    task = iris()
    assert MetaSampler(space=SPACE, task=task)._task == task.record(describe(task))


def conditional(trial: optuna.Trial) -> float:
    """Half of the trials have a parameter that the others do not."""
    kind = trial.suggest_categorical("kind", ["good", "bad"])
    more = trial.suggest_float("momentum", 0, 1) if kind == "good" else 2.0
    return trial.suggest_float("x", 0, 1) + more + trial.suggest_float("constant", 1, 1)


def test_parameters_that_are_drawn_at_random_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    optuna.create_study(sampler=MetaSampler(seed=0)).optimize(conditional, n_trials=12)
    (message,) = [r.message for r in caplog.records if "at random" in r.message]
    assert "'momentum', which not every trial asks for" in message
    assert "constant" not in message


def test_parameters_beyond_the_space_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=MetaSampler(space=SearchSpace({"x": {"low": 0.0, "high": 1.0}}), seed=0))
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=5)
    (message,) = [r.message for r in caplog.records]
    assert "at random" in message
    assert "'y', which the space does not have" in message


def test_what_all_trials_have_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=MetaSampler(seed=0))
    study.enqueue_trial({"x": 0.5})
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=8, n_jobs=2)
    study.enqueue_trial({"x": 0.5, "y": 0.5})
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=2)
    assert not caplog.records


def test_the_default_is_tried_with_its_conditional_parameters() -> None:
    default: Configuration = {"kind": "good", "momentum": 0.125, "x": 0.25, "constant": 1.0}
    study = optuna.create_study(sampler=MetaSampler(default=default, seed=0))
    study.optimize(conditional, n_trials=4)
    assert default in [trial.params for trial in study.trials]


@pytest.mark.parametrize("directions", [["minimize"], ["minimize"] * 2])
def test_what_the_objective_does_not_take_of_the_default_is_told_once(
    directions: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    default = {"x": 7.0, "lr": 0.1, "kind": "good", "momentum": 0.5, "constant": 1.0}
    study = optuna.create_study(directions=directions, sampler=MetaSampler(default=default, seed=0))
    study.optimize(lambda trial: [conditional(trial)] * len(directions), n_trials=6)
    (message,) = [r.message for r in caplog.records if "default" in r.message]
    assert "the default was not tried as given" in message
    assert "'x', 'lr' of it" in message


@pytest.mark.parametrize(("name", "value"), [("x", 7.0), ("other", 1.0), ("kind", None)])
def test_a_default_outside_of_the_space_is_refused(name: str, value: float | None) -> None:
    wrong = {**DEFAULT, name: value}
    with pytest.raises(ConfigurationError) as caught:
        MetaSampler(space=SPACE, default=wrong)
    assert caught.value.field == f"default[{name!r}]"
