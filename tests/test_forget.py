"""Forgetting: nothing that was forgotten is left in the database file, in files beside it, or in the knowledge."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from databases import empty_database
from mlflow import MlflowClient
from mlflow.entities import ViewType
from planted import SPACE, record, study_of, utility
from secret_history import SECRET, filled
from typer.testing import CliRunner

from metatune.cli.main import app
from metatune.errors import UsageError
from metatune.forget import Selection, forget, plan
from metatune.history.mlflow_store import MLflowStore
from metatune.history.reader import open_reader
from metatune.history.replay import sync
from metatune.history.spool import Destination, Entry, SpoolFile
from metatune.knowledge import Knowledge
from metatune.mirror import Mirror, refreshed_snapshot
from metatune.snapshot import snapshot_of

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


@pytest.fixture
def store(tmp_path: Path) -> MLflowStore:
    return filled(MLflowStore(empty_database(tmp_path)), tmp_path)


def names_and_bytes(folder: Path) -> bytes:
    """All file names and contents in ``folder``."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"".join(str(path.relative_to(folder)).encode() + path.read_bytes() for path in files)


@pytest.mark.parametrize("named", [False, True])
def test_nothing_of_a_task_is_left(
    store: MLflowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    if named:  # the usual way for a team to say where its history is
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    assert names_and_bytes(tmp_path).count(SECRET.encode()) > 10
    done = forget(plan(store, Selection(task=SECRET)))
    assert done.for_good
    assert [study.record.id for study in done.plan.found] == [f"id-1-{SECRET}"]
    assert done.plan.trials == 10
    left = names_and_bytes(tmp_path)
    assert SECRET.encode() not in left
    assert b"1-patients" not in left
    assert [(study.id, len(trials)) for study, trials in store.records()] == [("id-0-wine", 10), ("id-2-wine", 10)]


def test_forgetting_again_finds_nothing(store: MLflowStore) -> None:
    forget(plan(store, Selection(task=SECRET)))
    again = plan(store, Selection(task=SECRET))
    assert again.empty
    assert forget(again).for_good


def test_an_interrupted_forgetting_is_finished_by_the_next(store: MLflowStore, tmp_path: Path) -> None:
    todo = plan(store, Selection(task=SECRET))
    half = replace(todo.found[0], runs=todo.found[0].runs[5:], artifacts=())
    forget(replace(todo, found=(half,)))
    forget(todo)
    assert SECRET.encode() not in names_and_bytes(tmp_path)


def test_runs_that_were_deleted_in_mlflow_are_forgotten_too(store: MLflowStore, tmp_path: Path) -> None:
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name("metatune").experiment_id
    for run in client.search_runs([experiment], "", ViewType.ACTIVE_ONLY):
        if SECRET in str(run.data.tags):
            client.delete_run(run.info.run_id)
    assert SECRET.encode() in names_and_bytes(tmp_path)
    forget(plan(store, Selection(task=SECRET)))
    assert SECRET.encode() not in names_and_bytes(tmp_path)


def test_a_user_and_a_study(store: MLflowStore) -> None:
    assert {s.record.id for s in plan(store, Selection(user="bob")).found} == {f"id-1-{SECRET}", "id-2-wine"}
    assert plan(store, Selection(user="bo")).empty
    assert [s.record.id for s in plan(store, Selection(study="id-2")).found] == ["id-2-wine"]
    with pytest.raises(UsageError, match="3 studies"):
        plan(store, Selection(study="id-"))
    forget(plan(store, Selection(user="bob")))
    assert [study.id for study in store.studies()] == ["id-0-wine"]


@pytest.mark.parametrize("given", [{}, {"task": "a", "user": "b"}, {"task": ""}])
def test_one_thing_at_a_time(given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="one thing at a time"):
        Selection(**given)


def test_it_is_forgotten_in_the_knowledge(store: MLflowStore, tmp_path: Path) -> None:
    folder = tmp_path / "k"
    Knowledge.build(snapshot_of(store)).save(folder)
    done = forget(plan(store, Selection(task=SECRET), knowledge=folder))
    assert done.plan.learnt == (f"id-1-{SECRET}",)
    assert SECRET.encode() not in names_and_bytes(tmp_path)
    assert f"fingerprint-of-{SECRET}".encode() not in names_and_bytes(tmp_path)
    left = Knowledge.load(folder)
    assert [task.record.name for task in left.surrogate("planted").tasks] == ["wine"]  # type: ignore[union-attr]
    forget(plan(store, Selection(task="wine"), knowledge=folder))
    assert not folder.exists()


def test_families_that_lose_nothing_are_not_trained_again(store: MLflowStore, tmp_path: Path) -> None:
    other = study_of(record("else"), utility, configurations=SPACE.sample(12, 9), family="other")
    known = Knowledge.build(snapshot_of(store).merge(type(snapshot_of(store)).of([other])))
    left = known.without([f"id-1-{SECRET}"])
    assert left.surrogate("other").design is known.surrogate("other").design  # type: ignore[union-attr]
    assert left.surrogate("planted").design is not known.surrogate("planted").design  # type: ignore[union-attr]


def test_the_command_asks_first(store: MLflowStore, tmp_path: Path) -> None:
    runner = CliRunner()
    command = ["forget", "--task", SECRET, "--tracking-uri", store.uri, "--knowledge", str(tmp_path / "k"), "--json"]
    refused = runner.invoke(app, command, input="n\n")
    assert refused.exit_code == 6
    assert json.loads(refused.stdout)["removed"] is False
    nobody = runner.invoke(app, command, input="")
    assert (nobody.exit_code, json.loads(nobody.stdout)["removed"]) == (6, False)
    assert len(store.studies()) == 3
    one = runner.invoke(app, ["forget", "--study", store.studies()[0].id, *command[3:-1]], input="n\n")
    assert "1 study with " in one.output
    done = runner.invoke(app, [*command, "--yes"])
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert (document["removed"], document["for_good"], document["trials"]) == (True, True, 10)
    again = runner.invoke(app, [*command, "--yes"])
    assert (again.exit_code, json.loads(again.stdout)["removed"]) == (0, False)


@pytest.mark.parametrize("named", ["k", "models:/metatune-knowledge@champion"])
def test_the_knowledge_of_the_environment(
    store: MLflowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METATUNE_KNOWLEDGE", named)
    (tmp_path / "k").mkdir()
    done = CliRunner().invoke(app, ["forget", "--task", "x", "--tracking-uri", store.uri, "--yes", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["knowledge"] == ("k" if named == "k" else "metatune-knowledge")


def test_where_there_is_no_history_none_is_made(tmp_path: Path) -> None:
    store = MLflowStore(f"sqlite:///{tmp_path / 'none.db'}")
    assert forget(plan(store, Selection(task="x"))).plan.empty
    assert not (tmp_path / "none.db").exists()


def test_the_local_copy_of_the_history_goes_too(
    store: MLflowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METATUNE_MIRROR", str(tmp_path / "mirror"))
    refreshed_snapshot(store)
    assert list((tmp_path / "mirror").rglob("*.parquet"))
    forget(plan(store, Selection(task=SECRET)))
    assert not list((tmp_path / "mirror").rglob("*.parquet"))
    assert [study.id for study in refreshed_snapshot(store).studies] == ["id-0-wine", "id-2-wine"]


def test_copies_that_read_through_the_api_follow(store: MLflowStore, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "copy")
    with open_reader(store, path="api") as reader:
        mirror.refresh(reader)
    forget(plan(store, Selection(task=SECRET)))
    with open_reader(store, path="api") as reader:
        assert mirror.refresh(reader).removed == 10
    assert [study.id for study in mirror.snapshot().studies] == ["id-0-wine", "id-2-wine"]


# --- the spool


def spooled(store: MLflowStore, folder: Path, *tasks: str) -> SpoolFile:
    """The file of this process with a study and three trials for each of ``tasks``; it holds the lock."""
    file = SpoolFile(folder, Destination.of(store))
    for task in tasks:
        study, trials = study_of(record(task), utility, configurations=SPACE.sample(3, 7))
        study = replace(study, id=f"late-{task}")
        for what in (study, *trials):
            file.append(Entry(study.id, what))
    return file


def test_what_waits_in_the_spool_is_not_sent_after_it_was_forgotten(store: MLflowStore, folder: Path) -> None:
    file = spooled(store, folder, SECRET, "wine")
    file.close(remove=False)
    file.path.write_bytes(file.path.read_bytes() + f'{{"n":9,"of":"late-{SECRET}","trial":{{'.encode())
    aside = file.path.with_name("1-2.unreadable")
    aside.write_text(f'{{"n":1,"study":{{"name":"{SECRET}"\nother\n')
    todo = plan(store, Selection(task=SECRET))
    assert (todo.waiting, len(todo.spooled)) == (3, 2)
    assert forget(todo).owned == ()
    assert SECRET.encode() not in names_and_bytes(folder)
    assert aside.read_text() == "other\n"
    assert [one.sent for one in sync([folder], lambda destination: store)] == [3]
    assert sorted(study.id for study in store.studies()) == ["id-0-wine", "id-2-wine", "late-wine"]
    assert plan(store, Selection(task=SECRET)).empty


def test_trials_of_a_study_that_only_the_history_knows_are_found_in_the_spool(store: MLflowStore, folder: Path) -> None:
    file = SpoolFile(folder, Destination.of(store))
    ((_, trials),) = [study_of(record(SECRET), utility, configurations=SPACE.sample(1, 7))]
    file.append(Entry(f"id-1-{SECRET}", trials[0]))
    file.close(remove=False)
    forget(plan(store, Selection(study="id-1")))
    assert SECRET.encode() not in names_and_bytes(folder)


def test_files_for_another_history_are_left_alone(store: MLflowStore, folder: Path, tmp_path: Path) -> None:
    other = MLflowStore(store.uri, "another experiment")
    file = spooled(other, folder, SECRET)
    file.close(remove=False)
    before = file.path.read_bytes()
    forget(plan(store, Selection(task=SECRET)))
    assert file.path.read_bytes() == before


def test_a_living_process_is_named(store: MLflowStore, folder: Path) -> None:
    file = spooled(store, folder, SECRET)
    done = CliRunner().invoke(app, ["forget", "--task", SECRET, "--tracking-uri", store.uri, "--yes", "--json"])
    assert done.exit_code == 6
    assert json.loads(done.stdout)["left_to_processes"] == [str(file.path)]
    file.close(remove=False)
    assert forget(plan(store, Selection(task=SECRET))).owned == ()
    assert SECRET.encode() not in names_and_bytes(folder)
