"""What a search on a left-out task may know, and how it is judged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backtest_tables import small_table
from scipy.stats import spearmanr

from metatune.backtest.fold import Fold
from metatune.backtest.table import ReplayTable
from metatune.errors import UnknownNameError


@pytest.fixture
def table(tmp_path: Path) -> ReplayTable:
    return small_table(tmp_path)


def altered(table: ReplayTable, task: int, **fields: object) -> ReplayTable:
    tasks = list(table.tasks)
    tasks[task] = replace(tasks[task], **fields)  # type: ignore[arg-type]
    return replace(table, tasks=tuple(tasks))


def test_history_and_pools_share_no_configuration_where_tasks_do(table: ReplayTable) -> None:
    fold = Fold(table, 0)
    history, pool = fold.split
    assert len(history) == len(pool) == 30
    assert not set(history) & set(pool)
    for i in range(len(table.tasks)):
        assert set(fold.history(i).rows) <= set(history)
        assert set(fold.pool_rows(i)) == set(pool)
    assert set(Fold(table, 1).split[0]) != set(history)


def test_the_whole_design_can_be_history_and_pool(table: ReplayTable) -> None:
    fold = Fold(table, 0, whole=True)
    for i in range(len(table.tasks)):
        assert set(fold.history(i).rows) == set(fold.pool_rows(i)) == set(range(60))
        assert i not in fold.others(i)


def test_own_configurations_are_all_searched_and_all_history(tmp_path: Path) -> None:
    own = small_table(tmp_path, shared=False)
    fold = Fold(own, 0)
    assert len(fold.pool_rows(2)) == len(fold.history(2).rows) == 60
    assert set(fold.pool_rows(2)) == set(own.tasks[2].rows)


def test_the_history_is_capped_at_random_and_keeps_rows_and_scores_together(table: ReplayTable) -> None:
    history = Fold(table, 0, history_rows=10).history(3)
    assert len(history.rows) == 10
    known = dict(zip(table.tasks[3].rows, table.tasks[3].score, strict=True))
    np.testing.assert_array_equal(history.score, [known[row] for row in history.rows])
    np.testing.assert_array_equal(history.X, table.X[history.rows])
    assert set(Fold(table, 0, history_rows=10).history(2).rows) != set(history.rows)


def test_nothing_of_the_left_out_task_is_in_its_problem(table: ReplayTable) -> None:
    shuffled = np.random.default_rng(0).permutation(table.tasks[2].score)
    problem, other = (Fold(t, 0).problem(2) for t in (table, altered(table, 2, score=shuffled)))
    assert 2 not in problem.others
    np.testing.assert_array_equal(problem.predicted, other.predicted)
    for one, two in zip(problem.history, other.history, strict=True):
        np.testing.assert_array_equal(one.score, two.score)
    np.testing.assert_array_equal(problem.rows, other.rows)
    assert (problem.score != other.score).any()


def test_tasks_of_one_group_are_no_history_for_each_other(table: ReplayTable) -> None:
    group = replace(table.tasks[4].record, group="task2")
    assert Fold(altered(table, 4, record=group), 0).others(2).tolist() == [0, 1, 3, 5]


def test_a_task_that_teaches_nothing_is_left_out(table: ReplayTable) -> None:
    fold = Fold(altered(table, 4, score=np.full(60, np.nan)), 0)
    assert fold.others(2).tolist() == [0, 1, 3, 5]
    assert fold.playable == [0, 1, 2, 3, 5]
    assert np.isnan(fold.learnt.surfaces()[4]).all()


def test_surfaces_rank_the_pool_of_a_similar_task(table: ReplayTable) -> None:
    fold = Fold(table, 0)
    problem = fold.problem(2)
    assert problem.predicted.shape == (5, 30)
    assert all(spearmanr(row, problem.score).statistic > 0.5 for row in problem.predicted)
    outside = np.setdiff1d(np.arange(60), fold.split[1])
    assert np.isnan(fold.learnt.surfaces()[:, outside]).all()


def test_an_inverted_history_predicts_the_opposite_and_an_unrelated_one_nothing(table: ReplayTable) -> None:
    inverted, unrelated = (Fold(table, 0, stress=stress) for stress in ("inverted", "unrelated"))
    plain = Fold(table, 0)
    np.testing.assert_array_equal(inverted.history(1).score, -plain.history(1).score)
    assert sorted(unrelated.history(1).score) == sorted(plain.history(1).score)
    np.testing.assert_array_equal(unrelated.history(1).rows, plain.history(1).rows)
    assert (unrelated.history(1).score != plain.history(1).score).any()
    problem = inverted.problem(2)
    assert spearmanr(problem.predicted.mean(axis=0), problem.score).statistic < -0.5
    np.testing.assert_array_equal(problem.score, plain.problem(2).score)
    with pytest.raises(UnknownNameError, match="stress"):
        Fold(table, 0, stress="upside down")


def test_few_tasks_of_history_are_drawn_anew_for_each_task(table: ReplayTable) -> None:
    fold = Fold(table, 0, n_history=1)
    chosen = [fold.others(i).tolist() for i in range(6)]
    assert all(len(others) == 1 and others != [i] for i, others in enumerate(chosen))
    assert len({tuple(others) for others in chosen}) > 1
    assert fold.problem(0).predicted.shape == (1, 30)


def test_a_problem_speaks_of_its_pool(table: ReplayTable) -> None:
    problem = Fold(table, 0).problem(1)
    np.testing.assert_array_equal(problem.U, table.U[problem.rows])
    np.testing.assert_array_equal(problem.X, table.X[problem.rows])
    assert problem.configurations == [table.configurations[row] for row in problem.rows]
    known = dict(zip(table.tasks[1].rows, table.tasks[1].score, strict=True))
    np.testing.assert_array_equal(problem.score, [known[row] for row in problem.rows])


def test_the_same_seed_gives_the_same_fold(table: ReplayTable) -> None:
    one, two = (Fold(table, 7).problem(3) for _ in range(2))
    np.testing.assert_array_equal(one.rows, two.rows)
    np.testing.assert_array_equal(one.predicted, two.predicted)


def test_regret_is_normalised_by_the_pool_and_a_failure_is_the_worst(table: ReplayTable) -> None:
    score = table.tasks[0].score.copy()
    failed = int(Fold(table, 0)._pool(0)[4])
    score[failed] = np.nan
    problem = Fold(altered(table, 0, score=score), 0).problem(0)
    finite = problem.score[np.isfinite(problem.score)]
    assert np.isnan(problem.score).sum() == 1
    worst, best = finite.min(), finite.max()
    regret = problem.regret([np.nan, worst, (worst + best) / 2, worst, best, worst])
    np.testing.assert_allclose(regret, [1.0, 1.0, 0.5, 0.5, 0.0, 0.0])


def test_regret_is_known_where_the_range_of_scores_is_larger_than_any_number(table: ReplayTable) -> None:
    score = np.where(table.tasks[0].score > 0.5, 1.5e308, -1.5e308)
    problem = Fold(altered(table, 0, score=score), 0).problem(0)
    with np.errstate(all="raise"):
        assert 0 in problem.fold.playable
        np.testing.assert_array_equal(problem.regret([-1.5e308, 0.0, 1.5e308]), [1.0, 0.5, 0.0])
