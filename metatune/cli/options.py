"""The options that several commands share, and what is made of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from metatune.learners import family_names

# Everything heavy is imported where it is used: `metatune --help` must not load pandas, MLflow or LightGBM.
if TYPE_CHECKING:
    from metatune.dataset import Modality as Sort
    from metatune.history.address import Place
    from metatune.history.mlflow_store import MLflowStore
    from metatune.history.spool import Destination
    from metatune.knowledge import Knowledge
    from metatune.splits import Validation
    from metatune.task import Task

_SEARCH, _HISTORY = "Search", "History"
SORTS: "tuple[Sort, ...]" = ("table", "image", "text", "series")

Family: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--family",
        "-f",
        help="; ".join(f"{sort}: {', '.join(family_names(sort))}" for sort in SORTS if family_names(sort))
        + ". The first one unless given.",
    ),
]
ValidationPlan: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--validation",
        help="holdout, the share of a holdout, or a number of folds; by size unless given.",
        rich_help_panel=_SEARCH,
    ),
]
TestSize: TypeAlias = Annotated[
    float, typer.Option(help="The share of rows that no trial sees, 0 for none.", rich_help_panel=_SEARCH)
]
Seed: TypeAlias = Annotated[int, typer.Option(help="Fixes splits and proposals.", rich_help_panel=_SEARCH)]
KnowledgeDirectory: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--knowledge",
        metavar="DIR",
        envvar="METATUNE_KNOWLEDGE",
        help="What was learnt before: a folder, models:/NAME@ALIAS, or 'starter' for what ships; "
        "unless given ./metatune-knowledge if it exists, else the starter.",
        rich_help_panel=_HISTORY,
    ),
]
TrackingUri: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Where MLflow keeps the history; unless given $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
        rich_help_panel=_HISTORY,
    ),
]
Experiment: TypeAlias = Annotated[str, typer.Option(help="MLflow's experiment.", rich_help_panel=_HISTORY)]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document to standard output, all else to standard error.")
]


def read_task(data: Path, target: str | None, *, validation: str | None = None, **options: Any) -> "Task":
    """The task in the file ``data``; ``options`` as for ``Task.from_file``."""
    from metatune.task import Task

    return Task.from_file(data, target, validation=parse_validation(validation), **options)


def parse_validation(text: str | None) -> "Validation":
    """``text`` as a number of folds, a share, or a name."""
    if text is None:
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def open_knowledge(directory: str | None) -> "Knowledge":
    """The knowledge that ``--knowledge`` names."""
    from metatune.knowledge import Knowledge

    return Knowledge.starter() if directory == "starter" else Knowledge.find(directory or None)


def open_destination(destination: "Destination", tracking_uri: str | None = None) -> "MLflowStore":
    """The store for which something waits in the spool, with the credentials of the address that is in use now."""
    from metatune.history.address import Address, without_secrets

    now = Address.of(tracking_uri).uri
    return open_store(now if without_secrets(now) == destination.store else destination.store, destination.experiment)


def place_of(tracking_uri: str | None, experiment: str) -> "Place":
    """Where the history is that ``--tracking-uri`` and ``--experiment`` name."""
    from metatune.history.address import Place

    return Place.of(tracking_uri, experiment)


def open_store(tracking_uri: str | None, experiment: str) -> "MLflowStore":
    """The history that ``--tracking-uri`` and ``--experiment`` name."""
    from metatune.history.mlflow_store import MLflowStore

    return MLflowStore(tracking_uri, experiment)
