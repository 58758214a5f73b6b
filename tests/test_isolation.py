"""Trials in a process of their own: real faults fail one trial each, and neither the search nor its history."""

import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import faulty_objectives as faulty
import numpy as np
import optuna
import pytest
from learner_contract import breast_cancer
from memory_store import MemoryStore, custom

from metatune.errors import SearchError, UsageError
from metatune.space import SearchSpace
from metatune.tuner import tune

SPACE = SearchSpace({"x": {"low": 0.0, "high": 1.0}})


def search(objective, xs=(0.25, 0.5, 0.75), store=False, **options):
    """One trial of each of ``xs``."""
    first = [{"x": x} for x in xs]
    options = {"n_trials": len(first), "strategy": "random", "space": SPACE, "isolated": True} | options
    return tune(custom(), "faulty", objective=objective, store=store, warm_start=first, **options)


def test_each_fault_is_one_failed_trial():
    store = MemoryStore()
    xs = [0.75, *(n / 100 for n in range(len(faulty.FAULTS))), 0.85]
    result = search(faulty.has_faults, xs, store=store, trial_seconds=3.0, trial_memory=600.0)
    first, *failed, last = result.trials
    assert (first.value, last.value) == (0.75, 0.85)
    assert {trial.status for trial in failed} == {"failed"}
    errors = [trial.error for trial in failed]
    assert errors[0] == "TimeoutError: it took longer than 3 s"
    assert "ended by SIGSEGV" in errors[1]
    assert "ended by SIGABRT" in errors[2]
    assert "exit code 3" in errors[3]
    assert errors[4] == "MemoryError: its process took more than 600 MB"
    assert errors[5] == "ZeroDivisionError: by zero"
    assert 3.0 < failed[0].seconds < 10.0
    assert store.trials(result.study_id) == list(result.trials)
    assert store.status[result.study_id] == "finished"


def test_a_trial_that_reports_all_the_time_does_not_escape_its_limit():
    with pytest.raises(SearchError, match="its process took more than 600 MB"):
        search(faulty.eats_memory_and_reports, (0.5,), trial_memory=600.0)


def test_a_trial_that_closes_all_files_does_not_escape_its_limit():
    first, failed, last = search(faulty.closes_its_files_and_hangs, trial_seconds=20.0).trials
    assert (first.status, failed.status, last.status) == ("complete", "failed", "complete")
    assert "closed the connection" in failed.error
    assert failed.seconds < 20


def test_a_process_that_dies_between_trials_costs_none():
    result = search(faulty.dies_afterwards, (0.25, 0.5), on_trial=lambda progress: time.sleep(0.6))
    assert [trial.status for trial in result.trials] == ["complete", "complete"]
    assert len({trial.value for trial in result.trials}) == 2


def test_one_process_serves_all_trials_and_is_gone_afterwards():
    result = search(faulty.where)
    (pid,) = {int(trial.value) for trial in result.trials}
    assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_reports_and_pruning():
    class AboveStep2(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 1 and trial.last_step >= 3

    result = search(faulty.reports, (0.25, 0.75, 0.5), pruner=AboveStep2())
    assert [trial.status for trial in result.trials] == ["complete", "pruned", "failed"]
    np.testing.assert_array_equal(result.trials[0].curve, [0.25, 0.5, 0.75, 1.0, 1.25])
    np.testing.assert_array_equal(result.trials[1].curve, [0.75, 1.5, 2.25])
    assert [step for step, _ in result.trials[2].reported] == [1, 2, 3, 4, 5]
    assert "SIGKILL" in result.trials[2].error
    assert "memory" in result.trials[2].error


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_what_a_report_raises_is_not_the_death_of_the_process(error):
    class Fails(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            raise error("of the pruner")

    with pytest.raises(error, match="of the pruner"):
        search(faulty.reports, (0.25, 0.75), pruner=Fails())


@pytest.mark.parametrize("error", [TimeoutError, MemoryError])
def test_exceeded_limits_alone_do_not_end_a_search(error):
    def objective(configuration):
        raise error("too much")

    with pytest.raises(SearchError, match="none of 6 trials"):
        search(objective, (0.5,) * 6, isolated=False)


@pytest.mark.slow
def test_what_one_trial_leaves_in_memory_is_not_held_against_the_next():
    result = search(faulty.leaves_memory, (0.1,) * 6, trial_memory=700.0)
    assert [trial.status for trial in result.trials] == ["complete"] * 6


def test_what_a_stopped_trial_started_is_stopped_too(tmp_path, monkeypatch):
    monkeypatch.setenv("FAULTY_PID", str(tmp_path / "pid"))
    search(faulty.starts_another, (0.75, 0.5), trial_seconds=1.0)
    assert not runs(int((tmp_path / "pid").read_text()))


def runs(pid, seconds=5.0):
    """Whether the process still runs after a while; a dead one that nobody has waited for does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        if found.stdout.strip()[:1] in ("", "Z"):
            return False
        time.sleep(0.05)
    return True


def test_a_family_gives_the_trials_that_it_gives_without():
    options = {"n_trials": 2, "strategy": "random", "store": False, "refit": False}
    here = tune(breast_cancer(), "linear", **options)
    there = tune(breast_cancer(), "linear", trial_seconds=120, **options)
    assert [dict(trial.configuration) for trial in there.trials] == [dict(trial.configuration) for trial in here.trials]
    assert [trial.value for trial in there.trials] == [trial.value for trial in here.trials]


def test_ctrl_c_interrupts_the_trial_and_ends_its_process():
    store, numbers = MemoryStore(), []

    def after(progress):
        numbers.append(progress.trial.number)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    result = search(faulty.hangs, (0.25, 0.5), store=store, on_trial=after)
    assert result.interrupted
    assert [trial.status for trial in result.trials] == ["complete", "interrupted"]
    assert not runs(int(result.trials[0].value))


@pytest.mark.parametrize(
    ("objective", "named"),
    [(lambda configuration: 1.0, "lambda"), (faulty.Unloadable(), "no such device")],
    ids=["lambda", "unloadable"],
)
def test_an_objective_that_cannot_be_sent(objective, named):
    store = MemoryStore()
    with pytest.raises(UsageError, match=named) as caught:
        search(objective, store=store)
    assert caught.value.field == "objective"
    assert "top of a module" in caught.value.remedy
    assert not store.studies()


def test_no_room_for_a_trial():
    with pytest.raises(UsageError, match="before the trial begins") as caught:
        search(faulty.good, trial_memory=20)
    assert caught.value.field == "trial_memory"
    taken, advised = (int(re.search(r"\d+", text)[0]) for text in (caught.value.problem, caught.value.remedy))
    assert taken + 500 <= advised <= taken + 600


@pytest.mark.parametrize(
    "bad",
    [
        {"trial_seconds": 0},
        {"trial_memory": -5.0},
        {"trial_seconds": "5"},
        {"trial_memory": True},
        {"timeout": math.nan},
    ],
    ids=str,
)
def test_limits_that_are_none(bad):
    (field,) = bad
    with pytest.raises(UsageError, match=field):
        search(faulty.good, **bad)


PROGRAM = """
    import os, sys, time
    import faulty_objectives, metatune
    from metatune.space import SearchSpace

    task = metatune.Task.custom("t", metric="m", direction="maximize")

    def judged(objective):
        return metatune.tune(
            task, "f", objective=objective, space=SearchSpace({"x": {"low": 0.5, "high": 0.5}}), n_trials=1,
            strategy="random", store=False, isolated=True,
        )
"""


def program(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM) + textwrap.dedent(text))
    tests = os.path.dirname(faulty.__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, path], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "metatune.tune(task, strategy='random', store=False, n_trials=1, **MORE)\n"])
def test_a_program_without_a_guard_is_told_so_and_nothing_else(tmp_path, before):
    """The process imports the program, which would begin the search again, or another one before it."""
    more = "MORE = dict(family='f', objective=faulty_objectives.noted, space=metatune.SearchSpace({'x': [1, 2]}))\n"
    process = program(tmp_path, more + before + "judged(faulty_objectives.good)\n")
    out, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.count("Traceback") == 1
    assert "multiprocessing" not in said
    assert "if __name__ == '__main__'" in said.splitlines()[-1]
    assert out.count("noted") == bool(before)


def test_no_process_outlives_a_killed_search(tmp_path):
    text = """
        def hangs(configuration):
            print(os.getpid(), flush=True)
            time.sleep(120)

        if __name__ == "__main__":
            judged(hangs)
    """
    process = program(tmp_path, text)
    try:
        pid = int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert not runs(pid)
