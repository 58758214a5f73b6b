"""Runs put together: regret, ranks, harm, seconds, and what of it is more than chance, as one JSON document.

::

    {"version": 1, "protocol": {"evaluations": [1, 3, ...], "seeds": 3, "history_rows": 500, "stress": "none",
                                "n_history": null},
     "tables": {name: {"tasks": T, "seeds": S, "methods": {method: {
         "regret", "median", "rank", "harm", "relative": {evaluations as text: number},
         "seconds": {"median": s, "p95": s}, "curve": [mean regret after 1, 2, ...]}},
         "as_random": [methods that searched as random did]}},
     "overall": {"tasks": N, "methods": {method: {"tables": how many it ran on,
                                                  "rank", "harm", "relative", "wilcoxon": {...}}},
                 "critical_difference": {...}},
     "coverage": {name: {"tasks": of the table, "searched": how many, "left_out": {reason: how many}}},
     "unplayable": [tables without a search], "unavailable": {method: reason},
     "failures": {method: {"runs": how many, "error": the first}}}

The regret of a task is its mean over seeds; everything else is computed from that. ``harm`` is the share of tasks whose
regret is more than ``HARM`` above that of ``gp``; ``relative`` is the mean regret divided by that of ``gp``, both at
least ``FLOOR``; both are null without ``gp``. ``wilcoxon`` is the p-value of "``metatune`` has the smaller regret"
(signed ranks over all tasks of the tables where both ran), null without ``metatune`` and 1 for itself. ``as_random``
names the other methods whose regret is that of ``random`` after every evaluation of every search on the table, as where
they find nothing to go by; it is absent where ``random`` did not run. Ties share their mean rank. A rank over all
tables is given to methods that ran on all of them, null to others. Ranks that differ by less than
``critical_difference`` do not differ significantly (Nemenyi, alpha .05; Demsar, "Statistical Comparisons of Classifiers
over Multiple Data Sets", 2006).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import rankdata, studentized_range, wilcoxon

from metatune.backtest.coverage import Coverage
from metatune.backtest.run import Run

#: The evaluations at which results are given.
EVALUATIONS = (1, 3, 5, 10, 15, 25, 50)
#: The evaluations at which average ranks are compared.
COMPARED = (5, 10, 25)
#: More regret than the reference by this much is harm.
HARM = 0.01
#: Regrets below this are equal to it when they are divided.
FLOOR = 1e-4
#: What methods are measured against, and what is compared with each of them.
REFERENCE, OWN = "gp", "metatune"
_RANDOM = "random"


def summarise(
    runs: Sequence[Run],
    *,
    coverage: Mapping[str, Coverage] | None = None,
    unavailable: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The document described above. ``coverage`` is that of the tables which were asked for, by name, ``unavailable``
    names methods that could not be run.

    A method that failed before its first proposal on some task of a table is left out of that table.
    """
    by_table = _by_table(runs)
    curves = {name: _curves(those) for name, those in by_table.items()}
    searched = {
        name: {"tasks": _tasks(of), "seeds": _seeds(by_table[name]), "methods": _table(of, by_table[name])}
        | ({"as_random": _as_random(by_table[name], list(of))} if _RANDOM in of else {})
        for name, of in curves.items()
    }
    protocol = runs[0].protocol if runs else None
    return {
        "version": 1,
        "protocol": {
            "evaluations": list(EVALUATIONS),
            "seeds": _seeds(runs),
            "history_rows": protocol.history_rows if protocol else None,
            "stress": protocol.stress if protocol else "none",
            "n_history": protocol.n_history if protocol else None,
        },
        "tables": searched,
        "overall": _overall(curves),
        "coverage": {name: asdict(of) for name, of in (coverage or {}).items()},
        "unplayable": [name for name in coverage or () if name not in searched],
        "unavailable": dict(unavailable or {}),
        "failures": _failures(runs),
    }


def _seeds(runs: Sequence[Run]) -> int:
    return len({run.seed for run in runs})


def _by_table(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.table].append(run)
    return dict(found)


def _tasks(curves: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(curves.values()), ()))


def _failures(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run.error is not None:
            entry = found.setdefault(run.method, {"runs": 0, "error": f"{run.table}, {run.task}: {run.error}"})
            entry["runs"] += 1
    return found


def _curves(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Regret of each method on one table, shape (tasks, n), averaged over seeds; methods with an empty run left out.

    A pool that is used up before n has no regret left.
    """
    methods = list(dict.fromkeys(run.method for run in runs))
    tasks = {task: i for i, task in enumerate(dict.fromkeys(run.task for run in runs))}
    wanted = {(run.task, run.seed) for run in runs}
    n = max(len(run.regret) for run in runs)
    found = {}
    for method in methods:
        own = [run for run in runs if run.method == method and len(run.regret)]
        if {(run.task, run.seed) for run in own} != wanted:
            continue
        total, times = np.zeros((len(tasks), n)), np.zeros(len(tasks))
        for run in own:
            total[tasks[run.task]] += np.pad(run.regret, (0, n - len(run.regret)), mode="edge")
            times[tasks[run.task]] += 1
        found[method] = total / times[:, None]
    return found


def _table(curves: Mapping[str, np.ndarray], runs: Sequence[Run]) -> dict[str, Any]:
    reference = curves.get(REFERENCE)
    described: dict[str, Any] = {}
    for (method, curve), rank in zip(curves.items(), _ranks(list(curves.values())), strict=True):
        seconds = np.concatenate([run.seconds for run in runs if run.method == method])
        unknown = [None] * curve.shape[1]
        described[method] = {
            "regret": _at(curve.mean(axis=0)),
            "median": _at(np.median(curve, axis=0)),
            "rank": _at(rank.mean(axis=0)),
            "harm": _at(unknown if reference is None else (curve > reference + HARM).mean(axis=0)),
            "relative": _at(unknown if reference is None else _relative(curve, reference)),
            "seconds": {"median": float(np.median(seconds)), "p95": float(np.quantile(seconds, 0.95))},
            "curve": curve.mean(axis=0).tolist(),
        }
    return described


def _as_random(runs: Sequence[Run], methods: Sequence[str]) -> list[str]:
    """Those of ``methods``, which ran in all searches of one table, that went as ``random`` in each of them."""
    found = {(run.method, run.task, run.seed): run.regret for run in runs}
    searches = [(task, seed) for method, task, seed in found if method == _RANDOM]
    return [
        method
        for method in methods
        if method != _RANDOM and all(np.array_equal(found[method, *at], found[_RANDOM, *at]) for at in searches)
    ]


def as_random_told(method: str, *, quote: str = "") -> str:
    """One of a table's ``as_random`` in a sentence, with ``quote`` around the names of methods."""
    own, other = (f"{quote}{name}{quote}" for name in (method, _RANDOM))
    if method == "knn":
        return f"{own} is {other} here: no meta-features, or no other tasks, to go by."
    return f"{own} went as {other} here."


def _at(values: np.ndarray | Sequence[None]) -> dict[str, float | None]:
    """Those of ``values`` (n,) that belong to ``EVALUATIONS``, by the evaluation as text."""
    chosen = {str(e): values[e - 1] for e in EVALUATIONS if e <= len(values)}
    return {e: None if value is None else float(value) for e, value in chosen.items()}


def _ranks(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Rank of each method on each task after each evaluation, 1 the best, shape (methods, tasks, n)."""
    return np.asarray(rankdata(np.stack(curves), axis=0)) if curves else np.empty((0, 0, 0))


def _relative(curve: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean regret over that of the reference after each evaluation, shape (n,)."""
    return np.asarray(np.maximum(curve.mean(axis=0), FLOOR) / np.maximum(reference.mean(axis=0), FLOOR))


def _overall(tables: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """``tables``: the curves of each method on each table."""
    methods = list(dict.fromkeys(method for curves in tables.values() for method in curves))
    everywhere = [method for method in methods if all(method in curves for curves in tables.values())]
    n = max((curve.shape[1] for curves in tables.values() for curve in curves.values()), default=0)
    evaluations = [evaluation for evaluation in EVALUATIONS if evaluation <= n]
    ranks = {e: _ranks([_joined(tables, [method], e)[0] for method in everywhere]) for e in evaluations}
    described = {}
    for method in methods:
        at = everywhere.index(method) if method in everywhere else None
        described[method] = {
            "tables": sum(method in curves for curves in tables.values()),
            "rank": {str(e): None if at is None else float(ranks[e][at].mean()) for e in evaluations},
            "harm": {str(e): _overall_harm(tables, method, e) for e in evaluations},
            "relative": {str(e): _overall_relative(tables, method, e) for e in evaluations},
            "wilcoxon": {str(e): _p_value(*_joined(tables, [OWN, method], e)) for e in evaluations},
        }
    return {
        "tasks": sum(_tasks(curves) for curves in tables.values()),
        "methods": described,
        "critical_difference": {
            str(e): _critical_difference(len(everywhere), ranks[e].shape[1]) for e in evaluations if e in COMPARED
        },
    }


def _joined(
    tables: Mapping[str, Mapping[str, np.ndarray]], methods: Sequence[str], evaluation: int
) -> list[np.ndarray]:
    """Regret after ``evaluation`` of each of ``methods`` on all tasks of the tables where all of them ran."""
    common = [curves for curves in tables.values() if all(method in curves for method in methods)]
    parts = [[c[m][:, evaluation - 1] for m in methods] for c in common if c[methods[0]].shape[1] >= evaluation]
    return [np.concatenate([np.empty(0), *(part[i] for part in parts)]) for i in range(len(methods))]


def _overall_harm(tables: Mapping[str, Mapping[str, np.ndarray]], method: str, evaluation: int) -> float | None:
    own, reference = _joined(tables, [method, REFERENCE], evaluation)
    return float((own > reference + HARM).mean()) if len(own) else None


def _overall_relative(tables: Mapping[str, Mapping[str, np.ndarray]], method: str, evaluation: int) -> float | None:
    """Geometric mean over the tables where the method and the reference ran."""
    found = [
        _relative(curves[method], curves[REFERENCE])[evaluation - 1]
        for curves in tables.values()
        if method in curves and REFERENCE in curves and curves[method].shape[1] >= evaluation
    ]
    return float(np.exp(np.log(found).mean())) if found else None


def _p_value(own: np.ndarray, other: np.ndarray) -> float | None:
    """One-sided p-value of the signed-rank test that ``own`` is smaller (Wilcoxon, 1945); 1 where nothing differs."""
    if not len(own):
        return None
    return float(wilcoxon(own - other, alternative="less").pvalue) if np.any(own != other) else 1.0


def _critical_difference(methods: int, tasks: int) -> float | None:
    """The difference of average ranks above which two of so many methods differ at alpha .05 on so many tasks."""
    if methods < 2 or not tasks:
        return None
    q = float(studentized_range.ppf(0.95, methods, np.inf)) / np.sqrt(2.0)
    return float(q * np.sqrt(methods * (methods + 1) / (6.0 * tasks)))
