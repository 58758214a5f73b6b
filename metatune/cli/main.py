"""``metatune``: the application and its commands."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from metatune.cli.backtest import SeveralTables, backtest
from metatune.cli.boundary import print_usage_error
from metatune.cli.demo import demo
from metatune.cli.doctor import doctor
from metatune.cli.export import export
from metatune.cli.forget import forget
from metatune.cli.history import KnowledgeAlone, history
from metatune.cli.importing import app as importing
from metatune.cli.publish import publish
from metatune.cli.pull import pull
from metatune.cli.recommend import recommend
from metatune.cli.sync import sync
from metatune.cli.train import train
from metatune.cli.tune import tune
from metatune.version import __version__

#: What typer raises for every wrong command line; of this family it makes only ``BadParameter`` public.
_WrongUsageError: type[Exception] = typer.BadParameter.__mro__[1]


class _Commands(TyperGroup):
    """The commands; with ``--json``, a command line that typer refuses gives a document too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = ctx.meta[_WORDS] = tuple(args)
        with _usage_errors_told(words):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _usage_errors_told(ctx.meta[_WORDS]):
            return super().invoke(ctx)


_WORDS = "metatune.words"


@contextlib.contextmanager
def _usage_errors_told(words: Sequence[str]) -> Iterator[None]:
    """Print the document of a usage error if ``words`` ask for one; typer then reports it and exits with 2."""
    try:
        yield
    except _WrongUsageError as error:
        if "--json" in words:
            print_usage_error(error)
        raise


app = typer.Typer(
    name="metatune",
    cls=_Commands,
    help="The tuning memory of a team: every search starts better than the last.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a bug, 2 wrong usage, 3 bad data, 4 history or knowledge unusable, "
    "5 nothing known (with --strict), 6 not everything done, 130 interrupted and saved.",
)
#: Commands whose words are read otherwise than typer would.
_READ_OTHERWISE = {history: KnowledgeAlone, backtest: SeveralTables}
for function in (
    demo, tune, recommend, train, publish, history, pull, sync, export, forget, backtest, doctor,
):  # fmt: skip
    app.command(cls=_READ_OTHERWISE.get(function))(function)
app.add_typer(importing, name="import")


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
