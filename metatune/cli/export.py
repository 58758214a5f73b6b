"""``metatune export``: the history as a snapshot in a folder, for others."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import Answer, command
from metatune.wording import plural


@command
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    public: Annotated[
        bool,
        typer.Option("--public", help="Without names, users, notes, errors and times, and with new fingerprints."),
    ] = False,
    knowledge: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Export what this knowledge was learnt from instead of the history."),
    ] = None,
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """Write the history into DIR as Parquet files, of which `metatune train --from DIR` makes knowledge anywhere."""
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.export import export as verb
    from metatune.mirror import refreshed_snapshot

    if knowledge is not None:
        snapshot = options.open_knowledge(knowledge).snapshot
    else:
        snapshot = refreshed_snapshot(options.place_of(tracking_uri, experiment))
    written = verb(snapshot, directory, public=public)
    trials = sum(len(written.family(name)) for name in written.families)
    document = {
        "directory": str(directory),
        "public": public,
        "studies": len(written.studies),
        "trials": trials,
        "families": list(written.families),
    }
    kind = "public: names and fingerprints are replaced" if public else "not public: it holds names, users and notes"
    counts = f"{plural(len(written.studies), 'study', 'studies')} with {plural(trials, 'trial')}"
    return Answer(document, Text(f"{counts} in {directory} ({kind})."))
