"""``metatune history``: what was tried so far, from the store or from a knowledge's snapshot."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from typer.core import TyperCommand

from metatune.cli import options
from metatune.cli.boundary import Answer, command
from metatune.cli.display import headline, settings
from metatune.cli.listing import Listing
from metatune.redaction import redacted
from metatune.wording import legible, number, plural

if TYPE_CHECKING:
    from metatune.study import StudyRecord
    from metatune.trial import Trial

    Records: TypeAlias = list[tuple[StudyRecord, Sequence[Trial]]]
Row: TypeAlias = dict[str, Any]


class What(StrEnum):
    """What ``metatune history`` lists."""

    families = "families"
    tasks = "tasks"
    studies = "studies"
    trials = "trials"


class KnowledgeAlone(TyperCommand):
    """A command whose ``--knowledge`` may stand alone, for the knowledge in use."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a ``--knowledge`` that no folder follows an empty value."""
        words = []
        for word, following in zip_longest(args, args[1:]):
            words.append(word)
            if word == "--knowledge" and (following is None or following.startswith("-") or following in set(What)):
                words.append("")
        return super().parse_args(ctx, words)


@command
def history(
    what: Annotated[What, typer.Argument(help="What to list.")] = What.studies,
    study: Annotated[str | None, typer.Option(help="Trials of this study only: its id or the beginning of it.")] = None,
    task: Annotated[str | None, typer.Option(help="Of the tasks with this name only.")] = None,
    family: Annotated[str | None, typer.Option("--family", "-f", help="Of this model family only.")] = None,
    best: Annotated[bool, typer.Option("--best", help="Only the best trial of each study.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="At most so many rows, the newest ones; families are all listed.")
    ] = 20,
    knowledge: Annotated[
        str | None,
        typer.Option(
            metavar="[DIR]",
            help="List what this knowledge was learnt from: the one in use, or DIR; 'starter' is what ships.",
        ),
    ] = None,
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "metatune",
    as_json: options.AsJson = False,
) -> Answer:
    """List the families, tasks, studies or trials in the history."""
    if study is not None or best:
        what = What.trials
    source, records = _read(knowledge, tracking_uri, experiment, study)
    records = [
        (record, trials)
        for record, trials in records
        if (task is None or record.task.name == task) and (family is None or record.family == family)
    ]
    if best:
        records = [(record, [trial]) for record, trials in records if (trial := _best(record, trials)) is not None]
    rows = _ROWS[what](records)
    kept, counts = rows if what is What.families else rows[-limit:], _counts(records)
    tasks, studies, trials = counts.values()
    data = _data(records)
    parts = f" ({', '.join(f'{count:,} {name}' for name, count in data.items())})" if len(data) > 1 else ""
    told = f"{plural(tasks, 'task')}{parts}, {plural(studies, 'study', 'studies')}, {plural(trials, 'trial')}"
    shown: list[RenderableType] = [headline(f"{what.value.capitalize()} in {source}"), Text(told), _table(what, kept)]
    if len(rows) > len(kept):
        shown.append(Text(f"{len(kept)} of {len(rows)}; --limit shows more.", style="dim"))
    if not rows:
        shown = [Text(f"Nothing of this kind in {source}. `metatune tune` adds to it, `metatune demo` shows how.")]
    document = {"source": source, "counts": counts, "data": data, "total": len(rows), what.value: kept}
    return Answer(document, Group(*shown))


def _read(knowledge: str | None, uri: str | None, experiment: str, study: str | None) -> "tuple[str, Records]":
    """Where the records come from, and the records. Raises ``UsageError`` for an unknown or ambiguous study."""
    # Heavy imports wait until the command runs, for the sake of --help.
    if knowledge is None:
        if study is None:
            from metatune.mirror import refreshed_snapshot

            place = options.place_of(uri, experiment)
            return redacted(place.uri), list(refreshed_snapshot(place).records())
        store = options.open_store(uri, experiment)
        record = store.study(study)
        return redacted(store.uri), [(record, store.trials(record.id))]
    from metatune.errors import UsageError

    known = options.open_knowledge(knowledge)
    records = [(one, trials) for one, trials in known.snapshot.records() if one.id.startswith(study or "")]
    if study is not None and len(records) != 1:
        raise UsageError(
            "no study has this id" if not records else f"{len(records)} studies have ids that begin like this",
            field="study",
            value=study,
            remedy="`metatune history studies --knowledge ...` lists them with their ids.",
        )
    return str(known.directory), list(records)


def _best(study: "StudyRecord", trials: "Iterable[Trial]") -> "Trial | None":
    complete = [trial for trial in trials if trial.status == "complete" and trial.value is not None]
    return max(complete, key=lambda trial: study.task.metric.score(trial.value or 0.0), default=None)


def _counts(records: "Records") -> dict[str, int]:
    return {
        "tasks": len({study.task.fingerprint for study, _ in records}),
        "studies": len(records),
        "trials": sum(len(trials) for _, trials in records),
    }


def _data(records: "Records") -> dict[str, int]:
    """How many tasks have data of each kind, most first; ``other`` where no family says what a task's data are."""
    from metatune.dataset import Modality
    from metatune.learners import family_names

    of_family = {family: modality for modality in get_args(Modality) for family in family_names(modality)}
    known = {study.task.fingerprint: "other" for study, _ in records}
    known |= {study.task.fingerprint: of_family[study.family] for study, _ in records if study.family in of_family}
    return dict(Counter(known.values()).most_common())


def _families(records: "Records") -> list[Row]:
    by_family: defaultdict[str, Records] = defaultdict(list)
    for study, trials in records:
        by_family[study.family].append((study, trials))
    return [
        {
            "family": family,
            **_counts(found),
            "complete": sum(trial.status == "complete" for _, trials in found for trial in trials),
        }
        for family, found in sorted(by_family.items())
    ]


def _tasks(records: "Records") -> list[Row]:
    by_task: defaultdict[str, Records] = defaultdict(list)
    for study, trials in records:
        by_task[study.task.fingerprint].append((study, trials))
    rows = []
    for found in by_task.values():
        task = found[-1][0].task
        rows.append(
            {
                "task": task.name,
                "kind": task.kind,
                "rows": task.n_rows,
                "columns": task.n_columns,
                "families": sorted({study.family for study, _ in found}),
                **{name: count for name, count in _counts(found).items() if name != "tasks"},
            }
        )
    return rows


def _studies(records: "Records") -> list[Row]:
    rows = []
    for study, trials in records:
        best = _best(study, trials)
        rows.append(
            {
                "id": study.id,
                "created": study.created,
                "task": study.task.name,
                "family": study.family,
                "strategy": study.strategy,
                "trials": len(trials),
                "metric": study.task.metric.name,
                "best": None if best is None else best.value,
            }
        )
    return rows


def _trials(records: "Records") -> list[Row]:
    return [
        {
            "study": study.id,
            "number": trial.number,
            "task": study.task.name,
            "family": study.family,
            "status": trial.status,
            "origin": trial.origin,
            "odds": trial.odds,
            "trusted": trial.trusted,
            "metric": study.task.metric.name,
            "value": trial.value,
            "seconds": trial.seconds,
            "configuration": dict(trial.configuration),
            "error": trial.error,
        }
        for study, trials in records
        for trial in trials
    ]


def _minute(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # what was imported may have any number for a time
        return "unknown"


_ROWS: dict[What, Callable[["Records"], list[Row]]] = {
    What.families: _families,
    What.tasks: _tasks,
    What.studies: _studies,
    What.trials: _trials,
}
_Cell: TypeAlias = Callable[[Row], Any]
#: Column, whether it holds numbers, and its cell.
_COLUMNS: dict[What, list[tuple[str, bool, _Cell]]] = {
    What.families: [
        ("family", False, lambda row: row["family"]),
        ("tasks", True, lambda row: f"{row['tasks']:,}"),
        ("studies", True, lambda row: f"{row['studies']:,}"),
        ("trials", True, lambda row: f"{row['trials']:,}"),
        ("complete", True, lambda row: f"{row['complete']:,}"),
    ],
    What.tasks: [
        ("task", False, lambda row: legible(row["task"], limit=60)),
        ("kind", False, lambda row: row["kind"]),
        ("rows", True, lambda row: str(row["rows"])),
        ("columns", True, lambda row: str(row["columns"])),
        ("studies", True, lambda row: str(row["studies"])),
        ("trials", True, lambda row: str(row["trials"])),
        ("families", False, lambda row: ", ".join(row["families"])),
    ],
    What.studies: [
        ("id", False, lambda row: legible(row["id"], limit=40)),
        ("task", False, lambda row: legible(row["task"], limit=60)),
        ("family", False, lambda row: row["family"]),
        ("trials", True, lambda row: str(row["trials"])),
        ("best", True, lambda row: number(row["best"])),
        ("metric", False, lambda row: row["metric"]),
        ("strategy", False, lambda row: row["strategy"]),
        ("created", False, lambda row: _minute(row["created"])),
    ],
    What.trials: [
        ("study", False, lambda row: legible(row["study"][:12])),
        ("#", True, lambda row: str(row["number"])),
        ("task", False, lambda row: legible(row["task"], limit=40)),
        ("family", False, lambda row: row["family"]),
        ("from", False, lambda row: row["origin"]),
        ("value", True, lambda row: row["status"] if row["value"] is None else number(row["value"])),
        ("metric", False, lambda row: row["metric"]),
        (
            "configuration",
            False,
            lambda row: settings(row["configuration"]) if row["error"] is None else legible(row["error"], limit=200),
        ),
    ],
}


def _table(what: What, rows: Iterable[Row]) -> RenderableType:
    columns = _COLUMNS[what]
    shown = Listing(*(name for name, _, _ in columns), right=[n for n, r, _ in columns if r], wraps=["families"])
    for row in rows:
        shown.add_row(*(cell(row) for _, _, cell in columns))
    return shown
