"""A model takes what its task took, and reads it in the same way."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from metatune.errors import DataError, KnowledgeError
from metatune.learners import get_family, load_model
from metatune.learners.base import TaskModel
from metatune.learners.evaluate import refit
from metatune.raw import raw_from, raw_state
from metatune.task import Task

N = 60
SIGNAL = np.arange(N) % 2
NOISE = np.random.default_rng(0).normal(size=N)
DATES = pd.Timestamp("2020-01-01") + pd.to_timedelta(SIGNAL * 100 + np.arange(N), unit="D")


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({**columns, "noise": NOISE})


TABLES: dict[str, Any] = {
    "array": np.c_[SIGNAL, NOISE],
    "lists": np.c_[SIGNAL, NOISE].tolist(),
    "sparse": scipy.sparse.csr_matrix(np.c_[SIGNAL, NOISE]),
    "numbered columns": pd.DataFrame({0: SIGNAL, 1: NOISE}),
    "a name twice": pd.DataFrame(np.c_[NOISE, SIGNAL], columns=["a", "a"]),
    "an index": frame(x=SIGNAL).set_index(np.arange(N)[::-1] + 1000),
    "dates": frame(x=DATES),
    "zoned dates": frame(x=DATES.tz_localize("Europe/Rome")),
    "date objects": frame(x=pd.Series([date.date() for date in DATES], dtype=object)),
    "durations": frame(x=DATES - DATES[0]),
    "periods": frame(x=pd.PeriodIndex(DATES, freq="D")),
    "gaps": frame(x=pd.array([None, *SIGNAL[1:]], dtype="Int64")),
    "booleans": frame(x=pd.array([None, *(SIGNAL[1:] == 1)], dtype="boolean")),
    "decimals": frame(x=pd.Series([Decimal(int(s)) for s in SIGNAL], dtype=object)),
    "numbered categories": frame(x=pd.Categorical(SIGNAL)),
    "intervals": frame(x=pd.cut(SIGNAL, [-1, 0, 1])),
    "several types": frame(x=pd.Series([s if i < 9 else f"s{s}" for i, s in enumerate(SIGNAL)], dtype=object)),
    "infinite": frame(x=np.where(np.arange(N) == 5, np.inf, SIGNAL)),
    "arrow": frame(x=SIGNAL, c=np.where(SIGNAL, "a", "b")).convert_dtypes(dtype_backend="pyarrow"),
}


def model_of(task: Task, family: str) -> TaskModel:
    known = get_family(family)
    configuration, _ = known.clamp(known.default(), len(task.search_rows), task.data.n_columns)
    return refit(task, known, configuration, best_step=5 if known.fidelity else None)


@pytest.mark.parametrize("X", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("family", ["lightgbm", "linear"])
def test_a_table_is_read_as_the_task_read_it(X, family, tmp_path):
    task = Task.from_arrays(X, SIGNAL, repair=True)
    model = model_of(task, family)
    model.save(tmp_path)
    expected = model.fitted.predict_proba(task.data.X)
    for known in (model, load_model(tmp_path)):
        np.testing.assert_array_equal(known.predict_proba(X), expected)
        pd.testing.assert_frame_equal(known.raw.normal(X), task.data.X, check_categorical=False)
    pd.testing.assert_frame_equal(model.raw.normal(task.data.X), task.data.X, check_categorical=False)


def test_a_network_reads_the_same():
    pytest.importorskip("tensorflow")
    for X in (TABLES["date objects"], TABLES["numbered categories"], TABLES["array"]):
        task = Task.from_arrays(X, SIGNAL, repair=True)
        model = model_of(task, "keras_mlp")
        np.testing.assert_array_equal(model.predict_proba(X), model.fitted.predict_proba(task.data.X))


def normal(X: Any, later: Any) -> pd.DataFrame:
    """What the model of a task on ``X`` makes of ``later``."""
    return Task.from_arrays(X, SIGNAL, repair=True).data.raw.normal(later)


def test_gaps_do_not_rename_numbered_categories():
    gaps = pd.Series([None, *SIGNAL[1:]], dtype=float)
    whole, broken = (frame(x=values.astype("category")) for values in (pd.Series(SIGNAL), gaps))
    assert normal(whole, broken)["x"].tolist()[1:] == [str(s) for s in SIGNAL[1:]]
    assert normal(broken, whole)["x"].tolist() == [f"{s}.0" for s in SIGNAL]
    assert normal(whole, frame(x=[0.5, 10.0**300, np.inf] * 20))["x"].tolist()[0] == "0.5"


@pytest.mark.parametrize("family", ["linear", "lightgbm", "keras_mlp"])
def test_a_rare_level_is_read_as_in_training(family, tmp_path):
    if family == "keras_mlp":
        pytest.importorskip("tensorflow")
    n = 30_000
    common = np.arange(n) % 5 < 3
    levels = np.where(common, np.arange(n) % 50, np.arange(n)).astype(str)
    X = pd.DataFrame({"zip": levels, "noise": np.random.default_rng(0).normal(size=n)})
    X.loc[np.arange(n) % 100 == 0, "zip"] = None
    task = Task.from_arrays(X, ~common, repair=True, validation="holdout")
    assert task.data.cut == ("zip",)
    model = model_of(task, family)
    model.save(tmp_path)
    few = np.r_[:200, n - 200 : n]
    expected = model.fitted.predict_proba(task.data.take(few).X)
    later = X.iloc[few].replace({"zip": {levels[-1]: "never seen"}})
    for known in (model, load_model(tmp_path)):
        np.testing.assert_array_equal(known.predict_proba(X.iloc[few]), expected)
        np.testing.assert_array_equal(known.predict_proba(later), expected)


def test_what_does_not_fit_a_column_is_missing_or_unknown():
    later = pd.DataFrame({"c": [3, None, True], "x": ["4", "four", 1e300]})
    found = normal(frame(x=SIGNAL * 1.0, c=np.where(SIGNAL, "a", "b")), later.assign(noise=pd.Categorical([1, 2, 3])))
    np.testing.assert_array_equal(found["x"], [4.0, np.nan, np.nan])
    np.testing.assert_array_equal(found["noise"], [1.0, 2.0, 3.0])
    assert found["c"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10**400, 2, None], [np.nan, 2, np.nan]),
        ([-(10**400), "2", "x"], [np.nan, 2, np.nan]),
        (np.array([1j, 2, 3]), [np.nan] * 3),
    ],
)
def test_numbers_that_are_no_floats_are_missing(values, expected):
    found = normal(
        frame(x=SIGNAL), pd.DataFrame({"x": pd.Series(values, dtype=getattr(values, "dtype", object)), "noise": 0.0})
    )
    np.testing.assert_array_equal(found["x"], expected)


@pytest.mark.parametrize("family", ["lightgbm", "linear"])
def test_one_row_and_none(family):
    X = frame(x=DATES, c=np.where(SIGNAL, "a", "b"))
    model = model_of(Task.from_arrays(X, SIGNAL, repair=True), family)
    for row in (0, 1):
        np.testing.assert_allclose(model.predict_proba(X.iloc[[row]]), model.predict_proba(X)[[row]])
    assert normal(X, X.iloc[:0]).shape == (0, 3)


def test_a_column_may_have_become_the_index():
    X = frame(x=SIGNAL, y=NOISE)
    for index in ("x", ["noise", "y"]):
        pd.testing.assert_frame_equal(normal(X, X.set_index(index)), normal(X, X))


@pytest.mark.parametrize("X", [TABLES["an index"][["noise"]], np.c_[SIGNAL, NOISE], TABLES["numbered columns"]])
def test_a_missing_column_is_named(X):
    with pytest.raises(DataError, match="column that the model was trained on"):
        normal(TABLES["an index"], X)


def pictures() -> np.ndarray:
    images = np.random.default_rng(0).random((N, 8, 8)) / 2
    images[SIGNAL == 1, :4] += 0.5
    return images


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X,
        lambda X: X.astype(np.float32)[..., None],
        lambda X: X * 255,
        lambda X: (X * 255).astype(np.int64),
        lambda X: (X * 255).astype(np.uint8),
        lambda X: X > 0.5,
        lambda X: X - 0.5,
        lambda X: X * 9,
        lambda X: np.where(X < 0.1, np.nan, X * 1.005),
    ],
)
def test_pictures_are_scaled_as_the_task_scaled_them(convert: Callable[[np.ndarray], np.ndarray]):
    X = convert(pictures())
    data = Task.from_images(X, SIGNAL, repair=True).data
    raw = raw_from(json.loads(json.dumps(raw_state(data.raw))))
    np.testing.assert_array_equal(raw.normal(X), data.X)
    np.testing.assert_array_equal(raw.normal(X[:1]), data.X[:1])
    np.testing.assert_array_equal(raw.normal(data.X), data.X)
    with pytest.raises(DataError, match="8 x 8 x 1"):
        raw.normal(X[:, :4])


def test_a_dark_picture_stays_dark():
    """Alone it could be taken for shares of 1."""
    X = np.rint(pictures() * 255)
    raw = Task.from_images(X, SIGNAL).data.raw
    assert raw.normal(np.ones((1, 8, 8))).max() == 1


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        ((pictures() * 255).astype(np.uint8), pictures()),
        (pictures() * 255, pictures().astype(np.float32)),
        (np.rint(pictures() * 255), pictures() * 2 - 1),
        (pictures(), np.rint(pictures() * 255)),
        (pictures(), (pictures() * 255).astype(np.int64)),
        (pictures() > 0.5, pictures() * 255),
        (pictures() - 0.5, pictures() * 255),
        (pictures() * 60_000, pictures()),
        (pictures() * 255, pictures() * 60_000),
    ],
)
def test_pictures_on_another_scale_are_told(trained, given, caplog):
    data = Task.from_images(trained, SIGNAL, repair=True).data
    raw = raw_from(json.loads(json.dumps(raw_state(data.raw))))
    raw.normal(trained)
    assert caplog.text == ""
    raw.normal(given)
    assert f"(got {given.min():g} to {given.max():g}, not {data.black:g} to {data.white:g})" in caplog.text


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        (pictures() * 255, np.zeros((1, 8, 8))),
        (pictures() * 255, np.ones((1, 8, 8))),
        (pictures() * 255, np.rint(pictures())),
        (pictures() * 255, pictures() * 2),
        (pictures() * 255, pictures() > 0.5),
        (pictures() * 255, (pictures() * 3).astype(np.uint8)),
        (pictures() * 255, pictures() * 280 - 10),
        (pictures() * 255, np.full((1, 8, 8), np.nan)),
        (pictures(), pictures() / 100),
        (pictures(), pictures() * 1.3 - 0.1),
        (pictures(), np.zeros((1, 8, 8), dtype=np.int64)),
        (pictures(), (pictures() * 255).astype(np.uint8)),
        (pictures() - 0.5, pictures() * 1.5 - 0.5),
    ],
)
def test_dark_and_bright_pictures_are_no_other_scale(trained, given, caplog):
    Task.from_images(trained, SIGNAL, repair=True).data.raw.normal(given)
    assert caplog.text == ""


def test_series_are_read_as_the_task_read_them():
    X = np.random.default_rng(0).normal(size=(N, 20))
    silent = np.stack([np.full_like(X, np.nan), X], axis=-1)
    for given in (X, X[..., None], [row[: 15 + i % 5] for i, row in enumerate(X.tolist())], silent):
        data = Task.from_series(given, SIGNAL, repair=True).data
        raw = raw_from(json.loads(json.dumps(raw_state(data.raw))))
        np.testing.assert_array_equal(raw.normal(given), data.X)
    assert np.isnan(raw.normal(np.full((1, 9, 2), np.inf))).all()
    with pytest.raises(DataError, match="channels"):
        raw.normal(X)


def test_texts_may_be_missing():
    texts = [f"{'good' if s else 'bad'} word{i}" for i, s in enumerate(SIGNAL)]
    model = model_of(Task.from_texts(texts, SIGNAL), "tfidf_linear")
    for given in ([None, np.nan, "", "good"], pd.Series([pd.NA, None, " ", "good"], dtype="string")):
        assert model.predict(given).tolist()[-1] == 1
    with pytest.raises(DataError, match="one text"):
        model.predict("good")


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["a"]},
        {"classes": ["a", "b", "c"]},
        {"raw": {}},
        {"raw": {"modality": "x"}},
        {"raw": {"modality": "table", "columns": {"x": 3}}},
        {"raw": {"modality": "table", "columns": {"x": [1, 2]}}},
        {"raw": {"modality": "table", "columns": ["x"]}},
        {"raw": {"modality": "table", "columns": {"x": None}, "cut": ["x"]}},
        {"raw": {"modality": "table", "columns": {"x": None}, "cut": ["y"]}},
        {"raw": {"modality": "table", "columns": {"x": None}, "cut": 3}},
        {"raw": {"modality": "image", "size": [8, 8], "black": 0.0, "white": 1.0}},
        {"raw": {"modality": "image", "size": [8, 8, 1], "black": None, "white": 1.0}},
        {"raw": {"modality": "series", "channels": 2, "dropped": [2]}},
    ],
)
def test_a_manifest_that_does_not_fit_its_model_is_refused(change, tmp_path):
    X = frame(x=SIGNAL)
    model_of(Task.from_arrays(X, np.where(SIGNAL, "a", "b")), "linear").save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(KnowledgeError):
        load_model(tmp_path)
