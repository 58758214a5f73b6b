"""Images, texts and time series: their normal form, bad input and its repairs, splits and fingerprints."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from metatune.errors import DataError, UsageError
from metatune.examples import Images, Texts, TimeSeries
from metatune.fingerprint import KEY_VARIABLE, SAMPLED_CHARACTERS
from metatune.task import Task

N = 60
Y = np.arange(N) % 2


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, *(shape or (6, 5, 3))), dtype=np.uint8)


def steps(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, *(shape or (9, 2))))


def words() -> list[str]:
    return [f"word {i} is {i % 7}" for i in range(N)]


def failure(make, X, y=Y, **options) -> DataError:
    """The error that ``X`` gives, which names field, value and remedy."""
    with pytest.raises(DataError) as caught:
        make(X, y, **options)
    error = caught.value
    assert error.field in ("X", "y", "target 'target'")
    assert error.remedy.endswith(".")
    return error


def repaired(make, X, y=Y, **options) -> Task:
    """The task after the repairs that the error offers."""
    assert "repair=True" in failure(make, X, y, **options).remedy
    task = make(X, y, repair=True, **options)
    assert task.repairs
    return task


# --- normal form -----------------------------------------------------------------------------------------------------


def test_images():
    X = pixels()
    task = Task.from_images(X, Y, name="dots")
    assert isinstance(task.data, Images)
    assert (task.name, task.kind, task.data.modality) == ("dots", "binary", "image")
    assert (task.data.X.shape, task.data.X.dtype, task.data.n_columns) == ((N, 6, 5, 3), np.uint8, 90)
    np.testing.assert_array_equal(task.data.X, X)


def test_images_without_an_axis_of_channels_have_one():
    assert Task.from_images(pixels(6, 5), Y).data.X.shape == (N, 6, 5, 1)


@pytest.mark.parametrize(
    "form",
    [
        lambda X: X.astype(np.int64),
        lambda X: X.astype(np.float64),
        lambda X: X.astype(np.float32) + 0.3,
        lambda X: X / 255,
        lambda X: (X / 255).astype(np.float32),
        lambda X: X.tolist(),
    ],
)
def test_pixels_in_any_form_are_the_same_images(form):
    X = np.minimum(pixels(), 254)
    X[0, 0, 0, 0] = 254
    found = Task.from_images(form(X), Y)
    np.testing.assert_array_equal(found.data.X, X)
    assert found.fingerprint == Task.from_images(X, Y).fingerprint


def test_booleans_are_black_and_white():
    X = pixels() > 100
    np.testing.assert_array_equal(Task.from_images(X, Y).data.X, np.where(X, 255, 0))


def test_whole_numbers_0_and_1_stay():
    X = (pixels() > 100).astype(int)
    np.testing.assert_array_equal(Task.from_images(X, Y).data.X, X)


@pytest.mark.parametrize(
    "form", [list, tuple, np.array, pd.Series, lambda t: pd.Series(t, dtype="category"), lambda t: np.array(t)[:, None]]
)
def test_texts(form):
    task = Task.from_texts(form(words()), Y)
    assert isinstance(task.data, Texts)
    assert (task.data.modality, task.data.n_columns, task.data.X.shape) == ("text", 1, (N,))
    assert task.data.X.tolist() == words()
    assert all(type(text) is str for text in task.data.X)
    assert task.fingerprint == Task.from_texts(words(), Y).fingerprint


def test_series():
    X = steps()
    X[3, 2, 1] = np.nan
    task = Task.from_series(X, np.linspace(0, 1, N))
    assert isinstance(task.data, TimeSeries)
    assert (task.kind, task.data.modality, task.data.n_columns) == ("regression", "series", 18)
    assert task.data.X.dtype == np.float32
    np.testing.assert_allclose(task.data.X, X, rtol=1e-6)


@pytest.mark.parametrize("form", [np.array, np.ndarray.tolist, list, pd.DataFrame])
def test_series_of_one_channel(form):
    X = steps(9)
    np.testing.assert_allclose(Task.from_series(form(X), Y).data.X, X[..., None], rtol=1e-6)


def test_taking_rows_keeps_classes():
    y = np.where(Y == 1, "yes", "no")
    for task in (Task.from_images(pixels(), y), Task.from_texts(words(), y), Task.from_series(steps(), y)):
        part = task.data.take(np.array([3, 8]))
        assert type(part) is type(task.data)
        assert (part.n_rows, part.n_classes, part.classes) == (2, 2, ("no", "yes"))
        np.testing.assert_array_equal(part.X, task.data.X[[3, 8]])
        np.testing.assert_array_equal(part.y, task.data.y[[3, 8]])


def test_what_was_given_stays_as_it_was():
    X = steps()
    X[0, 0] = np.inf
    X[1] = np.nan
    before = X.copy()
    Task.from_series(X, Y, repair=True)
    np.testing.assert_array_equal(X, before)


def test_splits_are_those_of_a_table():
    X, y = load_digits(return_X_y=True)
    image = Task.from_images(X.reshape(-1, 8, 8), y, seed=4, validation=5)
    table = Task.from_arrays(X, y, seed=4, validation=5, repair=True)
    np.testing.assert_array_equal(image.test, table.test)
    assert len(image.folds) == len(table.folds)
    for ours, theirs in zip(image.folds, table.folds, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
    assert image.record().n_rows == 1_797


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "X", "said"),
    [
        (Task.from_images, pixels()[:0], "without values"),
        (Task.from_images, pixels()[:, :0], "without values"),
        (Task.from_images, pixels().reshape(N, -1), "(n, height, width)"),
        (Task.from_images, pixels()[..., None], "(n, height, width)"),
        (Task.from_images, np.moveaxis(pixels(30, 20, 3), -1, 1), "np.moveaxis"),
        (Task.from_images, [[[1, 2]], [[1, 2, 3]]] * 30, "unequal sizes"),
        (Task.from_images, None, "unequal sizes"),
        (Task.from_images, pixels().astype(str), "not numbers"),
        (Task.from_images, pixels().astype(complex), "not numbers"),
        (Task.from_images, pixels()[:10], "unequal length"),
        (Task.from_images, np.zeros((N, 4, 4)), "same example"),
        (Task.from_texts, "one text", "one text"),
        (Task.from_texts, None, "not texts"),
        (Task.from_texts, 5, "not texts"),
        (Task.from_texts, np.array([words(), words()]).T, "(60, 2)"),
        (Task.from_texts, ["", " \n"] * 30, "empty"),
        (Task.from_texts, ["same"] * N, "same example"),
        (Task.from_texts, words()[:5], "unequal length"),
        (Task.from_series, steps()[:0], "without values"),
        (Task.from_series, steps(4, 3, 2), "(n, length, channels)"),
        (Task.from_series, steps(1), "one step"),
        (Task.from_series, np.full((N, 5), np.nan), "missing"),
        (Task.from_series, np.ones((N, 5)), "same example"),
        (Task.from_series, np.tile([1.0, np.nan, 3.0], (N, 1)), "same example"),
        (Task.from_series, ["a", "b"] * 30, "not numbers"),
        (Task.from_series, [np.zeros((5, 1)), np.zeros((5, 2))] * 30, "equally many channels"),
        (Task.from_series, steps()[:10], "unequal length"),
    ],
)
def test_what_cannot_be_learnt_from(make, X, said):
    assert said in str(failure(make, X))


def test_no_texts_at_all():
    assert "no rows" in str(failure(Task.from_texts, [], []))


def test_target_errors_are_those_of_a_table():
    assert "only one class" in str(failure(Task.from_texts, words(), ["x"] * N))
    with pytest.raises(UsageError, match="kind"):
        Task.from_texts(words(), Y, kind="multiclass")


def test_pixels_outside_their_range_are_rescaled():
    X = pixels().astype(float) * 4 - 510
    found = repaired(Task.from_images, X).data.X
    assert (found.min(), found.max()) == (0, 255)
    assert np.abs(found.astype(int) - pixels()).max() <= 1


@pytest.mark.parametrize(("excess", "brightest"), [(0.004, 255), (0.2, 213)])
def test_shares_slightly_above_one_are_not_rounded_to_black_and_white(excess, brightest):
    X = np.minimum(pixels(), 254) / 254
    X[0, 0, 0, 0] = 1 + excess
    found = repaired(Task.from_images, X).data.X
    expected = np.rint(X * brightest).clip(max=255)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert len(np.unique(found)) > 200


def test_black_and_white_slightly_above_one_stays_black_and_white():
    X = (pixels() > 100).astype(np.float32)
    X[X == 1] = 1.005
    np.testing.assert_array_equal(repaired(Task.from_images, X).data.X, np.where(pixels() > 100, 255, 0))


def test_fractions_on_a_small_scale_keep_their_levels():
    X = (pixels() / 51).astype(np.float32)
    np.testing.assert_array_equal(repaired(Task.from_images, X).data.X, pixels())


def test_whole_numbers_on_a_small_scale_stay():
    X = pixels() // 50
    np.testing.assert_array_equal(Task.from_images(X.astype(float), Y).data.X, X)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_pixels_become_black(value):
    X = pixels().astype(float)
    X[0, 0, 0] = value
    np.testing.assert_array_equal(repaired(Task.from_images, X).data.X[0, 0, 0], 0)


def test_empty_and_missing_texts_are_dropped():
    texts = words()
    texts[2:6] = ["", None, np.nan, " \t"]
    task = repaired(Task.from_texts, texts)
    assert task.data.X.tolist() == words()[:2] + words()[6:]
    np.testing.assert_array_equal(task.data.y, np.delete(Y, range(2, 6)))


def test_numbers_among_texts_become_texts():
    texts = words()
    texts[2] = 17
    assert repaired(Task.from_texts, texts).data.X[2] == "17"


def test_rows_without_a_target_are_dropped():
    y = np.where(Y == 1, "yes", "no").astype(object)
    y[5] = None
    task = repaired(Task.from_texts, words(), y)
    assert task.data.X.tolist() == words()[:5] + words()[6:]


def test_series_without_values_are_dropped():
    X = steps()
    X[3] = np.nan
    task = repaired(Task.from_series, X)
    assert task.data.n_rows == N - 1
    np.testing.assert_array_equal(task.data.y, np.delete(Y, 3))


def test_channels_without_values_are_dropped():
    X = steps(9, 3)
    X[..., 1] = np.nan
    np.testing.assert_allclose(repaired(Task.from_series, X).data.X, X[..., [0, 2]], rtol=1e-6)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e200])
def test_infinite_steps_become_missing(value):
    X = steps()
    X[0, 0, 0] = value
    assert np.isnan(repaired(Task.from_series, X).data.X[0, 0, 0])


@pytest.mark.parametrize("pack", [list, tuple, lambda rows: np.array(rows, dtype=object), pd.Series])
def test_series_of_unequal_lengths_are_filled_at_their_ends(pack):
    rows = [np.arange(3.0 + i % 4) + i for i in range(N)]
    found = repaired(Task.from_series, pack(rows)).data.X
    assert found.shape == (N, 6, 1)
    np.testing.assert_array_equal(found[1, :, 0], [1, 2, 3, 4, np.nan, np.nan])


# --- fingerprint -----------------------------------------------------------------------------------------------------


def test_other_examples_have_another_fingerprint(monkeypatch):
    X = pixels()
    changed = X.copy()
    changed[7, 1, 1, 1] ^= 1
    texts = words()
    texts[7] += "!"
    series = steps()
    series[7, 1, 1] += 1.0
    tasks = [
        Task.from_images(X, Y),
        Task.from_images(changed, Y),
        Task.from_images(X.reshape(N, 5, 6, 3), Y),
        Task.from_images(X, 1 - Y),
        Task.from_arrays(X.reshape(N, -1), Y),
        Task.from_texts(words(), Y),
        Task.from_texts(texts, Y),
        Task.from_series(steps(), Y),
        Task.from_series(series, Y),
    ]
    monkeypatch.setenv(KEY_VARIABLE, "another")
    tasks.append(Task.from_images(X, Y))
    assert len({task.fingerprint for task in tasks}) == len(tasks)


def test_words_that_run_together_are_told_apart():
    first, second = words(), words()
    first[:2], second[:2] = ["ab", "c"], ["a", "bc"]
    assert Task.from_texts(first, Y).fingerprint != Task.from_texts(second, Y).fingerprint


def test_the_fingerprint_of_large_examples_reads_a_part(monkeypatch):
    monkeypatch.setattr("metatune.fingerprint.SAMPLED_BYTES", 30 * 6 * 5 * 3)
    X = pixels()
    first = Task.from_images(X, Y).fingerprint
    X[1] = 9  # not among thirty evenly spaced ones
    assert Task.from_images(X, Y).fingerprint == first
    X[0] = 9
    assert Task.from_images(X, Y).fingerprint != first


def test_the_fingerprint_of_a_long_text_reads_its_beginning():
    long = "a" * SAMPLED_CHARACTERS
    found = {Task.from_texts([start, *words()[1:]], Y).fingerprint for start in (long, long + "b", long[1:])}
    assert len(found) == 2
