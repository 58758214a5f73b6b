"""Files of arrays, and tables of texts and series: what is read from them, and clear errors."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from text_tasks import sentences

from metatune.errors import DataError, MetatuneError, UnknownNameError, UsageError
from metatune.task import Task

N = 60
Y = np.arange(N) % 2


def saved(path: Path, **arrays: object) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, *shape))


def reviews(path: Path, **columns: object) -> Path:
    """A table of reviews with stars, and whatever other columns."""
    frame = pd.DataFrame({"review": sentences(Y), "stars": np.where(Y == 1, "many", "few"), **columns})
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


# --- arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "options", "expected"),
    [
        (numbers(4, 5, 3), {}, lambda X: Task.from_images(X, Y)),
        (numbers(4, 5), {"modality": "image"}, lambda X: Task.from_images(X, Y)),
        (numbers(4, 5), {"modality": "series"}, lambda X: Task.from_series(X, Y)),
        (numbers(7), {}, lambda X: Task.from_arrays(X, Y)),
        (numbers(7), {"modality": "series"}, lambda X: Task.from_series(X, Y)),
        (np.array(sentences(Y)), {}, lambda X: Task.from_texts(X, Y)),
    ],
)
def test_arrays_are_what_their_axes_say(path, X, options, expected):
    task = Task.from_file(saved(path, X=X, y=Y), **options)
    wanted = expected(X)
    assert (task.fingerprint, task.data.modality, task.name) == (wanted.fingerprint, wanted.data.modality, "data")


def test_another_array_can_be_the_target(path):
    saved(path, X=numbers(3), y=Y, weight=np.linspace(0, 1, N))
    task = Task.from_file(path, "weight", name="mine", test_size=0.5)
    assert (task.kind, task.data.target, task.name, len(task.test)) == ("regression", "weight", "mine", 30)


def test_repairs_are_told(path):
    X = numbers(5).astype(float)
    X[3] = np.inf
    task = Task.from_file(saved(path, X=X, y=Y), modality="series", repair=True)
    assert len(task.repairs) == 2


def test_axes_that_leave_a_doubt(path):
    with pytest.raises(UsageError, match="modality='image' or modality='series'"):
        Task.from_file(saved(path, X=numbers(4, 5), y=Y))


def test_an_array_that_is_missing(path):
    saved(path, X=numbers(4), labels=Y)
    with pytest.raises(UnknownNameError, match="labels"):
        Task.from_file(path)
    with pytest.raises(UnknownNameError, match="'X'"):
        Task.from_file(saved(path, data=numbers(4), y=Y))


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


def test_objects_are_not_read(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(path, X=np.array([Hostile()] * N, dtype=object), y=Y)
    with pytest.raises(DataError, match="plain arrays"):
        Task.from_file(path)
    assert not (tmp_path / "touched").exists()


def test_broken_files(path, tmp_path):
    whole = saved(path, X=numbers(50), y=Y).read_bytes()
    middle = len(whole) // 2
    squeezed = saved(path, X=np.zeros((1_000, 10)), y=Y).read_bytes()
    for content in (
        b"",
        b"X,y\n1,2\n",
        whole[:-40],
        whole[:middle] + b"x" * 30 + whole[middle + 30 :],
        squeezed[:60] + b"x" * 30 + squeezed[90:],
    ):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            Task.from_file(path)
        assert caught.value.field == "file"
        assert "np.savez" in caught.value.remedy
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", "no array")
        archive.writestr("y.npy", "none")
    with pytest.raises(MetatuneError):
        Task.from_file(path)
    with pytest.raises(DataError, match="no such file"):
        Task.from_file(tmp_path / "none.npz")
    with pytest.raises(DataError, match="folder"):
        Task.from_file(tmp_path)


def test_a_column_of_texts_is_not_asked_of_arrays(path):
    with pytest.raises(UsageError, match="arrays"):
        Task.from_file(saved(path, X=numbers(4), y=Y), text="review")


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_column_of_texts(tmp_path, suffix):
    path = reviews(tmp_path / f"reviews{suffix}", price=np.arange(N))
    task = Task.from_file(path, "stars", text="review")
    assert (task.name, task.data.modality, task.data.classes) == ("reviews", "text", ("few", "many"))
    assert task.data.X.tolist() == sentences(Y)


def test_texts_in_a_table_are_pointed_to_the_option(tmp_path):
    path = reviews(tmp_path / "r.csv")
    pd.concat([pd.read_csv(path)] * 20).assign(review=lambda t: [f"{i} {r}" for i, r in enumerate(t["review"])]).to_csv(
        path, index=False
    )
    with pytest.raises(DataError, match="text='COLUMN'"):
        Task.from_file(path, "stars")


def test_rows_as_series(tmp_path):
    X = np.random.default_rng(0).normal(size=(N, 6))
    path = tmp_path / "waves.csv"
    pd.DataFrame(X, columns=list("abcdef")).assign(label=Y).to_csv(path, index=False)
    found = Task.from_file(path, "label", modality="series")
    np.testing.assert_allclose(found.data.X[..., 0], X, rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "options", "field", "said"),
    [
        (None, {}, "target", "review, stars"),
        (None, {"text": "review"}, "target", "review, stars"),
        ("star", {"text": "review"}, "target", "'stars'"),
        ("stars", {"text": "revue"}, "text", "'review'"),
        ("stars", {"text": "stars"}, "text", "the target"),
        ("stars", {"modality": "text"}, "text", "text='review'"),
        ("stars", {"modality": "image"}, "modality", "np.savez"),
        ("stars", {"modality": "sound"}, "modality", "series"),
        ("stars", {"modality": "series", "text": "review"}, "modality", "text='review'"),
    ],
)
def test_options_that_do_not_fit(tmp_path, target, options, field, said):
    with pytest.raises(UsageError) as caught:
        Task.from_file(reviews(tmp_path / "reviews.csv"), target, **options)
    assert caught.value.field == field
    assert said in str(caught.value)
