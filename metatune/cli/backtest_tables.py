"""What ``metatune backtest`` prints: tables of its document, and notes on what did not run as it should."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from metatune.cli.display import headline
from metatune.cli.listing import Listing
from metatune.wording import legible, number, percent, plural

_SHOWN = ("1", "3", "5", "10", "25", "50")
_COMPARED = ("5", "10", "25")

#: The heading of a column of numbers, and the number of each method; ``None`` where it is not known.
_Column = tuple[str, Sequence[float | None], Callable[[float | None], str]]


def shown(document: Mapping[str, Any], html: Path | None) -> RenderableType:
    """A ``document`` of ``metatune.backtest.summary.summarise`` for people; ``html`` is where its page was written."""
    # Imported only now: it is loaded with SciPy, which `--help` does not need.
    from metatune.backtest.coverage import coverage_told

    covered = {name: coverage_told(**of) for name, of in document["coverage"].items()}
    lines: list[RenderableType] = []
    for name, described in document["tables"].items():
        lines += [
            headline(f"{name}: mean regret over {plural(described['tasks'], 'task')}"),
            *(Text(said) for said in [covered.get(name)] if said),
            _table(described["methods"]),
            *_as_random(described),
        ]
    lines += _overall(document["overall"])
    for name in document["unplayable"]:
        lines.append(_note(f"{legible(name)}: {covered[name]}"))
    for name, reason in document["unavailable"].items():
        lines.append(_note(f"{name} cannot run here: {reason}"))
    for name, failure in document["failures"].items():
        told = f"{name} failed in {plural(failure['runs'], 'search', 'searches')}, first {failure['error']}"
        lines.append(_note(legible(told, limit=400)))
    if html is not None:
        lines.append(Text(f"Page: {html}"))
    return Group(*lines)


def _note(text: str) -> Text:
    return Text(f"Note: {text}", style="yellow")


def _as_random(described: Mapping[str, Any]) -> list[RenderableType]:
    # Imported only now: it is loaded with SciPy, which `--help` does not need.
    from metatune.backtest.summary import as_random_told

    return [_note(as_random_told(method)) for method in described.get("as_random", ())]


def _table(methods: Mapping[str, Any]) -> Listing:
    """One row per method: regret, and rank, harm and seconds."""
    known = [e for e in _SHOWN if any(e in entry["regret"] for entry in methods.values())]
    main = "10" if "10" in known else known[-1] if known else "1"
    entries = list(methods.values())
    columns: list[_Column] = [
        *_columns(methods, "regret", "{}", known, _regret),
        *_columns(methods, "rank", "rank\nat {}", [main], _two_digits),
        *_columns(methods, "harm", "harm\nat {}", [main], percent),
        ("ms", [1e3 * entry["seconds"]["median"] for entry in entries], lambda value: f"{value:.1f}"),
    ]
    return _listing(methods, columns)


def _overall(overall: Mapping[str, Any]) -> list[RenderableType]:
    """Regret relative to the search without history, then ranks, harm and p-values; without what is not known."""
    methods, tasks = overall["methods"], plural(overall["tasks"], "task")
    lines: list[RenderableType] = []
    relative = _columns(methods, "relative", "{}", _SHOWN, _two_digits)
    if relative:
        lines += [headline(f"All tables: {tasks}, mean regret divided by that of gp"), _listing(methods, relative)]
    rank = _columns(methods, "rank", "rank\nat {}", _COMPARED, _two_digits)
    harm = _columns(methods, "harm", "harm\nat {}", _COMPARED, percent)
    # That metatune is not ahead of itself is no result.
    others = {name: entry | {"wilcoxon": {}} if name == "metatune" else entry for name, entry in methods.items()}
    chance = _columns(others, "wilcoxon", "p\nat {}", _COMPARED, _two_digits)
    if not rank + harm + chance:
        return lines
    named = [name for name, columns in (("average rank", rank), ("harm", harm), ("p", chance)) if columns]
    heading = f"All tables: {tasks}, {', '.join(named[:-1])}{' and ' if named[1:] else ''}{named[-1]}"
    lines += [headline(heading), _listing(methods, rank + harm + chance)]
    if chance:
        lines.append(Text("p: metatune's lead over the method by Wilcoxon's signed ranks, one-sided."))
    differences = {e: value for e, value in overall["critical_difference"].items() if value is not None}
    if differences:
        told = ", ".join(f"{number(value, 2)} at {e}" for e, value in differences.items())
        lines.append(Text(f"Critical difference of ranks, alpha .05: {told}."))
    return lines


def _columns(
    methods: Mapping[str, Any],
    name: str,
    heading: str,
    evaluations: Sequence[str],
    written: Callable[[float | None], str],
) -> list[_Column]:
    """What ``methods`` have under ``name``, a column per evaluation; those without any number are left out."""
    found = {e: [entry[name].get(e) for entry in methods.values()] for e in evaluations}
    return [
        (heading.format(e), values, written)
        for e, values in found.items()
        if any(value is not None for value in values)
    ]


def _listing(methods: Mapping[str, Any], columns: Sequence[_Column]) -> Listing:
    headings = [heading for heading, _, _ in columns]
    made = Listing("method", *headings, right=headings)
    for i, name in enumerate(methods):
        made.add_row(name, *(written(values[i]) for _, values, written in columns))
    return made


def _regret(value: float | None) -> str:
    """A share of the range of scores: four decimals tell enough, and keep methods comparable down a column."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _two_digits(value: float | None) -> str:
    return number(value, 2)
