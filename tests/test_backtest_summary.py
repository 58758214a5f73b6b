"""The figures of the summary, against hand-made runs."""

import json

import numpy as np
import pytest
from backtest_tables import recorded_run

from metatune.backtest.coverage import Coverage
from metatune.backtest.run import Protocol, Run
from metatune.backtest.summary import summarise


def run(table: str, task: int, method: str, regret: list[float], seed: int = 0, error: str | None = None) -> Run:
    seconds = np.full(len(regret), 0.5)
    return recorded_run(table, f"task{task}", seed, method, Protocol(n=5), np.array(regret), seconds, error)


def constant(table: str, method: str, levels: list[float], n: int = 5) -> list[Run]:
    return [run(table, task, method, [level] * n) for task, level in enumerate(levels)]


def test_seeds_are_averaged_before_tasks() -> None:
    runs = [run("t", 0, "a", [0.4] * 5, seed=s) for s in (0, 1)] + [run("t", 1, "a", [0.0] * 5, seed=s) for s in (0, 1)]
    runs[1] = run("t", 0, "a", [0.8, 0.8, 0.2, 0.2, 0.2], seed=1)
    method = summarise(runs)["tables"]["t"]["methods"]["a"]
    assert method["regret"] == pytest.approx({"1": 0.3, "3": 0.15, "5": 0.15})
    assert method["curve"] == pytest.approx([0.3, 0.3, 0.15, 0.15, 0.15])
    assert method["seconds"] == {"median": 0.5, "p95": 0.5}


def test_ranks_harm_and_ratios_are_against_gp() -> None:
    runs = [
        *constant("t", "gp", [0.10, 0.10, 0.10, 0.10]),
        *constant("t", "metatune", [0.0, 0.0, 0.10, 0.15]),
        *constant("t", "random", [0.3, 0.105, 0.105, 0.3]),
    ]
    methods = summarise(runs)["tables"]["t"]["methods"]
    assert methods["metatune"]["rank"]["5"] == pytest.approx((1 + 1 + 1.5 + 2) / 4)
    assert methods["metatune"]["harm"]["5"] == 0.25
    assert methods["random"]["harm"]["5"] == 0.5
    assert methods["metatune"]["relative"]["5"] == pytest.approx(0.0625 / 0.1)
    assert methods["gp"]["relative"]["5"] == 1.0
    assert methods["random"]["median"]["5"] == pytest.approx(0.2025)


def test_small_regrets_are_floored_in_ratios() -> None:
    runs = [*constant("t", "gp", [0.0, 0.0]), *constant("t", "metatune", [1e-6, 0.0])]
    assert summarise(runs)["tables"]["t"]["methods"]["metatune"]["relative"]["5"] == 1.0


def test_without_gp_nothing_is_measured_against_it() -> None:
    document = summarise([*constant("t", "a", [0.1, 0.2]), *constant("t", "b", [0.2, 0.3])])
    assert document["tables"]["t"]["methods"]["a"]["harm"] == {"1": None, "3": None, "5": None}
    assert document["tables"]["t"]["methods"]["a"]["relative"]["5"] is None
    assert document["overall"]["methods"]["a"]["relative"]["5"] is None
    assert document["overall"]["methods"]["a"]["wilcoxon"]["5"] is None


def test_overall_joins_the_tasks_of_all_tables() -> None:
    levels = list(np.linspace(0.1, 0.4, 10))
    runs = []
    for table, factor in (("t", 0.5), ("u", 0.02)):
        runs += constant(table, "gp", levels)
        runs += constant(table, "metatune", [factor * level for level in levels])
        runs += constant(table, "same", [factor * level for level in levels])
    runs += constant("u", "peer", levels)
    overall = summarise(runs)["overall"]
    assert overall["tasks"] == 20
    assert overall["methods"]["metatune"]["relative"]["5"] == pytest.approx(0.1)
    assert overall["methods"]["metatune"]["rank"]["5"] == 1.5
    assert overall["methods"]["gp"]["rank"]["5"] == 3.0
    assert overall["methods"]["gp"]["wilcoxon"]["5"] < 1e-4
    assert overall["methods"]["same"]["wilcoxon"]["5"] == 1.0
    assert overall["methods"]["peer"]["tables"] == 1
    assert overall["methods"]["peer"]["rank"]["5"] is None
    assert overall["methods"]["peer"]["relative"]["5"] == 1.0
    # Demsar 2006: q = 2.343 for three methods.
    assert overall["critical_difference"] == {"5": pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 20)), rel=1e-3)}


def test_the_signed_rank_test_is_one_sided() -> None:
    runs = [*constant("t", "metatune", [0.1, 0.2, 0.3]), *constant("t", "peer", [0.2, 0.4, 0.6])]
    assert summarise(runs)["overall"]["methods"]["peer"]["wilcoxon"]["5"] == pytest.approx(1 / 8)


def test_evaluations_beyond_the_pools_are_left_out_and_a_used_up_pool_has_its_last_regret() -> None:
    runs = [run("t", 0, "a", [0.5, 0.5, 0.0]), run("t", 1, "a", [0.5, 0.4, 0.4, 0.4, 0.2])]
    methods = summarise(runs)["tables"]["t"]["methods"]
    assert methods["a"]["regret"] == pytest.approx({"1": 0.5, "3": 0.2, "5": 0.1})


def test_tables_of_different_lengths_count_where_they_reach() -> None:
    runs = []
    for table, n in (("t", 5), ("u", 12)):
        runs += constant(table, "gp", [0.2, 0.4], n) + constant(table, "metatune", [0.1, 0.1], n)
    document = summarise(runs)
    assert set(document["tables"]["t"]["methods"]["gp"]["regret"]) == {"1", "3", "5"}
    assert document["overall"]["methods"]["gp"]["rank"] == {"1": 2.0, "3": 2.0, "5": 2.0, "10": 2.0}
    assert document["overall"]["methods"]["metatune"]["relative"]["10"] == pytest.approx(1 / 3)


def test_methods_that_went_as_random_are_named_table_by_table() -> None:
    def searches(table: str, method: str, last: float) -> list[Run]:
        return [
            run(table, task, method, [0.9, 0.5, 0.5, 0.1 * seed, last if seed else 0.0], seed=seed)
            for task in (0, 1)
            for seed in (0, 1)
        ]

    runs = [run for method in ("knn", "random", "copula") for run in searches("t", method, 0.05)]
    runs += searches("u", "random", 0.05) + searches("u", "knn", 0.04) + searches("v", "knn", 0.05)
    # The mean over seeds is that of random, the searches are not.
    runs += [run("t", task, "gp", [0.9, 0.5, 0.5, 0.05, 0.025], seed=seed) for task in (0, 1) for seed in (0, 1)]
    tables = summarise(runs)["tables"]
    assert tables["t"]["methods"]["gp"]["curve"] == pytest.approx(tables["t"]["methods"]["random"]["curve"])
    assert {name: table.get("as_random") for name, table in tables.items()} == {
        "t": ["knn", "copula"],
        "u": [],
        "v": None,
    }


def test_failures_are_listed_and_a_method_without_a_proposal_is_left_out_of_its_table() -> None:
    runs = [
        *constant("t", "a", [0.1, 0.2]),
        run("t", 0, "b", [], error="ImportError: b"),
        run("t", 1, "b", [0.1] * 5),
        run("t", 0, "c", [0.3] * 5, error="RuntimeError: late"),
        run("t", 1, "c", [0.1] * 5),
    ]
    coverage = {"flat": Coverage.of(0, {"equal_scores": 2}), "t": Coverage.of(2, {})}
    document = summarise(runs, coverage=coverage, unavailable={"smac": "not installed"})
    assert document["unplayable"] == ["flat"]
    assert document["coverage"] == {
        "flat": {"tasks": 2, "searched": 0, "left_out": {"equal_scores": 2}},
        "t": {"tasks": 2, "searched": 2, "left_out": {}},
    }
    assert set(document["tables"]["t"]["methods"]) == {"a", "c"}
    assert document["failures"] == {
        "b": {"runs": 1, "error": "t, task0: ImportError: b"},
        "c": {"runs": 1, "error": "t, task0: RuntimeError: late"},
    }
    assert document["unavailable"] == {"smac": "not installed"}


def test_the_document_is_json_with_the_protocol() -> None:
    document = json.loads(json.dumps(summarise(constant("t", "gp", [0.1, 0.2])), allow_nan=False))
    assert document["version"] == 1
    assert document["protocol"]["seeds"] == 1
    assert document["protocol"]["history_rows"] == 500
    assert document["protocol"]["stress"] == "none"
    empty = summarise([])
    assert empty["tables"] == {}
    assert empty["overall"]["methods"] == {}
