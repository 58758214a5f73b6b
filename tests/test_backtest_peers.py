"""Adapters of released packages: each search is the package's own, within the pool, and told what it evaluated."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from metatune.backtest import peers
from metatune.backtest.fold import Fold, Problem
from metatune.backtest.peers.pool import Pool, as_texts, failures_as_worst, filled, from_texts, source_tasks
from metatune.backtest.table import ReplayTable, ReplayTask
from metatune.metric import Metric
from metatune.space import Condition, SearchSpace
from metatune.task import TaskRecord

SPACE = SearchSpace(
    {
        "rate": FloatDistribution(1e-4, 1.0, log=True),
        "depth": IntDistribution(1, 8),
        "kind": CategoricalDistribution(["plain", "extra"]),
        "splits": IntDistribution(1, 20),
    },
    {"splits": Condition("kind", ("extra",))},
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    """A task on 40 rows, beside two earlier ones with the same optimum; every tenth configuration fails."""
    configurations = SPACE.sample(80, seed=0)
    rate = np.log10([c["rate"] for c in configurations])
    score = -((rate + 2) ** 2) - 0.1 * np.array([c["depth"] for c in configurations])
    score[::10] = np.nan
    tasks = []
    for i in range(3):
        name = f"t{i}"
        record = TaskRecord(name=name, kind="custom", metric=Metric("s", "maximize"), fingerprint=name, group=name)
        tasks.append(ReplayTask(record, np.arange(80), score * (1 + i) + i, np.full(80, np.nan)))
    return Fold(ReplayTable("toy", SPACE, configurations, tuple(tasks), None), seed=0).problem(2)


def play(name: str, problem: Problem, n: int) -> list[tuple[int, float]]:
    reason = peers.unavailable(name)
    if reason:
        pytest.skip(reason)
    search = importlib.import_module(f"metatune.backtest.peers.{name}").method(problem, 1)
    observed: list[tuple[int, float]] = []
    for _ in range(n):
        position = search.ask(observed)
        observed.append((position, float(problem.score[position])))
    return observed


#: Ax fits for seconds per proposal.
METHODS = [pytest.param(name, marks=pytest.mark.slow) if name == "ax" else name for name in peers.NAMES]


@pytest.mark.filterwarnings("default")  # the packages' own
@pytest.mark.parametrize("name", METHODS)
def test_each_row_is_asked_once_and_the_search_finds_the_good_ones(name: str, problem: Problem) -> None:
    observed = play(name, problem, 12)
    positions = [position for position, _ in observed]
    assert len(set(positions)) == 12
    assert all(0 <= position < len(problem.U) for position in positions)
    assert problem.regret([score for _, score in observed])[-1] < 0.2


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", METHODS)
def test_a_search_is_repeatable(name: str, problem: Problem) -> None:
    first, second = ([position for position, _ in play(name, problem, 7)] for _ in range(2))
    assert first == second


def test_proposals_become_the_nearest_free_row(problem: Problem) -> None:
    pool = Pool(problem)
    wanted = problem.configurations[5]
    assert pool.nearest(wanted, []) == 5
    second = pool.nearest(wanted, [(5, 0.0)])
    distance = ((problem.U - problem.U[5]) ** 2).sum(axis=1)
    assert second == np.argsort(distance)[1]


def test_news_are_told_once_and_failures_cost_the_worst_so_far(problem: Problem) -> None:
    pool = Pool(problem)
    assert pool.news([(3, np.nan)]) == []
    assert pool.news([(3, np.nan), (4, 0.5)]) == [(3, -0.5, True), (4, -0.5, False)]
    assert pool.news([(3, np.nan), (4, 0.5), (5, -2.0), (6, np.nan)]) == [(5, 2.0, False), (6, 2.0, True)]
    assert pool.news([(3, np.nan), (4, 0.5), (5, -2.0), (6, np.nan)]) == []
    assert failures_as_worst(np.array([1.0, np.nan, 3.0])).tolist() == [1.0, 3.0, 3.0]


def test_the_history_is_that_of_the_other_tasks_with_losses(problem: Problem) -> None:
    tasks = source_tasks(problem)
    assert len(tasks) == len(problem.history) == 2
    for (configurations, losses), trials in zip(tasks, problem.history, strict=True):
        assert configurations == [problem.fold.table.configurations[row] for row in trials.rows]
        good = np.isfinite(trials.score)
        assert losses[good].tolist() == (-trials.score[good]).tolist()
        assert set(losses[~good]) == {losses.max()}
    assert [len(losses) for _, losses in source_tasks(problem, rows=4, tasks=1)] == [4]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", METHODS)
def test_choices_may_be_truth_values_numbers_and_none(name: str, problem: Problem) -> None:
    choices = {"flag": [True, False], "weight": [None, "balanced"], "size": [10, 2.5]}
    space = SearchSpace(
        {"x": FloatDistribution(0.0, 1.0)} | {n: CategoricalDistribution(values) for n, values in choices.items()}
    )
    configurations = space.sample(80, seed=0)
    table = replace(problem.fold.table, space=space, configurations=configurations)
    assert len({position for position, _ in play(name, Fold(table, seed=0).problem(2), 4)}) == 4


def test_choices_become_texts_and_values_again() -> None:
    space = SearchSpace({"x": FloatDistribution(0.0, 1.0), "c": CategoricalDistribution([None, True, 2.5, "a"])})
    for configuration in space.sample(20, seed=0):
        texts = as_texts(space, configuration)
        assert texts == {"x": configuration["x"], "c": str(configuration["c"])}
        assert from_texts(space, texts) == configuration


def test_inactive_parameters_are_filled() -> None:
    assert filled(SPACE, {"rate": 0.1, "depth": 3, "kind": "plain"})["splits"] in (10, 11)
    assert filled(SPACE, {"rate": 0.1, "depth": 3, "kind": "extra", "splits": 2})["splits"] == 2


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert peers.unavailable("smac") == 'smac, ConfigSpace not installed: pip install "metatune[bench]"'
    monkeypatch.delenv(peers.OPENBOX_PYTHON, raising=False)
    assert "numpy < 2" in str(peers.unavailable("openbox"))
    monkeypatch.setenv(peers.OPENBOX_PYTHON, str(tmp_path / "none"))
    assert "not an executable" in str(peers.unavailable("openbox"))
