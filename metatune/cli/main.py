"""``metatune``: the application and its commands."""

from typing import Annotated

import typer

from metatune.cli.demo import demo
from metatune.cli.doctor import doctor
from metatune.cli.history import history
from metatune.cli.recommend import recommend
from metatune.cli.train import train
from metatune.cli.tune import tune
from metatune.version import __version__

app = typer.Typer(
    name="metatune",
    help="The tuning memory of a team: every search starts better than the last.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a bug, 2 wrong usage, 3 bad data, 4 history or knowledge unusable, "
    "5 nothing known (with --strict), 6 not everything done, 130 interrupted and saved.",
)
for function in (demo, tune, recommend, train, history, doctor):
    app.command()(function)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metatune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the application itself."""


def main() -> None:
    """Run the command that was typed."""
    app()
