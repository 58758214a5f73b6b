"""The options by which commands read data: declared here, given to a command all in one."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from metatune.cli.boundary import Answer

_DATA = "Data"

_Data: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DATA", help="A CSV, Parquet or .npz file.", show_default=False)
]
_Target: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help="The column to predict; of an .npz file the array, y unless given.",
        rich_help_panel=_DATA,
    ),
]
_TextColumn: TypeAlias = Annotated[
    str | None,
    typer.Option("--text", metavar="COLUMN", help="Learn from the texts in this column alone.", rich_help_panel=_DATA),
]
_Modality: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="table, image, text or series: what the examples are, where the file leaves a doubt.",
        rich_help_panel=_DATA,
    ),
]
_Separator: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Separates the columns of a CSV file; a comma unless given.", rich_help_panel=_DATA),
]
_Decimal: TypeAlias = Annotated[
    str, typer.Option(help="Stands before the decimals of a number in a CSV file.", rich_help_panel=_DATA)
]
_Kind: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="binary, multiclass, classification or regression; inferred unless given.", rich_help_panel=_DATA
    ),
]
_Positive: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="LABEL",
        help="Of two classes, that which f1, precision and recall are of; the last one unless given.",
        rich_help_panel=_DATA,
    ),
]
_Name: TypeAlias = Annotated[
    str | None, typer.Option(help="The task's name in the history; the file's unless given.", rich_help_panel=_DATA)
]
_Repair: TypeAlias = Annotated[
    bool, typer.Option("--repair", help="Repair bad data and say what was done.", rich_help_panel=_DATA)
]
_MetricName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--metric", "-m", help="Any scorer of scikit-learn, or rmse, mae, log_loss, auc ...", rich_help_panel=_DATA
    ),
]

#: Options by name, each with its type and its default.
Options: TypeAlias = Mapping[str, tuple[Any, Any]]
#: What options were given as, by name.
Reading: TypeAlias = dict[str, Any]

_LABELS: Options = {"kind": (_Kind, None), "positive": (_Positive, None)}
_FILE: Options = {
    "text": (_TextColumn, None),
    "modality": (_Modality, None),
    "separator": (_Separator, None),
    "decimal": (_Decimal, "."),
    "repair": (_Repair, False),
}
#: How data are read, whether a command must be given some or may be.
HOW: Options = {**_LABELS, **_FILE}
_TASK: Options = {
    "data": (_Data, inspect.Parameter.empty),
    "target": (_Target, None),
    "metric": (_MetricName, None),
    **_LABELS,
    "name": (_Name, None),
    **_FILE,
}


def takes(options: Options) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """What gives a function ``options`` in the place of its parameter ``reading``, which gets them all."""

    def with_options(function: Callable[..., Answer]) -> Callable[..., Answer]:
        @functools.wraps(function)
        def run(**given: Any) -> Answer:
            reading = {name: given.pop(name) for name in options}
            return function(**given, reading=reading)

        signature = inspect.signature(function)
        parameters = []
        for parameter in signature.parameters.values():
            if parameter.name == "reading":
                parameters += [parameter.replace(name=n, annotation=a, default=d) for n, (a, d) in options.items()]
            else:
                parameters.append(parameter)
        # typer makes an option of every parameter of the signature.
        vars(run)["__signature__"] = signature.replace(parameters=parameters)
        return run

    return with_options


#: For a command about data; what it gets are arguments of ``options.read_task``.
reads_task = takes(_TASK)
