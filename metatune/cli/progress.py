"""What runs, on standard error: a bar in a terminal, lines in a file; ``SearchProgress`` for a running search."""

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from metatune.wording import duration, number

if TYPE_CHECKING:
    from metatune.result import Progress as State


class Bar:
    """A bar of ``columns`` in a terminal; in a file, subclasses print lines. A context manager."""

    def __init__(self, screen: Console, *columns: ProgressColumn) -> None:
        self._screen = screen
        self._bar = Progress(
            *columns, console=screen, redirect_stdout=False, refresh_per_second=4, disable=not screen.is_terminal
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


class SearchProgress(Bar):
    """Shows every ended trial: its score, the best so far, and where the proposal came from.

    A context manager, to be called as ``on_trial`` of ``tune``; ``label`` leads every line.
    """

    def __init__(self, screen: Console, total: int, *, label: str = "") -> None:
        super().__init__(
            screen,
            TextColumn("{task.fields[label]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.description}", style="default"),
            TimeElapsedColumn(),
        )
        self._label = f"{label}  " if label else ""
        self._task = self._bar.add_task("starting", total=total, label=label)

    def __call__(self, state: "State") -> None:
        """Show ``state``."""
        trial, best = state.trial, state.best
        score = trial.status if trial.value is None else number(trial.value)
        leader = "–" if best is None else f"{number(best.value)} (trial {best.number})"
        text = f"trial {trial.number}  {score}  best {leader}  from {trial.origin}"
        self._bar.update(self._task, completed=state.done, total=state.total, description=text)
        if not self._screen.is_terminal:
            self._screen.print(
                f"{self._label}[{state.done}/{state.total}] {text}  {duration(trial.seconds)}", soft_wrap=True
            )
