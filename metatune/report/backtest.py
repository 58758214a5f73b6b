"""``backtest_page``: what replayed searches came to, as one HTML page."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metatune.backtest.coverage import coverage_told
from metatune.backtest.summary import COMPARED, HARM, OWN, REFERENCE, as_random_told
from metatune.report.diagram import RankDiagram, RegretChart, rank_diagram, regret_chart
from metatune.report.environment import ENVIRONMENT
from metatune.version import __version__

#: The evaluations that tables show.
SHOWN = ("1", "3", "5", "10", "25", "50")
#: The evaluation that stands for the others where there is room for one.
MAIN = "10"
_COLOURS = 6


@dataclass(frozen=True)
class _Seconds:
    """Seconds per proposal on the table where the method takes longest; ``left`` and ``width`` in per cent."""

    label: str
    median: float
    p95: float
    left: float
    width: float


@dataclass(frozen=True)
class _Table:
    """The part of the page on one table."""

    name: str
    tasks: int
    chart: RegretChart | None
    methods: Mapping[str, Mapping[str, Any]]
    evaluations: list[str]
    main: str
    notes: list[str]


def backtest_page(document: Mapping[str, Any], *, title: str = "Backtest") -> str:
    """The page of a ``document`` of ``metatune.backtest.summary.summarise``, complete: no scripts, nothing fetched."""
    covered = {name: coverage_told(**of) for name, of in document["coverage"].items()}
    tables = [_table(name, described, covered.get(name)) for name, described in document["tables"].items()]
    overall = document["overall"]["methods"]
    template = ENVIRONMENT.get_template("backtest.html.j2")
    return template.render(
        title=title,
        version=__version__,
        facts=_facts(document),
        tables=tables,
        styles=_styles(overall),
        overall=overall,
        evaluations=_evaluations(entry["harm"] for entry in overall.values()),
        diagrams=_diagrams(document["overall"]),
        seconds=_seconds(document["tables"]),
        reference=REFERENCE,
        own=OWN,
        harm=HARM,
        unplayable={name: covered[name] for name in document["unplayable"]},
        unavailable=document["unavailable"],
        failures=document["failures"],
    )


def _facts(document: Mapping[str, Any]) -> dict[str, str]:
    protocol = document["protocol"]
    history = "as it was" if protocol["stress"] == "none" else protocol["stress"]
    if protocol["n_history"] is not None:
        history += f", {protocol['n_history']} tasks"
    return {
        "tables": str(len(document["tables"])),
        "tasks": str(document["overall"]["tasks"]),
        "seeds": str(protocol["seeds"]),
        "history": history,
        "rows of history per task": f"at most {protocol['history_rows']}",
    }


def _evaluations(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those of ``SHOWN`` that any of ``results`` has."""
    known = {evaluation for result in results for evaluation in result}
    return [evaluation for evaluation in SHOWN if evaluation in known]


def _table(name: str, described: Mapping[str, Any], covered: str | None) -> _Table:
    methods = described["methods"]
    evaluations = _evaluations(entry["regret"] for entry in methods.values())
    main = MAIN if MAIN in evaluations else evaluations[-1] if evaluations else MAIN
    chart = regret_chart({method: entry["curve"] for method, entry in methods.items()})
    notes = [covered] if covered else []
    notes += [as_random_told(method) for method in described.get("as_random", ())]
    return _Table(name, described["tasks"], chart, methods, evaluations, main, notes)


def _styles(methods: Iterable[str]) -> dict[str, str]:
    """A colour and a dash for each method: the reference grey, metatune the colour of its name, others in turn."""
    fixed = {REFERENCE: "s0 d0", OWN: "s1 d0 own"}
    others = [method for method in methods if method not in fixed]
    free = _COLOURS - len(fixed)
    turns = {method: f"s{len(fixed) + i % free} d{i // free % 3}" for i, method in enumerate(others)}
    return fixed | turns


def _diagrams(overall: Mapping[str, Any]) -> dict[str, RankDiagram]:
    """A diagram for each evaluation at which ranks are compared."""
    found = {}
    for evaluation in map(str, COMPARED):
        ranks = {m: entry["rank"].get(evaluation) for m, entry in overall["methods"].items()}
        known = {method: rank for method, rank in ranks.items() if rank is not None}
        diagram = rank_diagram(known, overall["critical_difference"].get(evaluation))
        if diagram is not None:
            found[evaluation] = diagram
    return found


def _seconds(tables: Mapping[str, Any]) -> list[_Seconds]:
    """One bar per method, from the median to the 95th percentile, on a logarithmic axis."""
    slowest: dict[str, Mapping[str, float]] = {}
    for described in tables.values():
        for method, entry in described["methods"].items():
            if method not in slowest or entry["seconds"]["p95"] > slowest[method]["p95"]:
                slowest[method] = entry["seconds"]
    if not slowest:
        return []
    ends = [max(value, 1e-7) for seconds in slowest.values() for value in seconds.values()]
    low, high = math.log10(min(ends)), math.log10(max(ends))
    span = high - low or 1.0

    def place(value: float) -> float:
        return 100 * (math.log10(max(value, 1e-7)) - low) / span

    return [
        _Seconds(m, s["median"], s["p95"], place(s["median"]), max(place(s["p95"]) - place(s["median"]), 0.8))
        for m, s in slowest.items()
    ]
