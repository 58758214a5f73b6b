"""What is gained over the default on tasks like the one at hand, and that harm keeps a configuration from the top."""

from collections.abc import Callable

import numpy as np
import pytest
from planted import FAMILY, record, study_of, surrogate_of

from metatune.knowledge import Knowledge
from metatune.metric import Direction
from metatune.recommender import _promising, recommend_for
from metatune.search.gains import Gain, gain_of
from metatune.search.prior import Prior
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace
from metatune.trial import Configuration

SPACE = SearchSpace({"x": {"low": 0.0, "high": 1.0}})
DEFAULT, OTHER = {"x": 0.2}, {"x": 0.8}


def history(above_half: Callable[[float], float], n: int = 60, direction: Direction = "maximize") -> Snapshot:
    """Tasks of every ``size`` from -1 to 1, on which ``above_half(size)`` is gained where x is above one half."""
    rng = np.random.default_rng(0)
    records = []
    for t, size in enumerate(np.linspace(-1.0, 1.0, n)):
        gain = above_half(float(size))

        def score(c: Configuration, gain: float = gain) -> float:
            return 0.8 + gain * (float(c["x"]) > 0.5) + 0.001 * float(c["x"])  # type: ignore[arg-type]

        features = {"size": float(size), "noise": float(rng.normal()), "more": float(rng.normal())}
        task = record(f"task{t}", direction, features)
        records.append(study_of(task, score, space=SPACE, configurations=[DEFAULT, OTHER, *SPACE.sample(30, rng)]))
    return Snapshot.of(records)


def at(size: float) -> dict[str, float]:
    return {"size": size, "noise": 0.0, "more": 0.0}


def found(snapshot: Snapshot, size: float) -> Gain:
    return gain_of(Prior(surrogate_of(snapshot), record("new", metafeatures=at(size)), SPACE), OTHER, DEFAULT)


def test_tasks_alike_tell_most_of_what_is_gained() -> None:
    snapshot = history(lambda size: 0.05 if size > 0 else -0.05)
    large, small = found(snapshot, 0.7), found(snapshot, -0.7)
    everything = np.ones(60, dtype=bool)
    assert large.quantile(0.5, everything) == pytest.approx(0.05, abs=0.01)
    assert small.quantile(0.5, everything) == pytest.approx(-0.05, abs=0.01)
    assert large.worth > small.worth + 0.05
    assert small.worth < -0.05
    assert large.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("size", "first"), [(0.7, OTHER), (-0.7, DEFAULT)])
def test_what_harms_tasks_like_this_one_does_not_come_first(size: float, first: Configuration) -> None:
    """On the others it gains more than it loses here, so that it is the best on average."""
    known = Knowledge.build(history(lambda size: 0.05 if size > -0.5 else -0.07))
    task = record("new", metafeatures=at(size))
    best = recommend_for(task, FAMILY, knowledge=known, space=SPACE, default=DEFAULT).items[0].configuration
    assert (float(best["x"]) > 0.5) == (float(first["x"]) > 0.5)  # type: ignore[arg-type]


def test_harm_that_nothing_foretells_counts_more_than_the_gain_of_the_others() -> None:
    harmed = np.random.default_rng(1).random(60) < 0.4
    sizes = np.linspace(-1.0, 1.0, 60).tolist()
    gain = found(history(lambda size: -0.03 if harmed[sizes.index(size)] else 0.03), 0.0)
    assert float(gain.weights @ gain.values) > 0
    assert gain.worth < 0


def test_a_loss_is_better_when_lower_and_gained_in_shares_of_the_default_s() -> None:
    snapshot = history(lambda size: 0.08 if size > 0 else -0.08, direction="minimize")
    everything = np.ones(60, dtype=bool)
    # The utility .8 is a loss of -.8, and .08 more utility a tenth of its size.
    assert found(snapshot, 0.7).quantile(0.5, everything) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("n", [60, 6])
def test_without_meta_features_or_with_few_tasks_all_tell_alike(n: int) -> None:
    snapshot = history(lambda size: 0.05, n)
    task = record("new") if n == 60 else record("new", metafeatures=at(0.5))
    gain = gain_of(Prior(surrogate_of(snapshot), task, SPACE), OTHER, DEFAULT)
    assert gain.weights == pytest.approx(np.full(n, 1 / n))
    assert gain.worth == pytest.approx(0.05, abs=0.01)


def test_quantiles_follow_the_weights() -> None:
    gain = Gain(np.array([3.0, 1.0, 2.0, 9.0]), np.array([0.1, 0.6, 0.3, 0.0]))
    everything, some = np.ones(4, dtype=bool), np.array([True, False, True, False])
    assert [gain.quantile(q, everything) for q in (0.1, 0.5, 0.7, 0.95)] == [1.0, 1.0, 2.0, 3.0]
    assert [gain.quantile(q, some) for q in (0.5, 0.9)] == [2.0, 3.0]


def test_tasks_that_tell_nothing_are_weighed_alike() -> None:
    gain = Gain(np.array([-0.08, -0.04, 0.04, 0.5]), np.array([0.0, 0.0, 0.0, 1.0]))
    some = np.array([True, True, True, False])
    assert [gain.quantile(q, some) for q in (0.1, 0.5, 0.9)] == [-0.08, -0.04, 0.04]


@pytest.mark.parametrize(("n", "enough"), [(4, False), (15, True)])
def test_what_a_few_tasks_gained_is_little_evidence(n: int, enough: bool) -> None:
    gain = found(history(lambda size: 0.05, n), 0.1)
    assert gain.worth == pytest.approx(0.05, abs=0.01)
    assert gain.evidence == pytest.approx(0.05 * n, rel=0.2)
    assert _promising(gain, np.ones(n, dtype=bool)) == enough


def test_of_few_tasks_half_of_which_are_harmed_nothing_is_promised() -> None:
    gain = found(history(lambda size: -0.05 if round((size + 1) * 7) % 2 else 0.05, 15), 0.1)
    assert not _promising(gain, np.ones(15, dtype=bool))


def test_what_gains_next_to_nothing_is_not_worth_leaving_the_default() -> None:
    everything = np.ones(60, dtype=bool)
    little, more = (found(history(lambda size, gain=gain: gain), 0.1) for gain in (0.0001, 0.02))
    assert little.worth > 0
    assert not _promising(little, everything)
    assert _promising(more, everything)
    assert _promising(more, ~everything)  # nothing is known by this metric
