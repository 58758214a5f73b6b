import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_contract import iris
from memory_store import PLANE, MemoryStore, bowl, custom
from strategies import search_spaces

from metatune.space import Condition, SearchSpace
from metatune.strategies import STRATEGIES, GridSampler, make_sampler
from metatune.tuner import tune

TREE = SearchSpace(
    {
        "kind": ["tree", "net"],
        "depth": {"type": "int", "low": 1, "high": 8},
        "rate": {"low": 1e-4, "high": 1.0, "log": True},
        "units": {"type": "int", "low": 4, "high": 256, "log": True},
        "solver": ["sgd", "adam"],
        "momentum": {"low": 0.0, "high": 0.9, "step": 0.3},
    },
    {
        "depth": Condition("kind", ("tree",)),
        "units": Condition("kind", ("net",)),
        "solver": Condition("kind", ("net",)),
        "momentum": Condition("solver", ("sgd",)),
    },
)


def tree_value(c):
    return c["depth"] / 8 if c["kind"] == "tree" else 0.5 - abs(math.log(c["rate"] / 0.01)) / 20 + c["units"] / 500


def points_of(space, n, seed=0):
    study = optuna.create_study(sampler=GridSampler(space, seed=seed))
    return [space.suggest(study.ask()) for _ in range(n)]


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestEveryStrategy:
    def test_lightgbm(self, strategy):
        result = tune(iris(), "lightgbm", n_trials=3, strategy=strategy, store=False, knowledge=False)
        assert [t.status for t in result.trials] == ["complete"] * 3
        assert result.test_score > 0.8

    def test_conditional_space(self, strategy):
        result = tune(
            custom(), "own", n_trials=25, strategy=strategy, objective=tree_value, space=TREE,
            store=False, knowledge=False, seed=3,
        )  # fmt: skip
        assert len(result.trials) == 25
        assert all(TREE.contains(t.configuration) for t in result.trials)
        assert {t.configuration["kind"] for t in result.trials} == {"tree", "net"}
        assert result.best_value > 0.7

    def test_seed_decides(self, strategy):
        def proposals(seed):
            result = tune(
                custom(), "bowl", n_trials=14, strategy=strategy, objective=bowl, space=PLANE,
                store=False, knowledge=False, seed=seed,
            )  # fmt: skip
            return [dict(t.configuration) for t in result.trials]

        assert proposals(1) == proposals(1)
        assert proposals(1) != proposals(2)

    def test_goes_on_after_a_resume_as_it_would_have(self, strategy):
        """Failed, pruned and warm-started trials included."""

        def objective(configuration, report):
            report(1, configuration["x"])
            if 0.3 < configuration["x"] < 0.4:
                raise optuna.TrialPruned
            if configuration["y"] > 0.8:
                raise ValueError("too high")
            return bowl(configuration)

        options = {
            "strategy": strategy, "objective": objective, "space": PLANE, "knowledge": False, "seed": 5,
            "warm_start": [{"x": 0.9, "y": 0.1}, {"x": 0.1, "y": 0.1}],
        }  # fmt: skip
        whole = tune(custom(), "bowl", n_trials=34, store=False, **options)
        assert {t.status for t in whole.trials} >= {"complete", "pruned"}
        store = MemoryStore()
        half = tune(custom(), "bowl", n_trials=23, store=store, **options)
        rest = tune(custom(), "bowl", n_trials=34, store=store, resume=half.study_id, **options)
        assert [dict(t.configuration) for t in rest.trials] == [dict(t.configuration) for t in whole.trials]
        assert [t.origin for t in rest.trials] == [t.origin for t in whole.trials]
        assert [t.state for t in rest.study.trials] == [t.state for t in whole.study.trials]


@pytest.mark.parametrize("strategy", ["tpe", "cmaes", "genetic"])
def test_strategies_that_learn_find_better_values_than_random(strategy):
    space = SearchSpace({f"p{i}": {"low": 0.0, "high": 1.0} for i in range(6)})

    def distance(configuration):
        return -sum((value - 0.7) ** 2 for value in configuration.values())

    def best(name, seed):
        return tune(
            custom(), "own", n_trials=60, strategy=name, objective=distance, space=space, store=False, seed=seed
        ).best_value

    assert np.median([best(strategy, s) - best("random", s) for s in range(5)]) > 0


class TestGrid:
    def test_lowest_middle_and_highest_come_first(self):
        points = points_of(PLANE, 9)
        assert {tuple(p.values()) for p in points} == {(x, y) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)}

    def test_then_the_values_between(self):
        points = points_of(PLANE, 25)
        quarters = (0.0, 0.25, 0.5, 0.75, 1.0)
        assert {tuple(p.values()) for p in points} == {(x, y) for x in quarters for y in quarters}

    def test_scale_of_the_parameter(self):
        points = points_of(SearchSpace({"rate": {"low": 1e-4, "high": 1.0, "log": True}}), 3)
        assert sorted(p["rate"] for p in points) == pytest.approx([1e-4, 1e-2, 1.0])

    def test_seed_shuffles(self):
        assert points_of(PLANE, 9, seed=1) != points_of(PLANE, 9, seed=2)
        assert points_of(PLANE, 9, seed=1) == points_of(PLANE, 9, seed=1)

    def test_a_finite_space_ends_the_search(self):
        space = SearchSpace({"a": ["u", "v"], "b": {"type": "int", "low": 1, "high": 4}}, {"b": Condition("a", ("u",))})
        store = MemoryStore()
        options = {"strategy": "grid", "objective": lambda c: c.get("b", 0), "space": space, "store": store}
        warm = [{"a": "v"}]
        result = tune(custom(), "own", n_trials=100, warm_start=warm, **options)
        assert len(result.trials) == 1 + 5
        assert sorted(t.configuration.get("b", 0) for t in result.trials[1:]) == [0, 1, 2, 3, 4]
        again = tune(custom(), "own", n_trials=100, resume=result.study_id, **options)
        assert len(again.trials) == 6

    def test_many_parameters(self):
        space = SearchSpace({f"p{i}": {"low": 0.0, "high": 1.0} for i in range(60)})
        points = points_of(space, 30)
        assert len({tuple(p.values()) for p in points}) == 30
        assert {v for p in points for v in p.values()} == {0.0, 0.5, 1.0}

    @given(search_spaces(), st.integers(0, 100))
    @settings(max_examples=40, deadline=None)
    def test_any_space(self, space, seed):
        sampler = GridSampler(space, seed=seed)
        n = next((i for i in range(20) if not sampler.has(i)), 20)
        points = points_of(space, n, seed)
        assert n
        assert all(space.contains(p) for p in points)
        assert len({repr(p) for p in points}) == n


def test_every_name_makes_a_sampler():
    for strategy in STRATEGIES:
        assert isinstance(make_sampler(strategy, space=PLANE), optuna.samplers.BaseSampler)
