"""``metatune demo``: the whole loop on a real dataset, a cold and a warm search side by side."""

import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import INTERRUPTED, Answer, command, console
from metatune.cli.display import headline, mlflow_ui
from metatune.cli.listing import Listing
from metatune.cli.progress import SearchProgress
from metatune.cli.train import learnt
from metatune.comparison import best_so_far, trials_until
from metatune.redaction import redacted
from metatune.wording import duration, legible, number, plural

if TYPE_CHECKING:
    from metatune.knowledge import Knowledge
    from metatune.recommendation import Recommendation
    from metatune.result import TuneResult
    from metatune.task import Task

#: How the searches are called on the screen and on the page.
_LABELS = {"cold": "cold (TPE)", "warm": "warm (history)"}
Results: TypeAlias = "Mapping[str, Mapping[str, TuneResult]]"  # by family, then by kind


@command
def demo(
    trials: Annotated[int, typer.Option(min=1, help="Trials of each search.")] = 12,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="After so many seconds a search begins no further trial.")
    ] = 40,
    directory: Annotated[Path, typer.Option(metavar="DIR", help="Where the page is written.")] = Path("metatune-demo"),
    output: Annotated[
        Path, typer.Option("--output-knowledge", metavar="DIR", help="Where the retrained knowledge is written.")
    ] = Path("metatune-knowledge"),
    seed: options.Seed = 0,
    knowledge: Annotated[
        str, typer.Option(metavar="DIR", envvar="METATUNE_KNOWLEDGE", help="What guides the warm searches.")
    ] = "starter",
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """See the whole loop work on real data, in a few minutes: with history and without, side by side."""
    began = time.perf_counter()
    screen = console()
    screen.print("metatune demo: one dataset, tuned twice: without history and with it.\n")
    # Heavy imports wait until the command runs, for the sake of --help.
    import metatune.demo as parts

    known = options.open_knowledge(knowledge)
    store = options.open_store(tracking_uri, experiment)
    task = parts.digits(seed=seed)
    families = parts.available_families()
    _tell_data(screen, task, known)
    _tell_description(screen, task)
    advised = {family: parts.advice(task, family, known, seed=seed) for family in families}
    _tell_advice(screen, advised)
    _step(
        screen,
        "Guided search",
        f"{plural(trials, 'trial')} each. cold: TPE without history, the library's default given first "
        "(from warm-start). warm: guided by the history, the default among the first trials.",
    )
    found: dict[str, dict[str, TuneResult]] = {family: {} for family in families}
    for family, kind in product(families, parts.KINDS):
        with SearchProgress(screen, trials, label=f"{family} {kind}") as progress:
            result = parts.search(
                task, family, kind, knowledge=known, store=store, trials=trials, timeout=timeout, seed=seed,
                on_trial=progress,
            )  # fmt: skip
        found[family][kind] = result
        if result.interrupted:
            kept = Text(f"Interrupted; what was tried is kept: {mlflow_ui(store.uri, Path.cwd())}")
            return Answer(_document(task, found, advised), Group(_comparison(found), kept), INTERRUPTED)
    ui = mlflow_ui(store.uri, Path.cwd())
    _step(screen, "History", f"every trial is in MLflow. To look at it: {ui}")
    page = directory / "report.html"
    directory.mkdir(parents=True, exist_ok=True)
    page.write_text(_page(task, found, advised, known), encoding="utf-8")
    relearnt = parts.relearn(store, known)
    relearnt.save(output)
    _tell_learning(screen, families, known, relearnt, output)
    missing = [family for family in parts.FAMILIES if family not in families]
    seconds = time.perf_counter() - began
    files = {"report": str(page), "knowledge": str(output), "history": redacted(store.uri), "seconds": seconds}
    document = _document(task, found, advised) | files | {"not_installed": missing, "learnt": learnt(relearnt)}
    return Answer(document, Group(_comparison(found), *_ending(page, ui, missing, seconds)))


def _step(screen: Console, name: str, sentence: str | Text) -> None:
    """One step of the loop, in a sentence that wraps beside its name."""
    line = Table.grid(padding=(0, 2))
    line.add_column(style="bold", width=14)
    line.add_column()
    line.add_row(name, sentence)
    screen.print(line)


def _tell_data(screen: Console, task: "Task", known: "Knowledge") -> None:
    import metatune.demo as parts

    assert task.data is not None
    better = "lower" if task.metric.direction == "minimize" else "higher"
    data, tasks = task.data, {study.task.fingerprint for study in known.snapshot.studies}
    _step(
        screen,
        "Data",
        f"{task.name}: {data.n_rows:,} images of handwritten digits, {data.n_columns} pixels that are not always "
        f"blank, {len(data.classes)} classes; judged by {task.metric.name} ({better} is better) "
        f"on {len(task.folds[0][1])} rows, at the end on {len(task.test)} rows that no trial sees.",
    )
    if parts.is_known(task, known):
        screen.print(
            "Note: this knowledge was trained on this dataset, so the comparison proves nothing.", style="yellow"
        )
    else:
        _step(screen, "", f"None of the {len(tasks)} tasks in the history is this dataset.")


def _tell_description(screen: Console, task: "Task") -> None:
    from metatune.metafeatures import describe

    start = time.perf_counter()
    known = sum(value == value for value in describe(task).values())
    taken = duration(time.perf_counter() - start)
    _step(screen, "Meta-features", f"{known} numbers describe the data, made in {taken}; no row leaves the machine.")


def _tell_advice(screen: Console, advised: "Mapping[str, Recommendation]") -> None:
    for i, (family, advice) in enumerate(advised.items()):
        first = advice.items[0]
        said = f"{family}: {plural(len(advice.items), 'configuration')}"
        if advice.tasks:
            evidence = f"{plural(advice.trials, 'trial')} on {plural(advice.tasks, 'task')}"
            said += f"; the first is expected to beat {first.share_text} of configurations, say {evidence}"
        if advice.similar:
            said += f"; most like {', '.join(legible(task.name, limit=40) for task in advice.similar[:3])}"
        _step(screen, "" if i else "Recommendation", said)
        for note in advice.notes:
            _step(screen, "", legible(note))


def _tell_learning(
    screen: Console, families: Sequence[str], before: "Knowledge", after: "Knowledge", output: Path
) -> None:
    counts = []
    for family in families:
        old, new = (known.surrogate(family, missing_ok=True) for known in (before, after))
        was, now = (0 if s is None else sum(len(task.X) for task in s.tasks) for s in (old, new))
        counts.append(f"{family} {was:,} to {now:,} trials")
    _step(screen, "Surrogate", f"trained again, {', '.join(counts)}; saved in {output}, used by your next search here.")


def _comparison(found: Results) -> RenderableType:
    """The table: a row per search."""
    first = next(result for results in found.values() for result in results.values())
    metric = first.task.metric
    better = "lower" if metric.direction == "minimize" else "higher"
    numbers = ("trials", "time", metric.name, "on test rows", "trials to match cold")
    rows = Listing("family", "search", *numbers, right=numbers)
    for family, results in found.items():
        for kind, result in results.items():
            until = trials_until(result, results["cold"].best_value)
            rows.add_row(
                family, _LABELS[kind], str(len(result.trials)), duration(result.seconds), number(result.best_value),
                number(result.test_score), "not reached" if until is None else str(until),
                style="bold" if kind == "warm" else "",
            )  # fmt: skip
    return Group(Text(), headline(f"{metric.name} on {first.task.name} ({better} is better)"), rows)


def _ending(page: Path, ui: str, missing: Sequence[str], seconds: float) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("curves", str(page))
    grid.add_row("history", ui)
    for family in missing:
        grid.add_row("not shown", f'{family} needs TensorFlow: pip install "metatune[keras]"')
    grid.add_row("your data", "metatune tune FILE.csv --target COLUMN")
    grid.add_row("took", duration(seconds))
    return [grid]


def _document(task: "Task", found: Results, advised: "Mapping[str, Recommendation]") -> dict[str, object]:
    searches = {
        family: {
            kind: {
                "study_id": result.study_id,
                "trials": len(result.trials),
                "seconds": result.seconds,
                "best_value": result.best_value,
                "best_configuration": result.best_configuration,
                "test_score": result.test_score,
                "trials_to_cold_best": trials_until(result, results["cold"].best_value),
                "best_so_far": best_so_far(result),
                "warnings": list(result.warnings),
            }
            for kind, result in results.items()
        }
        for family, results in found.items()
    }
    return {
        "task": task.name,
        "metric": task.metric.name,
        "direction": task.metric.direction,
        "searches": searches,
        "recommendations": {family: advice.to_dict() for family, advice in advised.items()},
    }


def _page(task: "Task", found: Results, advised: "Mapping[str, Recommendation]", known: "Knowledge") -> str:
    from metatune.report import search_page

    assert task.data is not None
    tasks = {study.task.fingerprint for study in known.snapshot.studies}
    return search_page(
        {family: {_LABELS[kind]: result for kind, result in results.items()} for family, results in found.items()},
        title="A search with history and one without",
        summary=[
            f"Each model family was tuned on {task.name}, a dataset that the history does not have: once by TPE, which "
            "starts from nothing, and once guided by the trials of other datasets. Rows, seed and number of trials "
            "are the same, and both searches try the library's default configuration.",
        ],
        facts={
            "dataset": f"{task.name}, {task.data.n_rows:,} x {task.data.n_columns}",
            "metric": task.metric.name,
            "history": f"{len(known.snapshot.studies):,} studies of {plural(len(tasks), 'other task')}",
            "validation": f"{len(task.folds[0][1])} rows, test {len(task.test)} rows",
        },
        recommendations=dict(advised),
    )
