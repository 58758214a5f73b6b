"""Recommendations: near the planted optimum, with evidence, and honest where nothing is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from planted import FAMILY, SPACE, planted_snapshot, record, study_of, utility
from sklearn.datasets import load_iris

from metatune.errors import ConfigurationError, NoHistoryError, UnknownNameError, UsageError
from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.metric import Direction
from metatune.objective import FamilyJudge
from metatune.recommender import _clear, recommend, recommend_for
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace
from metatune.task import Task

DEFAULT = {"x": 0.7, "y": 0.1, "kind": "bad"}


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.build(planted_snapshot())


def custom(direction: Direction = "maximize", **metafeatures: float) -> Task:
    name = "utility" if direction == "maximize" else "loss"
    return Task.custom("new", metric=name, direction=direction, metafeatures=metafeatures)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_first_recommendation_is_near_the_planted_optimum(direction: Direction) -> None:
    known = Knowledge.build(planted_snapshot(direction=direction))
    found = recommend(custom(direction), FAMILY, n=3, knowledge=known, space=SPACE, default=DEFAULT)
    assert len(found.items) == 3
    best = found.items[0]
    assert utility(best.configuration) > -0.2
    assert best.better_than > 0.85
    assert best.better_than_low <= best.better_than <= best.better_than_high
    assert (found.tasks, found.trials, found.unlike) == (6, 240, False)


def test_the_default_comes_first_where_it_is_the_best_known() -> None:
    known = Knowledge.build(planted_snapshot())
    optimum = {"x": 0.3, "y": 1e-2, "kind": "good", "extra": 7}
    found = recommend(custom(), FAMILY, n=3, knowledge=known, space=SPACE, default=optimum)
    assert found.items[0].better_than > 0.9
    worse = recommend(custom(), FAMILY, n=3, knowledge=known, space=SPACE, default=DEFAULT)
    assert worse.items[0].origin == "portfolio"
    assert DEFAULT not in [dict(item.configuration) for item in worse.items]


@pytest.mark.parametrize(("optima", "first"), [((0.2, 0.2), "portfolio"), ((0.2, 0.9), "default")])
def test_the_default_comes_first_where_the_known_tasks_disagree(optima: tuple[float, float], first: str) -> None:
    """It is never the best, but what is better on one half of the tasks is worse on the other."""
    rng = np.random.default_rng(0)
    records = [
        study_of(
            record(f"task{t}"),
            lambda c, x=optima[t % 2]: utility(c, x=x),  # type: ignore[misc]
            configurations=SPACE.sample(40, rng),
        )
        for t in range(8)
    ]
    known = Knowledge.build(Snapshot.of(records))
    middle = {"x": 0.5, "y": 1e-2, "kind": "good", "extra": 7}
    found = recommend(custom(), FAMILY, n=3, knowledge=known, space=SPACE, default=middle)
    assert found.items[0].origin == first
    for n in (1, 5):
        again = recommend(custom(), FAMILY, n=n, knowledge=known, space=SPACE, default=middle)
        assert again.items[0] == found.items[0]
    assert any("comes first" in note for note in found.notes) == (first == "default")


def test_an_advantage_is_clear_if_it_is_large_enough_and_not_that_of_few_experts() -> None:
    alone, many = np.ones(1), np.full(10, 0.1)
    assert not _clear(np.zeros(1), alone)
    assert not _clear(np.array([0.29]), alone)
    assert _clear(np.array([0.31]), alone)
    assert _clear(np.full(10, 0.31), many)
    assert not _clear(np.array([3.5, *[0.0] * 9]), many)


def test_a_space_without_a_known_parameter_gives_the_default(knowledge: Knowledge) -> None:
    space = SearchSpace({"other": {"low": 0.0, "high": 1.0}})
    found = recommend(custom(), FAMILY, knowledge=knowledge, space=space, default={"other": 0.5})
    assert [(dict(item.configuration), item.origin) for item in found.items] == [({"other": 0.5}, "default")]
    assert (found.tasks, found.similar) == (0, ())
    assert any("Nothing is known" in note for note in found.notes)


def test_gain_over_the_default_is_in_the_direction_of_better() -> None:
    rng = np.random.default_rng(0)
    for direction in ("maximize", "minimize"):
        records = []
        for t in range(8):
            features = {"size": float(t), "width": float(rng.random())}
            task = record(f"task{t}", direction, features)  # type: ignore[arg-type]
            # Values around 10, so that a share of the default's value means something.
            records.append(study_of(task, lambda c: utility(c) - 10.0, configurations=SPACE.sample(40, rng)))
        known = Knowledge.build(Snapshot.of(records))
        found = recommend(
            custom(direction, size=3.5, width=0.5),
            FAMILY,
            knowledge=known,
            space=SPACE,
            default=DEFAULT,  # type: ignore[arg-type]
        )
        best = found.items[0]
        assert best.gain is not None
        assert best.gain_low is not None
        assert best.gain_high is not None
        assert best.gain_low <= best.gain <= best.gain_high
        expected = utility(best.configuration) - utility(DEFAULT)
        assert best.gain * (10.0 if found.relative_gain else 1.0) == pytest.approx(expected, abs=0.6)
        assert found.relative_gain == (direction == "minimize")
        assert found.similar[0].name in ("task3", "task4", "task2", "task5")
        assert [s.distance for s in found.similar] == sorted(s.distance for s in found.similar)


def test_tasks_that_predict_the_same_are_more_alike_than_nearer_data() -> None:
    rng = np.random.default_rng(0)
    kinds = ("regression", "binary", "multiclass", "regression", "binary", "regression")
    records = [
        study_of(
            replace(record(f"{kind}{t}", "maximize", {"size": float(t), "width": 0.0}), kind=kind),  # type: ignore[arg-type]
            utility,
            configurations=SPACE.sample(12, rng),
        )
        for t, kind in enumerate(kinds)
    ]
    known = Knowledge.build(Snapshot.of(records))
    task = replace(record("new", "maximize", {"size": 3.1, "width": 0.0}), kind="binary")
    found = recommend_for(task, FAMILY, knowledge=known, space=SPACE, default=DEFAULT)
    assert [one.name for one in found.similar] == ["binary4", "multiclass2", "binary1", "regression3", "regression5"]


def test_a_family_without_history_gives_the_default_and_says_so(knowledge: Knowledge) -> None:
    task = Task.from_arrays(*load_iris(return_X_y=True))
    found = recommend(task, "knn", n=3, knowledge=knowledge)
    assert [item.origin for item in found.items] == ["default"]
    assert found.items[0].configuration["n_neighbors"] == 5
    assert any("Nothing is known" in note for note in found.notes)
    with pytest.raises(NoHistoryError, match="metatune tune"):
        recommend(task, "knn", knowledge=knowledge, strict=True)


@pytest.mark.parametrize("validation", [None, "holdout", 5])
def test_the_default_is_clamped_as_in_the_trials_of_a_search(
    knowledge: Knowledge, validation: str | int | None
) -> None:
    """What counts for both are the rows of the smallest fold."""
    X, y = load_iris(return_X_y=True)
    task = Task.from_arrays(X[::3], y[::3], validation=validation)
    family = get_family("lightgbm")
    trained, changes = FamilyJudge(task, family, seed=0, threads=1).in_trials(family.default())
    (item,) = recommend(task, family, knowledge=knowledge).items
    assert (dict(item.configuration), item.changes) == (trained, changes)
    assert item.configuration["min_child_samples"] == task.train_rows // 4 < 20
    if validation is None:
        known_by_size = recommend_for(task.record(), family, knowledge=knowledge)
        assert known_by_size.items[0].configuration == item.configuration


def test_a_task_unlike_all_known_gets_the_default_first() -> None:
    rng = np.random.default_rng(0)
    records = [
        study_of(
            record(f"task{t}", metafeatures={f"f{j}": float(rng.normal()) for j in range(8)}),
            utility,
            configurations=SPACE.sample(30, rng),
        )
        for t in range(12)
    ]
    known = Knowledge.build(Snapshot.of(records))
    # Extreme in every feature at once: each known task is near some other, this one near none.
    strange = custom(**{f"f{j}": 40.0 * (-1) ** j for j in range(8)})
    found = recommend(strange, FAMILY, knowledge=known, space=SPACE, default=DEFAULT)
    assert found.unlike
    assert found.items[0].origin == "default"
    with pytest.raises(NoHistoryError, match="like this"):
        recommend(strange, FAMILY, knowledge=known, space=SPACE, default=DEFAULT, strict=True)


def test_without_a_default_no_note_speaks_of_one(knowledge: Knowledge) -> None:
    space = SearchSpace({"other": {"low": 0.0, "high": 1.0}})
    found = recommend(custom(), FAMILY, knowledge=knowledge, space=space)
    assert {item.origin for item in found.items} == {"spread"}
    assert found.notes[0] == "Nothing is known of this model family here: these are spread over its space."
    assert "knows no 'other'" in found.notes[1]
    assert not any("default" in note for note in found.notes)


def test_as_many_are_recommended_as_promise_more_than_the_default(knowledge: Knowledge) -> None:
    found = recommend(custom(), FAMILY, 40, knowledge=knowledge, space=SPACE, default=DEFAULT)
    assert len({repr(item.configuration) for item in found.items}) == 40
    assert not any("Only" in note for note in found.notes)


def test_fewer_than_were_asked_for_are_explained(knowledge: Knowledge) -> None:
    best = {"x": 0.3, "y": 0.01, "kind": "good", "extra": 7}
    found = recommend(custom(), FAMILY, 400, knowledge=knowledge, space=SPACE, default=best)
    assert len(found.items) < 400
    says = f"Only {len(found.items)} of 400: nothing else that is known promises as much as the default."
    assert says in found.notes
    two = SearchSpace({"kind": ["good", "bad"]})
    notes = recommend(custom(), FAMILY, 5, knowledge=knowledge, space=two).notes
    assert "Only 2 of 5: there are no more." in notes


def test_it_is_plain_data(knowledge: Knowledge) -> None:
    found = recommend(custom(), FAMILY, knowledge=knowledge, space=SPACE, default=DEFAULT)
    again = recommend(custom(), FAMILY, knowledge=knowledge, space=SPACE, default=DEFAULT)
    assert json.loads(json.dumps(found.to_dict())) == json.loads(json.dumps(again.to_dict()))


def test_wrong_arguments(knowledge: Knowledge) -> None:
    for n in (0, -1, 2.5, True):
        with pytest.raises(UsageError, match="n: "):
            recommend(custom(), FAMILY, n=n, knowledge=knowledge, space=SPACE)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="lightgbm"):
        recommend(custom(), "lihgtgbm", knowledge=knowledge)


def test_parameters_that_the_history_calls_otherwise_are_named(knowledge: Knowledge) -> None:
    space = SearchSpace({"x": {"low": 0.0, "high": 1.0}, "width": {"low": 0.0, "high": 1.0}, "constant": [3]})
    found = recommend(custom(), FAMILY, knowledge=knowledge, space=space)
    (note,) = [note for note in found.notes if "width" in note]
    assert note.startswith("The history of 'planted' knows no 'width',")
    assert not any("knows no" in note for note in recommend(custom(), FAMILY, knowledge=knowledge, space=SPACE).notes)
    strange = recommend(custom(), FAMILY, knowledge=knowledge, space=SearchSpace({"lr": {"low": 0.0, "high": 1.0}}))
    assert any("knows no 'lr'" in note for note in strange.notes)


@pytest.mark.parametrize(
    ("default", "field"),
    [(DEFAULT | {"width": 1.0}, "width"), (DEFAULT | {"x": 7.0}, "x"), ({"x": 0.5, "y": 0.1}, "kind")],
)
def test_a_default_outside_of_the_space_is_refused(
    default: dict[str, object], field: str, knowledge: Knowledge
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        recommend(custom(), FAMILY, knowledge=knowledge, space=SPACE, default=default)  # type: ignore[arg-type]
    assert caught.value.field == f"default[{field!r}]"
