"""Optuna's own conformance suite for samplers, run on ``MetaSampler`` with and without history."""

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase
from planted import planted_surrogate

from metatune.sampler import MetaSampler


class TestWithoutHistory(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: MetaSampler(seed=0)


class TestWithHistory(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        surrogate = planted_surrogate()
        return lambda: MetaSampler(surrogate, seed=0)
