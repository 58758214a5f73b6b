"""The cost model: what configurations take is learnt from past tasks and anchored by this one."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from metatune.encoding import ConfigurationEncoder, Scale
from metatune.errors import KnowledgeError, NoHistoryError
from metatune.surrogate.cost import CostModel

ENCODER = ConfigurationEncoder(
    {"size": Scale(1.0, 1000.0, True), "rate": Scale(0.0, 1.0, False)}, {"kind": ("fast", "slow")}, {}
)


def configurations(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([10 ** rng.uniform(0, 3, n), rng.random(n), rng.integers(0, 2, n)])


def seconds_of(X: np.ndarray, machine: float) -> np.ndarray:
    """Grows with the size, doubles for the slow kind, does not depend on the rate."""
    return machine * (1.0 + X[:, 0] ** 0.8) * (1.0 + X[:, 2])


def planted(tasks: int = 6, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Trials of tasks whose machine time is proportional to their rows: X, seconds, groups, log rows."""
    rng = np.random.default_rng(0)
    X = configurations(tasks * n, rng)
    groups = np.repeat(np.arange(tasks), n)
    log_rows = np.linspace(3.0, 10.0, tasks)[groups]
    noise = np.exp(rng.normal(0, 0.05, len(X)))
    return X, seconds_of(X, 1.0) * np.exp(log_rows - 8.0) * noise, groups, log_rows[:, None]


@pytest.fixture(scope="module")
def model() -> CostModel:
    X, seconds, groups, features = planted()
    return CostModel.fit(X, seconds, groups=groups, encoder=ENCODER, features=features)


def test_an_unseen_task_is_ordered_by_cost(model: CostModel) -> None:
    X = configurations(100, np.random.default_rng(1))
    assert spearmanr(model.predict(X), seconds_of(X, 50.0)).statistic > 0.95


def test_few_observed_trials_set_the_level(model: CostModel) -> None:
    X = configurations(100, np.random.default_rng(1))
    seconds = seconds_of(X, 1e4)
    here = model.anchored(X[:3], seconds[:3])
    assert np.median(np.abs(here.predict(X) - np.log(seconds))) < 0.3
    assert np.median(np.abs(model.predict(X) - np.log(seconds))) > 3.0


def test_features_tell_the_level_before_the_first_trial(model: CostModel) -> None:
    X = configurations(50, np.random.default_rng(2))
    true = np.log(seconds_of(X, float(np.exp(9.5 - 8.0))))
    told, untold = (np.abs(np.median(model.predict(X, f) - true)) for f in ([9.5], ()))
    assert told < 0.5 * untold
    assert model.predict(X, [np.nan]) == pytest.approx(model.predict(X))


def test_costs_that_contradict_history_flatten_the_prediction(model: CostModel) -> None:
    X = configurations(60, np.random.default_rng(3))
    here = model.anchored(X, 1.0 / seconds_of(X, 1.0))
    assert np.ptp(here.predict(X)) < 0.05 * np.ptp(model.predict(X))


def test_one_outlier_does_not_move_the_level(model: CostModel) -> None:
    X = configurations(9, np.random.default_rng(4))
    seconds = seconds_of(X, 1.0)
    seconds[0] *= 1e4
    assert model.anchored(X, seconds).level == pytest.approx(model.anchored(X[1:], seconds[1:]).level, abs=0.5)


def test_unknown_seconds_are_ignored(model: CostModel) -> None:
    X = configurations(4, np.random.default_rng(5))
    assert model.anchored(X, np.array([np.nan, 0.0, -1.0, np.inf])) is model
    assert model.anchored(X[:0], np.empty(0)) is model
    known = np.array([3.0, np.nan, 5.0, 0.0])
    assert model.anchored(X, known).level == model.anchored(X[[0, 2]], known[[0, 2]]).level


def test_tasks_without_seconds_teach_nothing() -> None:
    X, seconds, groups, _ = planted(2, 10)
    seconds[3:10] = np.nan
    alone = CostModel.fit(X[10:], seconds[10:], groups=groups[10:], encoder=ENCODER)
    assert CostModel.fit(X, seconds, groups=groups, encoder=ENCODER).predict(X) == pytest.approx(alone.predict(X))
    with pytest.raises(NoHistoryError, match="four trials"):
        CostModel.fit(X[:10], seconds[:10], groups=groups[:10], encoder=ENCODER)


def test_it_survives_being_written(model: CostModel) -> None:
    X = configurations(20, np.random.default_rng(6))
    again = CostModel.from_json(model.to_json())
    assert np.array_equal(again.predict(X, [5.0]), model.predict(X, [5.0]))


@pytest.mark.parametrize("change", [{"trees": "nonsense"}, {"level": "high"}, {"centre": []}, {"slope": None}])
def test_a_damaged_file_is_refused(model: CostModel, change: dict[str, object]) -> None:
    with pytest.raises(KnowledgeError):
        CostModel.from_json(json.dumps(json.loads(model.to_json()) | change))
