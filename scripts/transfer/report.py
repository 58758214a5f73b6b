"""The section of docs/benchmarks.md on transfer: Markdown tables of whatever runs there are."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metatune.backtest import peers
from metatune.backtest.engine import ABLATIONS
from metatune.backtest.summary import COMPARED, EVALUATIONS, as_random_told
from transfer.patience import patience_section
from transfer.published import published_section
from transfer.reading import Runs, as_if, common, gate, summary
from transfer.stages import OWN, PIPELINE_METHODS, PIPELINES, PLAIN, SEARCH, STRESS, unavailable
from transfer.text import millis, number, p_value, share, table, tasks_told

BEGIN, END = "<!-- transfer:begin -->", "<!-- transfer:end -->"
#: Bars for the regret of metatune relative to that of gp (geometric mean over tables), and for harm.
BARS = {"5": 0.15, "10": 0.08, "25": 0.10, "50": 0.18}
HARM_BARS = {"5": 0.05, "10": 0.05, "25": 0.03, "50": 0.03}
STRESS_BARS = {"inverted history": "1.2 at 25", "unrelated history": "1.1 at 25"}
_MAIN = ("5", "10", "25", "50")
_COMPARED = tuple(map(str, COMPARED))
_ALL = tuple(map(str, EVALUATIONS))
#: Released methods: those of the adapters, and Optuna's sampler as it comes.
RELEASED = ("tpe", *peers.NAMES)


def write(path: Path, text: str) -> None:
    """Put ``text`` between the markers of the file at ``path``; at its end, with markers, where it has none."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    head, begin, rest = before.partition(BEGIN)
    tail = rest.partition(END)[2] if begin else "\n"
    gap = "" if begin or not head else "\n"
    path.write_text(f"{head}{gap}{BEGIN}\n{text.strip()}\n{END}{tail}", encoding="utf-8")


def report(runs: Runs, benchmarks: Path) -> str:
    """All sections for which there are runs."""
    own = runs.of(SEARCH, OWN, PLAIN)
    parts = [
        _bars(summary(runs.of(SEARCH, ["gp", "metatune"], PLAIN))),
        _portfolio(summary(runs.of(SEARCH, ["metatune", "portfolio"], PLAIN))),
        _search(summary(own)),
        patience_section(runs),
        _peers(summary(own + runs.of(SEARCH, peers.NAMES, PLAIN))),
        _stress(runs),
        _ablations(summary(runs.of(SEARCH, ["metatune", "gp", *ABLATIONS], PLAIN))),
        _pipelines(runs),
        published_section(runs, benchmarks / "salinas_xgboost"),
    ]
    return "\n\n".join(part for part in parts if part)


def _bars(found: Mapping[str, Any]) -> str:
    if "metatune" not in found["overall"]["methods"]:
        return ""
    lines = [
        "### metatune against the search without history, all tasks",
        tasks_told(found),
        "Regret divided by that of `gp` (both at least .0001), and harm:",
        _relative_by_table(found),
    ]
    return "\n\n".join(lines)


def _portfolio(found: Mapping[str, Any]) -> str:
    """What metatune's lead over the static portfolio is worth on every task that both have run."""
    if not {"metatune", "portfolio"} <= set(found["overall"]["methods"]):
        return ""
    ranks = found["overall"]["methods"]["metatune"]["rank"]
    told = ", ".join(f"{number(ranks.get(e), 2)} at {e}" for e in _COMPARED)
    return f"Against `portfolio` alone, {tasks_told(found)} Its average rank of the two is {told}. " + _against(
        found, "portfolio"
    )


def _search(found: Mapping[str, Any]) -> str:
    if not found["tables"]:
        return ""
    lines = [
        "### Own and simple methods",
        "On the tasks and seeds that all of these methods have run. " + tasks_told(found),
        "All tables together:",
        overall(found),
        _against(found, "portfolio"),
    ]
    for name, described in found["tables"].items():
        lines += [f"`{name}`, {described['tasks']} tasks: mean regret (median)", _table(described)]
    return "\n\n".join(filter(None, lines))


def _relative_by_table(found: Mapping[str, Any]) -> str:
    def row(name: str, entry: Mapping[str, Any]) -> list[str]:
        relative, harm = entry["relative"], entry["harm"]
        return [name, *(number(relative.get(e), 3) for e in _MAIN), *(share(harm.get(e)) for e in _MAIN)]

    rows = [row(f"`{n}`", t["methods"]["metatune"]) for n, t in found["tables"].items() if "metatune" in t["methods"]]
    rows.append(row("**all**", found["overall"]["methods"]["metatune"]))
    heads = ["metatune / gp", *_MAIN, *(f"harm at {e}" for e in _MAIN)]
    return table(heads, [*rows, row("bar", {"relative": BARS, "harm": HARM_BARS})])


def overall(found: Mapping[str, Any]) -> str:
    """Relative regret, average ranks, harm and p-values of every method over all tables."""
    heads = [
        "method", *(f"/ gp at {e}" for e in _MAIN), *(f"rank at {e}" for e in _COMPARED),
        *(f"harm at {e}" for e in _MAIN), *(f"p at {e}" for e in _COMPARED),
    ]  # fmt: skip
    rows = [
        [
            f"`{name}`",
            *(number(entry["relative"].get(e), 3) for e in _MAIN),
            *(number(entry["rank"].get(e), 2) for e in _COMPARED),
            *(share(entry["harm"].get(e)) for e in _MAIN),
            *("–" if name == "metatune" else p_value(entry["wilcoxon"].get(e)) for e in _COMPARED),
        ]
        for name, entry in found["overall"]["methods"].items()
    ]
    difference = found["overall"]["critical_difference"]
    told = ", ".join(f"{number(value, 2)} at {e}" for e, value in difference.items())
    return table(heads, rows) + f"\n\nCritical difference of ranks (Nemenyi, alpha .05): {told}."


def _table(described: Mapping[str, Any]) -> str:
    """One row per method on one table, and below it who found nothing to go by there."""
    heads = ["method", *_ALL, *(f"rank at {e}" for e in _COMPARED), *(f"harm at {e}" for e in _MAIN), "ms (p95)"]
    rows = [
        [
            f"`{name}`",
            *(f"{number(entry['regret'].get(e))} ({number(entry['median'].get(e))})" for e in _ALL),
            *(number(entry["rank"].get(e), 2) for e in _COMPARED),
            *(share(entry["harm"].get(e)) for e in _MAIN),
            f"{millis(entry['seconds']['median'])} ({millis(entry['seconds']['p95'])})",
        ]
        for name, entry in described["methods"].items()
    ]
    notes = [as_random_told(method, quote="`") for method in described.get("as_random", ())]
    return "\n\n".join([table(heads, rows), *notes])


def _against(found: Mapping[str, Any], method: str) -> str:
    """One sentence on what metatune's lead over ``method`` is worth."""
    entry = found["overall"]["methods"].get(method)
    if entry is None or "metatune" not in found["overall"]["methods"]:
        return ""
    told = ", ".join(f"{p_value(entry['wilcoxon'].get(e))} at {e}" for e in _COMPARED)
    return f"Wilcoxon's signed ranks, `metatune` against `{method}`, one-sided: p = {told}."


def _peers(found: Mapping[str, Any]) -> str:
    methods = found["overall"]["methods"]
    missing = [f"`{name}` did not run: {reason}." for name, reason in unavailable() if name not in methods]
    if not set(methods) & set(peers.NAMES):
        return ""
    ranked = {m: methods[m]["rank"].get("10") for m in RELEASED if m in methods}
    known = {method: rank for method, rank in ranked.items() if rank is not None}
    lines = [
        "### Released packages",
        "Ranks, harm and p-values of this section are on the tasks that all its methods have run. " + tasks_told(found),
        overall(found),
    ]
    if known:
        best = min(known, key=known.__getitem__)
        lines += [f"The best released method, by average rank at 10, is `{best}`. {_against(found, best)}"]
    lines += ["Average ranks by table, at " + " / ".join(_COMPARED) + ":", _ranks_by_table(found)]
    lines += [f"`{m}` failed in {f['runs']} searches, first {f['error']}." for m, f in found["failures"].items()]
    return "\n\n".join([*lines, *missing])


def _ranks_by_table(found: Mapping[str, Any]) -> str:
    tables = found["tables"]

    def cell(name: str, method: str) -> str:
        entry = tables[name]["methods"].get(method)
        return "–" if entry is None else " / ".join(number(entry["rank"].get(e), 2) for e in _COMPARED)

    rows = [[f"`{method}`", *(cell(name, method) for name in tables)] for method in found["overall"]["methods"]]
    return table(["method", *(f"{name} ({described['tasks']})" for name, described in tables.items())], rows)


def _stress(runs: Runs) -> str:
    rows, told = [], ""
    for name, protocol in STRESS.items():
        own = runs.of(SEARCH, ["metatune"], protocol)
        found = summary(_paired(own, as_if(runs.of(SEARCH, ["gp"], PLAIN), protocol)))
        entry = found["overall"]["methods"].get("metatune")
        if entry is None or "gp" not in found["overall"]["methods"]:
            continue
        told = told or tasks_told(found)
        ratios = {n: t["methods"]["metatune"]["relative"]["25"] for n, t in found["tables"].items()}
        worst = max(ratios, key=ratios.__getitem__)
        rows.append([
            name, *(number(entry["relative"].get(e), 3) for e in _ALL), *(share(entry["harm"].get(e)) for e in _MAIN),
            f"{number(ratios[worst], 2)} (`{worst}`)", STRESS_BARS.get(name, "1 at any"),
        ])  # fmt: skip
    if not rows:
        return ""
    heads = ["history", *(f"/ gp at {e}" for e in _ALL), *(f"harm at {e}" for e in _MAIN), "worst table at 25", "bar"]
    return f"### Spoilt or little history\n\nRegret divided by that of `gp`. {told}\n\n{table(heads, rows)}"


def _paired(own: Sequence[Any], reference: Iterable[Any]) -> list[Any]:
    """``own`` with those of ``reference`` on the same tables: a table without any of ``own`` says nothing."""
    tables = {run.table for run in own}
    return [*own, *(run for run in reference if run.table in tables)]


def _ablations(found: Mapping[str, Any]) -> str:
    if not set(found["overall"]["methods"]) & set(ABLATIONS):
        return ""
    return f"### metatune without one of its parts\n\n{tasks_told(found)}\n\n{overall(found)}"


def _pipelines(runs: Runs) -> str:
    tables = runs.tables(f"{PIPELINES}_")
    here = runs.of(tables, PIPELINE_METHODS, PLAIN)
    found = summary(here)
    if not found["tables"]:
        return ""
    used, unused = gate(common(here))
    lines = [
        "### What meta-features are worth: pipelines",
        tasks_told(found),
        overall(found),
        f"Where the two differ, `metatune` itself searched as with meta-features in {used} searches and as without in "
        f"{unused}.",
    ]
    for name, described in found["tables"].items():
        lines += [f"`{name}`: mean regret (median)", _table(described)]
    return "\n\n".join(lines)
