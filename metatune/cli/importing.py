"""``metatune import``: what other tools recorded, brought into the history."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metatune.cli import options
from metatune.cli.boundary import Answer, command, console
from metatune.cli.data_options import Reading
from metatune.cli.import_options import (
    MEANING,
    Aliases,
    Direction,
    DryRun,
    Family,
    Into,
    Metric,
    Parameters,
    TaskName,
    listed,
    mappings,
    names,
    reads_data,
    task_on,
)
from metatune.cli.import_report import shown

# Everything heavy is imported where it is used: `metatune --help` must not load pandas or MLflow.
if TYPE_CHECKING:
    from metatune.importers import ImportReport

_NOT_EVERYTHING = 6

app = typer.Typer(help="Bring into the history what other tools recorded.", no_args_is_help=True)


@app.command("mlflow")
@command
@reads_data
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
            rich_help_panel=MEANING,
        ),
    ] = None,
    metric: Metric = None,
    direction: Direction = None,
    family: Family = None,
    task: TaskName = None,
    dataset_tag: Annotated[
        str | None, typer.Option(help="The tag or param that names the task.", rich_help_panel=MEANING)
    ] = None,
    parameters: Parameters = None,
    *,
    reading: Reading,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """MLflow runs: autologged by scikit-learn's searches, LightGBM, XGBoost or Keras, or logged by hand."""
    from metatune.importers import import_mlflow

    given = mappings(
        mapping, metric=metric, direction=direction, family=family, task=task, dataset_tag=dataset_tag,
        parameters=listed(parameters) or None,
    )  # fmt: skip
    on = task_on(task, **reading)
    with console().status("Reading runs"):
        report = import_mlflow(
            uri or tracking_uri,
            options.open_store(tracking_uri, into),
            experiments=experiment or (),
            mappings=given,
            task=on,
            names=names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


@app.command("optuna")
@command
@reads_data
def from_optuna(
    storage: Annotated[str, typer.Argument(help="A journal file, or a URL such as sqlite:///study.db.")],
    study: Annotated[list[str] | None, typer.Option(help="This study only; may be repeated.")] = None,
    metric: Metric = None,
    family: Family = None,
    task: TaskName = None,
    *,
    reading: Reading,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """Optuna studies, with their spaces, directions and intermediate values."""
    from metatune.importers import import_optuna

    on = task_on(task, **reading)
    with console().status("Reading studies"):
        report = import_optuna(
            storage,
            options.open_store(tracking_uri, into),
            studies=study or (),
            metric=metric,
            family=family,
            task=on or task,
            names=names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


@app.command("kerastuner")
@command
@reads_data
def from_kerastuner(
    directory: Annotated[Path, typer.Argument(help="A folder below which there are trial_*/trial.json.")],
    metric: Metric = None,
    family: Family = None,
    task: TaskName = None,
    *,
    reading: Reading,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """KerasTuner searches, from their folders."""
    from metatune.importers import import_kerastuner

    on = task_on(task, **reading)
    with console().status("Reading trials"):
        report = import_kerastuner(
            directory,
            options.open_store(tracking_uri, into),
            metric=metric,
            family=family,
            task=on or task,
            names=names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


@app.command("ray")
@command
@reads_data
def from_ray(
    directory: Annotated[Path, typer.Argument(help="A folder below which the trials have a params.json each.")],
    metric: Metric = None,
    direction: Direction = None,
    family: Family = None,
    task: TaskName = None,
    *,
    reading: Reading,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """Ray Tune experiments, from their folders; pickled files are not opened."""
    from metatune.importers import import_ray

    on = task_on(task, **reading)
    with console().status("Reading trials"):
        report = import_ray(
            directory,
            options.open_store(tracking_uri, into),
            metric=metric,
            direction=direction,  # type: ignore[arg-type]
            family=family,
            task=on or task,
            names=names(aliases),
            dry_run=dry_run,
        )
    return _answer(report)


@app.command("table")
@command
@reads_data
def from_table(
    file: Annotated[Path, typer.Argument(help="A CSV or Parquet file with one trial a row.")],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The column with the score.", rich_help_panel=MEANING)],
    direction: Direction = None,
    parameters: Parameters = None,
    task_column: Annotated[
        str | None, typer.Option(help="The column that names the task.", rich_help_panel=MEANING)
    ] = None,
    family: Family = None,
    task: TaskName = None,
    *,
    reading: Reading,
    aliases: Aliases = None,
    tracking_uri: options.TrackingUri = None,
    into: Into = "metatune",
    dry_run: DryRun = False,
    as_json: options.AsJson = False,
) -> Answer:
    """Trials in a CSV or Parquet file."""
    from metatune.importers import import_table

    of_both = {name: reading[name] for name in ("separator", "decimal")}
    alone = {name: value for name, value in reading.items() if name not in of_both}
    on = task_on(task, **(alone if reading["data"] is None else reading))
    with console().status("Reading rows"):
        report = import_table(
            file,
            options.open_store(tracking_uri, into),
            metric=metric,
            direction=direction,  # type: ignore[arg-type]
            parameters=listed(parameters),
            task_column=task_column,
            family=family,
            task=on or task,
            names=names(aliases),
            dry_run=dry_run,
            **of_both,
        )
    return _answer(report)


def _answer(report: "ImportReport") -> Answer:
    something = report.imported or report.known
    return Answer(report.document(), shown(report), exit_code=0 if something else _NOT_EVERYTHING)
