"""The methods that the engine is compared with do what their names promise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backtest_tables import small_table

from metatune.backtest import peers
from metatune.backtest.engine import Engine
from metatune.backtest.fold import Fold, Problem
from metatune.backtest.method import Observed, nearest_free
from metatune.backtest.optuna_methods import ENQUEUED, TpeSearch
from metatune.backtest.registry import METHODS, available
from metatune.backtest.rgpe import ensemble_weights, leave_one_out, ranking_losses, shares_of_wins
from metatune.backtest.static import Cover
from metatune.backtest.table import ReplayTable
from metatune.errors import UnknownNameError
from metatune.search.portfolio import greedy_portfolio
from metatune.surrogate.gp import GaussianProcess, Hyperparameters

#: What needs no other package than metatune does.
OWN = [name for name in METHODS if name not in peers.NAMES]
FROM_HISTORY = ["portfolio", "knn", "copula", "tpe_warm", "rgpe"]


@pytest.fixture
def table(tmp_path: Path) -> ReplayTable:
    return small_table(tmp_path)


def played(problem: Problem, method: str, n: int, seed: int = 0) -> list[int]:
    search = METHODS[method](problem, seed)
    observed: list[tuple[int, float]] = []
    for _ in range(n):
        position = search.ask(observed)
        observed.append((position, float(problem.score[position])))
    return [position for position, _ in observed]


def with_failures(table: ReplayTable) -> ReplayTable:
    tasks = [replace(task, score=np.where(np.arange(60) % 5, task.score, np.nan)) for task in table.tasks]
    return replace(table, tasks=tuple(tasks))


@pytest.mark.parametrize("method", OWN)
def test_every_row_is_asked_for_once_and_the_same_seed_asks_the_same(table: ReplayTable, method: str) -> None:
    problem = Fold(with_failures(table), 0).problem(2)
    order = played(problem, method, 30)
    assert sorted(order) == list(range(30))
    assert played(problem, method, 12) == order[:12]


@pytest.mark.parametrize("method", OWN)
def test_a_task_without_history_is_searched_all_the_same(table: ReplayTable, method: str) -> None:
    tasks = [replace(task, record=replace(task.record, group="one")) for task in table.tasks]
    problem = Fold(replace(table, tasks=tuple(tasks)), 0).problem(2)
    assert len(problem.others) == 0
    assert len(set(played(problem, method, 8))) == 8


@pytest.mark.parametrize("method", FROM_HISTORY)
def test_history_finds_at_once_what_chance_does_not(table: ReplayTable, method: str) -> None:
    def regret(name: str) -> float:
        problems = [Fold(table, seed).problem(task) for seed in (0, 1) for task in range(6)]
        return float(np.mean([p.regret(p.score[played(p, name, 3, seed=i)])[-1] for i, p in enumerate(problems)]))

    assert regret(method) < 0.5 * regret("random")


@pytest.mark.parametrize("method", ["random", "default", "tpe"])
def test_what_knows_no_history_does_not_read_it(table: ReplayTable, method: str) -> None:
    one, two = (Fold(table, 0, stress=stress).problem(2) for stress in ("none", "inverted"))
    assert played(one, method, 15) == played(two, method, 15)
    assert played(one, method, 15, seed=1) != played(one, method, 15, seed=0)


def test_default_begins_next_to_the_default(table: ReplayTable) -> None:
    problem = Fold(table, 0).problem(0)
    first = problem.configurations[played(problem, "default", 1)[0]]
    assert first["kind"] == "bad"
    bad = [c for c in problem.configurations if c["kind"] == "bad"]
    assert abs(float(first["x"]) - 0.5) < max(abs(float(c["x"]) - 0.5) for c in bad)  # type: ignore[arg-type]
    unknown = Fold(replace(table, default=None), 0).problem(0)
    assert unknown.configurations[played(unknown, "default", 1)[0]]["kind"] == "good"


@pytest.mark.parametrize("seed", range(5))
def test_a_cover_is_greedy_until_every_task_has_its_best_and_then_starts_again(seed: int) -> None:
    surfaces = np.random.default_rng(seed).random((6, 40))
    order = Cover(surfaces).first(40)
    best = set(surfaces.argmax(axis=1))
    complete = next(k for k in range(1, 41) if best <= set(order[:k]))
    assert order[:complete] == greedy_portfolio(surfaces, complete)
    left = np.setdiff1d(np.arange(40), order[:complete])
    assert order[complete:] == left[Cover(surfaces[:, left]).first(len(left))].tolist()


def test_knn_asks_the_nearest_task_first(table: ReplayTable) -> None:
    problem = Fold(table, 0).problem(0)
    nearest = problem.history[0]
    assert nearest.record.metafeatures["size"] == 1.0
    best = table.U[nearest.best_rows(1)[0]]
    assert played(problem, "knn", 1)[0] == nearest_free(problem.U, best, ())


def test_knn_is_random_without_meta_features(table: ReplayTable) -> None:
    tasks = [replace(task, record=replace(task.record, metafeatures={})) for task in table.tasks]
    problem = Fold(replace(table, tasks=tuple(tasks)), 0).problem(0)
    assert played(problem, "knn", 10) == played(problem, "random", 10)


def test_tasks_weigh_in_a_replay_as_they_do_in_a_search(table: ReplayTable) -> None:
    tasks = [
        replace(task, own=i < 2, record=replace(task.record, group="one" if i in (3, 4) else str(i), metafeatures={}))
        for i, task in enumerate(table.tasks)
    ]
    problem = Fold(replace(table, tasks=tuple(tasks)), 0).problem(0)
    engine = METHODS["metatune"](problem, 0)
    assert isinstance(engine, Engine)
    # One own task of four sources: it has a quarter, and two tasks of one source share the weight of one.
    weights = dict(zip(problem.others.tolist(), engine.base, strict=True))
    assert weights == pytest.approx({1: 1 / 4, 2: 1 / 4, 3: 1 / 8, 4: 1 / 8, 5: 1 / 4})


def test_a_task_without_most_meta_features_is_not_judged_by_them(table: ReplayTable) -> None:
    def experts(metafeatures: dict[str, float]) -> int:
        record = replace(table.tasks[0].record, metafeatures=metafeatures)
        tasks = (replace(table.tasks[0], record=record), *table.tasks[1:])
        problem = Fold(replace(table, tasks=tasks), 0).problem(0)
        engine = METHODS["metatune-features-on"](problem, 0)
        assert isinstance(engine, Engine)
        return len(engine.base) - len(problem.others)

    assert experts({"size": 3.0}) == 1
    assert experts({"size": np.nan}) == experts({}) == 0


def test_after_openings_that_failed_comes_what_history_promises(table: ReplayTable) -> None:
    problem = Fold(table, 0).problem(0)
    engine = METHODS["metatune"](problem, 0)
    assert isinstance(engine, Engine)
    opening = [engine.ask([(i, np.nan) for i in range(n)]) for n in range(3)]
    failed = [(position, np.nan) for position in opening]
    promised = engine.base @ engine.predicted
    promised[opening] = -np.inf
    assert engine.ask(failed) == int(np.argmax(promised))


def test_nearest_free_takes_the_next_best() -> None:
    U = np.array([[0.0], [0.4], [1.0]])
    assert nearest_free(U, np.array([0.1]), ()) == 0
    assert nearest_free(U, np.array([0.1]), [(0, 1.0)]) == 1
    assert nearest_free(U, np.array([0.1]), [(0, 1.0), (1, np.nan)]) == 2


def test_tpe_is_told_the_rows_that_were_run_and_failures_as_the_worst(table: ReplayTable) -> None:
    problem = Fold(table, 0).problem(0)
    search = METHODS["tpe"](problem, 0)
    assert isinstance(search, TpeSearch)
    observed: Observed = [(4, 0.5), (7, float("nan"))]
    search.ask(observed)
    search.ask([*observed, (9, 0.7)])
    assert search._study.direction.name == "MAXIMIZE"
    done = [trial for trial in search._study.trials if trial.state.name == "COMPLETE"]
    assert [trial.params for trial in done] == [problem.configurations[i] for i in (4, 7, 9)]
    assert [trial.value for trial in done] == [0.5, -np.inf, 0.7]


def test_tpe_warm_begins_with_the_portfolio(table: ReplayTable) -> None:
    problem = Fold(table, 0).problem(0)
    assert played(problem, "tpe_warm", ENQUEUED) == played(problem, "portfolio", ENQUEUED)


def test_leaving_one_out_is_a_process_without_that_observation() -> None:
    rng = np.random.default_rng(0)
    U, z, owners = rng.random((8, 2)), rng.normal(size=8), np.arange(2)
    h = Hyperparameters(np.array([0.4, 0.9]), 1.3, 0.05)
    mean, deviation = leave_one_out(U, z, h, owners)
    for i in range(8):
        rest = np.arange(8) != i
        m, s = GaussianProcess(U[rest], z[rest], owners=owners, hyperparameters=h).predict(U[i : i + 1])
        assert mean[i] == pytest.approx(m[0], abs=1e-6)
        assert deviation[i] ** 2 == pytest.approx(s[0] ** 2 + h.noise, rel=1e-5)


def test_ranking_losses_count_pairs_in_the_wrong_order() -> None:
    z = np.array([1.0, 2.0, 3.0, 3.0])
    drawn = np.array([[[0.0, 1, 2, 2]], [[2.0, 1, 0, 0]], [[0.0, 2, 1, 3]], [[1.0, 1, 1, 1]]])
    np.testing.assert_array_equal(ranking_losses(drawn, z), [[0], [5], [1], [5]])


def test_weights_are_shares_of_wins_and_models_worse_than_the_target_are_dropped() -> None:
    np.testing.assert_allclose(shares_of_wins(np.array([[0.0, 1, 2], [0.0, 2, 1]])), [0.5, 0.5])
    losses = np.array([[0.0, 0, 0, 1], [9.0, 9, 9, 0], [2.0, 2, 2, 2]])
    np.testing.assert_allclose(ensemble_weights(losses), [1.0, 0.0, 0.0])
    np.testing.assert_allclose(shares_of_wins(losses), [0.75, 0.25, 0.0])


def test_an_inverted_history_loses_its_weight_in_rgpe(table: ReplayTable) -> None:
    problem = Fold(table, 0, stress="inverted").problem(2)
    assert problem.regret(problem.score[played(problem, "rgpe", 20)])[-1] < 0.05


def test_unknown_methods_are_named_and_missing_packages_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="portfolio"):
        available("portfolo")
    assert all(available(name) is None for name in OWN)
    monkeypatch.delenv(peers.OPENBOX_PYTHON, raising=False)
    assert "OpenBox" in str(available("openbox"))
