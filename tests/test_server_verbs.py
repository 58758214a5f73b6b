"""``publish``, ``forget`` and ``import`` where a team has its history: a real MLflow server on PostgreSQL."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput
from postgres import cluster, needs_postgres
from published import knn_knowledge, knn_snapshot
from secret_history import SECRET, filled
from sqlalchemy import create_engine, inspect, text
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from mlflow_server import MLflowServer

from metatune.cli.main import app
from metatune.history.defects import Uneven
from metatune.history.foreign_runs import ForeignRuns
from metatune.history.mlflow_store import MLflowStore
from metatune.history.reader import settled, uneven
from metatune.knowledge import Knowledge
from metatune.mirror import refreshed_snapshot
from metatune.snapshot import snapshot_of

pytestmark = [needs_postgres, pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")]

CHAMPION = "models:/metatune-knowledge@champion"


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with cluster() as uri:
        yield uri


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps its files, and its log."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(database: str, artifacts: Path) -> Iterator[str]:
    with MLflowServer(database, artifacts) as running:
        running.start()
        yield running.uri


@pytest.fixture(autouse=True)
def environment(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a member of the team, who has told MLflow where the server is and metatune nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for name in ("SPOOL", "MIRROR", "CACHE"):
        monkeypatch.setenv(f"METATUNE_{name}", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


def said(*command: str, code: int = 0) -> dict[str, object]:
    """What the command says as JSON."""
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == code, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def rows_with(database: str, secret: str) -> list[str]:
    """The tables that have the text anywhere."""
    engine = create_engine(database)
    try:
        with engine.connect() as connection:
            return [
                table
                for table in inspect(engine).get_table_names()
                if connection.execute(
                    text(f'SELECT count(*) FROM "{table}" AS t WHERE CAST(t AS text) LIKE :secret'),
                    {"secret": f"%{secret}%"},
                ).scalar()
            ]
    finally:
        engine.dispose()


def files_with(folder: Path, secret: str) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log")
    return [path for path in files if secret in str(path) or secret.encode() in path.read_bytes()]


def test_publish_and_use(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knn_knowledge().save(tmp_path / "k")
    first = said("publish", "--knowledge", "k")
    assert (first["version"], first["champion"], first["address"]) == ("1", True, CHAMPION)
    again = said("publish", "--knowledge", "k")
    assert (again["version"], again["made"]) == ("1", False)
    Knowledge.build(knn_snapshot(tasks=1)).save(tmp_path / "cut")
    worse = said("publish", "--knowledge", "cut", code=6)
    assert (worse["version"], worse["champion"], worse["compared_with"]) == ("2", False, "models:/metatune-knowledge/1")
    assert MlflowClient(server).get_model_version_by_alias("metatune-knowledge", "champion").version in (1, "1")
    monkeypatch.setenv("METATUNE_KNOWLEDGE", CHAMPION)
    found = Knowledge.find()
    assert found.snapshot.digest == knn_knowledge().snapshot.digest
    assert found.surrogate("knn") is not None


def test_forget_through_the_server_and_then_for_good(
    server: str, database: str, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(MLflowStore(server), tmp_path)
    assert len(refreshed_snapshot(store).studies) == 3
    assert files_with(artifacts, SECRET)
    command = ["forget", "--task", SECRET, "--yes"]
    done = said(*command)
    assert (done["removed"], done["for_good"], done["trials"]) == (True, False, 10)
    assert files_with(artifacts, SECRET) == []
    for found in (store.studies(), snapshot_of(store).studies, refreshed_snapshot(store).studies):
        assert [study.id for study in found] == ["id-0-wine", "id-2-wine"]
    # What the command then says to do.
    assert rows_with(database, SECRET)
    again = said(*command, "--tracking-uri", database)
    assert (again["removed"], again["for_good"], again["trials"]) == (True, True, 10)
    assert rows_with(database, SECRET) == []
    assert said(*command)["removed"] is False
    # At once, and of somebody who does not say where the server is.
    by_user = ["forget", "--user", "bob", "--yes", "--tracking-uri", database]
    with monkeypatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        assert "MLFLOW_TRACKING_URI" in str(said(*by_user, code=4)["error"])
    assert said(*by_user)["for_good"] is True
    assert [(study.id, len(trials)) for study, trials in store.records()] == [("id-0-wine", 10)]


def test_forget_in_a_database_without_a_server(database: str, tmp_path: Path) -> None:
    store = filled(MLflowStore(database, "direct"), tmp_path)
    assert rows_with(database, SECRET)
    done = said("forget", "--user", "bob", "--experiment", "direct", "--tracking-uri", database, "--yes")
    assert (done["removed"], done["for_good"], done["trials"]) == (True, True, 20)
    assert rows_with(database, SECRET) == []
    assert files_with(tmp_path, SECRET) == []
    assert [(study.id, len(trials)) for study, trials in store.records()] == [("id-0-wine", 10)]
    assert settled(store)
    assert uneven(store) == Uneven((), (), ())


def test_import_of_runs_from_a_database(server: str, database: str) -> None:
    client = MlflowClient(server)
    experiment = client.create_experiment("by hand")
    run = client.create_run(experiment, tags={"dataset": "wine"})
    client.log_param(run.info.run_id, "rate", "0.1")
    client.log_metric(run.info.run_id, "auc", math.nan)
    client.log_inputs(run.info.run_id, [DatasetInput(Dataset("rows", "d1", "local", "s"))])
    by_tables, by_api = ForeignRuns(database), ForeignRuns(server)
    assert repr(list(by_tables.runs("by hand", experiment))) == repr(list(by_api.runs("by hand", experiment)))
    assert not by_tables._by_api
