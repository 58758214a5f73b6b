"""What importers make of recorded values and of other tools' names."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from metatune.errors import UsageError
from metatune.importers.columns import coerced, column_of, is_logarithmic, parsed
from metatune.importers.names import SHIPPED, Names, is_training
from metatune.parameter import in_distribution


@pytest.mark.parametrize(
    ("texts", "kind", "expected"),
    [
        (["1", "6", "10"], "int", IntDistribution(1, 10)),
        (["1", "6.5", "1e1"], "float", FloatDistribution(1.0, 10.0)),
        (["True", "False", "True"], "bool", CategoricalDistribution((False, True))),
        (["None", "3", "5"], "choice", CategoricalDistribution((None, 3, 5))),
        (["sqrt", "0.5", "None"], "choice", CategoricalDistribution((None, 0.5, "sqrt"))),
        (["relu", "tanh", "relu"], "choice", CategoricalDistribution(("relu", "tanh"))),
        (["0.0001", "0.001", "0.01", "0.1"], "float", FloatDistribution(0.0001, 0.1, log=True)),
        (["-1", "1"], "int", IntDistribution(-1, 1)),
        (["32", "32"], "int", IntDistribution(32, 32)),
    ],
)
def test_types_are_inferred_from_texts(texts, kind, expected) -> None:
    column = column_of(texts)
    assert (column.kind, column.distribution) == (kind, expected)
    assert all(in_distribution(expected, coerced(text, expected)) for text in texts)


@pytest.mark.parametrize(
    "texts",
    [["gbtree"] * 3, ["None"] * 3, ["True"] * 2, [f"s3://bucket/{i}" for i in range(9)], ["x" * 300, "y"],
     [f"run {i % 60}" for i in range(200)]],
)  # fmt: skip
def test_what_is_no_setting_is_left_out_with_a_reason(texts) -> None:
    column = column_of(texts)
    assert column.distribution is None
    assert column.reason


def test_many_numbers_and_a_few_words_are_numbers() -> None:
    column = column_of([*map(str, range(1, 40)), "None"])
    assert column.distribution == IntDistribution(1, 39)
    assert coerced("None", column.distribution) is None


def test_scales_are_guessed_from_different_values_not_from_how_often_they_were_tried() -> None:
    rng = np.random.default_rng(0)
    assert is_logarithmic(10 ** rng.uniform(-4, 0, 50))
    assert not is_logarithmic(rng.uniform(1, 100, 50))
    assert not is_logarithmic([0.5, 0.6, 0.9])
    assert not is_logarithmic([0.0, 0.1, 100.0])
    assert not is_logarithmic([*range(1, 101)] + [1] * 1000)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)), min_size=1))
def test_any_column_holds_the_numbers_and_choices_it_was_made_of(values) -> None:
    for read in (values, [str(value) for value in values]):
        distribution = column_of(read).distribution
        if distribution is None:
            continue
        for value in read:
            kept = coerced(value, distribution)
            number = isinstance(kept, int | float) and not isinstance(kept, bool)
            if number or isinstance(distribution, CategoricalDistribution):
                assert in_distribution(distribution, kept), (distribution, value)


def test_texts_are_read_without_surprises() -> None:
    assert [parsed(text) for text in ("1_000", "0x1", "inf", "nan", "1e999", "", "yes")] == [
        "1_000", "0x1", "inf", "nan", "1e999", None, "yes",
    ]  # fmt: skip
    assert parsed(math.nan) is None


@pytest.mark.parametrize("order", [1, -1])
def test_a_choice_is_told_from_the_text_that_writes_it(order) -> None:
    choices = ("1", 1, "None", None, "", "True", True, 1.5, "1.5")[::order]
    kept = [coerced(choice, CategoricalDistribution(choices)) for choice in choices]
    assert [(type(value), value) for value in kept] == [(type(choice), choice) for choice in choices]


# --- names


def test_an_alias_does_not_take_a_name_that_is_there() -> None:
    names = Names.load()
    assert names.renamed(["lr", "x"]) == {"lr": "learning_rate", "x": "x"}
    assert names.renamed(["lr", "eta"]) == {"lr": "learning_rate", "eta": "eta"}
    assert names.renamed(["lr", "learning_rate"]) == {"lr": "lr", "learning_rate": "learning_rate"}


@pytest.mark.parametrize(
    ("raw", "name", "direction", "sign"),
    [
        ("val_acc", "accuracy", "maximize", 1),
        ("valid_0-binary_logloss", "log_loss", "minimize", 1),
        ("validation_1-rmse", "rmse", "minimize", 1),
        ("neg_log_loss", "log_loss", "minimize", -1),
        ("mean_test_neg_mean_squared_error", "mse", "minimize", -1),
        ("eval-auc", "roc_auc", "maximize", 1),
        ("val/loss", "loss", "minimize", 1),
        ("AUC", "roc_auc", "maximize", 1),
        ("mean_squared_error", "mse", "minimize", 1),
        ("val_mean_absolute_error", "mae", "minimize", 1),
    ],
)
def test_metrics_are_known_by_many_names(raw, name, direction, sign) -> None:
    found = Names.load().objective(raw)
    assert found is not None
    assert (found.metric.name, found.metric.direction, found.sign) == (name, direction, sign)


def test_a_direction_that_contradicts_the_name_makes_another_metric() -> None:
    found = Names.load().objective("score", "minimize")
    assert found is not None
    assert (found.metric.name, found.metric.direction, found.sign) == ("score", "minimize", 1.0)
    assert Names.load().objective("profit") is None


@pytest.mark.parametrize(
    ("name", "contrary"),
    [
        ("accuracy", "minimize"), ("val_acc", "minimize"), ("AUC", "minimize"), ("rmse", "maximize"),
        ("valid_0-l2", "maximize"), ("neg_log_loss", "minimize"), ("mean_test_neg_mean_squared_error", "minimize"),
        ("max_error", "maximize"),
    ],
)  # fmt: skip
def test_a_well_known_metric_has_one_direction_under_all_its_names(name, contrary) -> None:
    names = Names.load()
    right = "maximize" if contrary == "minimize" else "minimize"
    assert "better when it is" in (names.contradiction(names.objective(name, contrary).metric) or "")
    assert names.contradiction(names.objective(name, right).metric) is None


@pytest.mark.parametrize("name", ["score", "loss", "error", "objective", "my_accuracy", "profit"])
def test_what_a_name_does_not_tell_may_have_any_direction(name) -> None:
    names = Names.load()
    for direction in ("minimize", "maximize"):
        assert names.contradiction(names.objective(name, direction).metric) is None


def test_training_scores_are_told_by_name() -> None:
    assert all(map(is_training, ["train_loss", "training_score", "loss/train", "train-auc", "Train Accuracy"]))
    assert not any(map(is_training, ["val_loss", "constraint", "strain", "auc", "trained_epochs"]))


def test_families_are_known_by_their_classes() -> None:
    names = Names.load()
    assert [names.family(one) for one in ("LGBMRegressor", "DecisionTreeClassifier", "SVC", "MLPClassifier")] == [
        "lightgbm", "decision_tree", "svm", "mlp",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["[params]\na = ['b']", "parameters = 3", "[parameters]\na = 'b'", "[metrics]\na = 3"])
def test_a_wrong_file_of_names_is_refused(tmp_path, text) -> None:
    file = tmp_path / "names.toml"
    file.write_text(text)
    with pytest.raises(UsageError):
        Names.load(file)


def test_the_file_that_ships_names_nothing_twice() -> None:
    assert SHIPPED.is_file()
    names = Names.load()
    assert not set(names.parameters) & set(names.parameters.values())
