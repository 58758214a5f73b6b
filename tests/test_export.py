"""Exports: equal to the history, or public, with nothing in them that the allow-list does not name."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from databases import empty_database
from planted import planted_snapshot
from published import knn_snapshot
from typer.testing import CliRunner

from metatune.cli.main import app
from metatune.errors import UsageError
from metatune.export import export, publishable
from metatune.history.mlflow_store import MLflowStore
from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.metric import Metric
from metatune.snapshot import Snapshot
from metatune.space import Condition, SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

#: No planted text may be found, be it as it is or in part.
SECRET = "zq9secret"


def planted(family: str, space: SearchSpace, **extra) -> Snapshot:
    """One study with the secret in every text that there is, and in the name of everything that has a name."""

    def s(where: str) -> str:
        return f"{SECRET}-{where}"

    task = TaskRecord(
        name=s("task"),
        kind="custom",
        metric=Metric(s("metric"), "minimize", s("scorer")),
        fingerprint=s("fingerprint"),
        group=s("group"),
        metafeatures={"log_rows": 5.0, s("feature"): 1.0},
        n_rows=150,
        n_columns=4,
    )
    study = StudyRecord(
        task=task,
        family=family,
        space=space,
        id=s("study"),
        strategy=s("strategy"),
        seed=2718281828,
        created=1234567890.0,
        notes={"user": s("user"), s("note"): s("/home/ann/data.csv"), "host": s("host")},
    )
    trials = [
        Trial(
            configuration=configuration | {s("undeclared"): s("value"), "undeclared": 867530986753},
            status="failed" if i == 3 else "complete",
            value=None if i == 3 else 0.1 * i,
            number=i,
            key=s(f"key{i}"),
            metrics={"rmse": 0.5, s("more"): 0.7},
            curve=(0.5, 0.4),
            best_step=2,
            reported=((1, 0.5),),
            seconds=1.5,
            origin=s("origin"),
            error=s("KeyError: password=hunter2 in /home/ann"),
            started=1234567899.0,
        )
        for i, configuration in enumerate(space.sample(6, 0))
    ]
    return Snapshot.of([(study, trials)])


def own_space() -> SearchSpace:
    return SearchSpace(
        {
            f"{SECRET}_kind": [f"{SECRET}-a", f"{SECRET}-b", 3],
            f"{SECRET}_rate": {"low": 1e-3, "high": 1.0, "log": True},
            "offspring": {"type": "int", "low": 1, "high": 9},
        },
        {"offspring": Condition(f"{SECRET}_kind", (f"{SECRET}-a",))},
    )


def texts(folder: Path) -> str:
    """Names and contents of all files: raw, and what Parquet holds once decompressed, metadata included."""
    found = []
    for path in sorted(folder.rglob("*")):
        found.append(path.relative_to(folder).as_posix())
        if path.is_file():
            found.append(path.read_bytes().decode("latin-1"))
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            found += [repr(table.to_pylist()), repr(table.schema), repr(table.schema.metadata)]
    return "\n".join(found)


def test_a_plain_export_is_the_history(tmp_path: Path) -> None:
    snapshot = knn_snapshot()
    export(snapshot, tmp_path / "out")
    assert Snapshot.read(tmp_path / "out").digest == snapshot.digest


@pytest.mark.parametrize("family", [f"{SECRET}-family", "knn"])
def test_nothing_planted_is_in_a_public_export(tmp_path: Path, family: str) -> None:
    extra = {**own_space().parameters, **(get_family("knn").space().parameters if family == "knn" else {})}
    space = SearchSpace(extra, own_space().conditions)
    snapshot = planted(family, space)
    export(snapshot, tmp_path / "plain")
    assert SECRET in texts(tmp_path / "plain")  # the search for it does find what is there
    assert "867530986753" in texts(tmp_path / "plain")
    export(snapshot, tmp_path / "public", public=True)
    found = texts(tmp_path / "public")
    numbers = ("867530986753", "2718281828", "1234567890", "1234567899")
    for word in (SECRET, "hunter2", "/home/ann", "undeclared", "offspring", *numbers):
        assert word not in found, word


def test_what_metatune_declares_is_kept(tmp_path: Path) -> None:
    snapshot = knn_snapshot(tasks=2)
    public = publishable(snapshot)
    assert public.families == ("knn",)
    before, after = snapshot.records(), public.records()
    assert len(after) == len(before)
    pairs = {tuple(t.value for t in trials): (study, trials) for study, trials in before}
    for study, trials in after:
        old, old_trials = pairs[tuple(t.value for t in trials)]
        assert study.space == old.space
        assert [dict(t.configuration) for t in trials] == [dict(t.configuration) for t in old_trials]
        assert study.task.metafeatures == old.task.metafeatures
        assert study.task.metric == old.task.metric
        assert study.task.name != old.task.name
        assert study.task.fingerprint != old.task.fingerprint


def test_choices_that_the_family_does_not_declare_become_tokens() -> None:
    declared = dict(get_family("knn").space().parameters)
    space = SearchSpace({**declared, "weights": ["uniform", "acme-weights"]})
    ((study, trials),) = publishable(planted("knn", space)).records()
    choices = study.space["weights"].choices  # type: ignore[attr-defined]
    assert choices[0] == "uniform"
    assert choices[1].startswith("choice-")
    assert {t.configuration["weights"] for t in trials} <= set(choices)


def test_tokens_are_equal_within_an_export_and_differ_between_two() -> None:
    twice = planted_snapshot(tasks=2)
    same = [replace(study, id=study.id + "again") for study, _ in twice.records()]
    snapshot = Snapshot.of([*twice.records(), *((study, ()) for study in same)])
    first, second = publishable(snapshot), publishable(snapshot)
    assert len({study.task.fingerprint for study in first.studies}) == 2
    assert not {s.task.fingerprint for s in first.studies} & {s.task.fingerprint for s in second.studies}
    assert not {s.id for s in first.studies} & {s.id for s in second.studies}


def test_knowledge_is_built_from_a_public_export(tmp_path: Path) -> None:
    export(planted_snapshot(tasks=3), tmp_path / "out", public=True)
    built = Knowledge.build(Snapshot.read(tmp_path / "out"))
    (family,) = built.families
    assert len(built.surrogate(family).tasks) == 3  # type: ignore[union-attr]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="empty folder"):
        export(knn_snapshot(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METATUNE_MIRROR", str(tmp_path / "mirror"))
    store = MLflowStore(empty_database(tmp_path))
    ((study, trials),) = planted("own", own_space()).records()
    store.open_study(study)
    store.add_trials(study.id, trials)
    command = ["export", str(tmp_path / "out"), "--public", "--tracking-uri", store.uri, "--json"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["trials"] == 6
    assert list((tmp_path / "mirror").rglob("*.parquet"))  # read through the local copy
    assert SECRET not in texts(tmp_path / "out")


@pytest.mark.parametrize("strategy", ["collected", "optuna", "table"])
def test_where_trials_came_from_is_kept(strategy: str) -> None:
    ((study, trials),) = planted("own", own_space()).records()
    come = [replace(trial, origin="import") for trial in trials]
    public = publishable(Snapshot.of([(replace(study, strategy=strategy), come)]))
    ((study, trials),) = public.records()
    assert study.strategy == strategy
    assert {trial.origin for trial in trials} == {"import"}
