"""Many processes record at once: every trial is there, once, and no process ends badly."""

import sys
from pathlib import Path

import pytest
from postgres import cluster, needs_postgres
from sqlalchemy import create_engine, text
from sqlalchemy.exc import InternalError
from writers import write

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from mlflow_server import MLflowServer

from metatune.history.address import Address
from metatune.history.mlflow_store import MLflowStore
from metatune.history.reader import open_reader
from metatune.history.sql_reader import SqlReader
from metatune.mirror import Mirror
from metatune.snapshot import snapshot_of

# MLflow's connections live as long as its engines, which is as long as the process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

SCALES = [pytest.param(3, 5, id="few"), pytest.param(None, 50, id="many", marks=pytest.mark.slow)]


def assert_complete(uri, folder, writers, trials):
    """Trials = asked, no duplicates among the runs, and the copy by SQL and by the API is the history."""
    store = MLflowStore(uri)
    with store.runs() as find:
        runs = list(find("trial"))
    keys = sorted(run.data.tags["metatune.trial_key"] for run in runs)
    assert keys == sorted(f"{writer}-{n}" for writer in range(writers) for n in range(trials))
    assert {run.info.status for run in runs} == {"FINISHED"}
    for path in ("sql", "api") if not uri.startswith("http") else ("api",):
        mirror = Mirror(folder / path)
        with open_reader(store, path=path) as reader:
            assert mirror.refresh(reader).trials == writers * trials
        assert mirror.snapshot().digest == snapshot_of(store).digest


@pytest.mark.parametrize(("writers", "trials"), SCALES)
def test_sqlite(tmp_path, writers, trials):
    """Eight at full scale; the file does not exist when they begin."""
    writers = writers or 8
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert write(uri, writers, trials) == [0] * writers
    assert_complete(uri, tmp_path, writers, trials)


@pytest.fixture(scope="module")
def database():
    with cluster() as uri:
        yield uri


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    """A real MLflow server on the database."""
    with MLflowServer(database, tmp_path_factory.mktemp("server")) as running:
        running.start()
        yield running.uri


@needs_postgres
@pytest.mark.parametrize(("writers", "trials"), SCALES)
def test_server_on_postgresql(server, database, tmp_path, writers, trials):
    """Sixteen at full scale."""
    writers = writers or 16
    engine = create_engine(database)
    with engine.begin() as connection:  # of the scale that ran before
        connection.execute(text("TRUNCATE runs CASCADE"))
    engine.dispose()
    assert write(server, writers, trials) == [0] * writers
    assert_complete(server, tmp_path / "server", writers, trials)
    assert_complete(database, tmp_path / "database", writers, trials)
    with SqlReader(Address.of(database), "metatune") as reader, pytest.raises(InternalError, match="read-only"):
        reader._connection.execute(text("DELETE FROM tags"))
