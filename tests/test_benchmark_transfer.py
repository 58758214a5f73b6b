"""The benchmark script: its stages run on a small table, and its section of the page is what the runs say."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from backtest_tables import recorded_run, small_table

from metatune.backtest.run import Journal, Protocol, Run

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import benchmark_transfer
from transfer import published, stages
from transfer.patience import end
from transfer.reading import Runs, common, gate
from transfer.report import BEGIN, END, report, write
from transfer.text import number


def run(method: str, level: float, *, table: str = "lcbench", task: str = "t0", seed: int = 0) -> Run:
    return recorded_run(table, task, seed, method, Protocol(), np.full(50, level), np.full(50, 0.01))


def test_only_what_all_methods_have_run_is_compared() -> None:
    runs = [run("a", 0.1, task="t0"), run("a", 0.1, task="t1"), run("b", 0.1, task="t0")]
    runs.append(replace(run("b", 0.1, task="t1"), regret=np.empty(0), error="ValueError: no"))
    runs.append(run("a", 0.1, table="hpobench_mlp"))
    assert [(one.table, one.task, one.method) for one in common(runs)] == [
        ("lcbench", "t0", "a"), ("lcbench", "t0", "b"), ("hpobench_mlp", "t0", "a"),
    ]  # fmt: skip


def test_the_gates_choice_is_read_from_the_runs() -> None:
    ends = {"": 0.2, "-features-on": 0.2, "-features-off": 0.3}
    assert gate([run(f"metatune{end}", level) for end, level in ends.items()]) == (1, 0)
    same = dict.fromkeys(ends, 0.2)
    assert gate([run(f"metatune{end}", level) for end, level in same.items()]) == (0, 0)


def test_the_section_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Figures\n")
    write(page, "one")
    assert page.read_text() == f"# Figures\n\n{BEGIN}\none\n{END}\n"
    page.write_text(page.read_text() + "\n## Speed\n")
    write(page, "two")
    assert page.read_text() == f"# Figures\n\n{BEGIN}\ntwo\n{END}\n\n## Speed\n"


def test_the_report_has_what_there_are_runs_of(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "runs")
    for task in ("t0", "t1"):
        journal.append([run("gp", 0.4, task=task), run("metatune", 0.1, task=task), run("portfolio", 0.2, task=task)])
    journal.append([run("smac", 0.3)])
    inverted = Protocol(stress="inverted")
    journal.append([replace(run("metatune", 0.5), protocol=inverted)])
    text = report(Runs(tmp_path / "runs", {"lcbench": "d"}), tmp_path)
    assert "| **all** | .250 | .250 | .250 | .250 | 0.0% | 0.0% | 0.0% | 0.0% |" in text
    assert "Against `portfolio` alone, 2 tasks (tasks x seeds: `lcbench` 2 x 1)" in text.split("### Own")[0]
    assert "Its average rank of the two is 1.00 at 5, 1.00 at 10, 1.00 at 25." in text
    assert "| inverted history | 1.250 |" in text
    assert "`smac`, by average rank" not in text.split("### Released")[0]
    assert "The best released method, by average rank at 10, is `smac`." in text
    assert "1 tasks (tasks x seeds: `lcbench` 1 x 1)" in text.split("### Released")[1].split("###")[0]
    assert "without one of its parts" not in text
    assert report(Runs(tmp_path / "nowhere", {"lcbench": "d"}), tmp_path) == ""


def test_who_went_as_random_is_told_below_the_table_in_question(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for table, level in (("lcbench", 0.3), ("rbv2_rpart", 0.2)):
        journal.append([run("random", 0.3, table=table), run("knn", level, table=table), run("gp", 0.1, table=table)])
    text = report(Runs(tmp_path, {"lcbench": "d", "rbv2_rpart": "d"}), tmp_path)
    told = "`knn` is `random` here: no meta-features, or no other tasks, to go by."
    assert text.count(told) == 1
    assert told in text.split("`lcbench`, 1 tasks")[1].split("`rbv2_rpart`, 1 tasks")[0]


def test_runs_of_another_version_or_table_do_not_count(tmp_path: Path) -> None:
    ours, failed = run("gp", 0.1), replace(run("gp", 0.1, task="t1"), error="ValueError: no")
    others = [replace(run("gp", 0.9), version="0.0.1"), replace(run("gp", 0.9), digest="other")]
    Journal(tmp_path).append([run("gp", 0.1, task="t1"), others[0], ours, failed, *others])
    found = {one.task: one for one in Runs(tmp_path, {"lcbench": "d"}).of(["lcbench"], ["gp"], Protocol())}
    assert found["t0"].regret.tolist() == ours.regret.tolist()
    assert found["t1"].error == "ValueError: no"  # the last word, also where an older one was a success
    assert Runs(tmp_path, {}).of(["lcbench"], ["gp"], Protocol()) == []


def test_the_tables_that_are_there_are_told_apart_by_content(tmp_path: Path) -> None:
    small_table(tmp_path, tasks=3, n=30)
    (tmp_path / "small").rename(tmp_path / "lcbench")
    assert stages.digests(tmp_path) == {"lcbench": stages.first_table(tmp_path / "lcbench").digest}


def test_published_curves_are_the_best_so_far_within_the_bounds(tmp_path: Path) -> None:
    trials = pd.DataFrame({"task_id": ["a", "a", "b", "b"], "y": [0.0, 1.0, 10.0, 20.0]})
    trials.to_parquet(tmp_path / "trials.parquet")
    parts = [
        pd.DataFrame({"seed": 0, "iteration": range(100), "value": value, "task": task, "optimizer": "gcp"})
        for task, value in (("a", np.r_[0.5, 0.25, np.full(98, 0.75)]), ("b", np.full(100, 15.0)))
    ]
    pd.concat(parts).to_parquet(tmp_path / "published_curves.parquet")
    assert published.published(tmp_path) == {"gcp": pytest.approx([0.5, *[0.375] * 5])}


def test_a_stage_runs_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_table(tmp_path, tasks=3, n=30)
    monkeypatch.setattr(stages, "MAIN", ("random",))
    monkeypatch.setattr(stages, "OWN", ("random", "default"))
    words = ["--benchmarks", str(tmp_path), "--runs", str(tmp_path / "runs"), "--tables", "small", "--stages", "a"]
    few = ["--seeds", "1", "--workers", "1", "--simple-tasks", "2"]
    assert benchmark_transfer.main([*words, *few]) == 0
    told = capsys.readouterr().err
    assert "3 of 3 searches" in told
    assert "4 of 4 searches" in told
    assert benchmark_transfer.main([*words, *few]) == 0
    assert capsys.readouterr().err == ""
    # Three seeds for the one that was asked for: the table has few tasks.
    runs = Runs(tmp_path / "runs", {"small": stages.first_table(tmp_path / "small").digest})
    assert [len(runs.of(["small"], [name], Protocol())) for name in ("random", "default")] == [9, 6]
    assert benchmark_transfer.main([*words[:-3], "nowhere", "--seeds", "1"]) == 3


def test_a_report_of_nothing_leaves_the_page_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    write(page, "before")
    words = ["--benchmarks", str(tmp_path), "--runs", str(tmp_path / "runs"), "--stages", "none", "--report", str(page)]
    assert benchmark_transfer.main(words) == 3
    assert "--runs" in capsys.readouterr().err
    (tmp_path / "lcbench").mkdir()
    assert benchmark_transfer.main(words) == 3
    assert "space.json" in capsys.readouterr().err
    assert "before" in page.read_text()


def test_numbers_are_short() -> None:
    assert [number(0.25, 2), number(1.5, 2), number(None), number(-0.5, 1)] == [".25", "1.50", "–", "-0.5"]


def test_when_a_search_with_patience_ends() -> None:
    curve = np.array([0.5, 0.4, 0.4, 0.4, 0.3, 0.3, 0.3, 0.3, 0.1])
    assert [end(curve, patience) for patience in (1, 2, 3, 4)] == [3, 4, 8, 9]


def test_searches_that_end_early_are_compared_on_what_all_have_run(tmp_path: Path) -> None:
    falling = np.append(np.linspace(0.5, 0.2, 20), np.full(30, 0.2))
    runs = [run("metatune", 0.1), replace(run("gp", 0.0), regret=falling), run("tpe", 0.4), run("tpe", 0.3, task="t1")]
    Journal(tmp_path).append(runs)
    text = report(Runs(tmp_path, {"lcbench": "d"}), tmp_path).split("### Searches that end early")[1]
    assert "| `lcbench` (1) | 11.0, .1000 | 30.0, .2000 | 11.0, .4000 | .4000 |" in text
