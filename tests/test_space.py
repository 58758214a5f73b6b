"""Search spaces: conditions, sampling, clipping, JSON."""

import math
import pickle
import random

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import configurations, foreign_configurations, search_spaces, seeds, study_records, task_records, trials

from metatune.errors import ConfigurationError, SpaceError
from metatune.parameter import in_distribution, same_value
from metatune.space import Change, Condition, SearchSpace


@pytest.fixture
def nested() -> SearchSpace:
    """A space whose momentum depends on the optimiser, which depends on the kind of model."""
    return SearchSpace(
        {
            "model": ["net", "tree"],
            "optimiser": ["sgd", "adam"],
            "momentum": {"low": 0.0, "high": 0.99},
            "depth": {"type": "int", "low": 1, "high": 8},
        },
        {
            "optimiser": Condition("model", ("net",)),
            "momentum": Condition("optimiser", ("sgd",)),
            "depth": Condition("model", ("tree",)),
        },
    )


@given(search_spaces())
def test_json_and_pickle_give_an_equal_space_back(space):
    for again in (SearchSpace.from_json(space.to_json()), pickle.loads(pickle.dumps(space))):
        assert again == space
        assert again.digest == space.digest
        assert hash(again) == hash(space)
        assert list(again) == list(space)
        assert dict(again.parameters) == dict(space.parameters)
        assert dict(again.conditions) == dict(space.conditions)


@given(search_spaces(), seeds)
def test_samples_are_contained_and_repeatable(space, seed):
    drawn = space.sample(5, seed)
    assert all(space.contains(configuration) for configuration in drawn)
    assert drawn == space.sample(5, seed)


@given(st.data(), search_spaces())
def test_configurations_are_contained_and_clip_leaves_them(data, space):
    configuration = data.draw(configurations(space))
    assert space.contains(configuration)
    kept, changes = space.clip(configuration)
    assert changes == ()
    assert list(kept) == list(configuration)
    assert all(
        same_value(kept[n], v) or math.isclose(kept[n], v, rel_tol=1e-9, abs_tol=1e-9) for n, v in configuration.items()
    )


@given(st.data(), search_spaces())
def test_clip_gives_a_contained_configuration_and_reports_every_change(data, space):
    foreign = data.draw(foreign_configurations(space))
    kept, changes = space.clip(foreign)
    assert space.contains(kept)
    assert space.clip(kept) == (kept, ())
    expected = {n for n, v in foreign.items() if n not in kept or not in_distribution(space[n], v)}
    assert {change.parameter for change in changes} == expected | (set(kept) - set(foreign))
    assert len(changes) == len({change.parameter for change in changes})
    for change in changes:
        assert change.before is foreign.get(change.parameter, ...)
        assert change.after is kept.get(change.parameter, ...)


@given(st.data(), search_spaces())
def test_the_order_of_the_keys_of_a_configuration_is_nothing(data, space):
    foreign = data.draw(foreign_configurations(space))
    shuffled = dict(random.Random(0).sample(list(foreign.items()), len(foreign)))
    assert space.clip(foreign)[0] == space.clip(shuffled)[0]
    assert space.contains(foreign) == space.contains(shuffled)


@given(search_spaces(), seeds)
def test_optuna_suggests_configurations_of_the_space(space, seed):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    assert space.contains(space.suggest(study.ask()))


def test_children_two_levels_down_are_active_only_with_their_parents(nested):
    assert nested.contains({"model": "net", "optimiser": "sgd", "momentum": 0.9})
    assert nested.contains({"model": "net", "optimiser": "adam"})
    assert nested.contains({"model": "tree", "depth": 3})
    assert not nested.contains({"model": "tree", "depth": 3, "momentum": 0.9})
    assert not nested.contains({"model": "tree", "depth": 3, "optimiser": "sgd", "momentum": 0.9})
    assert not nested.contains({"model": "net", "optimiser": "sgd"})


def test_clip_follows_a_parent_it_changed(nested):
    kept, changes = nested.clip({"model": "forest", "optimiser": "sgd", "momentum": 2.0}, {"model": "tree", "depth": 4})
    assert kept == {"model": "tree", "depth": 4}
    assert changes == (
        Change("model", "forest", "tree", "out of range"),
        Change("optimiser", "sgd", ..., "inactive"),
        Change("momentum", 2.0, ..., "inactive"),
        Change("depth", ..., 4, "missing"),
    )


def test_clip_takes_a_default_only_where_it_is_valid(nested):
    kept, _ = nested.clip({"model": "tree"}, {"depth": 99})
    assert kept["depth"] in (4, 5)


def test_only_a_parameter_that_is_none_alone_is_settled():
    def space(**parameters):
        return SearchSpace({"rate": [None], "act": ["a"]} | parameters)

    assert space().is_settled_by(space(rate={"low": 0.0, "high": 1.0}))
    assert space(act=[None]).is_settled_by(space(act=[None], rate=[None, True]))
    assert not space().is_settled_by(space())
    assert not space(rate=[0.1]).is_settled_by(space())
    assert not space().is_settled_by(space(rate=[0.1], act=["a", "b"]))
    assert not space().is_settled_by(space(rate=[0.1], more=[1]))


def test_clip_does_not_report_rounding():
    space = SearchSpace({"a": {"low": 0.1, "high": 0.9, "step": 0.1}, "b": {"type": "int", "low": 1, "high": 9}})
    assert space.contains({"a": 0.3, "b": 3.0})
    assert space.clip({"a": 0.3, "b": 3.0})[1] == ()


def test_any_text_names_a_parameter():
    space = SearchSpace({"a b/c\n": [1, 2], "ä.é": [1, 2], "0": [1, 2], "=": [1, 2]})
    assert SearchSpace.from_json(space.to_json()) == space


@pytest.mark.parametrize(
    ("parameters", "conditions", "field"),
    [
        ({}, {}, "space"),
        ({"": [1, 2]}, {}, "space"),
        ({3: [1, 2]}, {}, "space"),
        ({"a": [1, 2]}, {"b": Condition("a", (1,))}, "conditions['b']"),
        ({"a": [1, 2]}, {"a": Condition("b", (1,))}, "conditions['a']"),
        ({"a": [1, 2]}, {"a": Condition("a", (1,))}, "conditions['a']"),
        ({"a": [1, 2], "b": [1, 2]}, {"a": Condition("b", (1,))}, "conditions['a']"),
        ({"a": [1, 2], "b": [1, 2]}, {"b": Condition("a", (3,))}, "conditions['b']"),
        ({"a": [1, 2], "b": [1, 2]}, {"b": Condition("a", ())}, "conditions['b']"),
        ({"a": [1, 2], "b": [1, 2]}, {"b": ("a", [1])}, "conditions['b']"),
    ],
    ids=repr,
)
def test_impossible_spaces_are_refused(parameters, conditions, field):
    with pytest.raises(SpaceError) as caught:
        SearchSpace(parameters, conditions)
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", '{"parameters": {"a": 1}, "conditions": {}}', "{'a': 1}"])
def test_text_that_is_no_space_is_refused(text):
    with pytest.raises(SpaceError):
        SearchSpace.from_json(text)


@pytest.mark.parametrize(
    ("configuration", "parameter", "remedy"),
    [
        ({"model": "tree", "dept": 3}, "dept", "Did you mean 'depth'?"),
        ({"model": "tree", "depth": 9}, "depth", "[1, 8]"),
        ({"model": "tree"}, "depth", "[1, 8]"),
        ({"model": "tree", "depth": 3, "optimiser": "sgd"}, "optimiser", "Leave it out"),
        ({"model": "forest"}, "model", "{'net', 'tree'}"),
    ],
)
def test_check_names_parameter_value_and_remedy(nested, configuration, parameter, remedy):
    with pytest.raises(ConfigurationError) as caught:
        nested.check(configuration, "warm_start[0]")
    assert caught.value.field == f"warm_start[0][{parameter!r}]"
    assert caught.value.value == configuration.get(parameter)
    assert remedy in caught.value.remedy


def same_fields(a: object, b: object) -> bool:
    """Equality field by field, NaN being equal to NaN."""
    return repr(a) == repr(b)


@given(st.data(), search_spaces())
def test_trials_survive_pickling(data, space):
    trial = data.draw(trials(space))
    assert same_fields(pickle.loads(pickle.dumps(trial)), trial)


@given(task_records(), study_records())
def test_records_survive_pickling(task, study):
    assert same_fields(pickle.loads(pickle.dumps(task)), task)
    assert same_fields(pickle.loads(pickle.dumps(study)), study)


def test_a_pair_of_numbers_is_asked_about() -> None:
    with pytest.raises(SpaceError, match="range or two choices") as caught:
        SearchSpace({"rate": (0.001, 0.1)})
    assert caught.value.field == "space['rate']"
    assert "{'low': 0.001, 'high': 0.1}" in caught.value.remedy
    assert SearchSpace({"rate": [0.001, 0.1], "on": (True, False), "kind": ("a", "b"), "n": (1, 2, 3)})
