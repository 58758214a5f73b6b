"""Publishing knowledge: versions, who becomes champion, and how a team gets it, also when the registry is away."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from databases import empty_database
from mlflow import MlflowClient
from planted import planted_snapshot
from published import knn_knowledge, knn_snapshot, resealed
from typer.testing import CliRunner

from metatune import published
from metatune.backtest.versions import Comparison, compare
from metatune.cli.main import app
from metatune.errors import KnowledgeError, NoHistoryError, StoreError, UsageError
from metatune.history.registry import REGISTRY_VARIABLE, Reference, Registry
from metatune.knowledge import KNOWLEDGE_VARIABLE, Knowledge, knowledge_directory
from metatune.manifest import MANIFEST
from metatune.publish import publish
from metatune.published import CACHE_VARIABLE, fetched

# MLflow's connections to copied databases live as long as its engines, which is as long as the process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

ADDRESS = "models:/metatune-knowledge@champion"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    uri = empty_database(tmp_path)
    monkeypatch.setenv(REGISTRY_VARIABLE, uri)
    monkeypatch.chdir(tmp_path)
    return Registry(uri)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    knn_knowledge().save(tmp_path / "k")
    return tmp_path / "k"


def versions(registry: Registry) -> list[str]:
    client = MlflowClient(registry.uri, registry.uri)
    return [str(found.version) for found in client.search_model_versions("name='metatune-knowledge'")]


def tags(registry: Registry, number: str) -> dict[str, str]:
    return dict(MlflowClient(registry.uri, registry.uri).get_model_version("metatune-knowledge", number).tags)


def test_the_first_version_becomes_champion_and_a_team_uses_it(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = publish(folder, registry=registry)
    assert (done.version.number, done.decision.takes_alias, done.made) == ("1", True, True)
    monkeypatch.setenv(KNOWLEDGE_VARIABLE, ADDRESS)
    found = Knowledge.find()
    assert found.snapshot.digest == knn_knowledge().snapshot.digest
    assert found.surrogate("knn") is not None
    kept = tags(registry, "1")
    assert kept["metatune.decision"] == "there was no champion"
    assert kept["metatune.snapshot"] == found.snapshot.digest


def test_publishing_the_champion_again_changes_nothing(registry: Registry, folder: Path) -> None:
    publish(folder, registry=registry)
    again = publish(folder, registry=registry)
    assert (again.made, again.version.number, again.decision.takes_alias) == (False, "1", True)
    assert versions(registry) == ["1"]


def test_more_tasks_take_the_alias_and_a_cut_history_does_not(registry: Registry, tmp_path: Path, folder: Path) -> None:
    publish(folder, registry=registry)
    Knowledge.build(knn_snapshot(tasks=6)).save(tmp_path / "more")
    grown = publish(tmp_path / "more", registry=registry)
    assert grown.decision.takes_alias
    assert grown.decision.comparison is not None
    assert tags(registry, "2")["metatune.regret"] == f"{grown.decision.comparison.newer:.6f}"
    Knowledge.build(knn_snapshot(tasks=1)).save(tmp_path / "cut")
    cut = publish(tmp_path / "cut", registry=registry)
    assert not cut.decision.takes_alias
    assert cut.decision.comparison is not None
    assert cut.decision.comparison.newer > cut.decision.comparison.older + 0.1
    assert registry.find(Reference.parse(ADDRESS)) == grown.version
    forced = publish(tmp_path / "cut", registry=registry, force=True)
    assert forced.decision.takes_alias
    assert tags(registry, forced.version.number)["metatune.decision"].startswith("forced: ")


def test_worse_is_more_than_harm_and_more_than_chance() -> None:
    assert Comparison(0.10, 0.05, 0.01, 8, ("knn",)).is_worse
    assert not Comparison(0.10, 0.05, 0.04, 8, ("knn",)).is_worse
    assert not Comparison(0.055, 0.05, 0.0001, 8, ("knn",)).is_worse
    assert not Comparison(0.05, 0.10, 0.001, 8, ("knn",)).is_worse


def test_equal_histories_are_not_replayed() -> None:
    assert compare(knn_snapshot(), knn_snapshot()) is None


def test_the_command_says_who_is_champion(registry: Registry, folder: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    first = runner.invoke(app, ["publish", "--knowledge", str(folder), "--json"])
    assert first.exit_code == 0
    assert json.loads(first.stdout)["address"] == ADDRESS
    Knowledge.build(knn_snapshot(tasks=1)).save(tmp_path / "cut")
    said = runner.invoke(app, ["publish", "--knowledge", str(tmp_path / "cut"), "--json"])
    document = json.loads(said.stdout)
    assert said.exit_code == 6
    assert (document["version"], document["champion"], document["compared_with"]) == (
        "2",
        False,
        "models:/metatune-knowledge/1",
    )
    assert tags(registry, "2")["metatune.regret_of_champion"] == f"{document['regret_of_champion']:.6f}"
    assert registry.find(Reference.parse(ADDRESS)).number == "1"  # type: ignore[union-attr]


def test_a_family_that_is_gone_is_a_loss(registry: Registry, folder: Path, tmp_path: Path) -> None:
    publish(folder, registry=registry)
    Knowledge.build(planted_snapshot(tasks=3)).save(tmp_path / "other")
    done = publish(tmp_path / "other", registry=registry)
    assert not done.decision.takes_alias
    assert "knows nothing of knn" in done.decision.reason


def test_without_the_registry_the_last_version_is_used_with_a_warning(
    registry: Registry, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NoHistoryError, match="metatune publish"):
        fetched(ADDRESS, registry=registry)
    publish(folder, registry=registry)
    first = fetched(ADDRESS, registry=registry)
    (tmp_path / "mlflow.db").rename(tmp_path / "away.db")
    assert fetched(ADDRESS, registry=registry) == first
    assert "cannot be reached" in caplog.text
    assert not (tmp_path / "mlflow.db").exists()
    with pytest.raises(StoreError):
        fetched("models:/metatune-knowledge/1", registry=registry)  # never asked for before


def test_it_is_downloaded_once_and_again_if_the_cache_was_damaged(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(folder, registry=registry)
    asked: list[str] = []
    real = Registry.download
    monkeypatch.setattr(
        Registry, "download", lambda self, v, names, to: asked.extend(names) or real(self, v, names, to)
    )
    first = fetched(ADDRESS, registry=registry)
    n = len(asked)
    assert n > 3
    assert fetched(ADDRESS, registry=registry) == first
    assert len(asked) == n
    (first / "surrogates" / "knn" / "meta.txt.gz").write_text("cut")
    assert fetched(ADDRESS, registry=registry) == first
    assert len(asked) == 2 * n
    Knowledge.load(first)


def test_many_first_starts_at_once_share_one_whole_copy(registry: Registry, folder: Path, tmp_path: Path) -> None:
    publish(folder, registry=registry)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: fetched(ADDRESS, registry=registry), range(6)))
    assert len(set(found)) == 1
    Knowledge.load(found[0])
    assert [p.name for p in (tmp_path / "cache" / "knowledge").iterdir()] == [found[0].name]


@pytest.mark.slow
def test_two_processes_at_once_share_one_whole_copy(registry: Registry, folder: Path) -> None:
    publish(folder, registry=registry)
    code = f"from metatune.knowledge import Knowledge; print(Knowledge.find({ADDRESS!r}).directory)"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0].strip() for process in both]
    assert said[0] == said[1] != ""


@pytest.mark.parametrize(
    "hostile", ["../outside.txt", "/tmp/outside.txt", "a/../../outside.txt", "a\\..\\b", "C:x", ""]
)
def test_a_hostile_version_writes_nothing_outside_its_folder(
    registry: Registry, folder: Path, tmp_path: Path, hostile: str
) -> None:
    """Somebody who may write to the registry lists a name that leaves the folder, with a manifest that fits."""
    outside = tmp_path / "cache" / "outside.txt"
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][hostile] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest))
    listed = [name for name in manifest["files"] if name != hostile]
    version = registry.register("metatune-knowledge", folder, listed, tags={}, requirement="metatune")
    registry.set_alias(version, "champion")
    with pytest.raises(KnowledgeError, match="does not stay inside"):
        fetched(ADDRESS, registry=registry)
    assert not outside.exists()
    assert not list((tmp_path / "cache" / "knowledge").iterdir())


def test_an_altered_manifest_is_refused(registry: Registry, folder: Path, tmp_path: Path) -> None:
    version = publish(folder, registry=registry).version
    stored = Path(version.source.removeprefix("file://")) / "knowledge"
    (stored / "surrogates" / "knn" / "meta.txt.gz").write_text("tree\nother")
    resealed(stored)
    with pytest.raises(KnowledgeError, match="altered"):
        fetched(ADDRESS, registry=registry)


def test_links_are_not_published_nor_loaded(registry: Registry, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("key")
    victim = folder / "surrogates" / "knn" / "meta.txt.gz"
    shutil.copy(victim, secret)
    victim.unlink()
    victim.symlink_to(secret)
    for act in (lambda: Knowledge.load(folder), lambda: publish(folder, registry=registry)):
        with pytest.raises(KnowledgeError, match="link"):
            act()
    assert versions(registry) == []


@pytest.mark.parametrize(
    "address", ["models:/a", "models:/a@", "models:/a/b@c", "models:/../x@y/z", "models:/a/latest", "models://h/a/1"]
)
def test_bad_addresses_are_refused(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"models:/<name>"):
        knowledge_directory(address)


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert published.cache_directory() == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    assert published.cache_directory() == Path.home() / ".cache" / "metatune"
