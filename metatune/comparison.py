"""How searches compare: the best score after each trial, and after how many trials a score was reached."""

from typing import TYPE_CHECKING

# For annotations alone: the command line imports this module before it knows whether anything heavy is needed.
if TYPE_CHECKING:
    from metatune.result import TuneResult
    from metatune.trial import Trial


def counted(result: "TuneResult") -> "list[Trial]":
    """The trials of ``result`` by number, without those that were interrupted and tried again."""
    return sorted((trial for trial in result.trials if trial.status != "interrupted"), key=lambda trial: trial.number)


def best_so_far(result: "TuneResult") -> list[float | None]:
    """The best value after each trial, in the metric's own unit; ``None`` before the first complete one."""
    metric = result.task.metric
    best: float | None = None
    found: list[float | None] = []
    for trial in counted(result):
        if trial.status == "complete" and trial.value is not None:
            better = best is None or metric.score(trial.value) > metric.score(best)
            best = trial.value if better else best
        found.append(best)
    return found


def trials_until(result: "TuneResult", value: float | None) -> int | None:
    """The number of trials after which ``result`` was at least as good as ``value``; ``None`` if it never was."""
    if value is None:
        return None
    goal = result.task.metric.score(value)
    for count, best in enumerate(best_so_far(result), start=1):
        if best is not None and result.task.metric.score(best) >= goal:
            return count
    return None
