"""Every kind of bad input gives one clear error; where a mechanical repair exists, ``repair=True`` makes it."""

import datetime as dt
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.sparse
from optuna.distributions import FloatDistribution
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, make_scorer

from metatune.column_values import LARGEST
from metatune.columns import KEPT_LEVELS, MAX_COLUMNS
from metatune.errors import ConfigurationError, DataError, MetatuneError, SpaceError, UnknownNameError, UsageError
from metatune.pruner import MetaPruner
from metatune.recommender import recommend
from metatune.sampler import MetaSampler
from metatune.space import SearchSpace
from metatune.task import Task
from metatune.tuner import tune

N = 60


def good() -> pd.DataFrame:
    """A small table that can be learnt from, harmless oddities included."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.normal(size=N),
            "count": rng.integers(0, 9, N),
            "colour": rng.choice(["red", "blue"], N),
            "label": rng.choice(["no", "yes"], N, p=[0.8, 0.2]),
        }
    )


def failure(frame: pd.DataFrame, **options: object) -> MetatuneError:
    """The error that ``frame`` gives; the frame itself must stay as it was."""
    before = frame.copy(deep=True)
    with pytest.raises(MetatuneError) as caught:
        Task.from_dataframe(frame, "label", **options)
    pd.testing.assert_frame_equal(frame, before)
    error = caught.value
    assert error.field
    assert error.remedy.endswith((".", "?"))
    assert error.field in str(error)
    assert error.remedy in str(error)
    return error


def repaired(frame: pd.DataFrame, **options: object) -> Task:
    """The task after repairs of ``frame``, which stays as it was and cannot be used without them."""
    error = failure(frame, **options)
    assert isinstance(error, DataError)
    assert "repair=True" in error.remedy
    before = frame.copy(deep=True)
    task = Task.from_dataframe(frame, "label", repair=True, **options)
    pd.testing.assert_frame_equal(frame, before)
    assert task.repairs
    assert all(repair.field and repair.action for repair in task.repairs)
    assert any(repair.action in error.remedy for repair in task.repairs)
    return task


def test_harmless_oddities_are_no_errors():
    frame = good()
    frame.loc[3:9, "age"] = np.nan
    frame.loc[5:6, "colour"] = None
    frame["flag"] = frame["age"] > 0
    frame["only when known"] = np.where(frame["count"] > 3, 1.0, np.nan)
    frame = pd.concat([frame, frame.iloc[:5]])
    task = Task.from_dataframe(frame, "label")
    assert task.repairs == ()
    assert task.data.n_columns == 5


# --- the table -------------------------------------------------------------------------------------------------------


def test_no_rows():
    assert "no rows" in str(failure(good().iloc[:0]))


def test_one_row():
    assert "only one row" in str(failure(good().iloc[:1]))


def test_too_few_rows_for_the_folds():
    frame = good().iloc[:8].assign(label=np.arange(8.0) ** 2)
    error = failure(frame, kind="regression", validation=5)
    assert (error.field, error.value) == ("rows", 8)
    assert "12 are needed" in error.problem


def test_no_columns():
    assert "no feature columns" in str(failure(good()[["label"]]))


def test_features_of_which_none_is_usable():
    frame = good()[["label"]].assign(a=1.0, b=np.nan)
    failure(frame)
    assert "no usable column" in str(failure(frame, repair=True))


def test_x_and_y_of_unequal_length():
    with pytest.raises(DataError, match=r"60 rows of X, 59 values of y"):
        Task.from_arrays(np.zeros((N, 2)), np.zeros(N - 1))


@pytest.mark.parametrize("X", [np.zeros(N), np.zeros((N, 2, 2)), [[1, 2], [3]], 5])
def test_features_that_are_not_a_table(X):
    with pytest.raises(DataError, match="X: not a table"):
        Task.from_arrays(X, np.arange(N) % 2)


@pytest.mark.parametrize("y", [np.zeros((N, 2)), [[1, 2], [3]], 5])
def test_a_target_that_is_not_one_value_a_row(y):
    with pytest.raises(DataError, match="y: not one value a row"):
        Task.from_arrays(np.zeros((N, 2)), y)


def test_something_that_is_not_a_dataframe():
    with pytest.raises(UsageError, match=r"from_arrays"):
        Task.from_dataframe({"label": [1, 2]}, "label")


def test_duplicate_column_names():
    frame = good()
    frame.columns = ["a", "a", "a_2", "label"]
    assert list(repaired(frame).data.X.columns) == ["a", "a_3", "a_2"]


def test_column_names_that_are_not_strings():
    frame = good().rename(columns={"age": 0, "count": ("b", 1)})
    assert list(repaired(frame).data.X.columns) == ["0", "('b', 1)", "colour"]


def test_far_more_columns_than_rows():
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(N, 1500)) * np.arange(1, 1501)).add_prefix("g")
    task = repaired(pd.concat([good(), wide], axis="columns"))
    assert task.data.n_columns == MAX_COLUMNS
    assert {"colour", "g1499"} <= set(task.data.X.columns)
    assert "g0" not in task.data.X.columns


def test_masked_values_are_missing():
    X = np.ma.masked_array(np.arange(2.0 * N).reshape(N, 2), mask=np.arange(2 * N).reshape(N, 2) % 7 == 0)
    y = np.arange(N) % 2
    data = Task.from_arrays(X, y).data
    np.testing.assert_array_equal(data.X.isna(), X.mask)
    np.testing.assert_array_equal(Task.from_series(np.ma.hstack([X, X]), y).data.X[:, :2, 0], data.X)
    np.testing.assert_array_equal(data.raw.normal(X), data.X)
    texts = np.ma.masked_array(np.where(y, "a", "b"), mask=np.arange(N) == 3)
    assert Task.from_arrays(X, texts, repair=True).data.n_rows == N - 1
    assert Task.from_arrays(X, np.ma.masked_array(y, mask=y < 0)).kind == "binary"


HIDDEN = np.arange(N) % 7 == 0


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "timedelta64[ns]"])
def test_masked_dates_are_missing_dates(dtype):
    days = (np.arange(N) * 86_400 * 10**9).astype(dtype)[:, None]
    data = Task.from_arrays(np.ma.masked_array(days, mask=HIDDEN), np.arange(N) % 2, repair=True).data
    np.testing.assert_array_equal(data.X["x0"], np.where(HIDDEN, np.nan, np.arange(N)))


def test_masked_texts_are_missing_texts():
    texts = np.ma.masked_array([f"word{i}" for i in range(N)], mask=HIDDEN)
    assert Task.from_texts(texts, np.arange(N) % 2, repair=True).data.n_rows == N - HIDDEN.sum()


def test_masked_values_of_rows_in_a_list_are_missing():
    rows = [np.ma.masked_array([i, -1.0], mask=[False, hide]) for i, hide in enumerate(HIDDEN)]
    np.testing.assert_array_equal(np.isnan(Task.from_series(rows, np.arange(N) % 2).data.X[:, 1, 0]), HIDDEN)


def test_masked_records_are_not_a_table():
    with pytest.raises(DataError, match="X: not a table"):
        Task.from_arrays(np.ma.array([(1, 2.0)], dtype="i,f", mask=[(0, 1)]), [0])


def test_sparse_matrix():
    X = scipy.sparse.random(N, 4, density=0.5, random_state=0, format="csr")
    y = np.arange(N) % 2
    with pytest.raises(DataError, match="X: a sparse table"):
        Task.from_arrays(X, y)
    task = Task.from_arrays(X, y, repair=True)
    np.testing.assert_array_equal(task.data.X.to_numpy(), X.toarray())


def test_sparse_matrix_too_large_to_be_made_dense():
    X = scipy.sparse.csr_matrix((1_000_000, 1_000))
    with pytest.raises(DataError, match="too large"):
        Task.from_arrays(X, np.arange(1_000_000) % 2, repair=True)


def test_sparse_columns():
    frame = good()
    frame["age"] = pd.arrays.SparseArray(frame["age"].round().to_numpy(), fill_value=0.0)
    assert repaired(frame).data.X["age"].dtype == np.float64


# --- the columns -----------------------------------------------------------------------------------------------------


def test_all_nan_columns():
    frame = good().assign(empty=np.nan, nothing=None)
    error = failure(frame)
    assert "'empty'" in error.field
    assert "'nothing'" in error.field
    assert list(repaired(frame).data.X.columns) == ["age", "count", "colour"]


def test_constant_columns():
    frame = good().assign(**{f"c{i}": i for i in range(9)}, t="x")
    assert failure(frame).field == "X['c0', 'c1', 'c2', 'c3', 'c4' and 5 more]"
    assert list(repaired(frame).data.X.columns) == ["age", "count", "colour"]


def test_infinities():
    frame = good()
    frame.loc[4, "age"] = -np.inf
    error = failure(frame)
    assert (error.field, error.value) == ("X['age']", -np.inf)
    column = repaired(frame).data.X["age"]
    assert column.isna().to_list() == [i == 4 for i in range(N)]


def test_arrays_that_are_repaired_stay_as_they_were():
    X, y = np.random.default_rng(0).normal(size=(N, 3)), np.arange(N) * 1.0
    X[3, 1], y[5] = np.inf, np.nan
    before = X.copy(), y.copy()
    task = Task.from_arrays(X, y, repair=True)
    assert len(task.repairs) == 2
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_numbers_of_1e308():
    frame = good()
    frame.loc[4, "age"] = 1e308
    assert failure(frame).value == 1e308
    column = repaired(frame).data.X["age"]
    assert column.isna().sum() == 1
    assert column.abs().max() <= LARGEST


def test_mixed_type_objects():
    frame = good()
    frame["age"] = [1, "one", 2.5, None] * (N // 4)
    assert failure(frame).value == ["float", "int", "str"]
    assert list(repaired(frame).data.X["age"].cat.categories) == ["1", "2.5", "one"]


def test_objects_of_other_classes():
    frame = good()
    frame["age"] = [[1, 2], {"a": 1}, {3}] * (N // 3)
    assert repaired(frame).data.X["age"].cat.categories.tolist() == ["[1, 2]", "{'a': 1}", "{3}"]


def test_whole_numbers_without_limit():
    frame = good().assign(age=pd.Series([10**400, 1, 2] * (N // 3), dtype=object))
    assert repaired(frame).data.categorical == ("age", "colour")


@pytest.mark.parametrize(
    "dates",
    [
        pd.Series(pd.date_range("1970-01-02", periods=N)),
        pd.Series(pd.date_range("1970-01-02", periods=N, tz="UTC")),
        pd.Series(pd.period_range("1970-01-02", periods=N, freq="D")),
        pd.Series([dt.date(1970, 1, 2) + dt.timedelta(i) for i in range(N)]),
        pd.Series(pd.to_timedelta(np.arange(1, N + 1), unit="D")),
        pd.Series(pd.to_timedelta(np.arange(1, N + 1), unit="D"), dtype="duration[us][pyarrow]"),
    ],
    ids=["naive", "zone", "period", "objects", "durations", "arrow"],
)
def test_dates(dates):
    column = repaired(good().assign(age=dates)).data.X["age"]
    assert column.dtype == np.dtype(np.float64)
    np.testing.assert_array_equal(column, np.arange(1.0, N + 1))


def test_missing_dates_stay_missing():
    dates = pd.Series(pd.date_range("2020-01-01", periods=N))
    dates[3] = pd.NaT
    assert repaired(good().assign(age=dates)).data.X["age"].isna().sum() == 1


def test_dates_that_nanoseconds_do_not_reach():
    for dates in ([dt.date(1, 1, 1), dt.date(9999, 12, 31)], [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)]):
        column = repaired(good().assign(age=pd.Series(dates * (N // 2)))).data.X["age"]
        assert set(column) == {-719_162.0, 2_932_896.0}


def test_dates_of_which_none_is_known():
    frame = good().assign(age=pd.Series([pd.NaT] * N))
    assert "missing" in str(failure(frame))
    assert "age" not in repaired(frame).data.X.columns


def test_complex_numbers():
    assert "complex" in str(failure(good().assign(age=1j * np.arange(N)), repair=True))


def test_a_different_text_in_each_row():
    frame = pd.concat([good()] * 20, ignore_index=True)
    frame["id"] = [f"customer {i}" for i in range(len(frame))]
    assert "id" not in repaired(frame).data.X.columns


def test_category_of_100_000_levels():
    n = 300_000
    rng = np.random.default_rng(0)
    levels = np.concatenate([rng.integers(0, 100_000, n - 60_000), rng.integers(0, 30, 60_000)])
    frame = pd.DataFrame({"a": rng.normal(size=n), "zip": levels.astype(str), "label": rng.integers(0, 2, n)})
    assert "levels in 300,000 rows" in failure(frame).value
    column = repaired(frame).data.X["zip"]
    assert len(column.cat.categories) == KEPT_LEVELS
    assert set(map(str, range(30))) <= set(column.cat.categories)
    kept = column.notna()
    assert (column[kept].astype(str) == frame["zip"][kept]).all()


def test_useful_objects_are_no_errors():
    frame = good()
    frame["flag"] = pd.Series([True, False, None] * (N // 3), dtype=object)
    frame["decimal"] = [Decimal(i) / 2 for i in range(N)]
    frame["nullable"] = pd.array([1, None, 3] * (N // 3), dtype="Int64")
    frame["single"] = np.arange(N, dtype=np.float32)
    frame["codes"] = pd.Categorical([1, 2, 10] * (N // 3))
    task = Task.from_dataframe(frame, "label")
    assert task.data.numeric == ("age", "count", "flag", "decimal", "nullable", "single")
    assert task.data.X["codes"].cat.categories.tolist() == ["1", "10", "2"]
    assert task.data.X["flag"].head(3).fillna(-1).tolist() == [1.0, 0.0, -1.0]


# --- the target ------------------------------------------------------------------------------------------------------


def test_missing_target():
    with pytest.raises(UnknownNameError, match=r"target: .*'lable'.*Did you mean 'label'\?"):
        Task.from_dataframe(good(), "lable")


def test_target_that_is_there_twice():
    frame = good()
    frame.columns = ["age", "label", "colour", "label"]
    assert "2 columns" in failure(frame).problem


@pytest.mark.parametrize("missing", [np.nan, None, pd.NaT])
def test_y_all_missing(missing):
    assert "nothing but missing" in str(failure(good().assign(label=missing), repair=True))


def test_y_partly_missing():
    frame = good()
    frame.loc[[2, 5], "label"] = None
    task = repaired(frame)
    assert task.data.n_rows == N - 2
    np.testing.assert_array_equal(task.data.X["age"], frame["age"].drop([2, 5]))
    assert [task.data.classes[code] for code in task.data.y] == frame["label"].drop([2, 5]).tolist()


def test_y_infinite():
    frame = good().assign(label=np.linspace(0, 1, N))
    frame.loc[7, "label"] = np.inf
    assert repaired(frame).data.n_rows == N - 1


def test_one_class():
    assert failure(good().assign(label="yes")).value == "yes"


def test_regression_on_one_value():
    assert "same value" in str(failure(good().assign(label=1.5), kind="regression"))


def test_a_class_with_one_member():
    frame = good()
    frame.loc[7, "label"] = "perhaps"
    assert "'perhaps': 1" in failure(frame).value
    task = repaired(frame)
    assert task.data.classes == ("no", "yes")
    assert task.data.n_rows == N - 1
    assert [task.data.classes[code] for code in task.data.y] == frame["label"].drop(7).tolist()


def test_no_class_with_enough_members():
    frame = good().assign(label=[f"name {i}" for i in range(N)])
    failure(frame)
    assert "fewer than two classes" in str(failure(frame, repair=True))


def test_target_of_mixed_types():
    frame = good()
    frame["label"] = ["1", 2] * (N // 2)
    assert repaired(frame).data.classes == ("1", "2")


def test_regression_on_texts():
    error = failure(good(), kind="regression")
    assert isinstance(error, UsageError)
    assert "kind='classification'" in error.remedy


def test_kind_that_the_classes_do_not_fit():
    error = failure(good(), kind="multiclass")
    assert (error.field, error.value) == ("kind", "multiclass")
    assert "'binary'" in error.remedy


def test_unknown_kind():
    assert failure(good(), kind="regresion").remedy.startswith("Did you mean 'regression'")


def test_unknown_metric():
    assert "'roc_auc'" in failure(good(), metric="rocauc").remedy


def test_metric_of_another_kind():
    assert "not for binary" in failure(good(), metric="rmse").problem


@pytest.mark.parametrize("test_size", [-0.1, 1.0, 1, 20, "0.2", True, None])
def test_test_size_that_is_no_share(test_size):
    assert failure(good(), test_size=test_size).field == "test_size"


@pytest.mark.parametrize("validation", [0, 1, 1.0, -3, True, "holdot", 0.0, [3]])
def test_validation_that_is_none(validation):
    assert failure(good(), validation=validation).field in ("validation", "validation[0]")


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None])
def test_seed_that_is_none(seed):
    assert failure(good(), seed=seed).field == "seed"


# --- files -----------------------------------------------------------------------------------------------------------


def file_failure(path, **options) -> MetatuneError:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(MetatuneError) as caught:
        Task.from_file(path, "label", **options)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert caught.value.remedy
    return caught.value


def test_missing_file(tmp_path):
    error = file_failure(tmp_path / "no.csv")
    assert error.problem == "no such file"
    assert "no.csv" in error.value


def test_folder(tmp_path):
    assert "folder" in file_failure(tmp_path).problem


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    assert "empty" in file_failure(tmp_path / name).problem


@pytest.mark.parametrize("text", ["\n\n", "a,label\n"])
def test_file_without_rows(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text)
    file_failure(path)


@pytest.mark.parametrize(
    "content", [b"PAR1\x15\x04", b"PK\x03\x04rest", b"\x1f\x8b\x08", bytes(range(256)), b"a,label\n\xff\xfe,1\n"]
)
def test_binary_file(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    error = file_failure(path)
    assert error.field == "file"
    assert "CSV" in str(error) or "UTF-8" in str(error)


def test_broken_parquet_file(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and then nothing useful")
    assert "cannot be read" in file_failure(path).problem


def test_file_with_ragged_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,label\n1,2\n1,2,3,4\n")
    assert "cannot be read" in file_failure(path).problem


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolon"), ("\t", "tab"), ("|", "bar")])
def test_file_separated_otherwise(tmp_path, separator, word):
    path = tmp_path / "a.csv"
    good().to_csv(path, sep=separator, index=False)
    error = file_failure(path)
    assert word in error.problem
    assert f"separator={separator!r}" in error.remedy
    explicit = Task.from_file(path, "label", separator=separator)
    mended = Task.from_file(path, "label", repair=True)
    assert explicit.repairs == ()
    assert word in mended.repairs[0].action
    assert mended.fingerprint == explicit.fingerprint


def test_separator_of_two_characters(tmp_path):
    path = tmp_path / "a.csv"
    good().to_csv(path, index=False)
    assert file_failure(path, separator="||").field == "separator"


def test_missing_target_in_a_file(tmp_path):
    path = tmp_path / "a.csv"
    good().rename(columns={"label": "Label"}).to_csv(path, index=False)
    assert file_failure(path).remedy == "Did you mean 'Label'?"


def write_repeated(path, names):
    """``good()`` under ``names``, which may repeat."""
    frame = good()
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.table([pa.array(frame[column]) for column in frame], names=names), path)
    else:
        frame.to_csv(path, index=False, header=names)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_duplicate_names_in_a_file(tmp_path, name):
    path = tmp_path / name
    write_repeated(path, ["a", "a", "a_2", "label"])
    error = file_failure(path)
    assert "more than once" in error.problem
    assert "'a'" in error.value
    task = Task.from_file(path, "label", repair=True)
    assert list(task.data.X.columns) == ["a", "a_3", "a_2"]
    assert "number them" in [repair.action for repair in task.repairs]


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_target_that_is_there_twice_in_a_file(tmp_path, name, repair):
    path = tmp_path / name
    write_repeated(path, ["a", "label", "b", "label"])
    error = file_failure(path, repair=repair)
    assert (error.field, error.problem) == ("target", "2 columns have the target's name")


@pytest.mark.parametrize("start", ["", "\ufeff", "\n \n"])
def test_names_that_look_like_numbered_ones_are_no_duplicates(tmp_path, start):
    path = tmp_path / "a.csv"
    path.write_text(start + 'age,age.1,,,"a\nb",label\n' + "1,2,3,4,5,no\n2,3,4,5,7,yes\n" * 20, encoding="utf-8")
    task = Task.from_file(path, "label")
    assert task.repairs == ()
    assert list(task.data.X.columns) == ["age", "age.1", "Unnamed: 2", "Unnamed: 3", "a\nb"]


# --- the space -------------------------------------------------------------------------------------------------------


def test_low_above_high():
    with pytest.raises(SpaceError, match=r"space\['rate'\].*low <= high"):
        SearchSpace({"rate": {"low": 1.0, "high": 0.1}})


def test_logarithm_from_0():
    with pytest.raises(SpaceError, match=r"space\['rate'\].*low > 0 with log"):
        SearchSpace({"rate": {"low": 0.0, "high": 0.1, "log": True}})


def test_unknown_parameter():
    with pytest.raises(ConfigurationError, match=r"\['rat'\].*Did you mean 'rate'\?"):
        SearchSpace({"rate": FloatDistribution(0.1, 1.0)}).check({"rat": 0.5})


def test_parameter_out_of_range():
    with pytest.raises(ConfigurationError, match=r"\['rate'\]: out of range \(got 5.0\). Use a value in \[0.1, 1.0\]"):
        SearchSpace({"rate": FloatDistribution(0.1, 1.0)}).check({"rate": 5.0})


@pytest.mark.parametrize("value", [np.inf, "3", True, None])
def test_metafeature_of_a_custom_task_that_is_no_number(value):
    with pytest.raises(UsageError, match=r"metafeatures\['size'\]"):
        Task.custom("mine", metric="seconds", direction="minimize", metafeatures={"size": value})


def test_custom_task_with_an_unknown_direction():
    with pytest.raises(UsageError, match="direction"):
        Task.custom("mine", metric="seconds", direction="down")


def test_a_column_of_sentences_looks_like_text(tmp_path):
    """It stays a category, and how to learn from it as text is told; names and categories are no text."""
    reviews = [f"film number {i} was {'good' if i % 2 else 'bad'} for me" for i in range(60)]
    frame = pd.DataFrame(
        {"review": reviews, "who": [f"Ann {i}" for i in range(60)], "genre": ["a love story of our time", "x"] * 30}
    )
    frame["stars"] = np.arange(60) % 2
    frame.to_csv(tmp_path / "reviews.csv", index=False)
    task = Task.from_file(tmp_path / "reviews.csv", "stars")
    notice, other = map(str, task.repairs)
    assert "'review'" in notice
    assert "looks like text, but was kept as a category" in notice
    assert "text='review' (--text on the command line)" in notice
    assert "'who'" in other
    assert "a different value in nearly every row" in other
    assert Task.from_file(tmp_path / "reviews.csv", "stars", text="review").repairs == ()


def commas(values) -> list[str]:
    return [f"{value:.2f}".replace(".", ",") for value in values]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([f"K{i:04d}" for i in range(N)], "a different value in nearly every row"),
        ([f"{1 + i % 28:02d}.{1 + i % 12:02d}.2024" for i in range(N)], "it looks like dates: each different date"),
        ([f"2024-01-{1 + i % 28:02d} 12:30" for i in range(N)], "it looks like dates: each different date"),
        (commas(i / 7 for i in range(N)), "with decimal commas, but was kept as a category of texts"),
    ],
)
def test_columns_of_texts_that_help_no_model_are_told(texts, said):
    task = Task.from_dataframe(good().assign(strange=texts), "label")
    (notice,) = map(str, task.repairs)
    assert notice.startswith("X['strange']: ")
    assert said in notice
    assert "strange" in task.data.categorical


@pytest.mark.parametrize(
    "values",
    [
        np.arange(N),
        np.linspace(0, 1, N),
        [f"city {i % 40}" for i in range(N)],
        [("1.10.2", "1.2.30", "2.0.12")[i % 3] for i in range(N)],
        [("1,2,3", "2,3,1", "3,1,2")[i % 3] for i in range(N)],
    ],
)
def test_useful_columns_are_not_told(values):
    assert Task.from_dataframe(good().assign(fine=values), "label").repairs == ()


def test_names_of_a_few_rows_are_no_surprise():
    assert Task.from_dataframe(good()[:19].assign(who=[f"Ann {i}" for i in range(19)]), "label").repairs == ()


@pytest.mark.parametrize("kind", [None, "regression"])
def test_a_target_with_decimal_commas(tmp_path, kind):
    frame = good().assign(label=commas(np.arange(N) / 7))
    assert "decimal=','" in failure(frame, kind=kind).remedy
    frame.to_csv(tmp_path / "a.csv", sep=";", index=False)
    task = Task.from_file(tmp_path / "a.csv", "label", separator=";", decimal=",", kind=kind)
    np.testing.assert_allclose(task.data.y, np.arange(N) / 7, atol=0.01)
    assert file_failure(tmp_path / "a.csv", decimal="'").field == "decimal"


def test_commas_between_thousands_are_not_said_to_be_decimal():
    frame = good()
    frame["price"] = [f"{i % 900 + 100},{(i * 37) % 900 + 100}" for i in range(N)]
    task = Task.from_dataframe(frame, "label", name="t")
    assert not any("decimal" in str(note) for note in task.repairs)


def test_a_wrong_decimal_sign_is_refused_for_any_file(tmp_path):
    good().to_parquet(tmp_path / "a.parquet")
    assert file_failure(tmp_path / "a.parquet", decimal="x").field == "decimal"


def test_decimal_commas_with_points_between_thousands(tmp_path):
    amounts = [f"{i % 7 + 1}.{100 + i},5" for i in range(N)]
    dates = [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2024" for i in range(N)]
    good().assign(label=amounts, day=dates, some=["1,5", "2", None, "unknown"] * (N // 4)).to_csv(
        tmp_path / "a.csv", sep=";", index=False
    )
    task = Task.from_file(tmp_path / "a.csv", "label", separator=";", decimal=",")
    np.testing.assert_allclose(task.data.y, [(i % 7 + 1) * 1000 + 100 + i + 0.5 for i in range(N)])
    assert {"day", "some"} <= set(task.data.categorical)


def test_classes_with_commas_can_be_meant():
    labels = [("1,5", "2,5", "3,5")[i % 3] for i in range(N)]
    assert Task.from_dataframe(good().assign(label=labels), "label", kind="classification").kind == "multiclass"


def test_many_different_decimal_commas_are_not_taken_for_names():
    frame = pd.concat([good()] * 20, ignore_index=True)
    frame["price"] = commas(np.arange(len(frame)) / 7)
    assert "decimal=','" in failure(frame).remedy


PLANE = SearchSpace({"x": {"low": 0.0, "high": 1.0}})


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda task: tune(task, LogisticRegression(), store=False), "family"),
        (lambda task: tune(task, ["lightgbm", "svm"], store=False), "family"),
        (lambda task: tune(task, "own", space={"x": [1, 2]}, objective=len, store=False), "space"),
        (lambda task: tune(task, "knn", warm_start={"n_neighbors": 3}, store=False), "warm_start"),
        (lambda task: tune(task, "knn", warm_start=[3], store=False), "warm_start[0]"),
        (lambda task: tune(task, "knn", default=[3], store=False), "default"),
        (lambda task: tune(task, "knn", pruner="median", store=False), "pruner"),
        (lambda task: tune(task, "knn", on_trial=3, store=False), "on_trial"),
        (lambda task: recommend(task, "knn", default=3), "default"),
        (lambda task: recommend(task, LogisticRegression()), "family"),
        (lambda task: recommend(task, "own", space={"x": [1, 2]}), "space"),
        (lambda task: MetaSampler("lightgbm"), "surrogate"),
        (lambda task: MetaSampler(space={"x": [1, 2]}), "space"),
        (lambda task: MetaSampler(task="wine"), "task"),
        (lambda task: MetaSampler(default=[1, 2]), "default"),
        (lambda task: MetaPruner("lightgbm"), "model"),
    ],
)
def test_arguments_of_another_type_are_named(call, named):
    with pytest.raises(UsageError) as caught:
        call(Task.from_dataframe(good(), "label"))
    assert caught.value.field == named
    assert "Give" in caught.value.remedy or "Make" in caught.value.remedy


@pytest.mark.parametrize("metric", [["roc_auc", "f1"], make_scorer(fbeta_score, beta=2), 3])
def test_a_metric_that_is_no_name(metric):
    error = failure(good(), metric=metric)
    assert (error.field, error.problem) == ("metric", "not the name of a metric")


def test_a_group_a_row_is_sent_to_the_folds():
    error = failure(good(), group=np.arange(len(good())))
    assert error.field == "group"
    assert "validation=" in error.remedy


@pytest.mark.parametrize(
    ("y", "value"), [(np.array([1.5, np.inf] * 30), "inf"), (np.full(60, 3.5), "3.5"), (np.full(60, 3), "3")]
)
def test_values_of_a_target_are_told_as_they_are_written(y, value):
    with pytest.raises(DataError, match=rf"\(got {re.escape(value)}(\.0)?\)"):
        Task.from_arrays(np.arange(60.0)[:, None], y, kind="regression")


def test_a_column_of_lists_is_not_told_as_one_of_several_types():
    frame = good()
    frame["lists"] = [[1, 2]] * len(frame)
    assert "neither texts nor numbers" in str(failure(frame))
