"""``metatune backtest`` as a user types it: on a folder and on knowledge, with its document, page and exit codes."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from backtest_tables import recorded_run, trials_of, write_folder
from planted import FAMILY, planted_snapshot
from rich.console import Console
from typer.testing import CliRunner, Result

from metatune.backtest.registry import METHODS
from metatune.backtest.run import Journal, Protocol, Run
from metatune.backtest.table import ReplayTable
from metatune.cli.backtest import METHODS as USUAL
from metatune.cli.backtest import ReplayProgress
from metatune.cli.main import app
from metatune.knowledge import Knowledge
from metatune.snapshot import Snapshot

SHORT = ("--seeds", "1", "--tasks", "2", "--evaluations", "5", "--workers", "1")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["backtest", *map(str, words)])


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[ReplayTable]:
    """Let searches end at once, and see the tables that they would have run on."""
    seen: list[ReplayTable] = []

    def run_all(tables: list[ReplayTable], names: list[str], *_: object, **options: object) -> list[Run]:
        seen.extend(tables)
        return [
            recorded_run(t.name, "task0", 0, method, Protocol(), np.ones(5), np.ones(5))
            for t in tables
            for method in names
        ]

    monkeypatch.setattr("metatune.backtest.replay.run_all", run_all)
    return seen


def document(result: Result) -> dict[str, Any]:
    """The one JSON document on standard output."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "small", trials_of(tasks=3, n=40))


@pytest.fixture
def knowledge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Knowledge of one family, where the environment says."""
    monkeypatch.setenv("METATUNE_KNOWLEDGE", str(tmp_path / "known"))
    monkeypatch.setattr(Knowledge, "load", classmethod(lambda cls, directory: _Known(planted_snapshot(3, 16))))
    return tmp_path / "known"


class _Known:
    """Knowledge of which only the snapshot is asked for."""

    borrowed: frozenset[str] = frozenset()

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot


def test_a_folder_gives_one_document_and_a_page_with_the_curves(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "out" / "page.html"
    result = run("--table", folder, "--methods", "random,portfolio", *SHORT, "--html", page, "--json")
    found = document(result)
    parts = {"version", "protocol", "tables", "overall", "coverage", "unplayable", "unavailable", "failures"}
    assert set(found) == parts
    methods = found["tables"]["small"]["methods"]
    assert set(methods) == {"random", "portfolio"}
    assert found["tables"]["small"]["tasks"] == 2
    assert len(methods["portfolio"]["curve"]) == 5
    assert methods["portfolio"]["regret"]["5"] < methods["random"]["regret"]["1"]
    assert found["protocol"]["seeds"] == 1
    html = page.read_text()
    assert html.count("<title>portfolio</title>") == 1
    assert 'aria-label="Mean regret on small by evaluation"' in html


def test_all_folders_of_a_folder_as_the_shell_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = recorded(monkeypatch)
    for name in ("a", "b", "c"):
        write_folder(tmp_path / name, trials_of(tasks=3, n=8))
    (tmp_path / "README.md").write_text("What these are.")
    *some, last = sorted(tmp_path.iterdir())
    found = document(run("--table", *some, "--methods", "random", "--table", last, *SHORT, "--json"))
    assert set(found["tables"]) == {"a", "b", "c"}
    assert len(tables) == 3


def test_a_file_or_nothing_in_place_of_a_folder_is_told(folder: Path) -> None:
    alone = run("--table", folder / "space.json", "--methods", "random", "--json")
    assert alone.exit_code == 3
    for words in (("--table",), ("--table", "--seeds", "1")):
        bare = run("--methods", "random", *words)
        assert bare.exit_code == 2
        assert "requires a folder" in bare.stderr


@pytest.mark.parametrize(("option", "taken"), [("--html", "folder"), ("--html", "file/page.html"), ("--runs", "file")])
def test_what_cannot_be_written_is_told_before_anything_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, taken: str
) -> None:
    tables = recorded(monkeypatch)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    result = run("--table", folder, "--methods", "random", *SHORT, option, tmp_path / taken)
    assert result.exit_code in (2, 4)
    assert "Internal error" not in result.stderr
    assert not tables


def test_nothing_to_search_for_is_told(folder: Path, tmp_path: Path) -> None:
    flat = write_folder(tmp_path / "flat", trials_of(tasks=3, n=12).assign(y=1.0))
    alone = run("--table", flat, "--methods", "random", *SHORT, "--json")
    assert alone.exit_code == 3
    found = json.loads(alone.stdout)["error"]["value"]
    assert found == {"flat": "0 of 3 tasks searched. Left out: 3 with equal scores only."}
    page = tmp_path / "page.html"
    both = run("--table", flat, folder, "--methods", "random", *SHORT, "--html", page)
    assert both.exit_code == 0
    said = "flat: 0 of 3 tasks searched. Left out: 3 with equal scores only."
    assert f"Note: {said}" in both.stdout
    assert said in page.read_text()


def test_tasks_that_are_not_searched_are_counted_with_their_reasons(tmp_path: Path) -> None:
    trials = trials_of(tasks=7, n=40)
    trials.loc[trials["task_id"] == "task5", "y"] = 0.5
    trials.loc[(trials["task_id"] == "task6") & (trials["hp__x"] < trials["hp__x"].max()), "y"] = np.nan
    page = tmp_path / "page.html"
    words = ("--table", write_folder(tmp_path / "some", trials), "--methods", "random", *SHORT)
    found = document(run(*words, "--tasks", "3", "--json"))
    left_out = {"few_in_pool": 1, "equal_scores": 1, "not_drawn": 2}
    assert found["coverage"] == {"some": {"tasks": 7, "searched": 3, "left_out": left_out}}
    assert found["tables"]["some"]["tasks"] == 3
    said = "5 of 7 tasks searched. Left out: 1 with fewer than 2 scores in the pool, 1 with equal scores only."
    shown = run(*words, "--tasks", "9", "--html", page, "--seeds", "2").stdout
    assert said in " ".join(shown.split())
    assert said in page.read_text()
    assert "Left out" not in run("--table", write_folder(tmp_path / "all"), *words[2:], "--tasks", "9").stdout


def test_a_table_of_one_task_or_of_one_group_keeps_no_other_from_being_searched(folder: Path, tmp_path: Path) -> None:
    single = write_folder(tmp_path / "single", trials_of(tasks=1, n=40))
    trials = trials_of(tasks=3, n=40)
    trials["search_space_id"] = np.where(trials["task_id"] == "task0", "one", "two")
    tasks = pd.DataFrame({"task_id": ["task0", "task1", "task2"], "group": "same"})
    spaces = write_folder(tmp_path / "spaces", trials, tasks=tasks)
    result = run("--table", single, spaces, folder, "--methods", "random", *SHORT, "--json")
    found = document(result)
    assert list(found["tables"]) == ["small"]
    assert found["unplayable"] == ["single", "one", "two"]
    assert {name: of["left_out"] for name, of in found["coverage"].items()} == {
        "single": {"alone": 1},
        "one": {"alone": 1},
        "two": {"alone": 2},
        "small": {"not_drawn": 1},
    }
    alone = run("--table", single, "--methods", "random", *SHORT)
    assert alone.exit_code == 3
    assert "without a second task to learn from" in " ".join(alone.output.split())


def test_of_knowledge_families_with_own_tasks_that_are_not_searched_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_family(name: str, n: int, trials: int, prefix: str, value: float | None = None) -> list[Any]:
        records = []
        for study, found in planted_snapshot(n, trials, prefix=prefix).records():
            own = [replace(t, key=f"{name}-{t.key}", value=t.value if value is None else value) for t in found]
            records.append((replace(study, family=name, id=f"{name}-{study.id}"), own))
        return records

    lent = [record for name in ("one", "two", "lent") for record in of_family(name, 3, 16, "lent")]
    mine = of_family("one", 2, 16, "own") + of_family("one", 1, 16, "flat", 0.5) + of_family("one", 1, 7, "small")
    mine += of_family("two", 1, 7, "small") + of_family("alone", 1, 16, "own")
    known = _Known(Snapshot.of([*lent, *mine]))
    known.borrowed = frozenset(study.id for study, _ in lent)  # type: ignore[misc]
    monkeypatch.setenv("METATUNE_KNOWLEDGE", str(tmp_path / "known"))
    monkeypatch.setattr(Knowledge, "load", classmethod(lambda cls, directory: known))
    words = ("--methods", "random", *SHORT)
    assert document(run(*words, "--json"))["coverage"] == {
        "one": {"tasks": 7, "searched": 2, "left_out": {"few_completed": 1, "equal_scores": 1, "borrowed": 3}},
        "two": {"tasks": 4, "searched": 0, "left_out": {"few_completed": 1, "borrowed": 3}},
        "alone": {"tasks": 1, "searched": 0, "left_out": {"alone": 1}},
    }
    shown = " ".join(run(*words).stdout.split())
    told = "1 with fewer than 8 completed trials, 1 with equal scores only, 3 borrowed."
    assert f"2 of 7 tasks searched. Left out: {told}" in shown
    assert "Note: alone: 0 of 1 task searched. Left out: 1 without a second task to learn from." in shown
    left_out = {name: of["left_out"] for name, of in document(run(*words, "--borrowed", "--json"))["coverage"].items()}
    assert left_out["one"] == {"few_completed": 1, "equal_scores": 1, "not_drawn": 3}
    assert set(left_out) == {"one", "two", "lent", "alone"}


def test_numbers_are_whole_on_a_narrow_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["metatune-features-shuffled", "metatune", "gp"]
    runs = [recorded_run("small", "task0", 0, name, Protocol(), np.full(50, 0.25), np.full(50, 0.04)) for name in names]
    monkeypatch.setattr("metatune.backtest.replay.run_all", lambda *words, **options: runs)
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("--table", folder, "--methods", ",".join(names), *SHORT).stdout
    assert max(map(len, shown.splitlines())) <= 80
    rows = [line.replace(" %", "%").split() for line in shown.splitlines() if line.startswith("metatune ")]
    assert [len(row) for row in rows] == [8, 7, 9]
    assert rows[0] == ["metatune", *["0.2500"] * 6, "40.0"]
    assert "metatune-features-shuffled  0.2500  0.2500" in shown
    assert "    rank at 10: 2.00  harm at 10: 0 %\n" in shown


def shown_of(monkeypatch: pytest.MonkeyPatch, folder: Path, levels: dict[str, float], n: int = 50) -> str:
    """What is printed on 80 columns, of searches on 20 tasks that have these regrets everywhere."""
    runs = [
        recorded_run("small", f"task{task}", 0, method, Protocol(n=n), np.full(n, level), np.full(n, 0.04))
        for method, level in levels.items()
        for task in range(20)
    ]
    monkeypatch.setattr("metatune.backtest.replay.run_all", lambda *words, **options: runs)
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("--table", folder, "--methods", ",".join(levels), *SHORT)
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines())) <= 80
    return shown.stdout


def test_without_gp_nothing_is_shown_against_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = shown_of(monkeypatch, folder, {"tpe": 0.2, "random": 0.4})
    assert "gp" not in shown
    assert "harm" not in shown
    assert "–" not in shown
    assert "All tables: 20 tasks, average rank\n" in shown


def test_what_metatune_s_lead_is_worth_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = {"metatune": 0.1, "gp": 0.2, "portfolio": 0.2, "random": 0.4, "tpe": 0.4, "default": 0.5}
    shown = shown_of(monkeypatch, folder, levels)
    overall = shown.partition("average rank, harm and p\n")[2].splitlines()
    rows = {line.split()[0]: line.replace(" %", "%").split()[7:] for line in overall if line.startswith(tuple(levels))}
    assert rows.pop("metatune") == ["–", "–", "–"]
    assert len(rows) == 5
    assert {len(row) for row in rows.values()} == {3}
    assert all(float(p) < 1e-4 for row in rows.values() for p in row)
    # Demsar 2006: q = 2.850 for six methods.
    assert "Critical difference of ranks, alpha .05: 1.69 at 5, 1.69 at 10, 1.69 at 25." in overall


def test_one_method_in_a_short_search_has_a_table_of_its_own_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = shown_of(monkeypatch, folder, {"metatune": 0.1}, n=3)
    assert "small: mean regret over 20 tasks" in shown
    assert "All tables" not in shown


def test_a_method_that_went_as_random_is_told(tmp_path: Path) -> None:
    trials = trials_of(tasks=3, n=40)
    blind = write_folder(tmp_path / "blind", trials, tasks=trials[["task_id"]].drop_duplicates())
    words = ("--table", blind, "--methods", "knn,random,portfolio", *SHORT)
    assert document(run(*words, "--json"))["tables"]["blind"]["as_random"] == ["knn"]
    assert "Note: knn is random here: no meta-features, or no other tasks, to go by." in run(*words).stdout


def test_without_a_history_it_is_not_the_meta_features_that_are_blamed(tmp_path: Path) -> None:
    trials = trials_of(tasks=3, n=40)
    failed = trials.assign(y=trials["y"].where(trials["task_id"] == "task0"))
    words = ("--table", write_folder(tmp_path / "alone", failed), "--methods", "knn,random", *SHORT)
    assert "Note: knn is random here: no meta-features, or no other tasks, to go by." in run(*words).stdout


def test_a_line_of_the_runs_that_is_none_is_named(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "runs" / "small"
    kept.mkdir(parents=True)
    (kept / "random.jsonl").write_text('{"table": "small"}\n')
    result = run("--table", folder, "--methods", "random", *SHORT, "--runs", kept.parent)
    assert result.exit_code == 3
    assert "line 1 is not a run" in result.stderr


def test_knowledge_is_replayed_family_by_family(knowledge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = recorded(monkeypatch)
    found = document(run("--family", FAMILY, "--methods", "random,default", *SHORT, "--json"))
    assert set(found["tables"]) == {FAMILY}
    assert [len(table.tasks) for table in tables] == [3]


def test_of_knowledge_with_tasks_of_one_s_own_these_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = planted_snapshot(6, 16, prefix="lent")
    own = planted_snapshot(2, 16, prefix="own", seed=1)
    other = [(replace(study, family="other"), trials) for study, trials in planted_snapshot(2, 16).records()]
    borrowed = Knowledge.build(Snapshot.of([*lent.records(), *other]))
    Knowledge.build(Snapshot.of([*lent.records(), *other, *own.records()]), reuse=borrowed).save(tmp_path / "known")
    monkeypatch.setenv("METATUNE_KNOWLEDGE", str(tmp_path / "known"))

    def searched(*words: str) -> set[str]:
        runs = tmp_path / f"runs{len(words)}"
        document(run("--methods", "random", *SHORT, "--tasks", "9", "--runs", runs, "--json", *words))
        return {json.loads(line)["task"] for file in runs.rglob("*.jsonl") for line in file.read_text().splitlines()}

    assert searched() == {"own0", "own1"}
    assert searched("--borrowed") == {"own0", "own1", *(f"lent{i}" for i in range(6)), "task0", "task1"}


def test_a_family_that_is_not_known_is_wrong_usage(knowledge: Path) -> None:
    result = run("--family", "plantd", "--methods", "random", *SHORT, "--json")
    assert result.exit_code == 2
    assert FAMILY in json.loads(result.stdout)["error"]["remedy"]


def test_knowledge_with_too_little_is_no_history(knowledge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Knowledge, "load", classmethod(lambda cls, directory: _Known(planted_snapshot(1, 16))))
    result = run("--methods", "random", *SHORT, "--json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["error"]["type"] == "NoHistoryError"


def test_options_reach_the_protocol_and_the_runs_are_kept(folder: Path, tmp_path: Path) -> None:
    words = ("--table", folder, "--methods", "random", *SHORT, "--stress", "inverted", "--history", "1")
    found = document(run(*words, "--runs", tmp_path / "runs", "--json"))
    assert (found["protocol"]["stress"], found["protocol"]["n_history"]) == ("inverted", 1)
    kept = list(Journal(tmp_path / "runs").read("small", "random"))
    assert [one.protocol for one in kept] == [Protocol(n=5, stress="inverted", n_history=1)] * 2
    again = run(*words, "--runs", tmp_path / "runs", "--json")
    assert document(again) == found
    assert "[2/2]" not in again.stderr


@pytest.mark.parametrize("known", ["metatune", "tpe_warm", "smac"])
def test_an_unknown_method_is_wrong_usage_and_the_known_ones_are_named(folder: Path, known: str) -> None:
    result = run("--table", folder, "--methods", "random,genius", *SHORT, "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["value"] == "genius"
    assert known in error["remedy"]


def test_a_peer_that_cannot_run_is_listed_with_its_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METATUNE_OPENBOX_PYTHON", raising=False)
    recorded(monkeypatch)
    words = ("--table", folder, *SHORT)
    found = document(run(*words, "--methods", "random,openbox", "--json"))
    assert set(found["tables"]["small"]["methods"]) == {"random"}
    assert "numpy < 2" in found["unavailable"]["openbox"]
    alone = run(*words, "--methods", "openbox")
    assert alone.exit_code == 2
    assert "numpy < 2" in alone.stderr


def test_people_get_a_table_per_table_and_one_for_all(folder: Path) -> None:
    result = run("--table", folder, "--methods", "gp,portfolio", *SHORT)
    assert result.exit_code == 0
    assert "small: mean regret over 2 tasks" in result.stdout
    assert "All tables: 2 tasks" in result.stdout
    assert "portfolio" in result.stdout
    assert "[4/4]" in result.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--family", "knn"), 2),
        (("--borrowed",), 2),
        (("--stress", "silly"), 2),
        (("--seeds", "0"), 2),
        (("--methods", ","), 2),
    ],
)
def test_wrong_options_are_wrong_usage(folder: Path, words: tuple[str, ...], code: int) -> None:
    assert run("--table", folder, "--methods", "random", *words).exit_code == code


def test_a_folder_without_the_layout_is_bad_data(tmp_path: Path) -> None:
    result = run("--table", tmp_path, "--methods", "random", "--json")
    assert result.exit_code == 3
    assert "space.json" in json.loads(result.stdout)["error"]["field"]


def test_a_failed_search_is_told_and_changes_the_exit_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = recorded_run(
        "small", "task0", 0, "random", Protocol(n=5), np.ones(5), np.ones(2), "ValueError: odd\x1b[2J"
    )
    monkeypatch.setattr("metatune.backtest.replay.run_all", lambda *words, **options: [failed])
    result = run("--table", folder, "--methods", "random", *SHORT)
    assert result.exit_code == 6
    assert "random failed in 1 search," in result.stdout
    assert "\x1b" not in result.stdout


def test_what_is_compared_usually_exists() -> None:
    assert set(USUAL.split(",")) <= set(METHODS)


def test_a_terminal_has_one_line_of_progress() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    one = recorded_run("small", "task0", 0, "random", Protocol(), np.ones(5), np.ones(5))
    with ReplayProgress(screen) as progress:
        progress([one], 3, 9)
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "small, seed 0, task0" in shown
    assert "3/9" in shown


#: Interrupts its group of processes, as a terminal does, while those of the replay are loading.
_INTERRUPTED = """
import multiprocessing, os, signal, sys, threading, time

def interrupt():
    while not multiprocessing.active_children():
        time.sleep(0.01)
    time.sleep(0.5)
    os.killpg(0, signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
from metatune.cli.main import app
app(["backtest", *sys.argv[1:]])
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a terminal interrupts a group of processes")
def test_an_interrupt_is_told_in_a_word(folder: Path) -> None:
    words = ["--table", str(folder), "--methods", "random", "--workers", "1", "--seeds", "9"]
    ended = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, *words], capture_output=True, text=True, start_new_session=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


_KILLED = """
import multiprocessing, os, signal, sys
from metatune.cli.backtest import ReplayProgress
from metatune.cli.main import app

def killed(self, runs, ended, total):
    print(f"killed with {len(multiprocessing.active_children())} processes", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

ReplayProgress.__call__ = killed
app(["backtest", *sys.argv[1:]])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="only a signal ends a process without a word")
def test_no_process_outlives_a_killed_backtest(folder: Path) -> None:
    words = ["--table", str(folder), "--methods", "random", "--workers", "2", "--seeds", "9"]
    command = [sys.executable, "-c", _KILLED, *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as killed:
        try:
            _, told = killed.communicate(timeout=60)  # ends with the last process that could write there
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(killed.pid, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    assert told.startswith("killed with 2 processes\n")
