"""``metatune forget``: remove a task, a study or a user completely."""

import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import Answer, command, console
from metatune.cli.listing import Listing
from metatune.redaction import redacted
from metatune.wording import legible, plural

if TYPE_CHECKING:
    from metatune.forget import Plan

_PARTIAL = 6


@command
def forget(
    task: Annotated[str | None, typer.Option(help="All studies of the tasks with this name.")] = None,
    study: Annotated[str | None, typer.Option(help="The study with this id or beginning of it.")] = None,
    user: Annotated[str | None, typer.Option(help="All studies that this user made.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    knowledge: Annotated[
        str | None,
        typer.Option(
            "--knowledge",
            metavar="DIR",
            help="The knowledge to remove it from, if it is there; unless given $METATUNE_KNOWLEDGE if a folder, "
            "else ./metatune-knowledge.",
        ),
    ] = None,
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """Remove a task, a study or a user from history, spool and knowledge, for good. It asks first.

    An MLflow server only marks runs as deleted; the same command with --tracking-uri DATABASE, where the server keeps
    them, removes them. Exits with 6 if the answer is no, or if running processes still have something of it to send.
    """
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.forget import Selection, plan
    from metatune.forget import forget as verb

    todo = plan(
        options.open_store(tracking_uri, experiment),
        Selection(task, study, user),
        knowledge=knowledge or _folder_in_use(),
    )
    document = _document(todo)
    if todo.empty:
        return Answer(document | {"removed": False}, Text("Nothing of this kind is there."))
    messages = console()
    if not yes:
        messages.print(_listed(todo))
        if not _agreed():
            return Answer(document | {"removed": False}, Text("Nothing was removed; --yes does not ask."), _PARTIAL)
    with messages.status("Removing"):
        done = verb(todo)
    said = [f"Removed {_summary(todo)}."]
    if todo.found and not done.for_good:
        said.append(
            "The server only marked the runs as deleted: run this again where its database can be reached, with"
        )
        said.append("the database as --tracking-uri, and the server in MLFLOW_TRACKING_URI.")
    if done.owned:
        listed = ", ".join(map(str, done.owned))
        said.append(f"Left to processes that run, and will send it: {listed}. End them, then run the command again.")
    said.append("The local copy of the history was deleted; those of other machines follow when they read it next.")
    said.append("Published versions, $METATUNE_CACHE, exports and backups keep what they had.")
    document |= {"removed": True, "for_good": done.for_good, "left_to_processes": [str(path) for path in done.owned]}
    return Answer(document, Group(*map(Text, said)), _PARTIAL if done.owned else 0)


def _agreed() -> bool:
    """Whether the user says yes; Ctrl-C, or nobody there who could answer, is a no."""
    try:
        return typer.confirm("Remove it for good?", default=False, err=True)
    except typer.Abort:
        console().print()
        return False


def _folder_in_use() -> str:
    """The folder of knowledge that searches here read; a published one is not altered, and so is not meant."""
    from metatune.knowledge import KNOWLEDGE_VARIABLE, LOCAL_DIRECTORY, PUBLISHED

    named = os.environ.get(KNOWLEDGE_VARIABLE, "")
    return named if named and not named.startswith(PUBLISHED) else str(LOCAL_DIRECTORY)


def _document(todo: "Plan") -> dict[str, object]:
    return {
        "history": redacted(todo.uri),
        "studies": [study.record.id for study in todo.found],
        "trials": todo.trials,
        "runs": [run for study in todo.found for run in study.runs],
        "spool": [str(file.path) for file in todo.spooled],
        "trials_in_spool": todo.waiting,
        "knowledge": str(todo.directory),
        "studies_in_knowledge": list(todo.learnt),
    }


def _summary(todo: "Plan") -> str:
    parts = []
    if todo.found:
        counts = f"{plural(len(todo.found), 'study', 'studies')} with {plural(todo.trials, 'trial')}"
        parts.append(f"{counts} from {legible(redacted(todo.uri))}")
    if todo.spooled:
        parts.append(f"{plural(todo.waiting, 'trial')} from {plural(len(todo.spooled), 'file')} of the spool")
    if todo.learnt:
        parts.append(f"{plural(len(todo.learnt), 'study', 'studies')} from the knowledge in {todo.directory}")
    return ", ".join(parts)


def _listed(todo: "Plan") -> RenderableType:
    shown = Listing("study", "task", "family", "trials", right=["trials"])
    for found in todo.found:
        record = found.record
        shown.add_row(
            legible(record.id, limit=40), legible(record.task.name, limit=60), record.family, str(found.trials)
        )
    return Group(shown, Text(f"To be removed: {_summary(todo)}."))
