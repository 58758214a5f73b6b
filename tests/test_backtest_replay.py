"""Replays run, are kept, taken up again, and survive methods that fail."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backtest_tables import recorded_run, small_table

from metatune.backtest.fold import Fold, Problem
from metatune.backtest.method import Observed
from metatune.backtest.registry import METHODS
from metatune.backtest.replay import replay, run_all
from metatune.backtest.run import Journal, Protocol, Run
from metatune.backtest.table import ReplayTable
from metatune.errors import UnknownNameError, UsageError


@pytest.fixture
def table(tmp_path: Path) -> ReplayTable:
    return small_table(tmp_path)


class Failing:
    """Asks for ``good`` rows, then does something wrong."""

    def __init__(self, good: int, wrong: int | None) -> None:
        self._good, self._wrong = good, wrong

    def ask(self, observed: Observed) -> int:
        if len(observed) < self._good:
            return len(observed)
        if self._wrong is None:
            raise RuntimeError("out of ideas")
        return self._wrong


def run_of(problem: Problem, monkeypatch: pytest.MonkeyPatch, good: int, wrong: int | None = None) -> Run:
    monkeypatch.setitem(METHODS, "failing", lambda p, seed: Failing(good, wrong))
    return replay(problem, "failing", 6)


def test_a_run_is_the_regret_of_the_rows_asked_for(table: ReplayTable) -> None:
    problem = Fold(table, 3).problem(1)
    run = replay(problem, "portfolio", 6)
    search = METHODS["portfolio"](problem, 0)
    observed: list[tuple[int, float]] = []
    for _ in range(6):
        position = search.ask(observed)
        observed.append((position, float(problem.score[position])))
    np.testing.assert_allclose(run.regret, problem.regret([score for _, score in observed]), rtol=1e-5)
    assert (run.table, run.task, run.seed, run.method, run.error) == ("small", "task1", 3, "portfolio", None)
    assert run.seconds.shape == (6,)
    assert (run.seconds > 0).all()


def test_a_run_ends_with_the_pool(table: ReplayTable) -> None:
    run = replay(Fold(table, 0).problem(1), "random", 1000)
    assert run.regret.shape == (30,)
    assert run.regret[-1] == 0.0


def test_tasks_and_folds_have_seeds_of_their_own(table: ReplayTable, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setitem(METHODS, "noting", lambda problem, seed: seeds.append(seed) or METHODS["random"](problem, seed))
    for fold_seed, task in ((0, 0), (0, 1), (1, 0), (0, 0)):
        replay(Fold(table, fold_seed).problem(task), "noting", 1)
    assert len(set(seeds[:3])) == 3
    assert seeds[3] == seeds[0]


def test_a_method_that_fails_keeps_what_it_found(table: ReplayTable, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Fold(table, 0).problem(1)
    run = run_of(problem, monkeypatch, good=2)
    assert run.error == "RuntimeError: out of ideas"
    np.testing.assert_allclose(run.regret, problem.regret(problem.score[[0, 1, 1, 1, 1, 1]]), rtol=1e-5)
    assert run.seconds.shape == (2,)
    assert len(run_of(problem, monkeypatch, good=0).regret) == 0


@pytest.mark.parametrize("wrong", [0, 30, -1])
def test_a_row_twice_or_of_no_pool_is_an_error(table: ReplayTable, monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    run = run_of(Fold(table, 0).problem(1), monkeypatch, good=1, wrong=wrong)
    assert run.error is not None
    assert "not a row of the pool that is left" in run.error


def test_all_runs_come_in_order_and_are_taken_up_again(
    table: ReplayTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods, protocol = ["random", "portfolio"], Protocol(n=5, history_rows=20)
    seen: list[tuple[int, int]] = []
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delenv("NUMEXPR_NUM_THREADS", raising=False)

    def go(workers: int = 1) -> list[Run]:
        return run_all(
            [table], methods, [0, 1], protocol=protocol, directory=tmp_path / "runs", tasks=2, workers=workers,
            progress=lambda runs, ended, total: seen.append((ended, total)),
        )  # fmt: skip

    first = go(workers=2)
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    assert "NUMEXPR_NUM_THREADS" not in os.environ
    assert [(r.seed, r.task, r.method) for r in first] == [
        (seed, task, method) for seed in (0, 1) for task in ("task0", "task5") for method in methods
    ]
    assert seen == [(2, 8), (4, 8), (6, 8), (8, 8)]
    expected = replay(Fold(table, 1, history_rows=20).problem(5), "portfolio", 5)
    np.testing.assert_array_equal(first[-1].regret, expected.regret)

    file = tmp_path / "runs" / "small" / "portfolio.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])  # killed while it wrote the last line
    seen.clear()
    again = go()
    assert seen == [(8, 8)]
    assert [r.key for r in again] == [r.key for r in first]
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.regret, two.regret)
    seen.clear()
    assert len(go()) == 8
    assert seen == []


def test_what_another_protocol_or_a_failure_left_is_run_again(table: ReplayTable, tmp_path: Path) -> None:
    arrays = np.array([0.5, 0.1])
    done = recorded_run("small", "task0", 0, "random", Protocol(n=2), arrays, arrays, digest=table.digest)
    failed = replace(done, task="task5", error="MemoryError: ")
    other = replace(done, task="task5", protocol=Protocol(n=2, stress="inverted"))
    Journal(tmp_path / "runs").append([done, failed, other])
    runs = run_all([table], ["random"], [0], protocol=Protocol(n=2), directory=tmp_path / "runs", tasks=2)
    assert [run.error for run in runs] == [None, None]
    np.testing.assert_array_equal(runs[0].regret, arrays)
    assert (runs[1].regret != arrays).any()


def test_what_another_version_or_other_trials_left_is_run_again(table: ReplayTable, tmp_path: Path) -> None:
    def go(table: ReplayTable) -> np.ndarray:
        return run_all([table], ["random"], [0], protocol=Protocol(n=2), directory=tmp_path / "runs", tasks=1)[0].regret

    # Longer than any true one, so that it cannot be one by chance.
    zeros = np.zeros(3)
    left = recorded_run("small", "task0", 0, "random", Protocol(n=2), zeros, zeros, digest=table.digest)
    Journal(tmp_path / "runs").append([replace(left, version="0.0.1"), replace(left, digest="of other trials")])
    assert len(go(table)) == 2
    Journal(tmp_path / "runs").append([left])
    assert len(go(table)) == 3
    tasks = (*table.tasks[:-1], replace(table.tasks[-1], score=table.tasks[-1].score[::-1].copy()))
    assert len(go(replace(table, tasks=tasks))) == 2


def test_runs_survive_the_journal_whatever_their_names(tmp_path: Path) -> None:
    run = recorded_run(
        "a/b", "täsk", 4, "m*", Protocol(n_history=3), np.array([0.25, np.nan]), np.array([1e-6]), "E: x"
    )
    journal = Journal(tmp_path)
    journal.append([run])
    journal.append([run])
    read = list(journal.read("a/b", "m*"))
    assert len(read) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"a%2Fb"}
    assert (read[0].key, read[0].error) == (run.key, run.error)
    np.testing.assert_array_equal(read[0].regret, run.regret)
    assert list(journal.read("a/b", "other")) == []


def test_wrong_arguments_are_told_before_anything_runs(table: ReplayTable) -> None:
    with pytest.raises(UnknownNameError, match="portfolio"):
        run_all([table], ["portfolo"], [0])
    with pytest.raises(UsageError, match="share a name"):
        run_all([table, table], ["random"], [0])


def test_a_whole_pool_is_replayed_and_kept_apart(table: ReplayTable, tmp_path: Path) -> None:
    halves, whole = (
        run_all([table], ["random"], [0], protocol=Protocol(n=60, whole=flag), directory=tmp_path, tasks=1)[0]
        for flag in (False, True)
    )
    assert (len(halves.regret), len(whole.regret)) == (30, 60)
    assert (halves.protocol.whole, whole.protocol.whole) == (False, True)
