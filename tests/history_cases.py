"""Studies and trials for the tests of the history, and an empty MLflow database that is made once per session."""

import functools
import math
import shutil
import sqlite3
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import ViewType

from metatune.history.mlflow_store import MLflowStore
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial


def study(id="study-1", **task):
    fields = {
        "name": "wine",
        "kind": "regression",
        "metric": Metric.of("rmse", "regression"),
        "fingerprint": "0123456789abcdef" * 2,
        "metafeatures": {"n_rows": 178.0, "skew": math.nan},
    } | task
    space = SearchSpace({"rate": {"low": 1e-4, "high": 1.0, "log": True}, "booster": ["a", "b"]})
    return StudyRecord(task=TaskRecord(**fields), family="lightgbm", space=space, id=id, created=1.7e9)


def trial(number, **fields):
    fields = {"status": "complete", "value": 0.1 + number, "started": 1.7e9 + number, "seconds": 0.25} | fields
    fields = {"configuration": {"rate": 0.1, "booster": "a"}, "number": number, "key": f"key-{number}"} | fields
    return Trial(**fields)


@functools.cache
def template():
    """An empty MLflow database; to make one takes seconds."""
    file = Path(tempfile.mkdtemp(prefix="metatune-tests-")) / "mlflow.db"
    MLflowStore(f"sqlite:///{file}").open_study(study("template"))
    with sqlite3.connect(file) as connection:
        for table in ("tags", "inputs", "datasets", "runs", "experiment_tags"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM experiments WHERE name = 'metatune'")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file


def new_database(folder):
    """The URI of a copy of the template."""
    shutil.copy(template(), folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


def runs(uri, record="trial", view=ViewType.ACTIVE_ONLY):
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("metatune").experiment_id
    return list(client.search_runs([experiment], f"tags.`metatune.record` = '{record}'", view))
