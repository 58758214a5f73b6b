"""Importing MLflow runs: what the real libraries logged, and what people log by hand."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from memory_store import MemoryStore, custom
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag

from metatune.errors import StoreError, UnknownNameError, UsageError
from metatune.history.foreign_run import ForeignRun
from metatune.history.foreign_runs import ForeignRuns
from metatune.history.mlflow_store import MLflowStore
from metatune.importers import autolog, import_mlflow
from metatune.importers.mapping import RunMapping, mapping_for, read_mappings
from metatune.snapshot import snapshot_of
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.trial import Trial

STRANGER = Path(__file__).with_name("stranger.py")


def logged(folder: Path, *parts: str) -> str:
    uri = f"sqlite:///{folder}/runs.db"
    command = [sys.executable, "-W", "ignore", str(STRANGER), uri, str(folder), *parts]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return uri


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    parts = ("grid", "random", "losses", "plain", "boosting", "by_hand", "network")
    return logged(tmp_path_factory.mktemp("stranger"), *parts)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    return MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('own') / 'own.db'}")


def add_run(client, experiment, params, metrics, *, status="FINISHED", tags=None):
    run = client.create_run(experiment, tags=tags or {})
    for name, value in params.items():
        client.log_param(run.info.run_id, name, value)
    for name, value in metrics.items():
        client.log_metric(run.info.run_id, name, value)
    if status != "RUNNING":
        client.set_terminated(run.info.run_id, status)
    return run.info.run_id


def imported(uri, experiment, **mapping):
    store = MemoryStore()
    report = import_mlflow(uri, store, experiments=[experiment], mappings=[RunMapping(**mapping)])
    return report, [(study, store.trials(study.id)) for study in store.studies()]


def a_run(**fields) -> ForeignRun:
    usual = {"id": "r", "name": "", "experiment": "e", "parent": None, "status": "FINISHED", "started": 0.0,
             "ended": 1.0, "params": {}, "metrics": {}, "tags": {}, "dataset": None}  # fmt: skip
    return ForeignRun(**{**usual, **fields})


# --- what the libraries log by themselves


def test_a_grid_search_gives_all_candidates_not_the_five_that_have_runs(uri: str) -> None:
    report, [(study, trials)] = imported(uri, "grid")
    assert len(trials) == 12
    assert report.skipped == {"child run of a scikit-learn search: its cv_results.csv has all candidates": 5}
    assert (study.family, study.task.metric.name, study.task.metric.direction) == (
        "decision_tree", "accuracy", "maximize",
    )  # fmt: skip
    assert {trial.configuration["max_depth"] for trial in trials} == {1, 2, 3, None}
    assert {trial.configuration["min_samples_leaf"] for trial in trials} == {1, 5, 20}
    assert min(trial.value for trial in trials) < 0.7 < 0.95 < max(trial.value for trial in trials)
    assert all(0 < trial.seconds < 10 for trial in trials)


def test_a_random_search_over_a_pipeline_is_read_as_a_search_of_its_model(uri: str) -> None:
    _, [(study, trials)] = imported(uri, "random")
    assert (study.family, study.task.metric.name, len(trials)) == ("svm", "balanced_accuracy", 7)
    assert set(study.space) == {"C", "kernel"}
    assert study.space["C"].log
    assert all(isinstance(trial.configuration["C"], float) for trial in trials)


def test_negated_losses_are_imported_as_losses(uri: str) -> None:
    _, [(study, trials)] = imported(uri, "losses")
    assert (study.task.metric.name, study.task.metric.direction) == ("mse", "minimize")
    assert all(trial.value > 0 for trial in trials)


@pytest.mark.parametrize("metric", ["mse", "neg_mean_squared_error", "best_cv_score"])
def test_naming_the_metric_of_a_search_does_not_turn_it_round(uri: str, metric: str) -> None:
    expected = [trial.value for trial in imported(uri, "losses")[1][0][1]]
    _, [(study, trials)] = imported(uri, "losses", metric=metric)
    assert (study.task.metric.name, study.task.metric.direction) == ("mse", "minimize")
    assert [trial.value for trial in trials] == expected


def test_a_search_by_another_metric_is_not_taken_for_the_one_that_is_asked_for(uri: str) -> None:
    report, studies = imported(uri, "losses", metric="rmse")
    assert studies == []
    assert "scikit-learn search by 'neg_mean_squared_error', not 'rmse'" in report.skipped


def test_folds_are_counted_once_where_a_search_had_several_metrics() -> None:
    row = {"params": "{'a': 1}", "mean_fit_time": "2.0", "mean_score_time": "1.0", "mean_test_f1": "0.5"}
    row |= {f"split{fold}_test_{name}": "0.5" for fold in range(3) for name in ("f1", "auc")}
    [found] = autolog.candidates(a_run(params={"refit": "f1"}), [row])
    assert (found.value, found.seconds) == (0.5, 9.0)


def test_one_dataset_is_one_task_in_all_experiments(uri: str) -> None:
    tasks = {imported(uri, name)[1][0][0].task.fingerprint for name in ("grid", "random")}
    assert len(tasks) == 1


def test_training_scores_are_refused(uri: str) -> None:
    report, studies = imported(uri, "plain")
    assert studies == []
    assert sum(report.refused.values()) == 1
    assert all("training" in name for name in report.refused)


def test_the_step_that_lightgbm_repeats_after_early_stopping_is_dropped(uri: str) -> None:
    report, [(study, trials)] = imported(uri, "boosting")
    runs = {run.params["learning_rate"]: run for run in ForeignRuns(uri).runs("", _id(uri, "boosting"))}
    assert (study.family, study.task.metric.name) == ("lightgbm", "log_loss")
    assert report.aliases == {"lightgbm": {"num_boost_round": "n_estimators"}}
    assert len(trials) == 2
    for trial in trials:
        run = runs[str(trial.configuration["learning_rate"])]
        assert len(trial.curve) == run.metrics["stopped_iteration"]
        assert trial.best_step == run.metrics["best_iteration"]
        assert trial.value == trial.curve[trial.best_step - 1]
        assert set(trial.metrics) == {"roc_auc"}
        assert trial.metrics["roc_auc"] == run.metrics["valid-auc"]


def _id(uri: str, experiment: str) -> str:
    return ForeignRuns(uri).experiments([experiment])[experiment]


def test_keras_counts_by_its_validation_rows_once(uri: str) -> None:
    report, [(study, trials)] = imported(uri, "network")
    stopped, whole = sorted(trials, key=lambda trial: -trial.configuration["learning_rate"])
    assert study.family == "keras"
    assert (study.task.metric.name, study.task.metric.direction) == ("loss", "minimize")
    assert any("architecture" in note for note in report.notes)
    assert (stopped.configuration["learning_rate"], whole.configuration["learning_rate"]) == (0.05, 0.001)
    assert set(whole.metrics) == {"accuracy"}
    assert whole.best_step is None
    assert (len(whole.curve), whole.value) == (2, whole.curve[-1])
    run = next(run for run in ForeignRuns(uri).runs("", _id(uri, "network")) if "restored_epoch" in run.metrics)
    assert len(stopped.curve) == run.metrics["stopped_epoch"] + 1
    assert stopped.best_step == run.metrics["restored_epoch"] + 1
    assert stopped.value == stopped.curve[stopped.best_step - 1] == min(stopped.curve)
    assert stopped.value != run.metrics["validation_loss"]


# --- runs logged by hand


def test_nested_runs_are_one_study(uri: str) -> None:
    report, [(study, trials)] = imported(uri, "by_hand", family="xgboost")
    assert (study.task.name, study.family, study.task.metric.name) == ("churn", "xgboost", "roc_auc")
    assert [trial.status for trial in trials] == ["complete"] * 4 + ["failed"]
    assert report.skipped == {"parent run: its child runs are the trials": 1}
    assert set(study.space) == {"learning_rate", "max_depth", "booster"}
    assert study.space["learning_rate"].log
    assert trials[0].configuration == {"learning_rate": 1.0, "max_depth": 1, "booster": "gbtree"}
    assert isinstance(trials[0].configuration["learning_rate"], float)
    assert isinstance(trials[0].configuration["max_depth"], int)
    assert report.ignored == {"seed": "not a hyperparameter"}
    assert all(set(trial.metrics) <= {"roc_auc"} for trial in trials)


@pytest.mark.parametrize("gone", [False, True])
def test_the_jobs_of_a_sweep_that_hold_one_run_each_are_one_study(client: MlflowClient, gone: bool) -> None:
    experiment = client.create_experiment(f"jobs {gone}")
    sweep = "gone" if gone else add_run(client, experiment, {}, {})
    for x in range(3):
        job = add_run(client, experiment, {}, {}, tags={"mlflow.parentRunId": sweep})
        add_run(client, experiment, {"x": x}, {"accuracy": 0.5 + x / 10}, tags={"mlflow.parentRunId": job})
    report, [(_, trials)] = imported(client.tracking_uri, f"jobs {gone}")
    assert sorted(trial.configuration["x"] for trial in trials) == [0, 1, 2]
    assert report.skipped == {"parent run: its child runs are the trials": 3 if gone else 4}


def test_the_folds_of_a_run_that_has_a_score_do_not_join_its_study(client: MlflowClient) -> None:
    experiment = client.create_experiment("folds")
    sweep = add_run(client, experiment, {}, {})
    for x in range(3):
        run = add_run(client, experiment, {"x": x}, {"accuracy": 0.5}, tags={"mlflow.parentRunId": sweep})
        for fold in range(2):
            tags = {"mlflow.parentRunId": run}
            add_run(client, experiment, {"x": x, "fold": fold}, {"accuracy": 0.4 + fold / 5}, tags=tags)
    _, studies = imported(client.tracking_uri, "folds")
    assert sorted(len(trials) for _, trials in studies) == [2, 2, 2, 3]


def test_the_dataset_that_only_the_parent_run_names_is_that_of_its_children(client: MlflowClient) -> None:
    experiment = client.create_experiment("parents")
    for name in ("wine", "beer"):
        parent = add_run(client, experiment, {"dataset": name}, {})
        for i in range(2):
            tags = {"mlflow.parentRunId": parent}
            add_run(client, experiment, {"x": i}, {"accuracy": 0.5 + i / 10}, tags=tags)
    add_run(client, experiment, {"x": 1}, {"accuracy": 0.4}, tags={"mlflow.parentRunId": "gone"})
    _, studies = imported(client.tracking_uri, "parents")
    assert sorted((study.task.name, len(trials)) for study, trials in studies) == [
        ("beer", 2),
        ("parents", 1),
        ("wine", 2),
    ]


def test_the_metric_must_be_named_where_several_could_be_meant(client: MlflowClient) -> None:
    experiment = client.create_experiment("several")
    add_run(client, experiment, {"x": 1}, {"precision": 0.1, "recall": 0.9})
    uri = client.tracking_uri
    assert imported(uri, "several")[0].skipped == {
        "several metrics (precision, recall): say with --metric which one counts": 1
    }
    _, [(_, [trial])] = imported(uri, "several", metric="recall")
    assert (trial.value, dict(trial.metrics)) == (0.9, {"precision": 0.1})


def test_a_metric_that_everybody_knows_is_not_imported_with_the_contrary_direction(
    uri: str, client: MlflowClient
) -> None:
    experiment = client.create_experiment("contrary")
    for x in range(3):
        add_run(client, experiment, {"x": x}, {"rmse": 2.0 + x})
    report, studies = imported(client.tracking_uri, "contrary", metric="rmse", direction="maximize")
    assert studies == []
    [(reason, count)] = report.skipped.items()
    assert count == 3
    assert "'rmse' is better when it is lower" in reason
    report, studies = imported(uri, "losses", metric="mse", direction="maximize")
    assert studies == []
    assert "scikit-learn search by 'neg_mean_squared_error', not 'mse' to maximize" in report.skipped


def test_an_unknown_metric_needs_a_direction(client: MlflowClient) -> None:
    experiment = client.create_experiment("profit")
    add_run(client, experiment, {"x": 1}, {"profit": 12.0})
    uri = client.tracking_uri
    assert sum(imported(uri, "profit")[0].skipped.values()) == 1
    assert imported(uri, "profit", metric="profit")[0].imported == 0
    assert dict(imported(uri, "profit", metric="nope")[0].skipped) == {"no metric 'nope': there is profit": 1}
    _, [(study, _)] = imported(uri, "profit", metric="profit", direction="maximize")
    assert (study.task.metric.name, study.task.metric.direction) == ("profit", "maximize")


def test_a_training_metric_cannot_be_asked_for() -> None:
    for name in ("train_auc", "training_score", "loss/train", "train-logloss"):
        with pytest.raises(UsageError, match="training rows"):
            RunMapping(metric=name)


def test_runs_without_a_usable_score_are_counted_by_reason(client: MlflowClient) -> None:
    experiment = client.create_experiment("mixed")
    add_run(client, experiment, {"x": 1}, {"auc": 0.5})
    add_run(client, experiment, {"x": 2}, {"auc": math.nan})
    add_run(client, experiment, {"x": 3}, {}, status="KILLED")
    add_run(client, experiment, {"x": 4}, {}, status="RUNNING")
    add_run(client, experiment, {"x": 5}, {})
    add_run(client, experiment, {"x": 6}, {"train_auc": 1.0})
    report, [(_, trials)] = imported(client.tracking_uri, "mixed")
    assert [(t.configuration["x"], t.status) for t in trials] == [(1, "complete"), (2, "failed"), (3, "interrupted")]
    assert dict(report.skipped) == {"still running, or left so by a killed process": 1, "no metric": 1}
    assert report.refused == {"train_auc": 1}


@pytest.mark.parametrize("by_api", [False, True])
def test_a_run_that_diverged_has_failed(client: MlflowClient, monkeypatch: pytest.MonkeyPatch, by_api: bool) -> None:
    experiment = client.create_experiment(f"diverged {by_api}")
    for rate, loss in ((0.1, 1.0), (1.0, math.inf), (2.0, math.nan)):
        add_run(client, experiment, {"lr": rate}, {"rmse": loss, "mae": loss})
    if by_api:
        monkeypatch.setattr(ForeignRuns, "_tabled", lambda *_: None)
    _, [(_, trials)] = imported(client.tracking_uri, f"diverged {by_api}", metric="rmse")
    assert [(trial.status, trial.value, dict(trial.metrics)) for trial in trials] == [
        ("complete", 1.0, {"mae": 1.0}), ("failed", None, {}), ("failed", None, {}),
    ]  # fmt: skip


def test_a_mapping_says_what_runs_mean(client: MlflowClient, tmp_path: Path) -> None:
    experiment = client.create_experiment("fraud-2024")
    add_run(client, experiment, {"a": 1, "b": 2, "set": "cards"}, {"gain": 3.0, "auc": 0.5})
    add_run(client, experiment, {"a": 2, "b": 2, "set": "loans"}, {"gain": 4.0, "auc": 0.5})
    file = tmp_path / "runs.toml"
    file.write_text(
        '[[runs]]\nexperiment = "fraud-*"\nmetric = "gain"\ndirection = "maximize"\nfamily = "rules"\n'
        'dataset_tag = "set"\nparameters = ["a"]\n'
    )
    store = MemoryStore()
    import_mlflow(client.tracking_uri, store, experiments=["fraud-2024"], mappings=read_mappings(file))
    found = {study.task.name: store.trials(study.id)[0] for study in store.studies()}
    assert {name: (dict(t.configuration), t.value) for name, t in found.items()} == {
        "cards": ({"a": 1}, 3.0),
        "loans": ({"a": 2}, 4.0),
    }
    assert {study.family for study in store.studies()} == {"rules"}
    assert mapping_for("other", read_mappings(file)) == RunMapping()


@pytest.mark.parametrize(
    "text", ["runs = 3", "[[runs]]\nmetrik = 'x'", "[[runs]]\nmetric = 3", "[runs]\nmetric = 'x'", "[["]
)
def test_a_wrong_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "runs.toml"
    file.write_text(text)
    with pytest.raises(UsageError):
        read_mappings(file)


# --- sources and the history


def test_a_second_import_adds_only_what_is_new(client: MlflowClient) -> None:
    experiment = client.create_experiment("growing")
    for x in (1, 2, 9):
        add_run(client, experiment, {"x": x}, {"auc": x / 10})
    store = MemoryStore()

    def again():
        return import_mlflow(client.tracking_uri, store, experiments=["growing"])

    assert again().imported == 3
    report = again()
    assert (report.imported, report.known) == (0, 3)
    add_run(client, experiment, {"x": 5}, {"auc": 0.5})
    assert again().imported == 1
    assert len(store.studies()) == 1
    add_run(client, experiment, {"x": 50}, {"auc": 0.55})
    assert again().imported == 1
    first, second = store.studies()
    assert first.space["x"].high == 9
    assert second.space["x"].high == 50
    assert first.task == second.task
    assert again().known == 5


def test_the_history_itself_can_be_the_source(client: MlflowClient) -> None:
    uri = client.tracking_uri
    store = MLflowStore(uri)
    study = StudyRecord(task=custom().record(), family="f", space=SearchSpace({"x": [1, 2]}))
    store.open_study(study)
    store.add_trials(study.id, [Trial(configuration={"x": 1}, status="complete", value=1.0)])
    add_run(client, client.create_experiment("theirs"), {"lr": 0.1}, {"auc": 0.5})
    report = import_mlflow(uri, store, experiments=["theirs", "metatune"])
    assert (report.imported, len(report.studies), report.skipped) == (1, 1, {})
    again = import_mlflow(uri, store, experiments=["theirs", "metatune"])
    assert (again.imported, again.known) == (0, 1)
    assert sum(len(trials) for _, trials in snapshot_of(store).records()) == 2


def test_a_second_import_of_what_libraries_logged_adds_nothing(uri: str) -> None:
    store = MemoryStore()
    first = import_mlflow(uri, store)
    assert first.imported > 25
    before = {study.id: store.trials(study.id) for study in store.studies()}
    again = import_mlflow(uri, store)
    assert (again.imported, again.known, again.merged) == (0, first.imported, first.merged)
    assert (again.skipped, again.refused) == (first.skipped, first.refused)
    assert {study.id: store.trials(study.id) for study in store.studies()} == before


def test_equal_runs_are_merged(client: MlflowClient) -> None:
    experiment = client.create_experiment("twice")
    for x in (1, 1, 2):
        add_run(client, experiment, {"lr": x}, {"auc": x / 10})
    report, [(_, trials)] = imported(client.tracking_uri, "twice")
    assert (report.imported, report.merged, len(trials)) == (2, 1, 2)
    assert list(report.aliases.values()) == [{"lr": "learning_rate"}]


def test_a_dry_run_writes_nothing(uri: str, tmp_path: Path) -> None:
    store = MLflowStore(f"sqlite:///{tmp_path / 'history.db'}")
    report = import_mlflow(uri, store, experiments=["grid"], dry_run=True)
    assert (report.imported, report.dry_run) == (12, True)
    assert not (tmp_path / "history.db").exists()


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        import_mlflow(f"sqlite:///{tmp_path / 'none.db'}", MemoryStore())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_experiment_is_named(uri: str) -> None:
    with pytest.raises(UnknownNameError, match="grid"):
        import_mlflow(uri, MemoryStore(), experiments=["gird"])


def test_every_page_of_runs_is_read_once(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = client.create_experiment("pages")
    for x in range(7):
        add_run(client, experiment, {"x": x}, {"auc": x / 10})
    by_tables = list(ForeignRuns(client.tracking_uri).runs("pages", experiment))
    monkeypatch.setattr("metatune.history.foreign_runs._PAGE", 2)
    monkeypatch.setattr("metatune.history.sql_schema.KNOWN_VERSIONS", frozenset())
    source = ForeignRuns(client.tracking_uri)
    runs = list(source.runs("pages", experiment))
    assert sorted(run.params["x"] for run in runs) == [str(x) for x in range(7)]
    assert sorted(by_tables, key=lambda run: run.id) == sorted(runs, key=lambda run: run.id)
    list(source.runs("pages", experiment))
    assert sum("which is slow" in record.getMessage() for record in caplog.records) == 1


def test_tables_hold_what_the_api_says(uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what real libraries logged, and of odd runs."""
    experiment = client.create_experiment("odd")
    run = client.create_run(experiment, tags={"empty": "", "mlflow.parentRunId": "p", "mlflow.user": "ann"})
    for name, value in (("nan", math.nan), ("inf", math.inf), ("minus", -math.inf), ("steps", 1.0), ("steps", 0.5)):
        client.log_metric(run.info.run_id, name, value)
    for name, context in (("held out", "eval"), ("rows", "train")):
        client.log_inputs(
            run.info.run_id,
            [DatasetInput(Dataset(name, "d1", "local", "s"), [InputTag("mlflow.data.context", context)])],
        )
    client.create_run(experiment, tags={"metatune.schema": "1"})
    deleted = client.create_run(experiment)
    client.delete_run(deleted.info.run_id)
    for address in (uri, client.tracking_uri):
        source, api = ForeignRuns(address), ForeignRuns(address)
        monkeypatch.setattr(api, "_by_api", True)
        for name, id in source.experiments().items():
            found, expected = list(source.runs(name, id)), list(api.runs(name, id))
            assert list(map(repr, map(_sorted, found))) == list(map(repr, map(_sorted, expected))), name
            assert name != "odd" or len(found) == 1
        assert not source._by_api


def _sorted(run: ForeignRun) -> ForeignRun:
    """With names in one order; as text, NaN equals itself."""
    return replace(run, **{name: dict(sorted(getattr(run, name).items())) for name in ("params", "metrics", "tags")})


# --- traps without their library


def test_cv_results_run_no_code(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    row = {"params": f"__import__('pathlib').Path({str(target)!r}).touch()", "param_a": "", "mean_test_score": "0.5"}
    [found] = autolog.candidates(a_run(), [row])
    assert not target.exists()
    assert (found.value, found.parameters) == (0.5, {})


def test_an_empty_cell_is_none_only_where_the_parameters_say_so() -> None:
    rows = [{"params": "{'a': None, 'k': RBF(1)}", "param_a": "", "param_k": "RBF(1)"},
            {"params": "{'k': RBF(1)}", "param_a": "", "param_k": "RBF(1)"}]  # fmt: skip
    assert [found.parameters for found in autolog.candidates(a_run(), rows)] == [
        {"a": None, "k": "RBF(1)"},
        {"k": "RBF(1)"},
    ]


def test_optimizers_that_keras_numbered_are_one() -> None:
    run = a_run(params={"opt_name": "adam_12", "opt_learning_rate": "0.0010000000474974513"}, metrics={"loss": 1.0})
    assert autolog.parameters(run) == {"opt_name": "adam", "opt_learning_rate": "0.001"}


def test_a_curve_without_early_stopping_is_left_whole() -> None:
    assert autolog.steps(a_run(), [(0, 0.3), (1, 0.2), (2, 0.3)]) == ((0.3, 0.2, 0.3), None)
