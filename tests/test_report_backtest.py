"""The page of a backtest: true to the document, complete in itself, safe with any name."""

import json
import re

import numpy as np
import pytest
from backtest_tables import recorded_run

from metatune.backtest.run import Protocol, Run
from metatune.backtest.summary import summarise
from metatune.report import backtest_page
from metatune.report.chart import SIZE
from metatune.report.diagram import rank_diagram, regret_chart

NASTY = "<script>alert('x')</script>&\"'"
LEVELS = {"gp": 0.4, "metatune": 0.02, "random": 0.8, "portfolio": 0.1}


def runs(table: str = "t", n: int = 25, tasks: int = 8, levels: dict[str, float] = LEVELS) -> list[Run]:
    falling = 1.0 / np.arange(1, n + 1)
    return [
        recorded_run(table, f"task{task}", 0, method, Protocol(n=n), level * falling, np.full(n, level), None)
        for method, level in levels.items()
        for task in range(tasks)
    ]


def page(*parts: list[Run], **unavailable: str) -> str:
    document = summarise([run for part in parts for run in part], unavailable=unavailable)
    return backtest_page(json.loads(json.dumps(document)))


def test_every_table_has_its_curves_and_its_figures() -> None:
    html = page(runs("t"), runs("u"))
    for method in LEVELS:
        assert html.count(f"<title>{method}</title>") == 2
    assert html.count('aria-label="Mean regret on') == 2
    assert html.count('aria-label="Average ranks after') == 3
    assert '<td class="n">0.0020</td>' in html  # metatune at 10
    assert "metatune 1.00" in html
    assert "random 4.00" in html


def test_a_page_fetches_nothing_and_has_no_script() -> None:
    html = page(runs())
    assert "<script" not in html
    assert not re.search(r"(src|href)=|url\(|@import", html)
    assert "prefers-color-scheme: dark" in html


def test_names_are_text() -> None:
    failing = [recorded_run(NASTY, "task0", 0, "tpe", Protocol(n=25), np.empty(0), np.empty(0), f"ValueError: {NASTY}")]
    html = page(runs(NASTY), failing, smac=NASTY)
    assert "<script" not in html
    assert "smac: &lt;script&gt;" in html
    assert "tpe failed in 1 run, " in html


def test_without_the_reference_harm_is_not_known() -> None:
    html = page(runs(levels={"metatune": 0.1, "random": 0.4}))
    assert "gp was not run" in html


def test_who_went_as_random_is_told_below_the_table() -> None:
    html = page(runs("t", levels={"knn": 0.8, "copula": 0.8, "random": 0.8, "gp": 0.4}), runs("u"))
    assert html.count("knn is random here: no meta-features, or no other tasks, to go by.") == 1
    assert html.count("copula went as random here.") == 1
    assert html.count(" random here") == 2


def test_a_document_without_runs_is_a_page() -> None:
    assert "What did not run" in page(smac="not installed")


@pytest.mark.parametrize("n", [1, 3])
def test_short_searches_have_a_page(n: int) -> None:
    html = page(runs(n=n))
    assert f"rank at {n}" in html
    assert "Average ranks" not in html


def test_wide_curves_are_logarithmic_and_zero_is_drawn() -> None:
    chart = regret_chart({"a": [0.5, 0.05, 0.0], "b": [0.5, 0.5, 0.5]})
    assert chart is not None
    assert chart.log
    heights = [float(point.split()[1]) for point in chart.curves[0].path[1:].split("L")]
    assert heights == sorted(heights)
    assert max(heights) < SIZE
    assert [tick.text for tick in chart.y_ticks] == ["0.0001", "0.001", "0.01", "0.1"]
    flat = regret_chart({"a": [0.5, 0.4, 0.3]})
    assert flat is not None
    assert not flat.log
    assert regret_chart({}) is None
    assert regret_chart({"a": [0.5, 0.5]}) is not None


def test_lines_of_equal_value_are_at_equal_height_on_the_ticks() -> None:
    chart = regret_chart({"a": [0.1, 0.1], "b": [1.0, 0.01]})
    assert chart is not None
    tick = next(tick for tick in chart.y_ticks if tick.text == "0.1")
    height = float(chart.curves[0].path.split("L")[1].split()[1])
    assert height == pytest.approx(tick.at * SIZE / 100, abs=0.1)


def test_groups_join_what_does_not_differ() -> None:
    diagram = rank_diagram({"a": 1.2, "c": 3.0, "b": 1.9, "d": 3.4}, 1.2)
    assert diagram is not None
    assert [mark.label for mark in diagram.marks] == ["a", "b", "c", "d"]
    place = {mark.label: mark.x for mark in diagram.marks}
    ends = [(group.x1 + 4, group.x2 - 4) for group in diagram.groups]
    assert ends == [pytest.approx((place[one], place[other])) for one, other in ("ab", "bc", "cd")]
    assert diagram.difference is not None
    length = diagram.difference.x2 - diagram.difference.x1
    assert length == pytest.approx((place["d"] - place["a"]) * 1.2 / 2.2)
    wide = rank_diagram({"a": 1.2, "c": 3.0, "b": 1.9, "d": 3.4}, 5.0)
    assert wide is not None
    assert len(wide.groups) == 1
    assert rank_diagram({"a": 1.0}, 0.5) is None


def test_a_rank_diagram_has_room_for_the_longest_name_and_for_the_critical_difference() -> None:
    name = "metatune-features-shuffled"
    diagram = rank_diagram({name: 1.0, "gp": 2.0}, 16.3)
    assert diagram is not None
    assert diagram.axis.x1 - 18 > 7.5 * len(f"{name} 1.00")  # pixels of a character of this size, at most
    assert diagram.width - diagram.axis.x2 == diagram.axis.x1
    assert diagram.difference is not None
    assert diagram.difference.x2 <= diagram.axis.x2
