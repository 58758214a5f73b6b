"""``metatune train``: learn from the history."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import Answer, command, console
from metatune.cli.display import headline
from metatune.cli.listing import Listing
from metatune.redaction import redacted
from metatune.wording import number, plural

if TYPE_CHECKING:
    from metatune.knowledge import Knowledge


#: Headline of ``learnt_table``.
LEARNT = "Rank correlation on tasks left out, with and without meta-features"
_DEFAULT = Path("metatune-knowledge")


@command
def train(
    output: Annotated[
        Path, typer.Option("--knowledge", metavar="DIR", help="Where the knowledge is written.")
    ] = _DEFAULT,
    starter: Annotated[
        bool, typer.Option("--starter/--no-starter", help="Include the knowledge that ships with metatune.")
    ] = True,
    family: Annotated[
        list[str] | None, typer.Option("--family", "-f", help="Learn from its trials only; may be repeated.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="DIR", help="Learn from what `metatune export` wrote there instead of the history."
        ),
    ] = None,
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """Learn from the history, so that the next search and recommendation start better."""
    # Heavy imports wait until the command runs, for the sake of --help.
    import time

    from metatune.knowledge import Knowledge
    from metatune.mirror import refreshed_snapshot
    from metatune.snapshot import Snapshot

    messages = console()
    if source is None:
        place = options.place_of(tracking_uri, experiment)
        messages.print(f"Reading {redacted(place.uri)}")
        own = refreshed_snapshot(place, family)
    else:
        own = Snapshot.read(source)
        own = own.only(family) if family else own
    known = Knowledge.starter() if starter else None
    start = time.perf_counter()
    with messages.status("Training"):
        built = Knowledge.build(own if known is None else known.snapshot.merge(own), reuse=known)
        built.save(output)
    rows = learnt(built)
    document = {
        "knowledge": str(output),
        "own_studies": len(own.studies),
        "studies": len(built.snapshot.studies),
        "seconds": time.perf_counter() - start,
        "families": rows,
    }
    use = "searches started in this folder use it" if output == _DEFAULT else f"use it with --knowledge {output}"
    counts = f"{plural(len(own.studies), 'study', 'studies')} of yours, {len(built.snapshot.studies):,} in all"
    said = f"{counts}. Saved in {output}; {use}."
    return Answer(document, Group(headline(LEARNT), learnt_table(rows), Text(said)))


def learnt(knowledge: "Knowledge") -> list[dict[str, Any]]:
    """What ``knowledge`` has of each family, and how well it orders the configurations of tasks left out."""
    rows = []
    for family in knowledge.families:
        surrogate = knowledge.surrogate(family)
        if surrogate is None:
            rows.append({"family": family, "tasks": 0, "trials": 0})
        else:
            rows.append({"family": family, **vars(surrogate.validation)})
    return rows


def learnt_table(rows: list[dict[str, Any]]) -> Listing:
    """The rows of ``learnt``."""
    numbers = ("tasks", "trials", "with", "without")
    shown = Listing("family", *numbers, "meta-features", right=numbers, wraps=["meta-features"])
    for row in rows:
        used = {True: "used", False: "not used", None: "too few trials to learn from"}[row.get("use_features")]
        shown.add_row(
            row["family"], str(row["tasks"]), str(row["trials"]), number(row.get("correlation"), 2),
            number(row.get("correlation_without_features"), 2), used,
        )  # fmt: skip
    return shown
