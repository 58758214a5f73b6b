"""``metatune sync``: bring what waits in the local spool into the history, and end what dead processes left running."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import Answer, command
from metatune.wording import legible, plural

if TYPE_CHECKING:
    from metatune.history.address import Located
    from metatune.history.defects import Defects
    from metatune.history.mlflow_store import MLflowStore
    from metatune.history.replay import Replayed
    from metatune.history.spool import Destination

_PARTIAL = 6


@command
def sync(
    waiting_for: Annotated[
        str | None,
        typer.Option("--from", metavar="URI", help="Send what waits for URI, a history that moved to --tracking-uri."),
    ] = None,
    spool: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The spool; unless given $METATUNE_SPOOL, else the user's own.")
    ] = None,
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """Send the trials that wait in the local spool; exit with 6 if some still wait.

    Unless an address is given, every trial goes to the history for which it waits. Studies and trials that dead
    processes left unfinished in these histories are ended.
    """
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.errors import StoreError
    from metatune.history.address import Address, without_secrets
    from metatune.history.defects import Defects
    from metatune.history.reader import settled
    from metatune.history.replay import sync as replay
    from metatune.history.spool import Destination, folders

    target = options.place_of(tracking_uri, experiment)
    places: dict[Destination, Located] = {Destination.of(target): target}
    asked = waiting_for or tracking_uri
    source = None if asked is None else without_secrets(Address.of(asked).uri)

    def open_store(destination: "Destination") -> "MLflowStore":
        if waiting_for is not None:
            store = options.open_store(tracking_uri, destination.experiment)
        else:
            store = options.open_destination(destination, tracking_uri)
        places[Destination.of(store)] = store
        return store

    def wanted(destination: "Destination") -> bool:
        return source is None or destination.store == source

    done = list(replay(folders(spool), open_store, wanted=wanted))
    found = Defects()
    problems: dict[str, str] = {}
    refused = {one.destination for one in done if one.reason}  # asked once is enough: they may be slow to say no
    for destination, place in places.items():
        try:
            if destination in refused or settled(place):
                continue
            from metatune.history.mlflow_upkeep import repair

            found += repair(options.open_store(place.uri, place.experiment), thorough=False)
        except StoreError as error:
            problems[destination.store] = error.problem
    waits = sum(one.waiting for one in done if not one.owned)
    document = {
        "sent": sum(one.sent for one in done),
        "waiting": waits,
        "sending": sum(one.waiting for one in done if one.owned),
        "unreadable": sum(one.unreadable for one in done),
        "reasons": sorted({one.reason for one in done if one.reason}),
        "abandoned": list(found.abandoned),
        "completed": list(found.half_written),
        "doubled": list(found.doubled),
        "not_looked_through": problems,
    }
    left = waits or any(one.destination is None for one in done)
    return Answer(document, _shown(done, found, problems), _PARTIAL if left else 0)


def _shown(done: "list[Replayed]", found: "Defects", problems: dict[str, str]) -> RenderableType:
    lines = [Text("Nothing waits in the spool.")] if not done else []
    for one in done:
        where = "" if one.destination is None else f" for {one.destination.store}"
        said = [f"{plural(one.sent, 'trial')} sent"] if one.sent else []
        if one.owned:
            said.append(f"{plural(one.waiting, 'trial')} left to the running process that sends")
        elif one.waiting:
            said.append(f"{plural(one.waiting, 'trial')} waiting")
        if one.unreadable:
            said.append(f"{plural(one.unreadable, 'damaged line')}, kept beside it")
        text = f"{one.path.name}{where}: {', '.join(said) or 'nothing to send'}"
        lines.append(Text(legible(text + (f". {one.reason}" if one.reason else ""), limit=600)))
    for names, what in (
        (found.abandoned, "Studies of dead processes, now marked as interrupted"),
        (found.half_written, "Trials that were half-written, now complete"),
        (found.doubled, "Runs that were there twice, now deleted"),
    ):
        if names:
            lines.append(Text(legible(f"{what}: {len(names)} ({', '.join(names[:5])})", limit=400)))
    for store, problem in problems.items():
        lines.append(Text(legible(f"The history {store} was not looked through: {problem}", limit=400), style="yellow"))
    return Group(*lines)
