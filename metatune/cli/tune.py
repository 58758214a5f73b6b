"""``metatune tune``: a guided search on a file, recorded in the history."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import INTERRUPTED, Answer, command, console
from metatune.cli.data_options import Reading, reads_task
from metatune.cli.display import mlflow_ui, settings
from metatune.cli.progress import SearchProgress
from metatune.errors import UsageError
from metatune.redaction import redacted
from metatune.wording import legible, number

if TYPE_CHECKING:
    from metatune.result import TuneResult
    from metatune.task import Task
    from metatune.trial import Trial

_PARTIAL = 6


@command
@reads_task
def tune(
    context: typer.Context,
    *,
    reading: Reading,
    family: options.Family = None,
    trials: Annotated[int, typer.Option(help="Trials in all, those before a --resume included.")] = 25,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="After so many seconds no further trial begins.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(metavar="N", help="The search ends when N trials in a row found nothing better.")
    ] = None,
    trial_seconds: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="A trial that takes longer is stopped and has failed; isolates."),
    ] = None,
    trial_memory: Annotated[
        float | None,
        typer.Option(metavar="MB", help="A trial whose process takes more is stopped and has failed; isolates."),
    ] = None,
    isolated: Annotated[
        bool, typer.Option("--isolated", help="Trials in a process of their own: a crash is one failed trial.")
    ] = False,
    strategy: Annotated[str, typer.Option(help="meta, random, grid, tpe, cmaes or genetic.")] = "meta",
    validation: options.ValidationPlan = None,
    test_size: options.TestSize = 0.2,
    seed: options.Seed = 0,
    threads: Annotated[int, typer.Option(help="For the training of one model.")] = 1,
    warm_start: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON with configurations to try first, completed by defaults; also what recommend --json or --save "
            "gave.",
        ),
    ] = None,
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Go on with this study.")] = None,
    refit: Annotated[
        bool, typer.Option("--refit/--no-refit", help="Train the best configuration on all but the test rows.")
    ] = True,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Write model and result there.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write an HTML page there.")
    ] = None,
    knowledge: options.KnowledgeDirectory = None,
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """Search for the best configuration for DATA, guided by the history, and add every trial to it.

    Ctrl-C ends the search, keeps everything, and says how to go on.
    """
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.learners.choice import default_for
    from metatune.tuner import tune as verb

    configurations = [] if warm_start is None else read_configurations(warm_start)
    task = options.read_task(**reading, validation=validation, test_size=test_size, seed=seed)
    family = family or default_for(task)
    first = completed(configurations, family) if configurations else []
    store = options.open_store(tracking_uri, experiment)
    with SearchProgress(console(), trials, label=family) as progress:
        result = verb(
            task,
            family,
            n_trials=trials,
            timeout=timeout,
            patience=patience,
            strategy=strategy,
            knowledge=False if knowledge == "none" else options.open_knowledge(knowledge) if knowledge else None,
            store=store,
            seed=seed,
            warm_start=first,
            resume=resume,
            threads=threads,
            isolated=isolated,
            trial_seconds=trial_seconds,
            trial_memory=trial_memory,
            refit=refit,
            on_trial=progress,
        )
    files = _write(result, save, report)
    go_on = again(context, resume=result.study_id) if result.interrupted else None
    document = _document(task, result, files) | {"history": redacted(store.uri), "resume_command": go_on}
    code = INTERRUPTED if result.interrupted else _PARTIAL if result.unsaved else 0
    return Answer(document, _shown(task, result, files, mlflow_ui(store.uri, Path.cwd())), code, go_on)


def read_configurations(path: Path) -> list[dict[str, Any]]:
    """The configurations in a JSON file: one, a list, a saved result, or recommendations. Raises ``UsageError``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"not a readable JSON file ({error})",
            field="--warm-start",
            value=str(path),
            remedy="Give a file with a configuration, or a list of them.",
        ) from error
    if isinstance(content, dict) and isinstance(content.get("recommendations"), list):
        content = content["recommendations"]
    entries = content if isinstance(content, list) else [content]
    found = [e["configuration"] if isinstance(e, dict) and "configuration" in e else e for e in entries]
    for entry in found:
        if not isinstance(entry, dict):
            raise UsageError(
                "not a configuration",
                field="--warm-start",
                value=entry,
                remedy='Write it as an object, for example {"learning_rate": 0.1}.',
            )
    return found


def completed(configurations: list[dict[str, Any]], family: str) -> list[dict[str, Any]]:
    """``configurations`` with the defaults of ``family`` for active parameters that they leave out."""
    from metatune.learners import get_family

    model = get_family(family)
    space, default = model.space(), model.default()
    found = []
    for configuration in configurations:
        # Only what is missing: a value out of range stays, and the search names it.
        _, changes = space.clip(configuration, default)
        missing = {change.parameter: change.after for change in changes if change.reason == "missing"}
        found.append(configuration | missing)
    return found


def again(context: typer.Context, **changed: object) -> str:
    """The command line that was typed, with the options ``changed``."""
    words = ["metatune", context.info_name or ""]
    given = {**context.params, **changed}
    for parameter in context.command.params:
        name, value = parameter.name or "", given.get(parameter.name or "")
        source = context.get_parameter_source(name)
        if name not in changed and (source is None or source.name != "COMMANDLINE"):
            continue
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(parameter.opts[0] if value else (parameter.secondary_opts or parameter.opts)[0])
        else:
            words += [parameter.opts[0], str(value)]
    return shlex.join(words)


def _write(result: "TuneResult", save: Path | None, report: Path | None) -> dict[str, str]:
    """The files that were asked for, by what they are."""
    files = {}
    if save is not None:
        files["saved"] = str(result.save(save))
    if report is not None:
        from metatune.report import search_page

        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(search_page({result.family: {"this search": result}}), encoding="utf-8")
        files["report"] = str(report)
    return files


def _document(task: "Task", result: "TuneResult", files: dict[str, str]) -> dict[str, object]:
    best = result.best_trial
    return {
        "task": task.name,
        "kind": task.kind,
        "metric": task.metric.name,
        "direction": task.metric.direction,
        "family": result.family,
        "study_id": result.study_id,
        "best_configuration": result.best_configuration,
        "best_value": result.best_value,
        "best_trial": None if best is None else best.number,
        "best_origin": None if best is None else best.origin,
        "test_score": result.test_score,
        "test_scores": result.test_scores,
        "seconds": result.seconds,
        "interrupted": result.interrupted,
        "ending": result.ending,
        "trials": [trial_document(trial) for trial in result.trials],
        "unsaved": len(result.unsaved),
        "warnings": list(result.warnings),
        "repairs": [str(repair) for repair in task.repairs],
        **files,
    }


def trial_document(trial: "Trial") -> dict[str, object]:
    """A trial without its curve, which the history has."""
    names = ("number", "status", "value", "origin", "seconds", "error")
    return {name: getattr(trial, name) for name in names} | {"configuration": dict(trial.configuration)}


def _shown(task: "Task", result: "TuneResult", files: dict[str, str], ui: str) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    best = result.best_trial
    if best is None:
        grid.add_row("best", "no trial was complete")
    else:
        grid.add_row("best", f"{task.metric.name} {number(best.value)} (trial {best.number}, from {best.origin})")
        grid.add_row("configuration", settings(best.configuration))
    if task.positive is not None:
        grid.add_row("positive class", legible(str(task.positive), limit=80))
    if result.test_score is not None:
        grid.add_row("test score", f"{number(result.test_score)}, on {len(task.test)} rows that no trial saw")
    grid.add_row("trials", result.trials_text)
    grid.add_row("study", result.study_id)
    grid.add_row("history", ui)
    for what, path in files.items():
        grid.add_row(what, path)
    lines: list[RenderableType] = [
        Text(f"\n{result.family} on {legible(task.name, limit=80)}: {result.state}", style="bold"),
        grid,
    ]
    notes = [*result.warnings, *map(str, task.repairs)]
    lines += [Text(f"Note: {legible(note)}", style="yellow") for note in notes]
    if result.interrupted:
        lines.append(Text("Everything so far is kept. To go on:"))
    return Group(*lines)
