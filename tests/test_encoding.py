"""Names to columns and back."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from planted import SPACE, planted_snapshot, record, study_of
from strategies import configurations, search_spaces

from metatune.encoding import ConfigurationEncoder, UnitEncoder
from metatune.errors import KnowledgeError
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace


@given(st.data())
def test_unit_encoding_is_reversible(data: st.DataObject) -> None:
    space = data.draw(search_spaces())
    # A float comes back up to rounding, so what is active only at one exact float may be lost.
    assume(not any(isinstance(space[condition.parent], FloatDistribution) for condition in space.conditions.values()))
    configuration = data.draw(configurations(space))
    encoder = UnitEncoder(space)
    row = encoder.encode([configuration])[0]
    assert ((row >= 0) & (row <= 1)).all()
    decoded = encoder.decode(row)
    assert list(decoded) == list(space.active(configuration))
    for name, value in decoded.items():
        if isinstance(space[name], FloatDistribution):
            width = space[name].high - space[name].low  # type: ignore[attr-defined]
            assert math.isclose(value, configuration[name], rel_tol=1e-6, abs_tol=1e-9 * width)  # type: ignore[arg-type]
        else:
            assert value == configuration[name]
            assert type(value) is type(configuration[name])


@pytest.fixture(scope="module")
def encoder() -> ConfigurationEncoder:
    return ConfigurationEncoder.of(planted_snapshot(tasks=2, trials=30).family("planted"))


def test_table_and_configurations_give_the_same_columns(encoder: ConfigurationEncoder) -> None:
    table = planted_snapshot(tasks=2, trials=30).family("planted")
    rows = [table.configuration(i) for i in range(len(table))]
    np.testing.assert_array_equal(encoder.encode(rows, SPACE), encoder.encode_table(table, np.arange(len(table))))


def test_inactive_is_missing_and_unknown_choices_are_too(encoder: ConfigurationEncoder) -> None:
    row = encoder.encode([{"x": 0.5, "y": 0.1, "kind": "never seen"}], SPACE)[0]
    by_name = dict(zip(encoder.columns, row, strict=True))
    assert by_name["n:x"] == 0.5
    assert math.isnan(by_name["n:extra"])
    assert math.isnan(by_name["c:kind"])


def test_a_parameter_that_the_space_lacks_takes_its_usual_good_value(encoder: ConfigurationEncoder) -> None:
    row = encoder.encode([{"x": 0.5}], SearchSpace({"x": {"low": 0, "high": 1}}))[0]
    by_name = dict(zip(encoder.columns, row, strict=True))
    assert encoder.levels["kind"][int(by_name["c:kind"])] == "good"
    assert 1e-3 < by_name["n:y"] < 1e-1


def test_unit_scales_by_the_hull_of_all_ranges() -> None:
    wide = SearchSpace({"x": {"low": 0.0, "high": 4.0}})
    narrow = SearchSpace({"x": {"low": 1.0, "high": 2.0}})
    records = [
        study_of(record("a"), lambda c: float(c["x"]), space=wide, configurations=wide.sample(5)),  # type: ignore[arg-type]
        study_of(record("b"), lambda c: float(c["x"]), space=narrow, configurations=narrow.sample(5)),  # type: ignore[arg-type]
    ]
    encoder = ConfigurationEncoder.of(Snapshot.of(records).family("planted"))
    unit = encoder.unit(encoder.encode([{"x": 2.0}, {"x": 4.0}], wide))
    assert unit[:, 0] == pytest.approx([0.5, 1.0])


def test_json_round_trip(encoder: ConfigurationEncoder) -> None:
    assert ConfigurationEncoder.from_json(encoder.to_json()) == encoder
    with pytest.raises(KnowledgeError, match="not an encoder"):
        ConfigurationEncoder.from_json('{"scales": 3}')
