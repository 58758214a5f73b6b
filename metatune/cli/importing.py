"""``metatune import``: what other tools recorded, brought into the history."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from metatune.cli import options
from metatune.cli.boundary import Answer, command, console
from metatune.cli.import_report import shown

# Everything heavy is imported where it is used: `metatune --help` must not load pandas or MLflow.
if TYPE_CHECKING:
    from metatune.importers import ImportReport, Names
    from metatune.importers.mapping import RunMapping
    from metatune.task import Task

_NOT_EVERYTHING = 6
_MEANING, _HISTORY = "What the trials mean", "History"

Metric: TypeAlias = Annotated[
    str | None, typer.Option("--metric", "-m", help="The metric that counts.", rich_help_panel=_MEANING)
]
Direction: TypeAlias = Annotated[
    str | None,
    typer.Option(help="maximize or minimize, where the metric's name does not tell.", rich_help_panel=_MEANING),
]
Family: TypeAlias = Annotated[
    str | None, typer.Option("--family", "-f", help="What was tuned, for example lightgbm.", rich_help_panel=_MEANING)
]
TaskName: TypeAlias = Annotated[
    str | None, typer.Option("--task", help="The name of the task that was tuned on.", rich_help_panel=_MEANING)
]
Parameters: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="The hyperparameters; all unless given.", rich_help_panel=_MEANING),
]
Data: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The data that was tuned on, for its meta-features.", rich_help_panel=_MEANING),
]
Target: TypeAlias = Annotated[
    str | None, typer.Option("--target", "-t", help="The column of --data to predict.", rich_help_panel=_MEANING)
]
Aliases: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A TOML file of other names, added to metatune's.", rich_help_panel=_MEANING),
]
Into: TypeAlias = Annotated[
    str, typer.Option("--into", metavar="EXPERIMENT", help="The history's experiment.", rich_help_panel=_HISTORY)
]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Say what would be imported, and write nothing.")]

app = typer.Typer(help="Bring into the history what other tools recorded.", no_args_is_help=True)


@app.command("mlflow")
@command
def from_mlflow(
    uri: Annotated[
        str | None, typer.Argument(help="Where the runs are; where the history is unless given.", show_default=False)
    ] = None,
    experiment: Annotated[list[str] | None, typer.Option(help="Runs of this experiment only; may be repeated.")] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A TOML file with an array of tables, runs, one per group of experiments: experiment (a pattern), "
            "metric, direction, family, task, dataset_tag, parameters.",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    metric: Metric = None,
    direction: Direction = None,
    family: Family = None,
    task: TaskName = None,
    dataset_tag: Annotated[
        str | None, typer.Option(help="The tag or param that names the task.", rich_help_panel=_MEANING)
    ] = None,
    parameters: Parameters = None,
    data: Data = None,
    target: Target = None,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """MLflow runs: autologged by scikit-learn's searches, LightGBM, XGBoost or Keras, or logged by hand."""
    from metatune.importers import import_mlflow

    given = _mappings(
        mapping, metric=metric, direction=direction, family=family, task=task, dataset_tag=dataset_tag,
        parameters=_listed(parameters) or None,
    )  # fmt: skip
    with console().status("Reading runs"):
        report = import_mlflow(
            uri or tracking_uri,
            options.open_store(tracking_uri, into),
            experiments=experiment or (),
            mappings=given,
            task=_task(data, target, task),
            names=_names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


@app.command("optuna")
@command
def from_optuna(
    storage: Annotated[str, typer.Argument(help="A journal file, or a URL such as sqlite:///study.db.")],
    study: Annotated[list[str] | None, typer.Option(help="This study only; may be repeated.")] = None,
    metric: Metric = None,
    family: Family = None,
    task: TaskName = None,
    data: Data = None,
    target: Target = None,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """Optuna studies, with their spaces, directions and intermediate values."""
    from metatune.importers import import_optuna

    with console().status("Reading studies"):
        report = import_optuna(
            storage,
            options.open_store(tracking_uri, into),
            studies=study or (),
            metric=metric,
            family=family,
            task=_task(data, target, task) or task,
            names=_names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


@app.command("kerastuner")
@command
def from_kerastuner(
    directory: Annotated[Path, typer.Argument(help="A folder below which there are trial_*/trial.json.")],
    metric: Metric = None,
    family: Family = None,
    task: TaskName = None,
    data: Data = None,
    target: Target = None,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """KerasTuner searches, from their folders."""
    from metatune.importers import import_kerastuner

    with console().status("Reading trials"):
        report = import_kerastuner(
            directory,
            options.open_store(tracking_uri, into),
            metric=metric,
            family=family,
            task=_task(data, target, task) or task,
            names=_names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


@app.command("ray")
@command
def from_ray(
    directory: Annotated[Path, typer.Argument(help="A folder below which the trials have a params.json each.")],
    metric: Metric = None,
    direction: Direction = None,
    family: Family = None,
    task: TaskName = None,
    data: Data = None,
    target: Target = None,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """Ray Tune experiments, from their folders; pickled files are not opened."""
    from metatune.importers import import_ray

    with console().status("Reading trials"):
        report = import_ray(
            directory,
            options.open_store(tracking_uri, into),
            metric=metric,
            direction=direction,  # type: ignore[arg-type]
            family=family,
            task=_task(data, target, task) or task,
            names=_names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


@app.command("table")
@command
def from_table(
    file: Annotated[Path, typer.Argument(help="A CSV or Parquet file with one trial a row.")],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The column with the score.", rich_help_panel=_MEANING)],
    direction: Direction = None,
    parameters: Parameters = None,
    task_column: Annotated[
        str | None, typer.Option(help="The column that names the task.", rich_help_panel=_MEANING)
    ] = None,
    family: Family = None,
    task: TaskName = None,
    data: Data = None,
    target: Target = None,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """Trials in a CSV or Parquet file."""
    from metatune.importers import import_table

    with console().status("Reading rows"):
        report = import_table(
            file,
            options.open_store(tracking_uri, into),
            metric=metric,
            direction=direction,  # type: ignore[arg-type]
            parameters=_listed(parameters),
            task_column=task_column,
            family=family,
            task=_task(data, target, task) or task,
            names=_names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


def _answer(report: "ImportReport") -> Answer:
    something = report.imported or report.known
    return Answer(report.document(), shown(report), exit_code=0 if something else _NOT_EVERYTHING)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _names(aliases: Path | None) -> "Names":
    from metatune.importers import Names

    return Names.load(aliases)


def _task(data: Path | None, target: str | None, name: str | None) -> "Task | None":
    from metatune.errors import UsageError

    if data is None and target is not None:
        raise UsageError(
            "a column of the data, which were not given",
            field="--target",
            value=target,
            remedy="Add --data FILE, or leave --target out.",
        )
    return None if data is None else options.read_task(data, target, name=name)


def _mappings(path: Path | None, **given: Any) -> "tuple[RunMapping, ...]":
    """What the options say, or the file; both at once is not clear."""
    from metatune.errors import UsageError
    from metatune.importers.mapping import RunMapping, read_mappings

    if path is None:
        return (RunMapping(**given),)
    if any(value is not None for value in given.values()):
        raise UsageError(
            "not together with other options on what the trials mean",
            field="--mapping",
            value=str(path),
            remedy="Write those into the file.",
        )
    return read_mappings(path)
