"""Errors name field, value and remedy, survive a process pool, and have the documented exit codes."""

import pickle

import pytest
import requests

from metatune import errors
from metatune.errors import MetatuneError, MissingDependencyError, UnknownNameError, first_line

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MetatuneError)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_message_has_all_parts_and_survives_pickling(kind):
    error = kind("too large", field="depth", value=99, remedy="Use at most 8.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "depth: too large (got 99). Use at most 8."
    assert (again.field, again.value, again.remedy) == ("depth", 99, "Use at most 8.")


def test_long_values_are_shortened():
    error = MetatuneError("wrong", field="x", value="a" * 10_000, remedy="Shorten it.")
    assert len(str(error)) < 200
    assert str(error).endswith("Shorten it.")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MetatuneError", 1),
        ("UsageError", 2),
        ("SpaceError", 2),
        ("ConfigurationError", 2),
        ("UnknownNameError", 2),
        ("MissingDependencyError", 2),
        ("DataError", 3),
        ("StoreError", 4),
        ("KnowledgeError", 4),
        ("NoHistoryError", 5),
        ("SearchError", 6),
    ],
)
def test_exit_codes(name, code):
    assert getattr(errors, name).exit_code == code


def test_every_error_is_drawn_in_the_tree():
    assert all(kind.__name__ in errors.__doc__ for kind in KINDS)


@pytest.mark.parametrize("name", ["lightgmb", "LightGBM", "light_gbm"])
def test_near_names_are_offered(name):
    assert UnknownNameError.of("family", name, ["lightgbm", "svm"]).remedy == "Did you mean 'lightgbm'?"


def test_all_names_are_listed_when_none_is_near():
    assert UnknownNameError.of("family", "xyz", ["svm", "knn"]).remedy == "Known: knn, svm."


def test_a_long_list_of_names_is_shortened():
    remedy = UnknownNameError.of("target", "xyz", [f"column {i}" for i in range(10_000)]).remedy
    assert remedy.endswith("and 9970 more.")
    assert len(remedy) < 500


def test_names_that_differ_in_case_only_are_all_offered():
    remedy = UnknownNameError.of("target", "label", ["Label", "LABEL"]).remedy
    assert "'Label'" in remedy
    assert "'LABEL'" in remedy


def test_a_name_that_is_no_text_is_no_crash():
    assert UnknownNameError.of("target", 3, ["a"]).value == 3


def test_missing_packages_come_with_their_command():
    assert 'pip install "metatune[keras]"' in str(MissingDependencyError.of("keras_mlp", "tensorflow", "keras"))


def test_a_long_path_keeps_its_end():
    error = MetatuneError("altered", field="knowledge", value="/home/" + "x" * 300 + "/meta.txt", remedy="Restore it.")
    assert "/meta.txt'" in str(error)
    assert len(str(error)) < 250


def test_of_a_request_that_failed_the_cause_is_said():
    with pytest.raises(requests.exceptions.ConnectionError) as caught:
        requests.get("http://127.0.0.1:9/a", timeout=5)
    assert "HTTPConnection" in str(caught.value)
    assert first_line(caught.value).startswith("Failed to establish a new connection: ")
    assert not first_line(caught.value).endswith((")", '"', "'"))
    assert first_line(ValueError("one (Caused by nothing)\ntwo")) == "one (Caused by nothing)"
