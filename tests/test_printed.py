"""What ``print`` shows of a result: short, complete in what matters, and harmless."""

import re
import time

from learner_contract import breast_cancer
from memory_store import MemoryStore, custom

from metatune.knowledge import Knowledge
from metatune.recommendation import Recommendation, RecommendedConfiguration, SimilarTask
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.trial import Trial
from metatune.tuner import tune

#: So many characters fit into a screen without scrolling.
_SCREEN = 2000
_MANY = {f"feature_{n}": float(n) for n in range(200)}


def searched(objective=lambda configuration: configuration["x"], **options):
    space = SearchSpace({"x": {"low": 0.0, "high": 1.0}, "layers": {"type": "int", "low": 1, "high": 8}})
    options = {"n_trials": 3, "strategy": "random", "store": False} | options
    return tune(custom(metafeatures=_MANY), "network", objective=objective, space=space, **options)


def test_a_result_says_what_was_found_where_and_what_is_next():
    def objective(configuration, report):
        for step in range(1, 200):
            report(step, configuration["x"])
        if configuration["x"] == 0.5:
            raise ValueError("x" * 5000)
        return configuration["x"]

    result = searched(objective, warm_start=[{"x": 0.25, "layers": 3}, {"x": 0.5, "layers": 3}], n_trials=2)
    lines = str(result).splitlines()
    assert len(str(result)) < _SCREEN
    assert max(map(len, lines)) <= 100
    assert lines[0] == f"network on {result.task.name}: done"
    assert "0.2500 (higher is better), trial 0, from warm-start" in lines[1]
    assert "x=0.25  layers=3" in lines[2]
    assert "2 in " in lines[3]
    assert "1 failed" in lines[3]
    assert result.study_id in lines[4]
    assert ".best_configuration" in lines[-1]
    assert ".save(folder)" in lines[-1]
    assert repr(result) == str(result)


def test_a_search_that_was_interrupted_says_how_to_go_on():
    def objective(configuration):
        raise KeyboardInterrupt

    result = searched(objective, store=MemoryStore())
    assert "no trial was complete" in str(result)
    assert str(result).splitlines()[0] == "network on new: interrupted"
    assert f"tune(..., resume='{result.study_id}')" in str(result)
    assert ".best_configuration" not in str(result)


def test_a_search_that_was_recorded_nowhere_cannot_go_on():
    def objective(configuration):
        raise KeyboardInterrupt

    result = searched(objective)
    assert result.interrupted
    assert "resume" not in str(result)


def test_after_a_resume_the_seconds_are_of_the_trials_of_this_call():
    calls = iter([0.1, 0.2, KeyboardInterrupt, 0.3, 0.4, 0.5, 0.6])

    def objective(configuration):
        value = next(calls)
        if value is KeyboardInterrupt:
            raise value
        return value

    store = MemoryStore()
    first = searched(objective, store=store, n_trials=6)
    assert re.search(r"trials +2 in \d\.\d s, 1 interrupted", str(first))
    again = searched(objective, store=store, n_trials=6, resume=first.study_id)
    assert re.search(r"trials +6 \(4 in this call, \d\.\d s\), 1 interrupted", str(again))


def test_a_search_that_the_time_ended_says_so():
    def objective(configuration):
        time.sleep(0.2)
        return 1.0

    result = searched(objective, timeout=0.3, n_trials=40)
    assert str(result).splitlines()[0] == "network on new: the time was up"
    assert re.search(rf"trials +{len(result.trials)} of 40 in ", str(result))
    assert searched(objective, timeout=60, n_trials=2).state == "done"


def test_a_recommendation_shows_expectation_and_evidence():
    items = tuple(
        RecommendedConfiguration(
            {"rate": 0.1 + n, "name": "a b"}, "portfolio", 0.9, 0.7, 0.97, gain=0.12, gain_low=0.05, gain_high=0.3
        )
        for n in range(3)
    )
    similar = tuple(SimilarTask(f"task {n}", 0.1, 30, 0.5, "auc") for n in range(5))
    found = Recommendation("lightgbm", "auc", items, similar, 7, 2100, False, True, ("Take care.\x1b[2J",))
    text = str(found)
    expected = "expected to beat 90 % (70–97 %) of configurations, gain over the default +12 % (+5 to +30 %)"
    assert text.splitlines()[0] == "Recommended for lightgbm, judged by auc"
    assert expected in " ".join(text.split())
    assert "rate=2.1  name=a\N{NO-BREAK SPACE}b" in text
    assert "2,100 trials on 7 tasks; most similar: task 0, task 1, task 2" in text
    assert "note" in text
    assert "\x1b" not in text
    assert ".items[0].configuration" in text.splitlines()[-1]
    assert len(text) < _SCREEN


def test_a_recommendation_out_of_nothing_promises_nothing():
    item = RecommendedConfiguration({"rate": 0.1}, "default", 0.5, 0.0, 1.0, gain=None, gain_low=None, gain_high=None)
    text = str(Recommendation("lightgbm", "auc", (item,), (), 0, 0, False, True, ("Nothing is known.",)))
    assert "expected" not in text
    assert "evidence" not in text


def test_other_values_take_a_line():
    task = breast_cancer()
    record = task.record(_MANY)
    trial = Trial(configuration={"x": 1.0}, status="complete", value=0.5, curve=(0.5,) * 1000, metrics=_MANY)
    study = StudyRecord(task=record, family="f", space=SearchSpace({"x": {"low": 0.0, "high": 1.0}}), id="0")
    knowledge = Knowledge(Snapshot.of([(study, [trial])]), surrogates={}, directory=None)
    for value in (task, record, trial, study, knowledge):
        assert len(repr(value)) < 500, value
        assert "\n" not in repr(value)
    assert "rows=569" in repr(task)
    assert "value=0.5" in repr(trial)
    assert "configuration={'x': 1.0}" in repr(trial)
    assert "studies=1" in repr(knowledge)
