"""``metatune doctor``: what is in order and what is not, with a remedy."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import Answer, command
from metatune.wording import legible

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@command
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="End what dead processes left running, and delete what is there twice.")
    ] = False,
    knowledge: options.KnowledgeDirectory = None,
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """Check Python, packages, history, spool, knowledge and disk; exit with 4 or 1 if something is broken."""
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.doctor import examine
    from metatune.knowledge import starter_directory

    directory = starter_directory() if knowledge == "starter" else knowledge or None
    checks = list(examine(options.open_store(tracking_uri, experiment), directory, repair=repair))
    problems = [check for check in checks if check.state == "problem"]
    grid = Table.grid(padding=(0, 2))
    for _ in range(2):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")  # a long path is broken, not cut: its end says most
    for check in checks:
        found = Text(legible(check.found, limit=400))
        if check.remedy:
            found.append(f"\n{legible(check.remedy, limit=400)}", style="bold")
        grid.add_row(Text(check.state, style=_STYLES[check.state]), check.name, found)
    warnings = sum(check.state == "warning" for check in checks)
    said = f"Problems: {len(problems)}, warnings: {warnings}." if problems or warnings else "Everything is in order."
    document = {"problems": len(problems), "warnings": warnings, "checks": [asdict(check) for check in checks]}
    return Answer(document, Group(grid, Text(said)), max((check.exit_code for check in problems), default=0))
