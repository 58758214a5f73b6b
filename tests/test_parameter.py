"""One parameter: membership, the nearest allowed value, and its place in [0, 1]."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from strategies import anything, choices, distributions, numeric_distributions, values_of

from metatune.errors import SpaceError, UnknownNameError
from metatune.parameter import (
    describe,
    distribution_of,
    in_distribution,
    joined,
    nearest,
    same_value,
    units_at,
    value_at,
)

units = st.floats(0.0, 1.0)


@given(distributions, units)
def test_value_at_any_quantile_is_allowed(distribution, u):
    assert in_distribution(distribution, value_at(distribution, u))


@given(st.data(), distributions)
def test_every_allowed_value_is_in_its_distribution(data, distribution):
    assert in_distribution(distribution, data.draw(values_of(distribution)))


@given(st.data(), distributions, distributions)
def test_joined_holds_what_both_do_unless_a_number_meets_choices(data, one, other):
    joint = joined(one, other)
    if isinstance(one, CategoricalDistribution) != isinstance(other, CategoricalDistribution):
        assert joint == one
        return
    for distribution in (one, other):
        assert in_distribution(joint, data.draw(values_of(distribution)))


@pytest.mark.parametrize("turn", [1, -1])
def test_joined_keeps_a_grid_that_both_share_and_a_logarithmic_scale(turn):
    def both(one, other):
        return joined(*(one, other)[::turn])

    assert both(IntDistribution(32, 96, step=32), IntDistribution(160, 224, step=32)) == IntDistribution(
        32, 224, step=32
    )
    assert both(IntDistribution(32, 96, step=32), IntDistribution(40, 72, step=32)) == IntDistribution(32, 96)
    assert both(FloatDistribution(0.1, 0.3, step=0.1), FloatDistribution(0.4, 0.7, step=0.1)) == FloatDistribution(
        0.1, 0.7, step=0.1
    )
    assert both(FloatDistribution(0.1, 0.3, step=0.1), FloatDistribution(0, 1)) == FloatDistribution(0, 1)
    assert both(FloatDistribution(1e-4, 0.1, log=True), FloatDistribution(0.01, 1)) == FloatDistribution(
        1e-4, 1, log=True
    )
    assert both(FloatDistribution(1e-4, 0.1, log=True), FloatDistribution(0, 1)) == FloatDistribution(0, 1)
    assert both(IntDistribution(1, 8, log=True), IntDistribution(2, 8, step=2)) == IntDistribution(1, 8, log=True)


@given(st.data(), numeric_distributions)
def test_units_at_is_undone_by_value_at(data, distribution):
    value = data.draw(values_of(distribution))
    again = value_at(distribution, float(units_at(distribution, np.float64(value))))
    assert math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-9 * max(1.0, distribution.high - distribution.low))


@given(numeric_distributions, units, units)
def test_value_at_never_falls_as_the_quantile_grows(distribution, u, v):
    low, high = sorted((u, v))
    assert value_at(distribution, low) <= value_at(distribution, high)


def test_each_whole_number_owns_an_equal_share():
    drawn = [value_at(IntDistribution(1, 4), u) for u in np.linspace(0.0005, 0.9995, 1000)]
    assert np.unique(drawn, return_counts=True)[1].tolist() == [250, 250, 250, 250]


def test_logarithmic_floats_share_by_ratio():
    assert value_at(FloatDistribution(1e-4, 1.0, log=True), 0.5) == pytest.approx(1e-2)


@given(distributions, anything)
def test_nearest_is_allowed_and_idempotent(distribution, value):
    once = nearest(distribution, value)
    assert in_distribution(distribution, once)
    assert same_value(nearest(distribution, once), once)


@given(st.data(), numeric_distributions, st.floats(allow_nan=False))
def test_no_allowed_value_is_nearer_than_nearest(data, distribution, value):
    other = data.draw(values_of(distribution))
    slack = 1e-9 * max(1.0, abs(value)) if math.isfinite(value) else 0.0
    assert math.isinf(value) or abs(nearest(distribution, value) - value) <= abs(other - value) + slack


@pytest.mark.parametrize("value", [True, "3", None, math.nan, math.inf, 2.5, 0, 6, 10**400])
def test_what_is_not_a_whole_number_in_range_is_not_allowed(value):
    assert not in_distribution(IntDistribution(1, 5), value)


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3.0)])
def test_numbers_are_allowed_whatever_their_type(value):
    assert in_distribution(IntDistribution(1, 5), value)


def test_true_is_not_one():
    distribution = CategoricalDistribution((1, True, "1"))
    assert [in_distribution(distribution, v) for v in (1, True, "1", False, "True")] == [True, True, True, False, False]
    assert nearest(distribution, True) is True


@given(choices)
def test_same_value_holds_for_a_value_and_itself(value):
    assert same_value(value, value)


def test_plain_descriptions_become_distributions():
    assert distribution_of("a", {"low": 1e-4, "high": 1.0, "log": True}) == FloatDistribution(1e-4, 1.0, log=True)
    assert distribution_of("b", {"type": "int", "low": 1, "high": 9, "step": 2}) == IntDistribution(1, 9, step=2)
    assert distribution_of("c", ["x", None, 3]) == CategoricalDistribution(("x", None, 3))
    assert distribution_of("d", {"choices": [1, 2]}) == CategoricalDistribution((1, 2))


@pytest.mark.parametrize(
    "spec",
    [
        {"low": 2.0, "high": 1.0},
        {"low": 0.0, "high": 1.0, "log": True},
        {"type": "int", "low": 0, "high": 9, "log": True},
        {"low": 0.0},
        {"low": 0.0, "high": math.inf},
        {"low": math.nan, "high": 1.0},
        {"low": "a", "high": 1.0},
        {"low": 0.0, "high": 1.0, "logarithmic": True},
        {"choices": []},
        {"choices": [1.0, math.nan]},
        [(64, 64), (32,)],
        ["a", "a"],
        pytest.param({"a", "b"}, id="a set"),
        [],
        "adam",
        5,
        None,
    ],
    ids=repr,
)
def test_impossible_parameters_are_named(spec):
    with pytest.raises(SpaceError) as caught:
        distribution_of("rate", spec)
    assert "'rate'" in caught.value.field
    assert caught.value.remedy


def test_unknown_type_of_parameter_is_corrected():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'float'\?"):
        distribution_of("rate", {"type": "flaot", "low": 0, "high": 1})


@pytest.mark.parametrize(
    ("distribution", "text"),
    [
        (FloatDistribution(1e-3, 1.0, log=True), "[0.001, 1.0] log"),
        (IntDistribution(1, 9, step=2), "[1, 9], step 2"),
        (CategoricalDistribution(("a", None)), "{'a', None}"),
    ],
)
def test_describe_writes_what_is_allowed(distribution, text):
    assert describe(distribution) == text
