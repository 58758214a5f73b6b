"""``metatune pull``: bring the local copy of the history up to date."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import Answer, command
from metatune.wording import plural


class Way(StrEnum):
    """How the history is read."""

    auto = "auto"
    sql = "sql"
    api = "api"


@command
def pull(
    everything: Annotated[
        bool, typer.Option("--everything", help="Compare every run, to find edits; done once a day in any case.")
    ] = False,
    by: Annotated[
        Way, typer.Option(help="Read MLflow's tables, or ask its API (slower); 'auto' takes the tables if it can.")
    ] = Way.auto,
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """Copy what is new in the history to this machine, as `metatune train` and `metatune history` do by themselves."""
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.history.reader import open_reader
    from metatune.mirror import mirror_of

    place = options.place_of(tracking_uri, experiment)
    mirror = mirror_of(place)
    with open_reader(place, path=by.value) as reader:
        found = mirror.refresh(reader, everything=everything)
    said = f"{plural(found.trials, 'trial')}, {found.written:,} new or changed, {found.removed:,} deleted. "
    said += f"{found.seconds:.1f} s by {'SQL' if found.path == 'sql' else 'the API of MLflow'}."
    if found.unreadable:
        said += f" Runs that cannot be read: {len(found.unreadable):,}."
    return Answer({"copy": str(mirror.directory), **asdict(found)}, Text(said))
