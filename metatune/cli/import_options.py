"""The options of ``metatune import``, and what is made of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from metatune.cli import options
from metatune.cli.data_options import HOW, takes

# Everything heavy is imported where it is used: `metatune --help` must not load pandas or MLflow.
if TYPE_CHECKING:
    from metatune.importers import Names
    from metatune.importers.mapping import RunMapping
    from metatune.task import Task

MEANING, _HISTORY = "What the trials mean", "History"

Metric: TypeAlias = Annotated[
    str | None, typer.Option("--metric", "-m", help="The metric that counts.", rich_help_panel=MEANING)
]
Direction: TypeAlias = Annotated[
    str | None,
    typer.Option(help="maximize or minimize, where the metric's name does not tell.", rich_help_panel=MEANING),
]
Family: TypeAlias = Annotated[
    str | None, typer.Option("--family", "-f", help="What was tuned, for example lightgbm.", rich_help_panel=MEANING)
]
TaskName: TypeAlias = Annotated[
    str | None, typer.Option("--task", help="The name of the task that was tuned on.", rich_help_panel=MEANING)
]
Parameters: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="The hyperparameters; all unless given.", rich_help_panel=MEANING),
]
_Data: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The data that was tuned on, for its meta-features.", rich_help_panel=MEANING),
]
_Target: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help="Of --data the column to predict; of an .npz file the array, y unless given.",
        rich_help_panel=MEANING,
    ),
]
Aliases: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A TOML file of other names, added to metatune's.", rich_help_panel=MEANING),
]
Into: TypeAlias = Annotated[
    str, typer.Option("--into", metavar="EXPERIMENT", help="The history's experiment.", rich_help_panel=_HISTORY)
]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Say what would be imported, and write nothing.")]

#: For a command that may be given data; what it gets are arguments of ``task_on``.
reads_data = takes({"data": (_Data, None), "target": (_Target, None), **HOW})


def listed(text: str | None) -> tuple[str, ...]:
    """The names in ``text``, which commas separate."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def names(aliases: Path | None) -> "Names":
    """metatune's names, and above them those in the file ``aliases``."""
    from metatune.importers import Names

    return Names.load(aliases)


def task_on(name: str | None, *, data: Path | None, **reading: Any) -> "Task | None":
    """The task in the file ``data``, read as ``reading`` says; ``None`` without one. Raises ``UsageError``."""
    from metatune.errors import UsageError

    if data is not None:
        return options.read_task(data, name=name, **reading)
    for option, value in reading.items():
        if value not in (None, False, "."):
            raise UsageError(
                "this is about the data, which were not given",
                field=f"--{option}",
                value=value,
                remedy=f"Add --data FILE, or leave --{option} out.",
            )
    return None


def mappings(path: Path | None, **given: Any) -> "tuple[RunMapping, ...]":
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
