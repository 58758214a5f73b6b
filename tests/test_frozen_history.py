"""Stores that earlier code wrote are read exactly, continued, and found whole; those of later code are refused."""

import contextlib
import gzip
import sqlite3
from dataclasses import replace

import pytest
from frozen_history import FOLDER, MISSING, studies, trials
from history_cases import runs, template
from mlflow.store.db.utils import _upgrade_db
from sqlalchemy import create_engine

from metatune.doctor import examine
from metatune.errors import StoreError
from metatune.history import schema
from metatune.history.mlflow_store import MLflowStore
from metatune.history.reader import open_reader
from metatune.knowledge import starter_directory
from metatune.mirror import Mirror
from metatune.snapshot import snapshot_of

# MLflow's connections to copied databases live as long as its engines, which is as long as the process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

NAMES = sorted(path.name.removesuffix(".db.gz") for path in FOLDER.glob("*.db.gz"))


def revision(file):
    """Of MLflow's own tables."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()


def thawed(name, folder):
    """A copy that can be written; what a newer MLflow asks of its users is done."""
    file = folder / "mlflow.db"
    file.write_bytes(gzip.decompress((FOLDER / f"{name}.db.gz").read_bytes()))
    if revision(file) != revision(template()):
        engine = create_engine(f"sqlite:///{file}")
        _upgrade_db(engine)
        engine.dispose()
    return f"sqlite:///{file}"


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_there_is_one_of_every_version():
    assert {name.split("-")[1] for name in NAMES} == {str(n) for n in range(1, schema.SCHEMA_VERSION + 1)}


def test_read_exactly(name, tmp_path):
    store = MLflowStore(thawed(name, tmp_path))
    missing = MISSING.get(name, ())
    assert list(store.records()) == [(study, trials(study.id, missing)) for study in studies()]
    assert not store.unreadable
    mirror = Mirror(tmp_path / "mirror")
    with open_reader(store, path="sql") as reader:
        assert mirror.refresh(reader).trials == 6
    assert mirror.snapshot().digest == snapshot_of(store).digest


def test_continued_and_whole(name, tmp_path):
    uri = thawed(name, tmp_path)
    store = MLflowStore(uri)
    known = trials("frozen-1", MISSING.get(name, ()))
    more = replace(known[0], number=5, key="another", best_step=3, reported=((1, 0.5),))
    store.open_study(studies()[0])
    store.add_trials("frozen-1", [*known, more])
    store.close_study("frozen-1", status="finished")
    again = MLflowStore(uri)
    assert again.trials("frozen-1") == [*known, more]
    assert len(runs(uri)) == 7
    assert len(runs(uri, "study")) == 2
    found = {check.name: check for check in examine(again, starter_directory())}
    assert "2 studies, 7 trials" in found["history"].found
    assert not {"abandoned studies", "half-written trials", "doubled runs", "lost trials", "unreadable runs"} & set(
        found
    )


def test_of_a_later_version(tmp_path, caplog):
    """Nothing is read as what it is not, nor written beside it; what is of this version stays usable."""
    uri = thawed("schema-1", tmp_path)
    later = schema.SCHEMA_VERSION + 1
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute(
            "UPDATE tags SET value = ? WHERE key = 'metatune.schema' AND run_uuid IN "
            "(SELECT run_uuid FROM tags WHERE key = 'metatune.study' AND value = 'frozen-1')", (str(later),),
        )  # fmt: skip
    connection.close()
    store = MLflowStore(uri)
    assert [study.id for study, _ in store.records()] == ["frozen-2"]
    assert len(store.unreadable) == 6
    assert "another version of the schema" in caplog.text
    with pytest.raises(StoreError, match="Update metatune") as caught:
        store.open_study(studies()[0])
    assert caught.value.value == str(later)
    assert len(runs(uri, "study")) == 2
    found = {check.name: check for check in examine(store, starter_directory())}
    assert found["unreadable runs"].state == "warning"
    assert "update metatune" in found["unreadable runs"].remedy
