"""A published knowledge behind MLflow's model server: what it is asked and what it answers."""

import contextlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from databases import empty_database
from published import knn_knowledge

from metatune.errors import KnowledgeError, UsageError
from metatune.history.registry import Registry
from metatune.publish import publish
from metatune.recommender import recommend_for
from metatune.serving import Recommender, _load_pyfunc, _record

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

FEATURES = {"log_rows": 6.0, "log_classes": 1.0}
ROW = {"family": "knn", "n": 2, "kind": "binary", "metric": "accuracy", "metafeatures": FEATURES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("served") / "k"
    knn_knowledge().save(place)
    return place


@pytest.fixture(scope="module")
def recommender(folder: Path) -> Recommender:
    return _load_pyfunc(str(folder))


def test_a_row_gives_configurations_with_their_evidence(recommender: Recommender) -> None:
    (answer,) = recommender.predict(pd.DataFrame([ROW]))
    json.dumps(answer, allow_nan=False)
    first = answer["recommendations"][0]  # type: ignore[index]
    assert first["configuration"]["n_neighbors"] > 50  # what all known tasks like
    low, expected, high = first["better_than"]
    assert 0.0 <= low <= expected <= high <= 1.0
    assert expected > 0.7
    assert answer["tasks"] == 4
    assert answer["trials"] == 96
    assert len(answer["recommendations"]) <= 2  # type: ignore[arg-type]
    assert answer["similar_tasks"]


def test_a_task_record_asks_the_same_as_its_fields(recommender: Recommender) -> None:
    task = {"name": "t", "kind": "binary", "metric": {"name": "accuracy"}, "metafeatures": FEATURES}
    assert recommender.predict([{"family": "knn", "n": 2, "task": task}]) == recommender.predict([ROW])


def test_rows_are_answered_apart_and_may_lack_fields(recommender: Recommender) -> None:
    both = recommender.predict(pd.DataFrame([ROW, {"family": "knn", "kind": "binary"}]))
    assert [both[0]] == recommender.predict([ROW])
    assert len(both) == 2


def test_it_says_what_recommend_says(recommender: Recommender) -> None:
    found = recommend_for(_record(ROW), "knn", 2, knowledge=knn_knowledge())
    assert recommender.predict([ROW])[0]["recommendations"] == found.to_dict()["recommendations"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"family": None}, "family"),
        ({"family": "../knn"}, "family"),
        ({"n": 0}, "n"),
        ({"n": 10**9}, "n"),
        ({"n": "3"}, "n"),
        ({"kind": "clustering"}, "kind"),
        ({"metric": "niceness"}, "metric"),
        ({"kind": "custom", "metric": "cost"}, "metric"),
        ({"kind": "custom", "metric": "auc", "direction": "minimize"}, "direction"),
        ({"metafeatures": ["a"]}, "metafeatures"),
        ({"metafeatures": {"log_rows": "x"}}, "log_rows"),
        ({"task": "t"}, "task"),
        ({"rows": -1}, "rows"),
        ({"command": "x"}, "command"),
    ],
)
def test_a_bad_request_names_the_field(recommender: Recommender, change: dict[str, object], field: str) -> None:
    with pytest.raises(UsageError, match=field):
        recommender.predict([{**ROW, **change}])


@pytest.mark.parametrize("given", ["text", [1, 2], 7, None])
def test_what_is_not_rows_is_refused(recommender: Recommender, given: object) -> None:
    with pytest.raises(UsageError, match="rows with named fields"):
        recommender.predict(given)


def test_nan_and_infinity_are_answered(recommender: Recommender) -> None:
    row = ROW | {"metafeatures": {"log_rows": math.nan, "log_classes": math.inf, "unknown": 1.0}}
    json.dumps(recommender.predict([row]), allow_nan=False)


def test_a_damaged_folder_is_not_served(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "k"
    shutil.copytree(folder, broken)
    (broken / "surrogates" / "knn" / "design.npy").write_bytes(b"cut")
    with pytest.raises(KnowledgeError, match=r"design\.npy"):
        _load_pyfunc(str(broken))


def test_a_published_version_holds_no_code(folder: Path, tmp_path: Path) -> None:
    version = publish(folder, registry=Registry(empty_database(tmp_path))).version
    files = [path for path in Path(version.source.removeprefix("file://")).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {"", ".gz", ".txt", ".json", ".npy", ".parquet"}
    described = next(path for path in files if path.name == "MLmodel").read_text()
    assert "loader_module: metatune.serving" in described
    assert "code" not in described


@pytest.mark.slow
def test_mlflow_serves_a_recommendation(folder: Path, tmp_path: Path) -> None:
    """The command of docs/serving.md, asked over HTTP."""
    uri = empty_database(tmp_path)
    publish(folder, registry=Registry(uri))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/metatune-knowledge@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "server.log").open("w") as log:
        # MLflow calls `uvicorn` by its name.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(Path(__file__).parents[1]), "PATH": path}
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    try:
        body = json.dumps({"dataframe_records": [ROW]}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, headers)
        answer = answered(request, server, tmp_path / "server.log")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    (found,) = answer["predictions"]
    assert found["recommendations"][0]["configuration"]["n_neighbors"] > 50
    assert len(found["recommendations"][0]["better_than"]) == 3
    assert found["tasks"] == 4


def answered(request: urllib.request.Request, server: subprocess.Popen[bytes], log: Path):
    """The answer, as soon as the server is up."""
    end = time.monotonic() + 120.0
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.read().decode()}\n{log.read_text()[-2000:]}") from error
        except OSError:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.5)
