"""``metatune recommend``: configurations for a task never seen, with the evidence for them."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from metatune.cli import options
from metatune.cli.boundary import Answer, command
from metatune.cli.data_options import Reading, reads_task
from metatune.cli.display import headline, settings
from metatune.cli.listing import Listing
from metatune.wording import legible, number, plural

if TYPE_CHECKING:
    from metatune.recommendation import Recommendation


@command
@reads_task
def recommend(
    *,
    reading: Reading,
    family: options.Family = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many configurations.")] = 3,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 5 if the history says nothing about data like this.")
    ] = False,
    knowledge: options.KnowledgeDirectory = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> Answer:
    """Recommend configurations for DATA from the history of other data, without training anything."""
    # Heavy imports wait until the command runs, for the sake of --help.
    from metatune.recommender import recommend as verb

    task = options.read_task(**reading, seed=seed)
    found = verb(task, family, n, knowledge=options.open_knowledge(knowledge), strict=strict, seed=seed)
    repairs = [str(repair) for repair in task.repairs]
    document = {"task": task.name, "kind": task.kind, **found.to_dict(), "repairs": repairs}
    return Answer(document, _shown(task.name, found, repairs))


def _shown(task: str, found: "Recommendation", repairs: list[str]) -> RenderableType:
    rows = Listing("", "from", "better than", f"gain in {found.metric}", "configuration", right=["better than"])
    for i, item in enumerate(found.items, start=1):
        gain = item.gain_text(relative=found.relative_gain)
        rows.add_row(str(i), item.origin, item.share_text, gain, settings(item.configuration))
    lines: list[RenderableType] = [headline(f"{found.family} for {task}, judged by {found.metric}"), rows]
    if found.tasks:
        meaning = "better than: the share of configurations it is expected to beat; gain: over the default; "
        lines.append(Text(f"{meaning}in brackets the 10th to the 90th percentile.", style="dim"))
        lines.append(Text(f"Evidence: {plural(found.trials, 'trial')} on {plural(found.tasks, 'task')}.", style="dim"))
    if found.similar:
        similar = Listing("task", "distance", "trials", "best", "metric", right=["distance", "trials", "best"])
        for one in found.similar:
            similar.add_row(
                legible(one.name, limit=60), f"{one.distance:.2f}", str(one.trials), number(one.best), one.metric
            )
        lines += [headline("Most similar known tasks"), similar]
    lines += [Text(f"Note: {legible(note)}", style="yellow") for note in (*found.notes, *repairs)]
    return Group(*lines)
