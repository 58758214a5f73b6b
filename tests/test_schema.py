"""The history's schema: decode(encode(x)) is x, within MLflow's limits and rules for names."""

import json
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param, _validate_tag
from strategies import foreign_configurations, names, study_records, trials

from metatune.errors import StoreError, UsageError
from metatune.history import schema
from metatune.metric import Metric
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial


def study(space=None, **task):
    fields = {"name": "t", "kind": "custom", "metric": Metric("loss", "minimize"), "fingerprint": "f"} | task
    return StudyRecord(
        task=TaskRecord(**fields),
        family="lightgbm",
        space=space or SearchSpace({"rate": {"low": 0.0, "high": 1.0}}),
        id="abc",
    )


@st.composite
def studies_with_trials(draw):
    record = draw(study_records())
    if draw(st.booleans()):
        return record, draw(trials(record.space))
    odd = draw(foreign_configurations(record.space))
    return record, Trial(configuration=odd, status="failed", value=None, error=draw(st.text()))


def assert_legal(data):
    """What MLflow's own checks say of a run; it cuts what is too long instead of refusing it."""
    for name, value in data.params.items():
        assert _validate_param(name, value).value == value
    for name, value in data.tags.items():
        assert _validate_tag(name, value).value == value
    for point in data.metrics:
        _validate_metric_name(point.name)
        assert math.isfinite(point.value)
        assert len(point.name) <= 250
    assert len(data.name) <= 250


@settings(max_examples=100, deadline=None)
@given(studies_with_trials())
def test_decoding_gives_back_what_was_encoded(pair):
    record, trial = pair
    encoded = schema.encode_study(record)
    assert_legal(encoded)
    decoded = schema.decode_study(encoded.tags)
    assert schema.study_document(decoded) == schema.study_document(record)
    assert decoded.space == record.space

    encoded = schema.encode_trial(trial, record)
    assert_legal(encoded)
    assert schema.trial_document(schema.decode_trial(encoded.tags)) == schema.trial_document(trial)


def test_decoded_records_are_equal_objects():
    trial = Trial(configuration={"rate": 0.1, "on": True, "n": 1, "none": None}, status="complete", value=0.1 + 0.2)
    record = study(metafeatures={"skew": 0.5})
    assert schema.decode_trial(schema.encode_trial(trial, record).tags) == trial
    assert schema.decode_study(schema.encode_study(record).tags) == record


def test_types_survive():
    trial = Trial(configuration={"a": 1, "b": 1.0, "c": True, "d": "1"}, status="failed", value=None)
    decoded = schema.decode_trial(schema.encode_trial(trial, study()).tags)
    assert [type(value) for value in decoded.configuration.values()] == [int, float, bool, str]


def test_numpy_values_become_plain_ones():
    values = {"a": np.int64(3), "b": np.float32(0.5), "c": np.bool_(True)}
    trial = Trial(configuration=values, status="complete", value=np.float64(0.1))
    decoded = schema.decode_trial(schema.encode_trial(trial, study()).tags)
    assert dict(decoded.configuration) == {"a": 3, "b": 0.5, "c": True}
    assert decoded.configuration["c"] is True


@pytest.mark.parametrize("name", ["seconds", "fidelity", "started", "number"])
def test_a_trial_has_all_numbers_that_it_must_have(name):
    with pytest.raises(UsageError, match=rf"^{name}: not a (whole )?number but of type NoneType "):
        Trial(**{"configuration": {"rate": 0.1}, "status": "complete", "value": 0.5, name: None})


@pytest.mark.parametrize("wrong", [True, np.bool_(True), "0.5"])
@pytest.mark.parametrize(
    ("field", "given", "what"),
    [
        *((name, lambda wrong, name=name: {name: wrong}, "a number") for name in ("value", "seconds", "fidelity")),
        *((name, lambda wrong, name=name: {name: wrong}, "a number") for name in ("started", "odds")),
        *((n, lambda wrong, name=n: {name: wrong}, "a whole number") for n in ("number", "best_step", "trusted")),
        ("metrics['auc']", lambda wrong: {"metrics": {"auc": wrong}}, "a number"),
        ("curve[1]", lambda wrong: {"curve": (0.5, wrong)}, "a number"),
        ("reported[0][0]", lambda wrong: {"reported": ((wrong, 0.5),)}, "a whole number"),
        ("reported[0][1]", lambda wrong: {"reported": ((1, wrong),)}, "a number"),
    ],
)
def test_what_could_not_be_read_as_a_number_makes_no_trial(field, given, what, wrong):
    with pytest.raises(UsageError, match=rf"^{re.escape(field)}: not {what} but of type {type(wrong).__name__} "):
        Trial(**{"configuration": {"rate": 0.1}, "status": "complete", "value": 0.5} | given(wrong))


@pytest.mark.parametrize("score", [2**60 + 1, -(2**70), 7, np.int64(2**60 + 1), np.float32(0.1), Fraction(1, 3)])
def test_a_score_is_a_float_from_the_beginning(score):
    given = {"metrics": {"auc": score}, "curve": [score, math.nan], "reported": ((np.int64(1), score),), "odds": score}
    trial = Trial(configuration={"rate": 0.1}, status="complete", value=score, seconds=score, key="k", **given)
    found = (trial.value, trial.metrics["auc"], trial.curve[0], trial.reported[0][1], trial.odds, trial.seconds)
    assert {(type(number), number) for number in found} == {(float, float(score))}
    assert type(trial.reported[0][0]) is int
    assert schema.decode_trial(schema.encode_trial(trial, study()).tags) == trial
    assert [one for _, one in Snapshot.of([(study(), [trial])]).family("lightgbm").trials()] == [trial]


@pytest.mark.parametrize("field", ["value", "seconds", "started"])
def test_a_number_beyond_all_floats_makes_no_trial(field):
    with pytest.raises(UsageError, match=f"^{field}: too large for a float.*in a larger unit"):
        Trial(**{"configuration": {"rate": 0.1}, "status": "complete", "value": 0.5, field: 10**400})


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, np.uint64(2**63)])
@pytest.mark.parametrize("field", ["number", "best_step", "trusted", "reported"])
def test_a_count_or_step_of_more_than_64_bits_makes_no_trial(field, value):
    given = ((value, 0.5),) if field == "reported" else value
    with pytest.raises(UsageError, match=rf"^{field}.*too large for a count or step.*below 2\*\*63"):
        Trial(**{"configuration": {"rate": 0.1}, "status": "complete", "value": 0.5, field: given})


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
def test_the_largest_counts_are_read_again(value):
    fields = {"number": value, "best_step": value, "trusted": value, "reported": ((value, 0.5),)}
    trial = Trial(configuration={"rate": 0.1}, status="complete", value=0.5, **fields)
    assert schema.decode_trial(schema.encode_trial(trial, study()).tags) == trial
    assert [one for _, one in Snapshot.of([(study(), [trial])]).family("lightgbm").trials()] == [trial]


def test_large_whole_numbers_of_older_documents_are_read_as_floats():
    trial = Trial(configuration={"rate": 0.1}, status="complete", value=0.5, key="k", curve=(0.4, 0.5))
    document = json.loads(schema.trial_document(trial))
    document |= {"value": 2**60 + 1, "curve": [2**70], "metrics": {"auc": 2**53 + 1}}
    read = schema.trial_of(json.dumps(document))
    assert (read.value, read.curve, read.metrics) == (2.0**60, (2.0**70,), {"auc": 2.0**53})


def test_documents_that_are_older_than_a_field():
    trial = Trial(configuration={"rate": 0.1}, status="complete", value=0.5, key="k", curve=(0.4, 0.5))
    document = json.loads(schema.trial_document(trial))
    assert (document.pop("best_step"), document.pop("reported")) == (None, [])
    assert schema.trial_of(json.dumps(document)) == trial


def test_long_spaces_and_curves_are_split_over_tags():
    space = SearchSpace({f"parameter {i:03}": [f"choice {j}" * 20 for j in range(10)] for i in range(60)})
    record = study(space)
    assert len(space.to_json()) > 8 * schema.TAG_LIMIT
    encoded = schema.encode_study(record)
    assert_legal(encoded)
    assert schema.decode_study(encoded.tags).space == space
    trial = Trial(configuration={}, status="complete", value=0.5, curve=tuple(np.random.default_rng(0).random(3000)))
    assert schema.decode_trial(schema.encode_trial(trial, record).tags) == trial


def test_what_is_logged_of_a_trial():
    trial = Trial(
        configuration={"rate": 0.25, "undeclared": 7},
        status="complete",
        value=0.5,
        number=3,
        key="k",
        metrics={"f1": 0.75, "r2": math.inf},
        curve=(0.9, math.nan, 0.5),
        origin="portfolio",
    )
    data = schema.encode_trial(trial, study())
    assert data.params == {"rate": "0.25"}
    points = {(point.name, point.step): point.value for point in data.metrics}
    assert points == {("loss", 0): 0.5, ("f1", 0): 0.75, ("curve/loss", 1): 0.9, ("curve/loss", 3): 0.5}
    expected = {"trial_key": "k", "number": "3", "status": "complete", "origin": "portfolio", "fingerprint": "f"}
    assert expected.items() <= {name.removeprefix("metatune."): value for name, value in data.tags.items()}.items()
    assert data.status == "FINISHED"


@pytest.mark.parametrize(("status", "run"), [("pruned", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")])
def test_status_of_a_trial_is_told_to_mlflow(status, run):
    assert schema.encode_trial(Trial(configuration={}, status=status, value=None), study()).status == run


@given(names)
@example("_x41_")
@example("_x41/")
@example("_x")
@example("..")
@example("a//b")
@example("/a/../b")
@example("naïve ✓")
@example("a\nb\x00")
def test_names_are_legal_and_restorable(name):
    legal = schema.legal_name(name)
    _validate_metric_name(legal)
    _validate_metric_name(schema.legal_name(name, "curve/"))
    assert schema.original_name(legal) == name


def test_plain_names_stay_readable():
    for name in ("learning_rate", "max_x", "optimizer/lr", "a b-c.d"):
        assert schema.legal_name(name) == name


def test_long_names_stay_different():
    legal = {schema.legal_name("x" * 300 + end) for end in "ab"}
    assert len(legal) == 2
    assert {len(name) for name in legal} == {250}


@given(st.text(), st.text())
def test_tokens_are_searchable_and_different(a, b):
    assert (schema.token(a) == schema.token(b)) == (a == b)
    assert set("'\"`%\\").isdisjoint(schema.token(a))


@pytest.mark.parametrize(
    "change",
    [
        lambda tags: tags.pop("metatune.document.0"),
        lambda tags: tags.pop("metatune.document.parts"),
        lambda tags: tags.update({"metatune.document.0": "{}"}),
        lambda tags: tags.update({"metatune.document.0": "["}),
        lambda tags: tags.update({"metatune.document.0": json.dumps({"status": "strange"})}),
        lambda tags: tags.update({schema.SCHEMA: "99"}),
        lambda tags: tags.pop(schema.SCHEMA),
    ],
)
@pytest.mark.parametrize("record", ["study", "trial"])
def test_damage_names_the_run(record, change):
    trial = Trial(configuration={}, status="failed", value=None)
    data = schema.encode_study(study()) if record == "study" else schema.encode_trial(trial, study())
    tags = dict(data.tags)
    change(tags)
    decode = schema.decode_study if record == "study" else schema.decode_trial
    with pytest.raises(StoreError, match="run 17"):
        decode(tags, "run 17")
