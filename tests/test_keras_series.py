import json

import numpy as np
import pytest
from keras_contract import KerasContract, trained
from series_tasks import LENGTH, SERIES, gaps, shapes, strange_series, waves

from metatune.examples import TimeSeries
from metatune.learners import keras_series
from metatune.learners.keras_encoders import SeriesEncoder
from metatune.learners.keras_family import GRU_STEPS

FAMILY = keras_series.KerasSeries()


class TestKerasSeries(KerasContract):
    name = "keras_series"
    module = keras_series
    tasks = SERIES
    variants = (
        {"body": "gru", "bidirectional": True},
        {"pooling": "average", "readout": "max", "own_scale": True},
        {"pooling": "strided", "blocks": 4, "convolutions": 2, "n_layers": 1},
        {"body": "gru", "bidirectional": False, "own_scale": True},
    )


@pytest.mark.parametrize("change", [{"own_scale": True}, {"body": "gru", "gru_units": 32, "learning_rate": 0.01}])
def test_sine_versus_square_waves(change):
    assert max(trained(FAMILY, shapes(2), steps=25, **change).curve) > 0.95


@pytest.mark.parametrize(("body", "steps"), [("convolution", keras_series.CONVOLUTION_STEPS), ("gru", GRU_STEPS)])
def test_long_series_are_averaged_down(body, steps):
    X = np.random.default_rng(0).normal(size=(20, 2709, 1)).astype(np.float32)
    data = TimeSeries(X, np.zeros(20), "regression")
    configuration, _ = FAMILY.space().clip(FAMILY.default() | {"body": body})
    encoded = FAMILY.recipe().encoder(configuration, data).encode(X)
    assert steps // 2 < encoded.shape[1] <= steps


def test_blocks_are_clamped_to_the_length():
    values, changes = FAMILY.clamp(FAMILY.default() | {"blocks": 4}, 1000, 8)
    assert (values["blocks"], [change.parameter for change in changes]) == (3, ["blocks"])


class TestSeriesEncoder:
    def encoder(self, X, steps=512, own_scale=False):
        data = TimeSeries(np.asarray(X, dtype=np.float32), np.zeros(len(X)), "regression")
        return SeriesEncoder.of(data, steps=steps, own_scale=own_scale), data.X

    def test_one_scale_for_all_keeps_levels_apart(self):
        encoder, X = self.encoder([[[0.0], [2.0]], [[10.0], [12.0]]])
        levels = encoder.encode(X).mean(axis=(1, 2))
        assert levels[1] > levels[0]

    def test_own_scale_takes_level_and_size_away(self):
        wave = waves(6)[0][..., None]
        encoder, X = self.encoder(np.concatenate([wave, wave * 100 + 1e4]), own_scale=True)
        encoded = encoder.encode(X)
        np.testing.assert_allclose(encoded[:6], encoded[6:], atol=1e-3)
        np.testing.assert_allclose(encoded.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(encoded.std(axis=1), 1, atol=1e-5)

    def test_missing_values_are_zero_and_told(self):
        encoder, X = self.encoder([[[1.0], [np.nan], [3.0], [np.nan]], [[2.0], [2.0], [2.0], [2.0]]], own_scale=True)
        np.testing.assert_allclose(encoder.encode(X)[0], [[-1, 1], [0, 0], [1, 1], [0, 0]])
        np.testing.assert_allclose(encoder.encode(X)[1], [[0, 1]] * 4)

    def test_windows_are_means_of_what_is_known(self):
        encoder, X = self.encoder([[[-1.0], [np.nan], [1.0], [1.0], [-1.0]]], steps=3, own_scale=True)
        assert encoder.window == 2
        np.testing.assert_allclose(encoder.encode(X)[0], [[-1, 0.5], [1, 1], [-1, 0.5]])

    @pytest.mark.parametrize("own_scale", [False, True])
    def test_numbers_become_finite_whatever_they_are(self, own_scale):
        encoder, X = self.encoder(gaps().data.X, own_scale=own_scale)
        for series in (X, strange_series(), X[:, :5], X[:0]):
            encoded = encoder.encode(series)
            assert encoded.shape == (len(series), LENGTH, 4)
            assert np.isfinite(encoded).all()

    def test_it_comes_back_from_json(self):
        encoder, _ = self.encoder(gaps().data.X)
        assert SeriesEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
