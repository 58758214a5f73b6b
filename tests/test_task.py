"""Tasks: the normal form of their data, the kind, the splits and the fingerprint."""

import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import GroupKFold, TimeSeriesSplit
from strategies import seeds

from metatune.dataset import dataset_from_frame
from metatune.errors import DataError, UsageError
from metatune.fingerprint import KEY_VARIABLE
from metatune.learners import get_family
from metatune.learners.evaluate import run_trial
from metatune.metric import Metric
from metatune.splits import plan_splits, split
from metatune.task import Task


def iris() -> pd.DataFrame:
    data = load_iris(as_frame=True)
    return data.frame.assign(target=data.target_names[data.target], colour=np.array(["red", "blue", None] * 50))


# --- reading ---------------------------------------------------------------------------------------------------------


def test_the_data_are_in_normal_form():
    frame = pd.DataFrame(
        {
            "b": [True, False] * 30,
            "i": np.arange(60, dtype=np.int8),
            "f": np.linspace(0, 1, 60, dtype=np.float32),
            "s": ["z", "a", None] * 20,
            "o": pd.Series(["x", 1.5, "y"] * 20, dtype=object).map(str),
            "y": ["no", "yes", "no"] * 20,
        },
        index=np.arange(60)[::-1],
    )
    data = Task.from_dataframe(frame, "y").data
    assert data.numeric == ("b", "i", "f")
    assert data.categorical == ("s", "o")
    assert all(data.X[c].dtype == np.float64 for c in data.numeric)
    assert data.X["s"].cat.categories.tolist() == ["a", "z"]
    assert data.X["s"].isna().sum() == 20
    assert data.X.index.equals(pd.RangeIndex(60))
    assert data.y.dtype == np.int64
    assert data.classes == ("no", "yes")
    assert [data.classes[code] for code in data.y] == frame["y"].tolist()
    np.testing.assert_array_equal(data.X["i"], frame["i"])


def test_taking_rows_keeps_classes_and_categories():
    data = Task.from_dataframe(iris(), "target").data
    part = data.take(np.array([120, 3]))
    assert part.classes == data.classes
    assert part.X["colour"].cat.categories.equals(data.X["colour"].cat.categories)
    assert part.y.tolist() == [2, 0]
    np.testing.assert_array_equal(part.X[list(data.numeric)], data.X[list(data.numeric)].iloc[[120, 3]])


@pytest.mark.parametrize(
    ("y", "kind", "classes"),
    [
        (np.arange(60) % 2, "binary", (0, 1)),
        (np.arange(60) % 2 + 0.5, "binary", (0.5, 1.5)),
        (np.arange(60) % 2 == 0, "binary", (False, True)),
        (np.arange(60) % 3, "multiclass", (0, 1, 2)),
        (np.arange(60) % 3 * 1.0, "multiclass", (0.0, 1.0, 2.0)),
        (np.arange(60) % 3 * 0.5, "regression", ()),
        (np.arange(60), "regression", ()),
        (np.arange(60) % 10, "regression", ()),
        (np.arange(600) % 20, "multiclass", tuple(range(20))),
        (np.arange(600) % 21, "regression", ()),
        (["b", "a", "c"] * 20, "multiclass", ("a", "b", "c")),
        (pd.Categorical(["low", "high"] * 30, ["low", "high", "never"]), "binary", ("low", "high")),
        (pd.Series([1, 2] * 30, dtype="Int64"), "binary", (1, 2)),
    ],
)
def test_the_kind_follows_from_the_target(y, kind, classes):
    data, _ = dataset_from_frame(np.random.default_rng(0).normal(size=(len(y), 2)), y)
    assert (data.kind, data.classes) == (kind, classes)
    assert data.n_classes == len(classes)
    if classes:
        assert [data.classes[code] for code in data.y] == list(y)


def test_the_kind_can_be_given():
    X = np.random.default_rng(0).normal(size=(60, 2))
    assert Task.from_arrays(X, np.arange(60) % 10, kind="multiclass").data.n_classes == 10
    assert Task.from_arrays(X, np.arange(60) % 10, kind="classification").kind == "multiclass"
    assert Task.from_arrays(X, np.arange(60) % 2, kind="regression").metric == Metric.of("rmse", "regression")


def test_arrays_and_frames_give_the_same_task():
    bunch = load_breast_cancer(as_frame=True)
    array = Task.from_arrays(bunch.data.to_numpy(), bunch.target.to_numpy())
    frame = Task.from_arrays(bunch.data, bunch.target)
    one = Task.from_dataframe(bunch.frame, "target")
    assert list(array.data.X.columns[:2]) == ["x0", "x1"]
    assert list(one.data.X.columns) == list(bunch.data.columns)
    assert array.fingerprint == frame.fingerprint == one.fingerprint
    assert array.kind == "binary"
    assert array.metric.name == "roc_auc"


def test_a_target_series_is_matched_by_position():
    X = pd.DataFrame({"a": np.linspace(0, 1, 60)})
    y = pd.Series(np.arange(60.0), index=np.arange(60)[::-1])
    np.testing.assert_array_equal(Task.from_arrays(X, y).data.y, np.arange(60.0))


@pytest.mark.parametrize("name", ["iris.csv", "iris.tsv", "iris.parquet"])
def test_files_give_the_same_task(tmp_path, name):
    frame = iris()
    path = tmp_path / name
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if name.endswith(".tsv") else ",", index=False)
    task = Task.from_file(path, "target")
    assert task.name == "iris"
    assert task.repairs == ()
    assert task.fingerprint == Task.from_dataframe(frame, "target").fingerprint


@pytest.mark.parametrize("index", [["flower"], ["target"], ["flower", "petal width (cm)"]])
def test_a_named_index_in_a_parquet_file_is_a_column_as_in_csv(tmp_path, index):
    frame = iris().assign(flower=np.arange(150) * 7 % 150)
    indexed = frame.set_index(index)
    indexed.to_parquet(tmp_path / "iris.parquet")
    indexed.to_csv(tmp_path / "iris.csv")
    found, expected = (Task.from_file(tmp_path / f"iris.{suffix}", "target") for suffix in ("parquet", "csv"))
    assert found.fingerprint == expected.fingerprint == Task.from_dataframe(indexed.reset_index(), "target").fingerprint
    assert set(found.data.X.columns) == set(frame.columns) - {"target"}


@pytest.mark.parametrize("name", [None, "__null_dask_index__"])
@pytest.mark.parametrize("rows", [slice(None), slice(None, None, -1), np.arange(150) * 7 % 150])
def test_an_index_without_a_name_only_numbers_the_rows(tmp_path, rows, name):
    frame = iris().iloc[rows]
    frame.rename_axis(name).to_parquet(tmp_path / "iris.parquet")
    found = Task.from_file(tmp_path / "iris.parquet", "target")
    assert found.fingerprint == Task.from_dataframe(frame, "target").fingerprint


def test_a_column_that_is_also_the_index_is_there_once(tmp_path):
    frame = iris().set_index("petal width (cm)", drop=False)
    frame.to_parquet(tmp_path / "iris.parquet")
    found = Task.from_file(tmp_path / "iris.parquet", "target")
    assert list(found.data.X.columns) == list(frame.columns.drop("target"))


def test_question_marks_in_files_are_missing_values(tmp_path):
    path = tmp_path / "a.csv"
    iris().rename(columns={"petal width (cm)": "width"}).assign(width=["?", "1", "2"] * 50).to_csv(path, index=False)
    assert Task.from_file(path, "target").data.X["width"].isna().sum() == 50


def test_a_column_shared_with_the_frame_does_not_follow_it():
    frame = load_diabetes(as_frame=True).frame
    task = Task.from_dataframe(frame, "target")
    before = task.data.X.copy(deep=True)
    frame.iloc[:, :] = 7.0
    pd.testing.assert_frame_equal(task.data.X, before)


def test_custom_tasks_have_no_data():
    task = Task.custom(
        "compile flags", metric="seconds", direction="minimize", metafeatures={"size": 3, "depth": np.nan}
    )
    assert (task.kind, task.data, task.folds) == ("custom", None, ())
    assert task.metric == Metric("seconds", "minimize")
    assert task.search_rows.size == 0
    assert task.fingerprint == Task.custom("compile flags", metric="m", direction="maximize").fingerprint
    assert task.fingerprint != Task.custom("compile flag", metric="m", direction="maximize").fingerprint
    assert task.record().metafeatures["size"] == 3.0


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("auc", "minimize"), ("accuracy", "minimize"), ("f1_macro", "minimize"), ("neg_log_loss", "minimize"),
     ("rmse", "maximize"), ("log_loss", "maximize")],
)  # fmt: skip
def test_a_well_known_metric_has_its_own_direction(metric, direction):
    right = "maximize" if direction == "minimize" else "minimize"
    with pytest.raises(UsageError, match=f"direction='{right}', or another name") as caught:
        Task.custom("x", metric=metric, direction=direction)
    assert (caught.value.field, caught.value.value) == ("direction", direction)
    assert Task.custom("x", metric=metric, direction=right).metric.direction == right
    assert Task.custom("x", metric=f"my_{metric}", direction=direction).metric.direction == direction


def test_tasks_survive_pickling():
    task = Task.from_dataframe(iris().assign(constant=1), "target", group="flowers", repair=True)
    again = pickle.loads(pickle.dumps(task))
    assert again.record() == task.record()
    assert again.repairs == task.repairs
    pd.testing.assert_frame_equal(again.data.X, task.data.X)
    np.testing.assert_array_equal(again.search_rows, task.search_rows)


def test_the_record_has_no_names_of_columns_or_classes():
    task = Task.from_dataframe(iris(), "target", name="flowers")
    record = task.record({"rows": 150.0})
    assert record.group == record.fingerprint == task.fingerprint
    assert (record.n_rows, record.n_columns) == (150, 5)
    assert not any(word in repr(record) for word in ("petal", "setosa", "colour"))


def test_columns_that_are_floats_already_are_not_copied():
    X = np.random.default_rng(0).normal(size=(100_000, 40))
    y = np.arange(100_000) % 2
    tracemalloc.start()
    task = Task.from_arrays(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.shares_memory(task.data.X["x7"].to_numpy(), X)
    assert peak < 0.5 * X.nbytes


# --- splits ----------------------------------------------------------------------------------------------------------


def check_splits(strata, plan, test, folds):
    everything = np.arange(len(strata))
    for train, valid in folds:
        assert np.array_equal(np.sort(np.concatenate([test, train, valid])), everything)
        assert len(valid) >= 2
        assert len(train) >= 2
    if plan.folds > 1:
        assert np.array_equal(np.sort(np.concatenate([valid for _, valid in folds])), np.setdiff1d(everything, test))


plans = st.tuples(
    st.one_of(st.none(), st.just("holdout"), st.floats(0.05, 0.6), st.integers(2, 6)),
    st.one_of(st.just(0), st.floats(0.05, 0.5)),
)


@given(st.data(), plans, seeds)
def test_every_class_is_in_every_part(data, choice, seed):
    plan = plan_splits(*choice, 100)
    counts = data.draw(st.lists(st.integers(plan.rows_per_class, 40), min_size=2, max_size=8))
    strata = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    test, folds = split(strata, plan, seed=seed)
    check_splits(strata, plan, test, folds)
    parts = [part for fold in folds for part in fold] + ([test] if plan.test else [])
    assert all(len(np.unique(strata[part])) == len(counts) for part in parts)


@given(st.integers(12, 300), plans, seeds)
def test_rows_without_classes_are_split_by_the_plan(n_rows, choice, seed):
    plan = plan_splits(*choice, n_rows)
    strata = np.zeros(max(n_rows, 2 * plan.rows_per_class), dtype=np.int64)
    check_splits(strata, plan, *split(strata, plan, seed=seed))


def test_shares_are_kept_and_classes_in_proportion():
    strata = np.repeat([0, 1, 2], [700, 200, 100])
    test, ((train, valid),) = split(strata, plan_splits("holdout", 0.2, 1000), seed=0)
    assert np.bincount(strata[test]).tolist() == [140, 40, 20]
    assert np.bincount(strata[valid]).tolist() == [140, 40, 20]
    assert np.bincount(strata[train]).tolist() == [420, 120, 60]


@pytest.mark.parametrize(
    ("validation", "n_rows", "folds"),
    [(None, 1999, 3), (None, 2000, 1), ("holdout", 100, 1), (0.4, 100, 1), (5, 5000, 5)],
)
def test_the_validation_follows_from_the_size_unless_given(validation, n_rows, folds):
    y = np.arange(n_rows) % 2
    task = Task.from_arrays(np.random.default_rng(0).normal(size=(n_rows, 1)), y, validation=validation)
    assert len(task.folds) == folds
    rest = n_rows - len(task.test)
    share = {None: 0.25, "holdout": 0.25, 0.4: 0.4}.get(validation, 0.0) if folds == 1 else 1 / folds
    assert abs(len(task.folds[0][1]) - share * rest) <= 1
    assert abs(len(task.test) - 0.2 * n_rows) <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate([task.test, task.search_rows])), np.arange(n_rows))


@pytest.mark.parametrize("n_rows", [20, 31, 149, 1999, 2000, 3001])
@pytest.mark.parametrize(("validation", "test_size"), [(None, 0.2), (None, 0.0), (5, 0.1), (0.3, 0.2)])
def test_the_rows_of_the_smallest_fold_are_known_before_the_split(validation, test_size, n_rows):
    task = Task.from_arrays(
        np.arange(n_rows)[:, None], np.arange(n_rows) % 2, validation=validation, test_size=test_size
    )
    assert plan_splits(validation, test_size, n_rows).train_rows(n_rows) == task.train_rows


def test_there_need_be_no_test_split():
    task = Task.from_dataframe(iris(), "target", test_size=0)
    assert len(task.test) == 0
    assert len(task.search_rows) == 150


def test_splits_follow_the_seed():
    first, again, other = (Task.from_dataframe(iris(), "target", seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.test, again.test)
    assert all(
        np.array_equal(a, b) for f, g in zip(first.folds, again.folds, strict=True) for a, b in zip(f, g, strict=True)
    )
    assert not np.array_equal(first.test, other.test)
    assert first.fingerprint == other.fingerprint


# --- own folds -------------------------------------------------------------------------------------------------------


def rows_of_patients():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    return X, (X[:, 0] > 0).astype(int), np.arange(120) // 4


def test_own_folds_judge_and_what_is_in_none_of_them_is_the_test_split():
    X, y, patients = rows_of_patients()
    search = np.flatnonzero(patients < 24)
    folds = [(search[a], search[b]) for a, b in GroupKFold(3).split(X[search], y[search], patients[search])]
    task = Task.from_arrays(X, y, validation=iter(folds))
    assert [[part.tolist() for part in pair] for pair in task.folds] == [[sorted(p) for p in pair] for pair in folds]
    assert task.test.tolist() == np.flatnonzero(patients >= 24).tolist()
    assert task.train_rows == min(len(train) for train, _ in folds)
    for train, valid in task.folds:
        assert not set(patients[train]) & set(patients[valid])


def test_folds_of_one_time_after_another_may_use_all_rows():
    X, y, _ = rows_of_patients()
    task = Task.from_arrays(X, X[:, 0] + y, validation=TimeSeriesSplit(3).split(X))
    assert all(train.max() < valid.min() for train, valid in task.folds)
    assert not len(task.test)
    assert len(task.search_rows) == 120


@pytest.mark.parametrize("gap", [0, 4])
def test_where_folds_follow_time_only_later_rows_are_the_test_split(gap):
    X, y, _ = rows_of_patients()
    window = TimeSeriesSplit(3, max_train_size=20, test_size=20, gap=gap)
    task = Task.from_arrays(X, X[:, 0] + y, validation=window.split(X[:100]))
    assert task.test.tolist() == list(range(100, 120))
    assert task.search_rows.tolist() == list(range(20 - gap, 100))
    (notice,) = map(str, task.repairs)
    assert f"{20 - gap} of 120 rows" in notice
    assert "not used" in notice

    task = Task.from_arrays(X, X[:, 0] + y, validation=window.split(X))
    assert not len(task.test)


def test_folds_in_no_order_of_time_leave_the_first_rows_for_the_test_too():
    X, y, _ = rows_of_patients()
    both = np.arange(20, 70), np.arange(70, 120)
    task = Task.from_arrays(X, X[:, 0] + y, validation=[both, both[::-1]])
    assert task.test.tolist() == list(range(20))
    assert not task.repairs


@pytest.mark.parametrize(
    ("validation", "options", "named", "problem"),
    [
        (TimeSeriesSplit(3), {}, "validation", "neither a share nor"),
        ([], {}, "validation", "no folds"),
        ([range(5)], {}, "validation[0]", "not a pair"),
        ([([0, 1, 2], [2, 3])], {}, "validation[0]", "train and judge"),
        ([(["a"], [1])], {}, "validation[0][0]", "not positions"),
        ([(range(50), [])], {}, "validation[0][1]", "not positions"),
        ([(range(50), np.arange(120) > 50)], {}, "validation[0][1]", "not positions"),
        ([([[1], [2, 3]], [4])], {}, "validation[0][0]", "not positions"),
        ([(range(50), [50, 120])], {}, "validation[0][1]", r"beyond the rows \(got 120\)"),
        ([([-1, 3], [4])], {}, "validation[0][0]", r"beyond the rows \(got -1\)"),
        ([(range(50), [50, 50])], {}, "validation[0][1]", "more than once"),
        ([(range(50), range(50, 120))], {"test_size": 0.1}, "test_size", "of no use"),
    ],
)
def test_own_folds_that_cannot_be_meant_are_refused(validation, options, named, problem):
    X, y, _ = rows_of_patients()
    with pytest.raises(UsageError, match=problem) as caught:
        Task.from_arrays(X, y, validation=validation, **options)
    assert caught.value.field == named


def test_own_folds_that_do_not_learn_a_class_are_refused():
    X, _, _ = rows_of_patients()
    with pytest.raises(DataError, match="that train lack rows of every class"):
        Task.from_arrays(X, np.arange(120) // 40, validation=[(range(70), range(70, 120))])


@pytest.mark.parametrize(
    ("classes", "metric", "judged"),
    [
        (2, "accuracy", 1),
        (2, "log_loss", 1),
        (2, "brier", 1),
        (2, "f1_macro", 1),
        (2, "auc", 2),
        (2, "f1", 2),
        (2, "average_precision", 2),
        (3, "accuracy", 1),
        (3, "auc", 2),
        (3, "brier", 3),
        (3, "top_k_accuracy", 3),
    ],
)
def test_own_folds_judge_as_many_classes_as_the_metric_needs(classes, metric, judged):
    X, _, _ = rows_of_patients()
    y, knn = np.arange(120) % classes, get_family("knn")
    for wanted in range(1, classes + 1):
        valid = np.flatnonzero((np.arange(120) >= 60) & (y < wanted))
        folds = [(range(60), valid)]
        if wanted < judged:
            with pytest.raises(DataError, match="that judge lack rows of") as caught:
                Task.from_arrays(X, y, validation=folds, metric=metric)
            assert "another metric" in caught.value.remedy
        else:
            trial = run_trial(Task.from_arrays(X, y, validation=folds, metric=metric), knn, knn.default())
            assert trial.status == "complete", trial.error


def test_own_folds_of_rows_that_repair_drops_are_refused():
    X, y, _ = rows_of_patients()
    y = np.where(np.arange(120) == 7, np.nan, y.astype(float))
    with pytest.raises(UsageError, match="dropped by repair"):
        Task.from_arrays(X, y, validation=[(range(80), range(80, 120))], repair=True)


# --- fingerprint -----------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_the_same_in_another_process_and_differs_with_the_key(monkeypatch):
    code = """if True:
        import os
        from sklearn.datasets import load_iris
        from metatune.task import Task
        for key in ("team", "k" * 200):
            os.environ["METATUNE_KEY"] = key
            print(Task.from_dataframe(load_iris(as_frame=True).frame, "target").fingerprint)
    """
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    here = []
    for key in ("team", "k" * 200):
        monkeypatch.setenv(KEY_VARIABLE, key)
        here.append(Task.from_dataframe(load_iris(as_frame=True).frame, "target").fingerprint)
    assert there == here
    assert here[0] != here[1]


def fingerprint(frame: pd.DataFrame) -> str:
    return Task.from_dataframe(frame, "target").fingerprint


def test_names_do_not_enter_the_fingerprint():
    frame = iris()
    assert fingerprint(frame) == fingerprint(frame.rename(columns={"colour": "c", "sepal length (cm)": "s"}))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.iloc[1:],
        lambda f: f.iloc[:, 1:],
        lambda f: f.iloc[::-1],
        lambda f: f.assign(colour=f["colour"].replace("red", "green")),
        lambda f: f.assign(colour=f["colour"].fillna("red")),
        lambda f: f.assign(target=f["target"].replace("setosa", "rose")),
        lambda f: f.assign(target=f["target"].where(f.index != 5, "virginica")),
        lambda f: f.assign(**{"sepal length (cm)": f["sepal length (cm)"].where(f.index != 5, 5.0)}),
    ],
)
def test_other_data_have_another_fingerprint(change):
    assert fingerprint(change(iris())) != fingerprint(iris())


def test_a_sample_is_enough_for_the_fingerprint_of_many_rows():
    X = np.random.default_rng(0).normal(size=(100_000, 3))
    y = X[:, 0] * 2
    first = Task.from_arrays(X.copy(), y).fingerprint
    X[-1, 1] = 5.0
    assert Task.from_arrays(X, y).fingerprint != first
