"""Snapshots: what is written is read back exactly, and its columns say what the records say."""

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import foreign_configurations, study_records, trials

from metatune.errors import KnowledgeError, UnknownNameError
from metatune.history.schema import study_document, trial_document
from metatune.metric import Metric
from metatune.snapshot import Snapshot
from metatune.space import Condition, SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import STATUSES, Trial

SPACE = SearchSpace(
    {
        "depth": {"type": "int", "low": 1, "high": 2**62},
        "rate": {"low": 1e-4, "high": 1.0, "log": True},
        "booster": ["tree", "linear", 3, True, None],
        "drop": {"low": 0.0, "high": 1.0},
    },
    {"drop": Condition("booster", ("tree",))},
)


def study(id="s", metric=None, family="lightgbm", space=SPACE, **metafeatures):
    task = TaskRecord(
        name="t",
        kind="custom",
        metric=metric or Metric("loss", "minimize"),
        fingerprint="f",
        metafeatures=metafeatures,
    )
    return StudyRecord(task=task, family=family, space=space, id=id, created=1.0)


def trial(key, value=0.5, **configuration):
    status = "failed" if value is None else "complete"
    return Trial(configuration=configuration, status=status, value=value, key=key, seconds=1.5, started=2.0)


def documents(records):
    """Records as text: equal for NaN, different for 1, 1.0 and True; the order of parameters does not count."""
    return [
        (study_document(record), [json.dumps(json.loads(trial_document(trial)), sort_keys=True) for trial in those])
        for record, those in records
    ]


@st.composite
def histories(draw):
    """Studies with trials, whose configurations need not belong to their spaces."""
    records = []
    for i in range(draw(st.integers(0, 3))):
        record = draw(study_records())
        those = draw(st.lists(trials(record.space), max_size=4))
        if those and draw(st.booleans()):
            odd = draw(foreign_configurations(record.space))
            those.append(Trial(configuration=odd, status="failed", value=None, number=i, error="\ud800"))
        records.append((record, tuple(those)))
    return records


@settings(max_examples=60, deadline=None)
@given(histories())
def test_records_come_back_exactly_through_files(records):
    with tempfile.TemporaryDirectory() as folder:
        made = Snapshot.of(records)
        made.write(Path(folder))
        read = Snapshot.read(Path(folder))
        assert documents(read.records()) == documents(records)
        assert read.digest == made.digest
        assert documents(made.records()) == documents(records)


@settings(max_examples=30, deadline=None)
@given(histories(), histories())
def test_merging_equals_making_from_both(first, second):
    merged = Snapshot.of(first).merge(Snapshot.of(second))
    assert merged.digest == Snapshot.of([*first, *second]).digest
    assert documents(merged.records()) == documents([*first, *second])


def test_merge_lets_the_later_win():
    first = Snapshot.of([(study("a"), [trial("1", 0.1), trial("2", 0.2)]), (study("b"), [trial("3", 0.3)])])
    later = study("a", rows=7.0)
    merged = first.merge(Snapshot.of([(later, [trial("2", 0.9, rate=0.5), trial("4", 0.4)])]))
    assert [record.task.metafeatures for record in merged.studies] == [{"rows": 7.0}, {}]
    values = {record.id: {t.key: t.value for t in those} for record, those in merged.records()}
    assert values == {"a": {"1": 0.1, "2": 0.9, "4": 0.4}, "b": {"3": 0.3}}
    assert len(merged.family("lightgbm")) == 4


def test_of_keeps_the_later_of_equal_keys():
    records = [(study("a"), [trial("1", 0.1)]), (study("a"), [trial("1", 0.2), trial("2", 0.3)])]
    ((_, those),) = Snapshot.of(records).records()
    assert [(t.key, t.value) for t in those] == [("1", 0.2), ("2", 0.3)]


def test_columns_of_a_family():
    up = study("up", Metric("auc", "maximize"))
    down = study("down", Metric("loss", "minimize"))
    table = Snapshot.of(
        [
            (down, [trial("1", 0.25, depth=3, rate=0.1, booster="tree", drop=0.5), trial("2", None, depth=4)]),
            (up, [trial("3", 0.75, depth=2**61 + 1, rate=0.2, booster=True)]),
        ]
    ).family("lightgbm")
    assert len(table) == 3
    assert table.study.dtype == np.int32
    assert [table.studies[i].id for i in table.study] == ["down", "down", "up"]
    np.testing.assert_array_equal(table.score, [-0.25, np.nan, 0.75])
    np.testing.assert_array_equal(table.value, [0.25, np.nan, 0.75])
    assert [STATUSES[code] for code in table.status] == ["complete", "failed", "complete"]
    np.testing.assert_array_equal(table.numeric["depth"], [3, 4, 2.0**61])
    np.testing.assert_array_equal(table.numeric["drop"], [0.5, np.nan, np.nan])
    codes, levels = table.categorical["booster"]
    assert [None if code < 0 else levels[code] for code in codes] == ["tree", None, True]
    assert levels[codes[2]] is True
    assert table.configuration(2) == {"depth": 2**61 + 1, "rate": 0.2, "booster": True}
    np.testing.assert_array_equal(table.seconds, [1.5, 1.5, 1.5])


def test_a_missing_choice_differs_from_the_choice_none():
    table = Snapshot.of([(study(), [trial("1", booster=None), trial("2")])]).family("lightgbm")
    assert table.configuration(0) == {"booster": None}
    assert table.configuration(1) == {}


def test_choices_that_are_equal_to_python_keep_their_types():
    values = [1, True, 1.0, "1"]
    records = [(study(str(i), space=SearchSpace({"c": [v]})), [trial(str(i), c=v)]) for i, v in enumerate(values)]
    table = Snapshot.of(records).family("lightgbm")
    assert [type(table.configuration(row)["c"]) for row in range(4)] == [int, bool, float, str]


def test_curves_and_metrics_keep_what_is_missing():
    with_curve = Trial(
        configuration={},
        status="complete",
        value=1.0,
        key="1",
        curve=(0.1, math.nan, 0.3),
        metrics={"f1": math.nan},
    )
    table = Snapshot.of([(study(), [with_curve, trial("2")])]).family("lightgbm")
    np.testing.assert_array_equal(table.curve(0), [0.1, np.nan, 0.3])
    assert len(table.curve(1)) == 0
    metrics = [list(those.metrics) for _, those in table.trials()]
    assert metrics == [["f1"], []]


def test_files_that_are_older_than_a_column(tmp_path):
    newer = replace(trial("1"), best_step=7, reported=((2, 0.5), (4, 0.6)))
    Snapshot.of([(study("new"), [newer])]).write(tmp_path / "new")
    Snapshot.of([(study("old"), [trial("2")])]).write(tmp_path / "old")
    assert "best_step" not in pq.read_schema(tmp_path / "old" / "trials" / "lightgbm.parquet").names
    old, new = (Snapshot.read(tmp_path / name) for name in ("old", "new"))
    assert [those for _, those in old.merge(new).records()] == [(trial("2"),), (newer,)]


def test_a_study_without_trials_is_kept(tmp_path):
    Snapshot.of([(study(), [])]).write(tmp_path)
    read = Snapshot.read(tmp_path)
    assert read.families == ("lightgbm",)
    table = read.family("lightgbm")
    assert (len(table), len(table.score), len(table.status), table.numeric) == (0, 0, 0, {})
    assert read.records() == [(study(), ())]


def test_families_with_awkward_names_have_files_of_their_own(tmp_path):
    names = ["a/b", "A/B", "../x", "naïve ✓", "x" * 300, "x" * 301, "con", "."]
    Snapshot.of([(study(str(i), family=name), [trial(str(i))]) for i, name in enumerate(names)]).write(tmp_path)
    files = [path.name.lower() for path in tmp_path.rglob("*.parquet")]
    assert len(files) == len(set(files)) == len(names) + 1
    read = Snapshot.read(tmp_path)
    assert read.families == tuple(sorted(names))
    assert [read.family(name).key for name in names] == [[str(i)] for i in range(len(names))]


def test_writing_over_an_older_snapshot_leaves_nothing_of_it(tmp_path):
    Snapshot.of([(study("1", family="old"), [trial("1")]), (study("2"), [trial("2")])]).write(tmp_path)
    kept = Snapshot.read(tmp_path)
    Snapshot.of(kept.records()[1:]).write(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"studies.parquet", "lightgbm.parquet"}


def test_a_family_is_read_only_when_asked_for(tmp_path):
    Snapshot.of([(study("1", family="a"), [trial("1")]), (study("2", family="b"), [trial("2")])]).write(tmp_path)
    (tmp_path / "trials" / "b.parquet").write_bytes(b"damaged")
    read = Snapshot.read(tmp_path)
    assert len(read.family("a")) == 1
    with pytest.raises(KnowledgeError, match=r"b\.parquet"):
        read.family("b")


def test_unknown_family_is_named():
    with pytest.raises(UnknownNameError, match="lightgbm"):
        Snapshot.of([(study(), [])]).family("lightgmb")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def _without_column(path):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["value" if "value" in table.column_names else "record"]), path)


def _fewer_rows(path):
    pq.write_table(pq.read_table(path).slice(1), path)


def _foreign(path):
    pq.write_table(pa.table({"a": [1]}), path)


def _newer(path):
    table = pq.read_table(path)
    meta = {**json.loads(table.schema.metadata[b"metatune"]), "version": 99}
    pq.write_table(table.replace_schema_metadata({b"metatune": json.dumps(meta)}), path)


@pytest.mark.parametrize("name", ["studies.parquet", "trials/lightgbm.parquet"])
@pytest.mark.parametrize("damage", [Path.unlink, _cut, _without_column, _fewer_rows, _foreign, _newer])
def test_damage_is_reported_with_file_and_remedy(tmp_path, name, damage):
    Snapshot.of([(study(), [trial("1"), trial("2")])]).write(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(KnowledgeError, match=r"metatune train") as caught:
        Snapshot.read(tmp_path).records()
    assert caught.value.field == str(tmp_path / name)


def test_a_folder_that_is_none_is_reported(tmp_path):
    with pytest.raises(KnowledgeError, match="no such file"):
        Snapshot.read(tmp_path / "nowhere")


def _recoded(table):
    """The same rows in two chunks, whose dictionaries are in another order and have entries that no row has."""
    parts = [table.slice(0, 3), table.slice(3)]
    for i, part in enumerate(parts):
        for name in part.column_names:
            if pa.types.is_dictionary(part.schema.field(name).type):
                texts = part[name].cast(pa.string()).to_pylist()
                entries = ["never used", *sorted({text for text in texts if text is not None}, reverse=bool(i))]
                codes = pa.array([None if text is None else entries.index(text) for text in texts], pa.int32())
                column = pa.DictionaryArray.from_arrays(codes, entries)
                part = part.set_column(part.column_names.index(name), name, column)
        parts[i] = part
    return pa.concat_tables(parts)


def test_how_columns_are_encoded_is_no_matter():
    first = [trial("1", booster="tree"), trial("2", booster=3), trial("3"), trial("4", None, booster="linear")]
    made = Snapshot.of([(study("a"), first), (study("b"), [trial("5", booster="tree"), trial("6", booster=None)])])
    again = Snapshot(made.studies, {"lightgbm": _recoded(made.family("lightgbm").table)})
    assert again.family("lightgbm").table["status"].num_chunks == 2
    assert again.digest == made.digest
    assert again.records() == made.records()
    mine, theirs = (s.family("lightgbm").categorical["booster"] for s in (made, again))
    assert mine.levels == theirs.levels
    np.testing.assert_array_equal(mine.codes, theirs.codes)


def test_the_digest_tells_texts_apart_that_join_to_the_same():
    one, other = (Snapshot.of([(study(), [trial(a), trial(b)])]) for a, b in (("ab", "c"), ("a", "bc")))
    assert one.digest != other.digest


def test_rows_of_a_study_need_not_be_adjacent():
    made = Snapshot.of([(study("a"), [trial("1"), trial("2")]), (study("empty"), []), (study("b"), [trial("3")])])
    mixed = Snapshot(made.studies, {"lightgbm": made.family("lightgbm").table.take([1, 2, 0])})
    rows = mixed.family("lightgbm").rows_of_study
    assert {made.studies[index].id: those.tolist() for index, those in rows.items()} == {"a": [0, 2], "b": [1]}
    assert Snapshot.of([(study("empty"), [])]).family("lightgbm").rows_of_study == {}


def test_studies_share_their_space(tmp_path):
    Snapshot.of([(study("a"), []), (study("b"), [])]).write(tmp_path)
    first, second = Snapshot.read(tmp_path).studies
    assert first.space is second.space
