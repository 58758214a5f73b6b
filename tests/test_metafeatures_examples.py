"""Meta-features of images, texts and series: planted properties, invariances, robustness."""

import math
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kurtosis, skew
from sklearn.datasets import load_digits

from metatune.metafeatures import describe, describe_dataset, describe_images, describe_series, describe_texts
from metatune.metafeatures import image as image_features
from metatune.metafeatures import series as series_features
from metatune.metafeatures import text as text_features
from metatune.metafeatures.series import MAX_LENGTH
from metatune.task import Task

MODULES = {describe_images: image_features, describe_texts: text_features, describe_series: series_features}


def digits():
    X, y = load_digits(return_X_y=True)
    return np.minimum(X.reshape(-1, 8, 8, 1) * 16, 255).astype(np.uint8)[:900], y[:900]


def topics(n=400, *, words=40, seed=0):
    """Texts of four classes: a third of the words tell which."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    told, common = rng.integers(0, 200, (2, n, words))
    is_told = rng.random((n, words)) < 0.35
    texts = [
        " ".join(f"t{label}x{a}" if which else f"c{b}" for a, b, which in zip(*row, strict=True))
        for label, *row in zip(y, told, common, is_told, strict=True)
    ]
    return objects(texts), y


def waves(n=400, length=200, *, seed=0):
    """Sines of three frequencies and random phases, with noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    frequency = np.array([0.02, 0.05, 0.1])[y]
    angle = 2 * np.pi * (np.arange(length) * frequency[:, None] + rng.random((n, 1)))
    return (np.sin(angle) + 0.3 * rng.standard_normal((n, length))).astype(np.float32)[..., None], y


def objects(texts):
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return found


EXAMPLES = {describe_images: digits(), describe_texts: topics(), describe_series: waves()}
every = pytest.mark.parametrize("features", EXAMPLES, ids=lambda features: features.__name__)


def assert_valid(found, features):
    assert tuple(found) == MODULES[features].NAMES
    assert all(type(value) is float and not math.isinf(value) for value in found.values())


def of_target(name):
    return "landmark" in name or "target" in name or "class_variance" in name


def test_the_scale_of_the_intensities_does_not_matter():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8, 1)[:300]
    dark, bright = (
        describe_images(np.rint(X * scale).astype(np.uint8), y[:300], "multiclass") for scale in (1, 255 / 16)
    )
    assert dark == pytest.approx(bright, nan_ok=True)
    assert dark["image_share_saturated"] > 0


# what all three have in common


@every
def test_every_feature_is_known_for_classes_or_for_numbers(features):
    X, y = EXAMPLES[features]
    for_classes, for_numbers = features(X, y, "multiclass"), features(X, y + 0.5, "regression")
    assert_valid(for_classes, features)
    assert_valid(for_numbers, features)
    assert [n for n in for_classes if math.isnan(for_classes[n]) and math.isnan(for_numbers[n])] == []


@every
def test_the_target_is_described_as_that_of_a_table(features):
    X, y = EXAMPLES[features]
    for kind, target in (("multiclass", y), ("regression", y**2.0)):
        task = Task.from_arrays(np.arange(2.0 * len(y)).reshape(-1, 2), target, kind=kind)
        table, found = describe_dataset(task.data), features(X, target, kind)
        shared = [name for name in found if name in table]
        assert {"log_rows", "log_classes", "class_entropy", "log_imbalance", "target_skewness"} <= set(shared)
        assert [found[name] for name in shared] == pytest.approx([table[name] for name in shared], nan_ok=True)


@every
def test_shuffled_labels_cannot_be_told_apart(features):
    X, y = EXAMPLES[features]
    shuffled = features(X, np.random.default_rng(0).permutation(y), "multiclass")
    found = features(X, y, "multiclass")
    landmarks = [name for name in found if "landmark" in name]
    assert max(found[name] for name in landmarks) > 0.8
    assert all(abs(shuffled[name]) < 0.2 for name in landmarks)
    (variance,) = (name for name in found if name.endswith("class_variance"))
    assert found[variance] > shuffled[variance]
    numbers = features(X, np.random.default_rng(0).random(len(y)), "regression")
    assert all(numbers[name] < 0.15 for name in landmarks if not math.isnan(numbers[name]))


@every
def test_coding_of_the_classes_does_not_matter(features):
    X, y = EXAMPLES[features]
    codes = np.random.default_rng(1).permutation(y.max() + 1)
    assert features(X, codes[y], "multiclass") == pytest.approx(features(X, y, "multiclass"), nan_ok=True)


@every
def test_order_of_the_rows_matters_to_the_split_of_the_landmarks_only(features):
    X, y = EXAMPLES[features]
    order = np.random.default_rng(2).permutation(len(y))
    found, turned = features(X, y, "multiclass"), features(X[order], y[order], "multiclass")
    for name, value in found.items():
        split = "landmark" in name or name == "text_out_of_vocabulary"
        assert turned[name] == pytest.approx(value, abs=0.15 if split else 1e-9, nan_ok=True), name


@every
def test_the_seed_decides_and_the_sample_is_bounded(features, monkeypatch):
    X, y = EXAMPLES[features]
    monkeypatch.setattr(
        "metatune.metafeatures.pooled.positions", lambda rng, n, limit: np.sort(rng.permutation(n)[:99])
    )
    first, again, other = (features(X, y, "multiclass", seed=seed) for seed in (0, 0, 1))
    assert first == pytest.approx(again, abs=0.0, rel=0.0, nan_ok=True)
    differing = {name for name in first if first[name] != pytest.approx(other[name], nan_ok=True)}
    assert len(differing) > 10
    assert first["log_rows"] == pytest.approx(math.log(len(y)))
    assert not differing & {"log_rows", "class_entropy", "class_share_min"}


@every
def test_rows_that_may_not_be_looked_at_are_not(features):
    X, y = EXAMPLES[features]
    rows = np.arange(0, len(y), 2)
    changed, labels = X.copy(), y.copy()
    changed[1::2] = X[0]
    labels[1::2] = 0
    found = features(changed, labels, "multiclass", rows=rows)
    assert found == pytest.approx(features(X[rows], y[rows], "multiclass"), nan_ok=True)


@every
@pytest.mark.parametrize("rows", [2, 5, 30])
def test_few_rows(features, rows):
    X, y = EXAMPLES[features]
    assert_valid(features(X[:rows], y[:rows], "multiclass"), features)
    assert_valid(features(X[:rows], np.zeros(rows, dtype=np.int64), "binary"), features)
    assert_valid(features(X[:rows], np.zeros(rows), "regression"), features)
    assert_valid(features(np.repeat(X[:1], rows, axis=0), y[:rows], "multiclass"), features)


@every
def test_a_task_is_described_from_the_rows_of_the_search(features):
    X, y = EXAMPLES[features]
    make = {describe_images: Task.from_images, describe_texts: Task.from_texts, describe_series: Task.from_series}
    task = make[features](X, y)
    assert len(task.test)
    expected = features(task.data.X, task.data.y, task.kind, rows=task.search_rows)
    assert describe(task) == pytest.approx(expected, nan_ok=True)
    assert expected["log_rows"] < math.log(len(y))


@pytest.mark.parametrize("brightest", [255, 200])
def test_large_images_are_looked_at_in_part(brightest):
    X = np.full((25, 1_000, 1_200, 3), brightest, dtype=np.uint8)
    X[1::2] //= 2
    tracemalloc.start()
    found = describe_images(X, np.arange(25) % 2, "binary")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 2
    assert found["image_share_saturated"] == pytest.approx(13 / 25)
    assert found["image_class_variance"] == pytest.approx(1.0)


def test_long_series_take_no_longer_than_those_of_the_bound():
    x, y = waves(length=MAX_LENGTH)
    x = np.repeat(x[:1, :2_000], 500, axis=1)
    start = time.process_time()
    found = describe_series(np.broadcast_to(x, (90, 1_000_000, 6)), y[:90], "multiclass")
    assert time.process_time() - start < 2.0
    assert_valid(found, describe_series)
    assert found["series_log_length"] == pytest.approx(math.log(1_000_000))


def test_thinned_out_series_are_described_as_whole_ones(monkeypatch):
    X, y = waves(length=3_000)
    X[::3, 2_000:] = np.nan
    whole = describe_series(X, y, "multiclass")
    monkeypatch.setattr(series_features, "MAX_LENGTH", 1_500)
    thinned = describe_series(X, y, "multiclass")
    assert thinned["series_missing_cells"] == pytest.approx(1 / 9, abs=0.001)
    of_bins = ("correlation", "landmark", "pca", "class_variance")
    same = [name for name in whole if not any(part in name for part in of_bins) or "auto" in name or "spectrum" in name]
    assert len(same) > 40
    assert [thinned[name] for name in same] == pytest.approx([whole[name] for name in same], rel=0.001, nan_ok=True)


# images


def test_intensities_have_the_moments_of_the_pixels():
    X, y = digits()
    found = describe_images(X, y, "multiclass")
    pixels = X.ravel() / 255.0
    assert found["image_intensity_mean"] == pytest.approx(pixels.mean())
    assert found["image_intensity_sd"] == pytest.approx(pixels.std())
    assert found["image_intensity_skewness"] == pytest.approx(skew(pixels))
    assert found["image_intensity_kurtosis"] == pytest.approx(kurtosis(pixels))
    assert found["image_share_zero"] == np.mean(X == 0)
    assert found["image_share_saturated"] == np.mean(X == 255)
    assert (found["image_channels"], found["image_log_height"]) == (1.0, pytest.approx(math.log(8)))


def test_edges_and_autocorrelation_of_planted_patterns():
    y = np.arange(40) % 2
    stripes = np.zeros((40, 16, 16, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 255
    found = describe_images(stripes, y, "binary")
    assert found["image_edge_density"] == pytest.approx(0.5)  # across the stripes, not along them
    assert found["image_autocorrelation_1"] == pytest.approx(0.0)  # -1 across, 1 along
    assert found["image_autocorrelation_4"] == pytest.approx(1.0)
    assert found["image_brightness_variance"] == pytest.approx(0.0) or math.isnan(found["image_brightness_variance"])
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (40, 64, 64, 1))
    smooth = describe_images(ramp, y, "binary")
    assert smooth["image_edge_density"] == 0.0
    assert smooth["image_autocorrelation_1"] > 0.99
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), dtype=np.uint8)
    assert describe_images(noise, y, "binary")["image_autocorrelation_1"] == pytest.approx(0.0, abs=0.02)


def test_colour_and_brightness():
    y = np.arange(60) % 2
    red = np.zeros((60, 9, 7, 3), dtype=np.uint8)
    red[..., 0] = 255
    red[0, 0, 0] = 255
    assert describe_images(red, y, "binary")["image_colour"] == pytest.approx(1.0, abs=0.001)
    levels = np.broadcast_to((4 * np.arange(60, dtype=np.uint8))[:, None, None, None], (60, 9, 7, 1))
    found = describe_images(levels, y, "binary")
    assert (found["image_colour"], found["image_brightness_variance"]) == (0.0, pytest.approx(1.0))


def test_variance_between_classes_is_that_of_the_cells():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 500)
    X = (100 + 20 * y + rng.integers(-30, 31, 500)).astype(np.uint8)[:, None, None, None]
    expected = np.corrcoef(X[:, 0, 0, 0], y)[0, 1] ** 2
    assert describe_images(X, y, "binary")["image_class_variance"] == pytest.approx(expected, rel=0.002)  # 256 levels


def test_pooled_pixels_are_means_of_their_area(monkeypatch):
    X = np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3), dtype=np.uint8)
    monkeypatch.setattr(image_features, "GRID", 4)
    expected = X.reshape(5, 4, 5, 4, 6, 3).mean(axis=(2, 4)) / 255.0
    np.testing.assert_allclose(image_features._pooled(X, np.arange(5)), expected.reshape(5, -1))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 1), (500, 3, 4), (300, 300, 3)])
def test_images_of_any_size(shape):
    X = np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8)
    assert_valid(describe_images(X, np.arange(12) % 2, "binary"), describe_images)


# texts


def test_planted_words_and_characters():
    X = objects(["Aa bb, 12", "aa cc", "ä", "aa cc"])
    found = describe_texts(X, np.array([0, 1, 0, 1]), "binary")
    assert found["text_log_words_mean"] == pytest.approx(math.log1p(8 / 4))
    assert found["text_log_characters_q50"] == pytest.approx(math.log1p(5))
    assert found["text_log_vocabulary"] == pytest.approx(math.log(5))  # aa bb 12 cc ä
    assert found["text_type_token_ratio"] == pytest.approx(5 / 8)
    assert found["text_share_hapaxes"] == pytest.approx(3 / 5)
    assert found["text_word_length_mean"] == pytest.approx(15 / 8)
    assert found["text_share_duplicates"] == pytest.approx(1 / 4)
    characters = len("Aabb,12") + 4 + 1 + 4
    for name, count in (("digits", 2), ("upper", 1), ("punctuation", 1), ("non_ascii", 1)):
        assert found[f"text_share_{name}"] == pytest.approx(count / characters), name


def test_words_of_the_other_half():
    y = np.arange(60) % 2
    assert describe_texts(objects([f"word{i}" for i in range(60)]), y, "binary")["text_out_of_vocabulary"] == 1.0
    assert describe_texts(objects(["one word"] * 60), y, "binary")["text_out_of_vocabulary"] == 0.0


def test_lengths_are_those_of_whole_texts():
    long = objects(["word " * 5_000, "word " * 10_000] * 10)
    found = describe_texts(long, np.arange(20) % 2, "binary")
    assert found["text_log_words_mean"] == pytest.approx(math.log1p(7_500), rel=1e-3)
    assert found["text_words_variation"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("strange", ["... !!", "\ud800 x", "\x00", "漢字" * 3000, "İ" * 9])
def test_strange_texts(strange):
    X = objects([strange, "plain"] * 8)
    assert_valid(describe_texts(X, np.arange(16) % 2, "binary"), describe_texts)
    assert_valid(describe_texts(objects([strange] * 16), np.arange(16) % 2, "binary"), describe_texts)


def test_another_process_hashes_words_alike():
    code = (
        "import numpy as np; from metatune.metafeatures.text import _tf_idf;"
        "print(_tf_idf([np.arange(9)], list('abcdefghi')).nonzero()[1].tolist())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = text_features._tf_idf([np.arange(9)], list("abcdefghi")).nonzero()[1].tolist()
    assert done.stdout.strip() == str(here)


# series


def series(values, n=30):
    """``n`` times ``values``, shape (length,) or (length, channels), and two classes."""
    values = np.asarray(values, dtype=np.float32)
    return np.repeat(values.reshape(1, len(values), -1), n, axis=0), np.arange(n) % 2, "binary"


def test_a_sine_has_its_frequency_and_autocorrelation():
    found = describe_series(*series(7 + 3 * np.sin(2 * np.pi * 0.04 * np.arange(500))))
    assert found["series_dominant_frequency"] == pytest.approx(0.04)
    assert found["series_spectral_entropy"] == pytest.approx(0.0, abs=1e-3)
    assert found["series_low_frequency_energy"] == pytest.approx(1.0)
    for lag in (1, 5, 25):
        assert found[f"series_autocorrelation_{lag}"] == pytest.approx(math.cos(2 * math.pi * 0.04 * lag), abs=0.05)
    assert found["series_trend"] < 0.05


def test_noise_a_line_and_alternation():
    rng = np.random.default_rng(0)
    noise = describe_series(rng.standard_normal((200, 300, 2)).astype(np.float32), np.arange(200) % 2, "binary")
    assert noise["series_autocorrelation_1"] == pytest.approx(0.0, abs=0.02)
    assert noise["series_roughness"] == pytest.approx(2 / math.sqrt(math.pi), rel=0.02)
    assert noise["series_spectral_entropy"] > 0.9
    assert noise["series_low_frequency_energy"] == pytest.approx(0.1, abs=0.02)
    line = describe_series(*series(np.arange(100.0)))
    assert (line["series_trend"], line["series_log_length"]) == (pytest.approx(1.0), pytest.approx(math.log(100)))
    alternating = describe_series(*series([1.0, -1.0] * 50))
    assert alternating["series_autocorrelation_1"] == pytest.approx(-1.0)
    assert alternating["series_autocorrelation_10"] == pytest.approx(1.0)
    assert alternating["series_dominant_frequency"] == pytest.approx(0.5)


def test_location_and_scale_matter_to_levels_only():
    X, y = waves()
    found, moved = describe_series(X, y, "multiclass"), describe_series(1000 * X + 3e5, y, "multiclass")
    same = [n for n in series_features.NAMES if "landmark" not in n and "variance" not in n]
    for name in same:
        assert moved[name] == pytest.approx(found[name], rel=1e-2, abs=1e-3, nan_ok=True), name
    levels = X + 100 * np.arange(len(X), dtype=np.float32)[:, None, None]
    assert describe_series(levels, y, "multiclass")["series_level_variance"] > 0.99
    assert found["series_level_variance"] < 0.05


def test_missing_values_and_unequal_lengths():
    X, y = waves()
    X = X.copy()
    X[::2, 100:] = np.nan
    found = describe_series(X, y, "multiclass")
    assert found["series_missing_cells"] == pytest.approx(0.25)
    assert found["series_length_variation"] == pytest.approx(1 / 3)
    holes = waves()[0].copy()
    holes[:, 3::7] = np.nan
    whole = describe_series(*waves(), "multiclass")
    for name, value in describe_series(holes, y, "multiclass").items():
        if name.startswith(("series_autocorrelation", "series_trend", "series_dominant")):
            assert value == pytest.approx(whole[name], abs=0.05), name


def test_classes_that_differ_in_their_spectrum_alone():
    found = describe_series(*waves(), "multiclass")
    assert found["series_spectrum_landmark_centroid"] > 0.95
    assert found["series_landmark_linear"] < 0.5


@pytest.mark.parametrize(
    "values",
    [
        np.ones(50),
        np.full(50, 0.1),
        [1.0, 2.0],
        [1.0, np.nan, np.nan],
        [np.nan, np.nan, 3.0, np.nan],
        np.geomspace(1e-38, 3e38, 60),
        np.stack([np.arange(40.0), np.full(40, np.nan)], axis=1),
        np.arange(360.0).reshape(3, 120),
    ],
    ids=["ones", "tenths", "two steps", "one known", "hole", "huge", "empty channel", "many channels"],
)
def test_strange_series(values):
    X, y, kind = series(values)
    assert_valid(describe_series(X, y, kind), describe_series)
    X = X.copy()
    X[::2] *= 0.5
    assert_valid(describe_series(X, y, kind), describe_series)
