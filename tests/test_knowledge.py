"""Knowledge on disk: whole, verified, and replaced at once or not at all."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from planted import FAMILY, SPACE, planted_snapshot, record, study_of, utility
from sklearn.datasets import load_diabetes, load_iris

from metatune.errors import KnowledgeError, NoHistoryError, UnknownNameError
from metatune.knowledge import (
    KNOWLEDGE_VARIABLE,
    KNOWLEDGE_VERSION,
    LOCAL_DIRECTORY,
    Knowledge,
    knowledge_directory,
    starter_directory,
)
from metatune.metafeatures import describe
from metatune.snapshot import Snapshot
from metatune.space import SearchSpace
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.packed import read_packed, write_packed
from metatune.task import Task


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.build(planted_snapshot(tasks=3))


@cache
def planted_surrogate() -> FamilySurrogate:
    found = Knowledge.build(planted_snapshot(tasks=3)).surrogate(FAMILY)
    assert found is not None
    return found


def test_save_and_load(knowledge: Knowledge, tmp_path: Path) -> None:
    knowledge.save(tmp_path / "k")
    again = Knowledge.load(tmp_path / "k")
    assert again.families == (FAMILY,)
    assert again.snapshot.digest == knowledge.snapshot.digest
    ours, theirs = knowledge.surrogate(FAMILY), again.surrogate(FAMILY)
    assert ours is not None
    assert theirs is not None
    assert theirs.validation == ours.validation


def test_a_family_without_history_is_told(knowledge: Knowledge) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'planted'") as caught:
        knowledge.surrogate("plante")
    assert (caught.value.field, caught.value.value) == ("family", "plante")
    with pytest.raises(UnknownNameError, match=r"Known: planted\..*MetaSampler\(None\)"):
        knowledge.surrogate("mine")
    assert knowledge.surrogate("mine", missing_ok=True) is None


def test_every_file_is_in_the_manifest_and_none_is_a_pickle(knowledge: Knowledge, tmp_path: Path) -> None:
    knowledge.save(tmp_path / "k")
    files = {p.relative_to(tmp_path / "k").as_posix() for p in (tmp_path / "k").rglob("*") if p.is_file()}
    listed = json.loads((tmp_path / "k" / "manifest.json").read_text())["files"]
    assert files == {*listed, "manifest.json"}
    assert {Path(f).suffix for f in files} <= {".parquet", ".json", ".gz", ".npy"}


@pytest.mark.parametrize("what", ["cut", "altered", "missing"])
def test_damaged_files_are_named(knowledge: Knowledge, tmp_path: Path, what: str) -> None:
    knowledge.save(tmp_path / "k")
    victim = tmp_path / "k" / "surrogates" / FAMILY / "meta.txt.gz"
    raw, text = victim.read_bytes(), read_packed(victim)
    if what == "missing":
        victim.unlink()
    elif what == "cut":
        victim.write_bytes(raw[: len(raw) // 2])
    else:
        write_packed(victim, text.replace("split_gain=", "split_gain=9", 1))
    with pytest.raises(KnowledgeError, match=r"meta\.txt"):
        Knowledge.load(tmp_path / "k")


def test_another_version_is_refused_with_the_remedy(knowledge: Knowledge, tmp_path: Path) -> None:
    knowledge.save(tmp_path / "k")
    manifest = tmp_path / "k" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"version": {KNOWLEDGE_VERSION}', '"version": 99'))
    with pytest.raises(KnowledgeError, match="metatune train"):
        Knowledge.load(tmp_path / "k")
    with pytest.raises(KnowledgeError, match="not a knowledge folder"):
        Knowledge.load(tmp_path / "nowhere")


CHANGES = {
    "surrogate.json": {
        "a meta-feature more": lambda raw: raw["features"].append("of the future"),
        "a meta-feature less": lambda raw: raw["features"].pop(),
        "a lengthscale less": lambda raw: raw["length"].pop(),
        "a task's lengthscale less": lambda raw: raw["smoothness"][0]["length"].pop(),
        "a task less": lambda raw: raw["smoothness"].pop(),
    },
    "encoder.json": {
        "a number more": lambda raw: raw["scales"].update({"a parameter of the future": [0.0, 1.0, False]}),
        "a number less": lambda raw: raw["scales"].pop(next(iter(raw["scales"]))),
        "a choice's parameter less": lambda raw: raw["levels"].pop(next(iter(raw["levels"]))),
        "a choice less": lambda raw: next(iter(raw["levels"].values())).pop(),
        "choices in another order": lambda raw: next(iter(raw["levels"].values())).reverse(),
    },
}


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, all in CHANGES.items() for change in all])
def test_a_surrogate_of_other_features_is_refused(tmp_path: Path, name: str, change: str) -> None:
    """Its hash is right: somebody trained it with another release."""
    one = planted_surrogate()
    meta = MetaSurrogate.fit(one.tasks, one.encoder, features=("x0", "x1"))
    replace(one, meta=meta).write(tmp_path / "s")
    assert FamilySurrogate.read(tmp_path / "s", one.table).meta.features == ("x0", "x1")  # type: ignore[union-attr]
    raw = json.loads((tmp_path / "s" / name).read_text())
    CHANGES[name][change](raw)
    (tmp_path / "s" / name).write_text(json.dumps(raw))
    with pytest.raises(KnowledgeError, match="metatune train"):
        FamilySurrogate.read(tmp_path / "s", one.table)


@pytest.mark.parametrize("load", [load_iris, load_diabetes], ids=["iris", "diabetes"])
def test_meta_features_mean_what_they_meant_when_the_starter_was_made(load: Callable[..., Any]) -> None:
    """Otherwise ``KNOWLEDGE_VERSION`` is to be raised, and the starter made again."""
    task = Task.from_dataframe(load(as_frame=True).frame, "target")
    known = [study.task for study in Knowledge.starter().snapshot.studies if study.task.fingerprint == task.fingerprint]
    assert known
    now = describe(task)
    for one in known:
        assert one.metafeatures == pytest.approx(now, rel=1e-6, nan_ok=True)


def test_save_replaces_knowledge_but_nothing_else(knowledge: Knowledge, tmp_path: Path) -> None:
    knowledge.save(tmp_path / "k")
    Knowledge.build(planted_snapshot(tasks=2)).save(tmp_path / "k")
    assert len(Knowledge.load(tmp_path / "k").snapshot.studies) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["k"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(KnowledgeError, match="other files"):
        knowledge.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


def test_families_that_did_not_change_are_reused(knowledge: Knowledge) -> None:
    other = SearchSpace({"x": {"low": 0.0, "high": 1.0}})
    study = study_of(
        record("else"),
        lambda c: float(c["x"]),
        space=other,
        configurations=other.sample(9),
        family="other",  # type: ignore[arg-type]
    )
    grown = Knowledge.build(knowledge.snapshot.merge(Snapshot.of([study])), reuse=knowledge)
    assert grown.surrogate(FAMILY).design is knowledge.surrogate(FAMILY).design
    assert grown.borrowed == {study.id for study in knowledge.snapshot.studies}
    assert grown.surrogate("other") is not None
    more = study_of(record("more"), utility, configurations=SPACE.sample(12, 7))
    regrown = Knowledge.build(knowledge.snapshot.merge(Snapshot.of([more])), reuse=knowledge)
    assert regrown.surrogate(FAMILY).design is not knowledge.surrogate(FAMILY).design


def test_changed_meta_features_are_learnt_anew(knowledge: Knowledge) -> None:
    changed = [
        (replace(study, task=replace(study.task, metafeatures={"rows": float(i)})), trials)
        for i, (study, trials) in enumerate(knowledge.snapshot.records())
    ]
    again = Knowledge.build(Snapshot.of(changed), reuse=knowledge).surrogate(FAMILY)
    assert again is not None
    assert again.records[0].metafeatures == {"rows": 0.0}


def test_a_family_that_taught_nothing_survives_load_and_save(tmp_path: Path) -> None:
    Knowledge.build(Snapshot.of([study_of(record("few"), utility, configurations=[])])).save(tmp_path / "a")
    Knowledge.load(tmp_path / "a").save(tmp_path / "b")
    assert Knowledge.load(tmp_path / "b").surrogate(FAMILY) is None


def test_no_history_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(NoHistoryError, match="metatune tune"):
        Knowledge.build(Snapshot.of([]))


def test_where_knowledge_is_looked_for(knowledge: Knowledge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(KNOWLEDGE_VARIABLE, raising=False)
    assert knowledge_directory() == starter_directory()
    knowledge.save(tmp_path / LOCAL_DIRECTORY)
    assert knowledge_directory() == LOCAL_DIRECTORY
    monkeypatch.setenv(KNOWLEDGE_VARIABLE, str(tmp_path / "named"))
    assert knowledge_directory() == tmp_path / "named"
    assert knowledge_directory(tmp_path / "given") == tmp_path / "given"
