"""The second round of the starter knowledge base: proposals of the engine for the datasets of the design."""

import importlib
import sys
from pathlib import Path

import pytest

from metatune.knowledge import starter_directory
from metatune.learners import get_family
from metatune.search.candidates import identity
from metatune.snapshot import Snapshot

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
catalogue, design, pool, proposed, worker = (
    importlib.import_module(f"kb.{name}") for name in ("catalogue", "design", "pool", "proposed", "worker")
)


@pytest.fixture(scope="module")
def records():
    """What ships, as it was before anything was proposed."""
    shipped = Snapshot.read(starter_directory() / "snapshot").records()
    return [(study, tuple(t for t in trials if t.number < proposed.FIRST)) for study, trials in shipped]


@pytest.fixture
def unit(records):
    (unit,) = units(records, trials=2)
    return unit


def units(records, *, names=("iris",), families=("knn",), trials):
    entries = catalogue.select(catalogue.read_catalogue()[0], names)
    return proposed.proposed_units(entries, records, starter_directory(), families=families, trials=trials)


def ended(unit, **options):
    found = pool.run_units([unit], workers=1, folder="", **{"limit": 60.0} | options)
    return [message.trial for _, message in found if isinstance(message, worker.Ended)]


def test_every_study_of_a_design_has_its_proposals_once(records):
    both = units(records, names=("diabetes", "iris"), families=("svm", "knn"), trials=3)
    assert [(u.entry.name, u.family) for u in both] == [
        ("diabetes", "knn"), ("diabetes", "svm"), ("iris", "knn"), ("iris", "svm")
    ]  # fmt: skip
    assert {u.numbers for u in both} == {(1000, 1001, 1002)}
    known = {study.id: trials for study, trials in records}
    assert all(u.evidence.trials == tuple(known[u.study_id]) for u in both)
    last = both[-1]
    study, trials = next((s, t) for s, t in records if s.id == last.study_id)
    again = [*records, (study, [*trials, made(trials[0], number=1001)])]
    assert units(again, families=("svm",), trials=3)[0].numbers == (1000, 1002)
    few = [(study, trials[:9])]
    assert units(few, families=("svm",), trials=3) == []


def made(trial, **changes):
    return type(trial)(**{**{f: getattr(trial, f) for f in trial.__dataclass_fields__}, **changes})


def test_the_engine_proposes_what_was_not_tried_and_says_so(unit):
    first, second = ended(unit)
    assert (first.number, second.number) == (1000, 1001)
    assert first.key == design.trial_key(unit.study_id, 1000)
    assert {first.origin, second.origin} <= {"model", "model-doubting-history", "model-without-history"}
    assert first.status == second.status == "complete"
    space = get_family("knn").space()
    assert space.contains(first.configuration)
    assert space.contains(second.configuration)
    tried = {identity(trial.configuration) for trial in unit.evidence.trials}
    assert len({identity(first.configuration), identity(second.configuration)} - tried) == 2
    best = max(trial.value for trial in unit.evidence.trials if trial.value is not None)
    assert max(first.value, second.value) > best - 0.02  # it looks where good configurations are


def test_the_engine_goes_on_from_what_it_saw(unit, records):
    study = next(study for study, _ in records if study.id == unit.study_id)
    proposer = proposed.proposer_for(unit, study.task)
    first = proposed.propose(proposer, unit, study.task, [], 1000)
    assert first == proposed.propose(proposed.proposer_for(unit, study.task), unit, study.task, [], 1000)
    trial = made(unit.evidence.trials[0], configuration=first.configuration, number=1000, value=None, status="failed")
    second = proposed.propose(proposer, unit, study.task, [trial], 1000)
    assert second.configuration != first.configuration
    assert second == proposed.propose(proposer, unit.going_on((1001,), [trial]), study.task, [], 1000)


def test_the_history_that_proposes_is_that_of_the_others(records):
    group = next(study.task.group for study, _ in records if study.task.name == "iris")
    assert proposed._others(starter_directory(), "a_family_without_trials", group) is None
    others = proposed._others(starter_directory(), "knn", group)
    everybody = proposed._known(starter_directory()).surrogate("knn")
    names = [record.name for record in everybody.records]
    assert "iris" in names
    assert [record.name for record in others.records] == [name for name in names if name != "iris"]
    assert others.design.scores.shape[0] == len(names) - 1
    assert others.meta is None


def test_a_trial_that_was_stopped_is_not_proposed_again(unit):
    first, second = ended(unit, limit=0.001)
    assert first.status == second.status == "failed"
    assert "TimeoutError" in first.error
    assert {first.origin, second.origin} <= {"model", "model-doubting-history", "model-without-history"}
    assert first.configuration != second.configuration
