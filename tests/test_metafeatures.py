"""Meta-features: planted properties, invariances, robustness, determinism."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from metatune.dataset import Dataset
from metatune.metafeatures import NAMES, describe, describe_dataset, sampling
from metatune.metric import Metric
from metatune.task import Task


def dataset(columns, y, *, classes=None):
    X = pd.DataFrame(columns)
    y = np.asarray(y)
    if y.dtype.kind == "f":
        return Dataset(X, y, "regression")
    k = int(y.max()) + 1 if classes is None else classes
    return Dataset(X, y.astype(np.int64), "binary" if k == 2 else "multiclass", tuple(range(k)))


def mixed(seed=0, n=300, k=3):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    columns = {f"x{j}": rng.standard_normal(n) + (y if j < 2 else 0) for j in range(5)}
    columns["skewed"] = rng.exponential(size=n) * 1e6
    columns["holes"] = np.where(rng.random(n) < 0.3, np.nan, rng.standard_normal(n))
    levels = np.where(rng.random(n) < 0.1, None, np.array(list("abcde"), dtype=object)[(y + rng.integers(0, 2, n)) % 5])
    columns["levels"] = pd.Categorical(levels)
    return dataset(columns, y)


def assert_same(one, other, *, tolerance=1e-9):
    assert list(one) == list(other)
    for name in one:
        assert one[name] == pytest.approx(other[name], abs=tolerance, rel=tolerance, nan_ok=True), name


def assert_valid(found):
    assert tuple(found) == NAMES
    assert all(type(value) is float and not math.isinf(value) for value in found.values())


# the list of features


def test_every_name_is_there_once():
    assert len(set(NAMES)) == len(NAMES)


def test_every_feature_is_known_for_some_dataset():
    numbers = mixed()
    regression = dataclasses.replace(numbers, y=np.random.default_rng(0).standard_normal(300), kind="regression")
    two_categorical = dataset(
        {"a": pd.Categorical(list("abab") * 20), "b": pd.Categorical(list("abca") * 20)}, [0, 1] * 40
    )
    found = [describe_dataset(data) for data in (numbers, regression, two_categorical)]
    assert [name for name in NAMES if all(math.isnan(f[name]) for f in found)] == []


def test_features_of_the_other_kind_of_target_are_unknown():
    data = mixed()
    classes = describe_dataset(data)
    numbers = describe_dataset(Dataset(data.X, data.y.astype(float), "regression"))
    assert all(math.isnan(classes[name]) for name in NAMES if name.startswith("target_") and "correlation" not in name)
    assert all(
        math.isnan(numbers[name]) for name in NAMES if name.startswith(("class_", "log_classes", "log_imbalance"))
    )


# planted properties


def test_sizes_and_types():
    n = 120
    found = describe_dataset(
        dataset(
            {
                "real": np.linspace(0.1, 0.9, n),
                "whole": np.arange(n, dtype=float),
                "flag": np.arange(n) % 2.0,
                "same": np.full(n, 7.5),
                "two": pd.Categorical(np.array(list("xy"))[np.arange(n) % 2]),
                "six": pd.Categorical(np.array(list("abcdef"))[np.arange(n) % 6], categories=list("abcdefgh")),
            },
            np.arange(n) % 4,
        )
    )
    assert found["log_rows"] == pytest.approx(math.log(n))
    assert found["log_rows_per_class"] == pytest.approx(math.log(30))
    assert found["share_categorical"] == pytest.approx(2 / 6)
    assert found["share_binary"] == pytest.approx(2 / 6)
    assert found["share_integer"] == pytest.approx(2 / 4)
    assert found["share_constant"] == pytest.approx(1 / 6)
    assert found["share_zeros"] == pytest.approx(61 / (4 * n))
    assert (found["levels_mean"], found["levels_max"]) == (4.0, 6.0)


def test_missing_shares_are_exact():
    values = np.arange(100.0)
    values[:20] = np.nan
    levels = pd.Categorical([None] * 10 + ["a", "b"] * 45)
    found = describe_dataset(dataset({"a": values, "b": levels, "c": np.arange(100.0), "d": np.ones(100)}, [0, 1] * 50))
    assert found["missing_cells"] == pytest.approx(30 / 400)
    assert found["missing_rows"] == pytest.approx(20 / 100)
    assert found["missing_columns"] == pytest.approx(2 / 4)
    assert found["missing_max"] == pytest.approx(0.2)


def test_class_imbalance():
    y = np.repeat([0, 1], [90, 10])
    found = describe_dataset(dataset({"a": np.arange(100.0)}, y))
    assert (found["class_share_min"], found["class_share_max"]) == (0.1, 0.9)
    assert found["log_imbalance"] == pytest.approx(math.log(9))
    assert found["class_entropy_share"] == pytest.approx(0.4689956)
    assert found["class_imbalance"] == pytest.approx(1 - 1 / (0.5 * (9 + 1 / 9)))


def test_moments_do_not_depend_on_location_and_scale():
    rng = np.random.default_rng(1)
    values, y = rng.gamma(2.0, size=(500, 4)), rng.standard_normal(500)
    names = [n for n in NAMES if n.startswith(("skew", "kurt", "iqr", "corr", "target", "pca", "mutual"))]
    plain = describe_dataset(dataset({f"x{j}": values[:, j] for j in range(4)}, y))
    moved = describe_dataset(dataset({f"x{j}": 1e5 * values[:, j] + 10.0**j for j in range(4)}, 1e-3 * y - 8))
    for name in names:
        assert moved[name] == pytest.approx(plain[name], rel=1e-6, abs=1e-6, nan_ok=True), name


def test_outliers_and_scales():
    values = np.linspace(-1.0, 1.0, 101)
    below, above = values.copy(), values.copy()
    below[0], above[[0, 1]] = -2.2, 2.2  # the fences are at -2 and 2, or a little beyond
    found = describe_dataset(dataset({"a": values, "b": 100.0 * below, "c": 0.01 * above}, np.arange(101) % 2))
    assert found["share_outlier_columns"] == pytest.approx(2 / 3)
    assert found["share_outlier_cells"] == pytest.approx(3 / 303)
    assert found["scale_spread"] == pytest.approx(np.std([0.0, np.log(100), -np.log(100)], ddof=1), rel=0.02)


def test_planted_correlations():
    rng = np.random.default_rng(2)
    a, noise = rng.standard_normal((2, 5000))
    found = describe_dataset(dataset({"a": a, "copy": -3 * a + 1, "c": 0.6 * a + 0.8 * noise}, a + 5))
    assert found["correlation_max"] == pytest.approx(1.0)
    assert found["correlation_mean"] == pytest.approx((1 + 2 * 0.6) / 3, abs=0.02)
    assert found["correlation_share_high"] == 1.0
    assert found["target_correlation_max"] == pytest.approx(1.0)


def test_correlation_with_two_classes_is_the_point_biserial_one():
    data = mixed(k=2)
    X = data.X[list(data.numeric[:6])]
    expected = [abs(np.corrcoef(X[c], data.y)[0, 1]) for c in X]
    found = describe_dataset(dataset(X, data.y))
    assert found["target_correlation_mean"] == pytest.approx(np.mean(expected))
    assert found["target_correlation_max"] == pytest.approx(np.max(expected))


def test_planted_spectrum():
    rng = np.random.default_rng(3)
    q = rng.standard_normal((4000, 8))
    q = np.linalg.qr(q - q.mean(axis=0))[0]
    independent = describe_dataset(dataset({f"x{j}": q[:, j] for j in range(8)}, rng.standard_normal(4000)))
    assert independent["pca_share_first"] == pytest.approx(1 / 8)
    assert independent["pca_components_95"] == 1.0
    assert independent["pca_effective_rank"] == pytest.approx(1.0)
    twice = describe_dataset(dataset({f"x{j}": q[:, j // 4] * (j + 1) for j in range(8)}, rng.standard_normal(4000)))
    assert twice["pca_share_first"] == pytest.approx(1 / 2)
    assert twice["pca_components_95"] == pytest.approx(2 / 8)
    assert twice["pca_effective_rank"] == pytest.approx(2 / 8)


def test_planted_information():
    y = np.arange(4096) % 4
    levels = np.array(list("wxyz"))
    told = pd.Categorical(levels[y])
    half = pd.Categorical(levels[y % 2])
    nothing = pd.Categorical(levels[(np.arange(4096) // 4) % 4])
    found = describe_dataset(dataset({"told": told, "half": half, "nothing": nothing}, y))
    assert found["mutual_information_max"] == pytest.approx(2.0)
    assert found["mutual_information_share_max"] == pytest.approx(1.0)
    assert found["mutual_information_mean"] == pytest.approx(1.0)
    assert found["equivalent_attributes"] == pytest.approx(2.0)
    assert found["noise_to_signal"] == pytest.approx((5 - 3) / 3)


def test_a_missing_value_is_information():
    y = np.arange(200) % 2
    found = describe_dataset(dataset({"a": np.where(y == 1, np.nan, 1.0)}, y))
    assert found["mutual_information_max"] == pytest.approx(1.0)


def test_no_information_leaves_ratios_unknown():
    found = describe_dataset(dataset({"a": pd.Categorical(["u"] * 40)}, [0, 1] * 20))
    assert found["mutual_information_max"] == 0.0
    assert math.isnan(found["equivalent_attributes"])
    assert math.isnan(found["noise_to_signal"])


# landmarks


def landmarks(columns, y):
    return {name.removeprefix("landmark_"): v for name, v in describe_dataset(dataset(columns, y)).items()}


def test_landmarks_are_near_zero_on_noise():
    rng = np.random.default_rng(4)
    values = rng.standard_normal((1000, 6))
    columns = {f"x{j}": values[:, j] for j in range(6)}
    for y in (rng.integers(0, 2, 1000), np.repeat([0, 1, 2], [900, 50, 50])):
        found = landmarks(columns, y)
        for name in ("one_nn", "naive_bayes", "best_node", "mean_node", "tree", "linear"):
            assert abs(found[name]) < 0.15, name
    assert abs(landmarks(columns, rng.standard_normal(1000))["linear"]) < 0.1


def test_a_line_is_for_linear_models_and_a_checkerboard_for_trees_and_neighbours():
    rng = np.random.default_rng(5)
    a, b = rng.uniform(-1, 1, (2, 1000))
    line = landmarks({"a": a, "b": b}, (a + b > 0).astype(int))
    assert line["linear"] > 0.93
    assert line["gap_tree_linear"] < -0.05
    board = landmarks({"a": a, "b": b}, ((a > 0.2) ^ (b > 0.1)).astype(int))
    assert board["linear"] < 0.3
    assert board["one_nn"] > 0.8
    assert board["gap_one_nn_linear"] > 0.5
    assert board["tree"] > board["best_node"] + 0.3
    assert board["gap_tree_best_node"] == pytest.approx(board["tree"] - board["best_node"])


def test_naive_bayes_sees_differences_in_variance_and_mean():
    rng = np.random.default_rng(10)
    y = rng.integers(0, 2, 1000)
    found = landmarks({f"x{j}": rng.standard_normal(1000) * (1 + 4 * y) for j in range(4)}, y)
    assert found["naive_bayes"] > 0.85
    assert found["linear"] < 0.2
    shifted = landmarks({f"x{j}": rng.standard_normal(1000) + 2 * y for j in range(4)}, y)
    assert shifted["naive_bayes"] > 0.9


def test_levels_are_seen_by_the_landmarks():
    y = np.random.default_rng(11).integers(0, 3, 300)
    found = landmarks({"a": pd.Categorical(np.array(list("xyz"))[y]), "b": np.sin(np.arange(300.0))}, y)
    assert found["linear"] == found["tree"] == 1.0


@pytest.mark.parametrize(("classes", "counted"), [(12, 12), (60, 50)])
def test_one_split_tells_two_of_the_classes_apart(classes, counted):
    y = np.arange(6000) % classes
    found = landmarks({"a": y + 0.0}, y)
    # Exact where the folds hold equally many rows of each class.
    assert found["best_node"] == pytest.approx(1 / (counted - 1), rel=0.1)


def test_one_perfect_column_among_noise():
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 400)
    found = landmarks({"told": y + 0.0, **{f"x{j}": rng.standard_normal(400) for j in range(9)}}, y)
    assert found["best_node"] == found["tree"] == 1.0
    assert found["mean_node"] == pytest.approx(0.1, abs=0.1)


def test_landmarks_of_regression_are_shares_of_variance():
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((2, 1000))
    found = landmarks({"a": a, "b": b}, 3e6 * (a - 2 * b) + 1e9)
    assert found["linear"] > 0.999
    assert 0.7 < found["one_nn"] < 1.0
    # A split of a normal variable at its mean keeps 2 / pi of its variance; b holds 4 / 5 of the target's.
    assert found["best_node"] == pytest.approx(0.8 * 2 / math.pi, abs=0.05)
    assert found["mean_node"] == pytest.approx(0.5 * 2 / math.pi, abs=0.05)


def test_rare_classes_weigh_as_much_as_frequent_ones():
    rng = np.random.default_rng(8)
    y = np.repeat([0, 1], [960, 40])
    found = landmarks({"a": rng.standard_normal(1000) + 4 * y}, y)
    assert found["linear"] > 0.85
    assert found["best_node"] > 0.85


# invariances


def test_order_of_the_columns_does_not_matter():
    iris = load_iris(as_frame=True)
    bits = np.random.default_rng(9).integers(0, 2, (60, 9)).astype(float)  # full of equally good splits
    ties = dataset({f"x{j}": bits[:, j] for j in range(8)}, bits[:, 8])
    for data in (dataset(iris.data, iris.target.to_numpy()), mixed(), mixed(k=12), ties):
        reversed_columns = dataclasses.replace(data, X=data.X[data.X.columns[::-1]])
        shuffled = dataclasses.replace(data, X=data.X.sample(frac=1, axis=1, random_state=3))
        assert_same(describe_dataset(reversed_columns), describe_dataset(data))
        assert_same(describe_dataset(shuffled), describe_dataset(data))


def test_coding_of_classes_and_levels_does_not_matter():
    for k in (2, 3, 12):
        data = mixed(k=k)
        twelve = pd.Categorical(np.array(list("abcdefghijkl"))[np.arange(300) % 12])  # more than landmarks tell apart
        data = dataclasses.replace(data, X=data.X.assign(twelve=twelve))
        codes = np.random.default_rng(k).permutation(k)
        levels = data.X["levels"].cat.rename_categories(dict(zip("abcde", "qdzab", strict=True)))
        X = data.X.assign(
            levels=levels.cat.set_categories(sorted("qdzabx")),
            twelve=data.X["twelve"].cat.set_categories(list("lkjihgfedcba")),
        )
        assert_same(describe_dataset(dataset(X, codes[data.y], classes=k)), describe_dataset(data))


def test_equal_arguments_give_equal_features_and_leave_the_data_alone():
    data = mixed(n=2000)
    before = data.X.copy(), data.y.copy()
    first = describe_dataset(data)
    np.random.seed(1)  # the global generator plays no part
    assert_same(first, describe_dataset(data), tolerance=0.0)
    pd.testing.assert_frame_equal(data.X, before[0])
    np.testing.assert_array_equal(data.y, before[1])


def test_another_seed_draws_other_rows_and_sizes_stay_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(sampling, "MAX_ROWS", 200)
    monkeypatch.setattr(sampling, "MAX_COLUMNS", 4)
    data = mixed(n=5000)
    zero, one = describe_dataset(data), describe_dataset(data, seed=1)
    assert zero["skewness_mean"] != one["skewness_mean"]
    for name in ("log_rows", "log_columns", "class_share_min", "class_entropy", "share_categorical"):
        assert zero[name] == one[name]
    assert zero["log_rows"] == pytest.approx(math.log(5000))
    assert zero["log_columns"] == pytest.approx(math.log(8))


def test_the_sample_is_bounded():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((12_000, 130)), columns=[f"x{j}" for j in range(130)])
    sample = sampling.draw(Dataset(X, rng.standard_normal(12_000), "regression"), np.arange(12_000), 0)
    assert sample.numeric.shape == (sampling.MAX_ROWS, sampling.MAX_COLUMNS)
    assert len(sample.y) == sampling.MAX_ROWS


# robustness

EDGES = {
    "one categorical column": ({"a": pd.Categorical(list("abca") * 5)}, [0, 1] * 10),
    "one numeric column": ({"a": np.arange(20.0)}, [0, 1] * 10),
    "all missing but one": ({"a": [1.0] + [np.nan] * 19, "b": [np.nan] * 20}, [0, 1] * 10),
    "all missing": ({"a": [np.nan] * 20, "b": pd.Categorical([None] * 20, categories=["x"])}, [0, 1] * 10),
    "two rows": ({"a": [1.0, 2.0], "b": pd.Categorical(["u", "v"])}, [0, 1]),
    "two rows, regression": ({"a": [1.0, 2.0]}, [0.5, 1.5]),
    "one row": ({"a": [1.0]}, [0]),
    "constant": ({"a": np.full(50, 0.1), "b": np.full(50, -3.3)}, [0, 1] * 25),
    "constant target": ({"a": np.arange(50.0)}, np.full(50, 0.1)),
    "one class": ({"a": np.arange(50.0)}, [0] * 50),
    "every row its own class": ({"a": np.arange(300.0)}, np.arange(300)),
    "a class of one row": ({"a": np.arange(50.0)}, [0] * 25 + [1] * 24 + [2]),
    "thirty classes": ({"a": np.arange(90.0), "b": np.arange(90.0) ** 2}, np.arange(90) % 30),
    "identifiers": ({"id": pd.Categorical([f"row {i}" for i in range(500)])}, np.linspace(0, 1, 500)),
    "mostly missing": (
        {f"x{j}": np.where(np.arange(60) % 20 == j, 1.0 + np.arange(60.0), np.nan) for j in range(20)},
        [0, 1, 2] * 20,
    ),
    "more columns than rows": ({f"x{j}": np.sin(np.arange(12.0) * (j + 1)) for j in range(80)}, [0, 1] * 6),
    "huge numbers": ({"a": np.geomspace(1e-300, 1.7e308, 40), "b": 1.7e308 * np.linspace(-1, 1, 40)}, [0, 1] * 20),
    "tiny numbers": ({"a": np.arange(40) * 5e-324, "b": 1.0 + np.arange(40) * 2.3e-16}, np.arange(40) * 1e-310),
    "huge target": ({"a": np.arange(40.0)}, 1.7e308 * np.linspace(-1, 1, 40)),
}


@pytest.mark.parametrize("case", EDGES)
def test_every_valid_dataset_is_described(case):
    columns, y = EDGES[case]
    assert_valid(describe_dataset(dataset(columns, y)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(2, 40),
    columns=st.integers(1, 6),
    missing=st.sampled_from([0.0, 0.5, 0.95]),
    classes=st.sampled_from([0, 2, 5, 30]),
)
def test_random_small_datasets_are_described(seed, rows, columns, missing, classes):
    rng = np.random.default_rng(seed)
    table = {}
    for j in range(columns):
        values = np.round(rng.standard_normal(rows) * 10.0 ** rng.integers(-3, 3), int(rng.integers(0, 3)))
        holes = rng.random(rows) < missing
        text = pd.Series(np.abs(values).astype(int).astype(str)).mask(holes)
        table[f"x{j}"] = pd.Categorical(text) if rng.random() < 0.4 else np.where(holes, np.nan, values)
    y = rng.integers(0, classes, rows) if classes else rng.standard_normal(rows)
    assert_valid(describe_dataset(dataset(table, y, classes=classes or None)))


# tasks


def task_of(data, test):
    search = np.setdiff1d(np.arange(data.n_rows), test)
    folds = ((search[::2], search[1::2]),)
    return Task("t", data.kind, Metric.of(None, data.kind), "f", data=data, test=test, folds=folds)


def test_the_test_split_is_not_looked_at():
    data = mixed()
    test = np.arange(0, 300, 5)
    before = describe(task_of(data, test))
    X, y = data.X.copy(), data.y.copy()
    X.loc[test, list(data.numeric)] = 1e9
    X["levels"] = X["levels"].cat.add_categories(["Z"]).cat.reorder_categories(list("Zabcd"))
    X.loc[test, "levels"] = "Z"
    y[test] = 0
    assert_same(describe(task_of(Dataset(X, y, data.kind, data.classes), test)), before, tolerance=0.0)
    assert_same(before, describe_dataset(data.take(np.setdiff1d(np.arange(300), test))), tolerance=0.0)


def test_a_custom_task_has_the_features_it_was_given():
    custom = Task("t", "custom", Metric("latency", "minimize"), "f", metafeatures={"cores": 4.0})
    found = describe(custom)
    assert found == {"cores": 4.0}
    assert found is not custom.metafeatures
