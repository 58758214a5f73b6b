"""Nothing that is read runs code, leaves its folder or says more than it should: a hostile file of each kind is tried.

What pages do with texts is in ``test_report.py`` and ``test_report_backtest.py``, names that leave a folder are in
``test_publish.py``, and that no source of the package unpickles anything is in ``test_architecture.py``.
"""

import ast
import json
import os
import pickle
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from databases import empty_database
from memory_store import MemoryStore
from mlflow import MlflowClient
from planted import SPACE, planted_snapshot, record, study_of, utility
from published import resealed
from sklearn.datasets import load_iris
from typer.testing import CliRunner

from metatune.backtest.layout import read_description
from metatune.cli.main import app
from metatune.cli.tune import read_configurations
from metatune.errors import KnowledgeError, MetatuneError, StoreError, UsageError
from metatune.history.filters import tag_equals
from metatune.history.mlflow_store import MLflowStore
from metatune.history.spool import Destination, SpoolFile
from metatune.history.spool_reader import read as read_spool
from metatune.importers import import_table
from metatune.knowledge import Knowledge
from metatune.learners import get_family, load_model
from metatune.learners.evaluate import refit
from metatune.learners.saving import MANIFEST as MODEL_MANIFEST
from metatune.manifest import checked_names, sha256
from metatune.provenance import PROVENANCE_VARIABLE, provenance
from metatune.redaction import redacted
from metatune.segments import Segment, SegmentFolder, Version
from metatune.space import SearchSpace
from metatune.surrogate.packed import write_packed
from metatune.task import Task

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

PACKAGE = Path(__file__).parents[1] / "metatune"
DEEP = "[" * 100_000 + "]" * 100_000


class Bomb:
    """Unpickled, it makes a file in the folder named by an environment variable."""

    def __reduce__(self):
        return os.mkdir, (os.environ["METATUNE_TEST_BOMB"],)


@pytest.fixture
def bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bytes]:
    """Bytes that, unpickled, leave a trace; the test fails if there is one."""
    monkeypatch.setenv("METATUNE_TEST_BOMB", str(tmp_path / "exploded"))
    yield lambda: pickle.dumps(Bomb())
    assert not (tmp_path / "exploded").exists(), "a file that was read has run code"


@cache
def small() -> Knowledge:
    return Knowledge.build(planted_snapshot(tasks=3, trials=16))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small().save(tmp_path / "k")
    return tmp_path / "k"


def use(folder: Path) -> None:
    """Read all that a search reads."""
    known = Knowledge.load(folder)
    for family in known.families:
        known.surrogate(family)
    known.snapshot.records()


FILES = (
    "snapshot/studies.parquet",
    "snapshot/trials/planted.parquet",
    "surrogates/planted/design.npy",
    "surrogates/planted/scores.npy",
    "surrogates/planted/encoder.json",
    "surrogates/planted/surrogate.json",
    "surrogates/planted/cost.json.gz",
    "surrogates/planted/meta.txt.gz",
)


@pytest.mark.parametrize("name", FILES)
def test_a_pickle_is_refused_whatever_it_is_called(folder: Path, bomb: Callable[[], bytes], name: str) -> None:
    (folder / name).write_bytes(bomb())
    with pytest.raises(KnowledgeError):
        use(resealed(folder))


@pytest.mark.parametrize("name", ["design.npy", "scores.npy"])
def test_an_array_of_objects_is_refused(folder: Path, bomb: Callable[[], bytes], name: str) -> None:
    with (folder / "surrogates" / "planted" / name).open("wb") as file:
        np.lib.format.write_array(file, np.array([[Bomb()]], dtype=object), allow_pickle=True)
    with pytest.raises(KnowledgeError, match="cannot be read"):
        use(resealed(folder))


def test_an_archive_in_place_of_an_array_is_refused(folder: Path) -> None:
    with (folder / "surrogates" / "planted" / "scores.npy").open("wb") as file:
        np.savez(file, scores=np.zeros(3))
    with pytest.raises(KnowledgeError, match="cannot be read"):
        use(resealed(folder))


@pytest.mark.parametrize(
    "text", ["", "garbage", "tree\nversion=v4\nnum_class=1\nTree=0\nnum_leaves=999999999\n", "\0" * 99]
)
def test_garbage_in_place_of_trees_is_refused(folder: Path, text: str) -> None:
    write_packed(folder / "surrogates" / "planted" / "meta.txt.gz", text)
    with pytest.raises(KnowledgeError):
        use(resealed(folder))


@pytest.mark.parametrize("cut", [0, 1, 9, 500, -1])
def test_a_packed_file_that_ends_too_soon_is_refused(folder: Path, cut: int) -> None:
    path = folder / "surrogates" / "planted" / "meta.txt.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(KnowledgeError, match="cannot"):
        use(resealed(folder))


def test_a_packed_file_does_not_fill_the_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packed(folder / "surrogates" / "planted" / "cost.json.gz", " " * 2_000_001)
    monkeypatch.setattr("metatune.surrogate.packed.MOST_BYTES", 2_000_000)
    with pytest.raises(KnowledgeError, match=r"cost.json.gz unpacks to more than 2,000,000 bytes"):
        use(resealed(folder))


@pytest.mark.parametrize("name", ["surrogates/planted/encoder.json", "surrogates/planted/surrogate.json"])
@pytest.mark.parametrize("text", [DEEP, "{}", "null", '{"tasks": 3}', "{", "NaN"])
def test_json_that_is_too_deep_or_something_else_is_refused(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(KnowledgeError):
        use(resealed(folder))


@pytest.mark.parametrize("text", [DEEP, '{"version": 2, "files": ' + DEEP + "}", '{"version": 2, "files": [1]}', "[]"])
def test_a_hostile_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(KnowledgeError):
        use(folder)


def test_a_file_that_the_manifest_does_not_list_is_not_read(folder: Path) -> None:
    (folder / "surrogates" / "planted" / "curves.json.gz").write_bytes(b"")
    with pytest.raises(KnowledgeError, match="not in the manifest"):
        use(folder)


def test_a_table_that_points_out_of_its_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "snapshot" / "trials" / "planted.parquet", tmp_path / "other.parquet")
    path = folder / "snapshot" / "studies.parquet"
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"metatune"])
    meta["families"]["planted"]["file"] = "../../../other.parquet"
    pq.write_table(table.replace_schema_metadata({b"metatune": json.dumps(meta)}), path)
    with pytest.raises(KnowledgeError, match="does not stay inside"):
        use(resealed(folder))


def test_a_record_that_is_too_deep_is_refused(folder: Path) -> None:
    path = folder / "snapshot" / "studies.parquet"
    table = pq.read_table(path)
    index = table.column_names.index("record")
    deep = pa.array([DEEP] * table.num_rows)
    pq.write_table(table.set_column(index, "record", deep).replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises((KnowledgeError, StoreError)):
        use(resealed(folder))


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../b", "..", ".", "", "a//b", "C:\\x", "a\0b", "~/x/..", 7]
)
def test_names_in_manifests_stay_inside(name: object) -> None:
    with pytest.raises(KnowledgeError):
        checked_names({name: "0" * 64})


def hostile_segments(folder: Path, text: str) -> None:
    (folder / "manifest-00000001.json").write_text(text)
    SegmentFolder(folder).current()


def hostile_spool(folder: Path, text: str) -> None:
    (folder / "1-1.jsonl").write_text(text + "\n")
    if read_spool(folder / "1-1.jsonl").destination is None:
        raise StoreError("left alone", field="", value="", remedy="")


def hostile_line_of_a_spool(folder: Path, text: str) -> None:
    file = SpoolFile(folder, Destination("memory", "metatune"))
    file.close(remove=False)
    with file.path.open("a") as opened:
        opened.write(text + "\n")
    content = read_spool(file.path)
    if content.unreadable or content.cut:
        raise StoreError("set aside", field="", value="", remedy="")


def hostile_file(read: Callable[[Path], object]) -> Callable[[Path, str], None]:
    def tried(folder: Path, text: str) -> None:
        (folder / "x.json").write_text(text)
        read(folder / "x.json")

    return tried


@pytest.mark.parametrize("text", [DEEP, '{"a": ' + DEEP + "}", "[3]", "{"], ids=["deep", "inside", "list", "cut"])
@pytest.mark.parametrize(
    "tried",
    [
        hostile_segments, hostile_spool, hostile_line_of_a_spool, hostile_file(read_configurations),
        hostile_file(read_description), hostile_file(lambda path: SearchSpace.from_json(path.read_text())),
    ],
    ids=["mirror", "spool", "line", "warm start", "backtest", "space"],
)  # fmt: skip
def test_json_that_is_too_deep_or_something_else_is_an_error_everywhere(
    tmp_path: Path, tried: Callable[[Path, str], None], text: str
) -> None:
    with pytest.raises(MetatuneError):
        tried(tmp_path, text)


@pytest.mark.parametrize("name", ["../x.parquet", "/etc/passwd", "a/../../b"])
def test_the_segments_of_a_mirror_stay_inside(tmp_path: Path, name: str) -> None:
    mirror = SegmentFolder(tmp_path)
    mirror.commit(Version(segments=(Segment("x.parquet", "f", 1),)))
    (path,) = tmp_path.glob("manifest-*.json")
    path.write_text(path.read_text().replace("x.parquet", name))
    with pytest.raises(KnowledgeError, match="does not stay inside"):
        mirror.current()


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv", ".pkl"])
def test_data_are_not_unpickled(tmp_path: Path, bomb: Callable[[], bytes], suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(bomb())
    with pytest.raises(MetatuneError):
        Task.from_file(path, "y")
    if suffix == ".npz":
        np.savez(path, X=np.array([[Bomb()]] * 60, dtype=object), y=np.arange(60) % 2)
        with pytest.raises(MetatuneError):
            Task.from_file(path, "y")


def test_types_that_a_table_brings_along_are_not_unpickled(tmp_path: Path, bomb: Callable[[], bytes]) -> None:
    """As in CVE-2023-47248: a column may name a type of its own, whose description once was a pickle."""
    own = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": bomb()}
    columns = [pa.field("x", pa.float64(), metadata=own), pa.field("y", pa.int64())]
    x, y = pa.array(np.arange(60.0)), pa.array(np.arange(60) % 2)
    pq.write_table(pa.table([x, y], schema=pa.schema(columns)), tmp_path / "data.parquet")
    assert pq.read_schema(tmp_path / "data.parquet").field("x").metadata[b"ARROW:extension:metadata"] == bomb()
    Task.from_file(tmp_path / "data.parquet", "y")
    import_table(tmp_path / "data.parquet", MemoryStore(), metric="y", direction="maximize")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random forest as metatune saves it."""
    folder = tmp_path_factory.mktemp("model")
    family = get_family("random_forest")
    task = Task.from_dataframe(load_iris(as_frame=True).frame, "target")
    refit(task, family, family.default(), best_step=None).save(folder)
    return folder


def test_models_with_unknown_types_are_refused(saved: Path, tmp_path: Path, bomb: Callable[[], bytes]) -> None:
    for content in (skops.io.dumps({"model": Path}), bomb(), skops.io.dumps({"f": os.system})):
        folder = tmp_path / "m"
        shutil.copytree(saved, folder, dirs_exist_ok=True)
        (folder / "model.skops").write_bytes(content)
        signed_again(folder)
        with pytest.raises(KnowledgeError):
            load_model(folder)


def signed_again(folder: Path) -> None:
    manifest = json.loads((folder / MODEL_MANIFEST).read_text())
    manifest["files"] = {name: sha256(folder / name) for name in manifest["files"]}
    (folder / MODEL_MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("text", [DEEP, "{}", '{"format": 1, "family": "../x", "files": {}, "state": {}}'])
def test_hostile_model_manifests_are_refused(saved: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(saved, tmp_path / "m")
    (tmp_path / "m" / MODEL_MANIFEST).write_text(text)
    with pytest.raises(MetatuneError):
        load_model(tmp_path / "m")


def test_no_source_reads_yaml_or_starts_a_shell() -> None:
    """What ``test_architecture.py`` does not look for."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert (ast.unparse(node.value), node.attr) not in {
                    ("yaml", "load"), ("yaml", "unsafe_load"), ("os", "system"), ("os", "popen"), ("torch", "load"),
                }, path  # fmt: skip
            if isinstance(node, ast.keyword) and node.arg in ("shell", "safe_mode", "trust_remote_code"):
                assert ast.unparse(node.value) == ("True" if node.arg == "safe_mode" else "False"), path


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("postgresql://ann:s3cr3t@db.example/history", "postgresql://***@db.example/history"),
        ("https://ann:s3%40cr3t@host:5000/x?token=s3cr3t&n=3", "https://***@host:5000/x?token=***&n=3"),
        ("postgresql+psycopg2://s3cr3t:p@ss@db/h", "postgresql+psycopg2://***@db/h"),
        ("cannot reach https://s3cr3t@host: timed out", "cannot reach https://***@host: timed out"),
        ("password=s3cr3t host=db", "password=*** host=db"),
        ("postgresql://h/db?user=s3cr3t&pass=s3cr3t&n=3", "postgresql://h/db?user=***&pass=***&n=3"),
        ("https://h/a?Signature=s3cr3t&x-amz-credential=s3cr3t", "https://h/a?Signature=***&x-amz-credential=***"),
        ("KeyError: key=3, sigma=0.5", "KeyError: key=3, sigma=0.5"),
        ("AWS_SECRET_ACCESS_KEY='s3cr3t x' n=1", "AWS_SECRET_ACCESS_KEY=*** n=1"),
        ("sqlite:///folder/mlflow.db", "sqlite:///folder/mlflow.db"),
        ("sqlite:///a.db?user=s3cr3t'", "sqlite:///a.db?user=***'"),
        ("mail ann@example.org, learning_rate=0.1", "mail ann@example.org, learning_rate=0.1"),
    ],
)
def test_credentials_are_left_out(text: str, kept: str) -> None:
    assert redacted(text) == kept
    error = StoreError(text, field=text, value=text, remedy=text)
    assert "s3cr3t" not in f"{error} {error.args}"


@pytest.mark.parametrize("part", ["x", "a-", "a.b-c", "http://", "?pass", "token"])
def test_credentials_are_looked_for_in_long_texts_without_spaces(part: str) -> None:
    """Errors may hold dumped bytes: time that grew with the square of their length, minutes here, stopped a search."""
    start = time.perf_counter()
    assert redacted(part * 40_000 + " password=hidden").endswith(" password=***")
    assert time.perf_counter() - start < 2


def test_a_command_that_fails_does_not_print_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small().save(tmp_path / "metatune-knowledge")
    uri = "postgresql://ann:s3cr3t@127.0.0.1:9/history"
    for command in (["history"], ["doctor"], ["train"], ["export", "out"], ["forget", "--task", "x"], ["publish"]):
        option = "--registry" if command == ["publish"] else "--tracking-uri"
        said = CliRunner().invoke(app, [*command, option, uri, "--json"])
        assert said.exit_code != 0
        assert "127.0.0.1" in said.output
        assert "s3cr3t" not in said.output, command


TEXTS = (
    "plain",
    "it's",
    'say "hi"',
    "back\\slash",
    "end\\",
    "x' OR 'a'='a",
    "per%cent",
    "_",
    "`tick`",
    "a\nb",
    "ünï; --",
)


def test_filters_find_exactly_the_text_whatever_is_in_it(tmp_path: Path) -> None:
    client = MlflowClient(empty_database(tmp_path))
    experiment = client.create_experiment("e", artifact_location=str(tmp_path))
    for text in TEXTS:
        client.create_run(experiment, tags={"t": text})
    for text in TEXTS:
        found = client.search_runs([experiment], tag_equals("t", text))
        assert [run.data.tags["t"] for run in found] == [text]
    with pytest.raises(UsageError, match="both kinds of quotes"):
        tag_equals("t", "both ' and \"")


def test_only_the_helper_puts_values_into_filters() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "filters.py":
            assert not re.search(r"tags\.`[^`\n]*`\s*(=|!=|LIKE)\s*['\"]\{", path.read_text()), path


def test_only_declared_parameters_become_params(tmp_path: Path) -> None:
    store = MLflowStore(empty_database(tmp_path))
    study, trials = study_of(record("t"), utility, configurations=SPACE.sample(1, 0))
    trials = [replace(t, configuration={**t.configuration, "api_key": "s3cr3t"}) for t in trials]
    store.open_study(study)
    store.add_trials(study.id, trials)
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name("metatune").experiment_id
    params = [run.data.params for run in client.search_runs([experiment])]
    assert not any("api_key" in one for one in params)
    assert any("kind" in one for one in params)


def test_what_is_kept_of_the_maker_is_what_the_user_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    assert provenance("user") == {"user": "ann"}
    assert provenance("none") == provenance("") == {}
    assert set(provenance("all")) >= {"user", "host"}
    monkeypatch.delenv(PROVENANCE_VARIABLE, raising=False)
    assert "host" not in provenance()
    monkeypatch.setenv(PROVENANCE_VARIABLE, "host")
    assert set(provenance()) == {"host"}
    with pytest.raises(UsageError, match=PROVENANCE_VARIABLE):
        provenance("user,address")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance("code") == {}
    author = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    for words in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], check=True)
    (commit,) = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.split()
    assert provenance("code") == {"code": commit}
    monkeypatch.setenv("PATH", "")
    assert provenance("code") == {}
