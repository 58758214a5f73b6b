"""``metatune publish``: put a knowledge into MLflow's model registry for the team."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import Answer, command, console
from metatune.cli.display import headline
from metatune.wording import legible, number, plural

if TYPE_CHECKING:
    from metatune.publish import Publication

_DEFAULT = Path("metatune-knowledge")
_NOT_CHAMPION = 6


@command
def publish(
    knowledge: Annotated[
        Path, typer.Option("--knowledge", metavar="DIR", help="The folder that `metatune train` wrote.")
    ] = _DEFAULT,
    name: Annotated[str, typer.Option(help="The registered model.")] = "metatune-knowledge",
    force: Annotated[
        bool, typer.Option("--force", help="Make it the champion even if searches with it are worse.")
    ] = False,
    registry: Annotated[
        str | None,
        typer.Option(metavar="URI", help="The registry; unless given $MLFLOW_REGISTRY_URI, else where the history is."),
    ] = None,
    as_json: options.AsJson = False,
) -> Answer:
    """Publish what was learnt, so that a team can use it; exit with 6 if it does not become the champion.

    It becomes the champion unless searches replayed with it are worse than with the present champion.
    """
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.history.registry import Registry
    from metatune.publish import publish as verb
    from metatune.redaction import redacted

    place = Registry(registry)
    messages = console()
    messages.print(f"Publishing in {legible(redacted(place.uri))}")
    with messages.status("Comparing and uploading"):
        done = verb(knowledge, name=name, registry=place, force=force)
    decision, comparison = done.decision, done.decision.comparison
    address = f"models:/{name}@champion"
    document = {
        "name": name,
        "version": done.version.number,
        "made": done.made,
        "champion": decision.takes_alias,
        "reason": decision.reason,
        "compared_with": decision.champion,
        "regret": None if comparison is None else comparison.newer,
        "regret_of_champion": None if comparison is None else comparison.older,
        "replayed_tasks": 0 if comparison is None else comparison.tasks,
        "manifest": done.version.manifest,
        "address": address,
    }
    return Answer(document, _shown(done, address), 0 if decision.takes_alias else _NOT_CHAMPION)


def _shown(done: "Publication", address: str) -> Group:
    decision, comparison = done.decision, done.decision.comparison
    lines = [headline(f"{done.version.name}, version {done.version.number}")]
    if comparison is not None:
        lines.append(
            Text(
                f"Mean regret over {plural(comparison.tasks, 'task')} left out: {number(comparison.newer)}, "
                f"with the champion {number(comparison.older)}."
            )
        )
    if decision.takes_alias:
        lines.append(Text(f"Champion: {legible(decision.reason)}. Teams use it by METATUNE_KNOWLEDGE={address}"))
    else:
        lines.append(Text(f"Not the champion: {legible(decision.reason)}. --force makes it.", style="yellow"))
    return Group(*lines)
