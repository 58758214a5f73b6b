"""What the surrogates learn from several tasks, and what they refuse to learn."""

import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import SPACE, planted_snapshot, planted_surrogate, record, study_of, surrogate_of, utility

from metatune.errors import KnowledgeError
from metatune.metric import Metric
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.gbdt import GBDT
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.similarity import distances, feature_matrix, unlike_anything
from metatune.surrogate.surface import GP_LIMIT, TaskSurface
from metatune.surrogate.targets import evenly
from metatune.surrogate.tasks import MAX_TRIALS, tasks_of
from metatune.surrogate.validation import MIN_TASKS_FOR_FEATURES, _mean_by_group, rank_correlation
from metatune.trial import Configuration, Trial


def by_task(surrogate: FamilySurrogate, X: np.ndarray) -> np.ndarray:
    """What every task is predicted to score at ``X``, shape (tasks, m)."""
    assert surrogate.design is not None
    return surrogate.design.predict(X)


def test_the_design_ranks_unseen_configurations_for_every_task() -> None:
    surrogate = planted_surrogate()
    unseen = SPACE.sample(200, 99)
    X = surrogate.encoder.encode(unseen, SPACE)
    truth = np.array([utility(c) for c in unseen])
    for predicted in by_task(surrogate, X):
        assert rank_correlation(predicted, truth) > 0.85


def test_a_task_with_many_trials_is_learnt_by_trees() -> None:
    snapshot = planted_snapshot(tasks=2, trials=GP_LIMIT + 100)
    surrogate = surrogate_of(snapshot)
    assert surrogate.smoothness == (None, None)
    unseen = SPACE.sample(200, 99)
    X = surrogate.encoder.encode(unseen, SPACE)
    truth = np.array([utility(c) for c in unseen])
    assert rank_correlation(by_task(surrogate, X)[0], truth) > 0.9


def test_the_meta_surrogate_predicts_a_task_it_never_saw() -> None:
    surrogate = planted_surrogate()
    unseen = SPACE.sample(200, 99)
    X = surrogate.encoder.encode(unseen, SPACE)
    assert surrogate.meta is not None
    truth = np.array([utility(c) for c in unseen])
    assert rank_correlation(surrogate.meta.predict(X, {}), truth) > 0.8
    assert surrogate.validation.correlation > 0.8


def _feature_snapshot(*, informative: bool, tasks: int = 24) -> Snapshot:
    """Tasks of two kinds with opposite optima; the meta-feature ``kind`` tells them apart, or is noise."""
    rng = np.random.default_rng(0)
    records = []
    for t in range(tasks):
        target = 0.15 if t % 2 else 0.85
        features = {"kind": float(t % 2) if informative else float(rng.random()), "noise": float(rng.random())}
        task = record(f"task{t}", metafeatures=features)
        function = lambda c, target=target: -abs(float(c["x"]) - target)  # noqa: E731
        records.append(study_of(task, function, configurations=SPACE.sample(30, rng)))
    return Snapshot.of(records)


def test_meta_features_are_used_where_they_help_and_not_where_they_do_not() -> None:
    helpful = surrogate_of(_feature_snapshot(informative=True))
    assert helpful.validation.use_features
    assert helpful.validation.correlation > helpful.validation.correlation_without_features + 0.3
    assert helpful.meta is not None
    left, right = (
        helpful.meta.predict(helpful.encoder.encode([{"x": 0.15}, {"x": 0.85}], {"x": 0}), {"kind": k, "noise": 0.5})
        for k in (1.0, 0.0)
    )
    assert left[0] > left[1]
    assert right[0] < right[1]
    noise = surrogate_of(_feature_snapshot(informative=False))
    assert not noise.validation.use_features
    assert noise.meta is not None
    assert noise.meta.features == ()


def test_few_tasks_never_use_meta_features() -> None:
    few = surrogate_of(_feature_snapshot(informative=True, tasks=MIN_TASKS_FOR_FEATURES - 2))
    assert not few.validation.use_features


def test_related_tasks_are_left_out_together() -> None:
    # Two groups, each of copies of one task: predicting one copy from another would look perfect.
    records = []
    for t in range(6):
        task = replace(record(f"task{t}"), group="left" if t % 2 else "right")
        target = 0.1 if t % 2 else 0.9
        function = lambda c, target=target: -abs(float(c["x"]) - target)  # noqa: E731
        records.append(study_of(task, function, configurations=SPACE.sample(30, t)))
    assert surrogate_of(Snapshot.of(records)).validation.correlation < 0.0


def test_relatives_do_not_count_as_evidence_for_meta_features() -> None:
    assert _mean_by_group(np.array([1.0, 3.0, 5.0]), ["a", "a", "b"]) == pytest.approx([2.0, 5.0])


def test_a_dataset_with_two_metrics_is_one_task_by_a_third() -> None:
    records = []
    for i, direction in enumerate(("maximize", "minimize")):
        study, trials = study_of(record("same", direction), utility, configurations=SPACE.sample(20, i))  # type: ignore[arg-type]
        trials = [replace(t, key=f"{direction}-{t.key}", metrics={"third": float(t.number)}) for t in trials]
        records.append((replace(study, id=direction), trials))
    surrogate = surrogate_of(Snapshot.of(records))
    assert len(surrogate.tasks) == 2
    assert [len(t.X) for t in surrogate.judged_by(Metric("third", "maximize")).tasks] == [40]


def test_what_teaches_nothing_is_left_out() -> None:
    rng = np.random.default_rng(0)
    constant = study_of(record("constant"), lambda c: 1.0, configurations=SPACE.sample(20, rng))
    few = study_of(record("few"), utility, configurations=SPACE.sample(3, rng))
    study, trials = study_of(record("mixed"), utility, configurations=SPACE.sample(20, rng))
    trials[0] = replace(trials[0], status="failed", value=None)
    trials[1] = replace(trials[1], status="pruned")
    surrogate = surrogate_of(Snapshot.of([constant, few, (study, trials)]))
    assert [task.record.name for task in surrogate.tasks] == ["mixed"]
    (task,) = surrogate.tasks
    assert len(task.score) == 19
    assert np.isnan(task.score).sum() == 1


def test_studies_of_one_task_are_one_task_and_a_huge_one_is_thinned() -> None:
    study, trials = study_of(record("a"), utility, configurations=SPACE.sample(MAX_TRIALS + 50, 1))
    again = replace(study, id="again")
    more = [replace(t, key=f"again-{t.key}") for t in trials[:30]]
    table = Snapshot.of([(study, trials), (again, more)]).family("planted")
    tasks = tasks_of(table, surrogate_of(planted_snapshot(tasks=1)).encoder)
    assert len(tasks) == 1
    assert len(tasks[0].X) == MAX_TRIALS
    values = sorted((trial.value or 0.0 for trial in [*trials, *more]), reverse=True)
    assert sorted(tasks[0].score, reverse=True)[:50] == pytest.approx(values[:50])


def test_the_design_has_the_best_of_every_task_and_no_configuration_twice() -> None:
    surrogate = planted_surrogate()
    assert surrogate.design is not None
    points = {tuple(row) for row in np.nan_to_num(surrogate.design.X, nan=-1.0)}
    assert len(points) == len(surrogate.design.X) == 1024
    for task in surrogate.tasks:
        best = surrogate.encoder.encode_table(surrogate.table, task.best_rows(1))
        assert tuple(np.nan_to_num(best[0], nan=-1.0)) in points
    decoded = [surrogate.encoder.decode(row) for row in surrogate.design.X]
    assert max(utility(SPACE.clip(c)[0]) for c in decoded) > -0.4


def test_the_design_is_all_but_exact_where_it_is_and_close_between() -> None:
    surrogate = planted_surrogate()
    assert surrogate.design is not None
    at = surrogate.design.of_tasks(np.array([0, 2])).predict(surrogate.design.X[:300])
    np.testing.assert_allclose(at, surrogate.design.scores[[0, 2], :300], atol=0.05)
    surface = TaskSurface.fit(surrogate.tasks[0], surrogate.encoder)
    X = surrogate.encoder.encode(SPACE.sample(100, 7), SPACE)
    np.testing.assert_allclose(by_task(surrogate, X)[0], surface.predict(X, surrogate.encoder.unit(X)), atol=0.3)


def test_between_crowded_points_nothing_is_beyond_what_the_task_scores() -> None:
    rng = np.random.default_rng(0)
    space = SearchSpace({name: {"low": 0.0, "high": 1.0} for name in "abcdef"})

    def function(c: Configuration) -> float:
        return -sum((float(value) - 0.6) ** 2 for value in c.values())  # type: ignore[arg-type]

    records = []
    for t in range(3):
        crowd = np.clip(0.6 + 0.02 * rng.normal(size=(200, 6)), 0, 1)
        configurations = [dict(zip("abcdef", row, strict=True)) for row in crowd.tolist()] + space.sample(200, t)
        records.append(study_of(record(f"task{t}"), function, space=space, configurations=configurations))
    surrogate = surrogate_of(Snapshot.of(records))
    X = surrogate.encoder.encode(space.sample(300, 9), space)
    predicted, truth = by_task(surrogate, X)[0], np.array([function(c) for c in space.sample(300, 9)])
    assert np.abs(predicted).max() < 3.5
    assert rank_correlation(predicted, truth) > 0.8


def test_the_design_is_drawn_from_the_space_of_the_latest_study() -> None:
    narrow, wide = (SearchSpace({"x": {"low": 0.0, "high": high}}) for high in (1.0, 10.0))
    old, late = (
        study_of(record(name), lambda c: float(c["x"]), space=space, configurations=space.sample(10, 1))  # type: ignore[arg-type]
        for name, space in (("zz", narrow), ("aa", wide))
    )
    records = [old, (replace(late[0], created=100.0), late[1])]
    design = surrogate_of(Snapshot.of(records)).design
    assert design is not None
    assert (design.X[:, 0] > 1.0).mean() > 0.7


def test_a_metric_that_no_task_varies_in_changes_nothing() -> None:
    records = []
    for t in range(3):
        study, trials = study_of(record(f"task{t}"), utility, configurations=SPACE.sample(20, t))
        records.append((study, [replace(trial, metrics={"accuracy": 0.5}) for trial in trials]))
    surrogate = surrogate_of(Snapshot.of(records))
    assert surrogate.judged_by(Metric("accuracy", "maximize")) is surrogate


def test_lengthscales_follow_the_width_of_the_range() -> None:
    surrogate = planted_surrogate()
    assert surrogate.design is not None
    half = SearchSpace({"x": {"low": 0.0, "high": 0.5}, "unheard of": {"low": 0.0, "high": 1.0}})
    whole = dict(zip(SPACE, surrogate.design.length_in(SPACE), strict=True))
    assert surrogate.design.length_in(half)[0] == pytest.approx(2 * whole["x"])
    assert whole["x"] < whole["extra"]


def test_direction_is_no_matter_to_the_surfaces() -> None:
    up, down = planted_surrogate(), planted_surrogate(direction="minimize")
    X = up.encoder.encode(SPACE.sample(50, 5), SPACE)
    np.testing.assert_allclose(by_task(up, X), by_task(down, X), atol=1e-4)


@pytest.mark.parametrize("trials", [30, GP_LIMIT + 20])
def test_write_and_read_predict_the_same(tmp_path: Path, trials: int) -> None:
    table = planted_snapshot(tasks=3, trials=trials).family("planted")
    surrogate = FamilySurrogate.fit(table)
    surrogate.write(tmp_path / "s")
    again = FamilySurrogate.read(tmp_path / "s", table)
    X = surrogate.encoder.encode(SPACE.sample(50, 5), SPACE)
    np.testing.assert_array_equal(by_task(surrogate, X), by_task(again, X))
    assert surrogate.meta is not None
    assert again.meta is not None
    np.testing.assert_allclose(surrogate.meta.predict(X, {}), again.meta.predict(X, {}))
    assert again.validation == surrogate.validation
    (tmp_path / "s" / "surrogate.json").write_text("{}")
    with pytest.raises(KnowledgeError, match="metatune train"):
        FamilySurrogate.read(tmp_path / "s", table)


def test_costs_and_learning_curves_are_learnt_kept_and_read(tmp_path: Path) -> None:
    def with_curve(trial: Trial) -> Trial:
        assert trial.value is not None
        return replace(
            trial, curve=tuple(trial.value - 1.0 / (step + 1) for step in range(8)), seconds=1.0 + trial.value
        )

    records = []
    for t in range(4):
        study, trials = study_of(record(f"task{t}"), lambda c: 2.0 + utility(c), configurations=SPACE.sample(30, t))
        records.append((study, [with_curve(x) for x in trials if x.value is not None and x.value > 0]))
    table = Snapshot.of(records).family("planted")
    surrogate = FamilySurrogate.fit(table)
    assert surrogate.cost is not None
    assert surrogate.curves is not None
    assert surrogate.curves.tasks == 4
    surrogate.write(tmp_path / "s")
    again = FamilySurrogate.read(tmp_path / "s", table)
    X = surrogate.encoder.encode(SPACE.sample(20, 9), SPACE)
    assert again.cost is not None
    assert again.curves is not None
    np.testing.assert_array_equal(again.cost.predict(X), surrogate.cost.predict(X))
    assert again.curves.to_json() == surrogate.curves.to_json()
    good, bad = ({"x": x, "y": 1e-2, "kind": "good", "extra": 7} for x in (0.3, 0.9))
    slow, fast = surrogate.cost.predict(surrogate.encoder.encode([good, bad], SPACE))
    assert slow > fast


def test_tasks_are_judged_by_the_metric_that_is_asked_for() -> None:
    other = Metric("cost", "minimize")
    records = []
    for t in range(4):
        study, trials = study_of(record(f"task{t}"), utility, configurations=SPACE.sample(40, t))
        # By cost, the best x is at 0.9, far from where utility has it; the last task did not record it.
        if t < 3:
            trials = [replace(x, metrics={"cost": abs(float(x.configuration["x"]) - 0.9)}) for x in trials]  # type: ignore[arg-type]
        records.append((study, trials))
    surrogate = surrogate_of(Snapshot.of(records))
    assert surrogate.judged_by(Metric("never recorded", "maximize")) is surrogate
    assert surrogate.judged_by(Metric("utility", "maximize")) is surrogate
    by_cost = surrogate.judged_by(other)
    assert [task.record.metric.name for task in by_cost.tasks] == ["cost", "cost", "cost", "utility"]
    X = by_cost.encoder.encode(
        [{"x": 0.9, "y": 0.01, "kind": "good", "extra": 7}, {"x": 0.3, "y": 0.01, "kind": "good", "extra": 7}], SPACE
    )
    for (at_high, at_low), expected in zip(by_task(by_cost, X), [True, True, True, False], strict=True):
        assert (at_high > at_low) == expected
    assert by_cost.meta is not None
    assert by_cost.meta.predict(X, {})[0] > by_cost.meta.predict(X, {})[1]


def test_no_task_at_all_is_no_error(tmp_path: Path) -> None:
    table = Snapshot.of([study_of(record("a"), utility, configurations=[])]).family("planted")
    surrogate = FamilySurrogate.fit(table)
    assert surrogate.tasks == ()
    assert surrogate.meta is None
    surrogate.write(tmp_path / "s")
    assert math.isnan(FamilySurrogate.read(tmp_path / "s", table).validation.correlation)


def test_distances_ignore_units_and_missing_features() -> None:
    names = ["rows", "share", "unknown"]
    known = [{"rows": 10.0, "share": 0.1}, {"rows": 1e6, "share": 0.9}, {"rows": 12.0, "share": 0.12}, {}]
    found = distances(feature_matrix(known, names), feature_matrix([{"rows": 11.0, "share": 0.11}], names)[0])
    assert found[0] < found[1]
    assert found[2] < found[1]
    assert math.isinf(found[3])


def test_unlike_anything_known() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(40, 10))
    each = [str(i) for i in range(40)]
    assert not unlike_anything(known, rng.normal(size=10), each)
    assert unlike_anything(known, np.full(10, np.nan), each)


def test_near_copies_do_not_make_everything_else_unlike() -> None:
    rng = np.random.default_rng(0)
    centres, groups = rng.normal(size=(8, 10)), np.repeat(np.arange(8), 6).astype(str)
    known = np.repeat(centres, 6, axis=0) + 0.05 * rng.normal(size=(48, 10))
    assert not any(unlike_anything(known, new, groups) for new in rng.normal(size=(20, 10)))
    assert unlike_anything(known, np.full(10, 50.0), groups)


def test_a_history_of_mixed_spaces_trains() -> None:
    narrow = SearchSpace({"x": {"low": 0.0, "high": 0.5}, "kind": ["good", "other"]})

    def function(c: Configuration) -> float:
        return utility({**c, "extra": 7})

    records = [
        study_of(record("wide"), utility, configurations=SPACE.sample(30, 1)),
        study_of(record("narrow"), function, space=narrow, configurations=narrow.sample(30, 2)),
    ]
    surrogate = surrogate_of(Snapshot.of(records))
    assert len(surrogate.tasks) == 2
    X = surrogate.encoder.encode(SPACE.sample(50, 3), SPACE)
    assert np.isfinite(by_task(surrogate, X)).all()
    assert isinstance(records[0][1][0], Trial)


def test_an_even_choice_of_trials_spans_all_scores() -> None:
    target = np.random.default_rng(0).permutation(1000).astype(float)
    kept = evenly(target, 50)
    assert (np.diff(kept) > 0).all()
    assert sorted(target[kept]) == pytest.approx(np.linspace(0, 999, 50), abs=0.51)
    np.testing.assert_array_equal(evenly(target[:50], 50), np.arange(50))


def test_no_task_crowds_out_the_others_of_a_limited_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    fit = GBDT.fit.__func__  # type: ignore[attr-defined]

    def spy(X: np.ndarray, y: np.ndarray, *, weight: np.ndarray, **options: object) -> GBDT:
        rows.append((X, weight))
        return fit(GBDT, X, y, weight=weight, **options)  # type: ignore[no-any-return]

    big, small = planted_surrogate(trials=40).tasks[0], replace(planted_surrogate(trials=40).tasks[1])
    small = replace(small, rows=small.rows[:8], X=small.X[:8], score=small.score[:8])
    monkeypatch.setattr(GBDT, "fit", spy)
    MetaSurrogate.fit([big, small], planted_surrogate().encoder, features=(), max_rows=20)
    ((X, weight),) = rows
    assert len(X) == 10 + 8
    np.testing.assert_array_equal(X[10:], small.X)
    assert weight[:10].sum() == pytest.approx(weight[10:].sum())


def test_tasks_are_the_same_whatever_the_order_of_the_rows() -> None:
    snapshot = planted_snapshot(tasks=3, trials=20)
    table = snapshot.family("planted")
    order = np.random.default_rng(0).permutation(len(table))
    mixed = Snapshot(snapshot.studies, {"planted": table.table.take(order)}).family("planted")
    encoder = surrogate_of(snapshot).encoder
    for mine, theirs in zip(tasks_of(table, encoder), tasks_of(mixed, encoder), strict=True):
        assert mine.record == theirs.record
        np.testing.assert_array_equal(np.sort(order[theirs.rows]), mine.rows)
        back = np.argsort(order[theirs.rows])
        np.testing.assert_array_equal(theirs.X[back], mine.X)
        np.testing.assert_array_equal(theirs.score[back], mine.score)


def test_a_meta_feature_that_is_not_finite_is_not_known() -> None:
    rng = np.random.default_rng(0)
    known, new = rng.normal(size=(20, 6)), rng.normal(size=6)
    expected = distances(known, np.where(np.arange(6) == 2, np.nan, new))
    for wrong in (math.inf, -math.inf):
        assert distances(known, np.where(np.arange(6) == 2, wrong, new)) == pytest.approx(expected)
    known[3, 4], unknown = math.inf, known.copy()
    unknown[3, 4] = math.nan
    assert distances(known, new) == pytest.approx(distances(unknown, new))


def test_whether_anything_is_alike_is_found_in_little_memory() -> None:
    known = np.random.default_rng(0).normal(size=(2000, 10))
    tracemalloc.start()
    try:
        assert unlike_anything(known, np.full(10, 50.0), [str(i) for i in range(len(known))])
        assert tracemalloc.get_traced_memory()[1] < 40e6  # a matrix of all with all has 32 MB, and several were made
    finally:
        tracemalloc.stop()
