"""The HTML page: complete in itself, safe with any name, and true to the trials."""

import math
import re
from html.parser import HTMLParser

import pytest

from metatune.comparison import best_so_far, trials_until
from metatune.metric import Metric
from metatune.recommendation import Recommendation, RecommendedConfiguration, SimilarTask
from metatune.report import search_page
from metatune.report.chart import SIZE, chart, ticks
from metatune.result import TuneResult, best_of
from metatune.task import TaskRecord
from metatune.trial import Trial

NASTY = "<script>alert('x')</script>&\"'"


def result(*values: float | None, direction: str = "maximize", name: str = "digits", study: str = "abc") -> TuneResult:
    """A search whose trials had these values, ``None`` for a failed one."""
    metric = Metric("score", direction)  # type: ignore[arg-type]
    task = TaskRecord(name=name, kind="custom", metric=metric, fingerprint="f")
    trials = tuple(
        Trial(
            configuration={"depth": number, name: name},
            status="failed" if value is None else "complete",
            value=value,
            number=number,
            origin="model",
            error=f"ValueError: {name}" if value is None else None,
            seconds=1.0,
        )
        for number, value in enumerate(values)
    )
    return TuneResult(
        task=task,
        family="lightgbm",
        study_id=study,
        trials=trials,
        best_trial=best_of(trials, metric),
        study=None,  # type: ignore[arg-type]
        test_scores={"score": 0.8125},
        seconds=float(len(values)),
        warnings=(name,),
    )


def advice(name: str) -> Recommendation:
    item = RecommendedConfiguration(
        configuration={name: 1}, origin="portfolio", better_than=0.9, better_than_low=0.7, better_than_high=0.97,
        gain=None, gain_low=None, gain_high=None,
    )  # fmt: skip
    return Recommendation(
        family="lightgbm", metric="score", items=(item,), similar=(SimilarTask(name, 1.0, 30, 0.5, name),), tasks=7,
        trials=210, unlike=False, relative_gain=False, notes=(name,),
    )  # fmt: skip


class Page(HTMLParser):
    """Tags with their attributes, and the text of table cells by row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_every_text_is_escaped() -> None:
    page = search_page(
        {NASTY: {NASTY: result(0.5, None, name=NASTY, study=NASTY)}},
        title=NASTY,
        summary=[NASTY],
        facts={NASTY: NASTY},
        recommendations={NASTY: advice(NASTY)},
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 12
    parsed = Page(page)
    assert not parsed.all("script")
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)


def test_nothing_is_fetched_and_nothing_runs() -> None:
    parsed = Page(page := search_page({"lightgbm": {"cold": result(0.5), "warm": result(0.6)}}))
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint({tag for tag, _ in parsed.tags})
    assert not any(name in ("src", "href") for _, attributes in parsed.tags for name in attributes)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "default-src 'none'" in page
    assert len(page) < 100_000


def test_both_curves_are_drawn_with_the_values_of_the_trials() -> None:
    cold, warm = result(0.50, 0.40, 0.70, 0.70), result(0.60, 0.80, None, 0.75)
    drawn = chart({"cold": cold, "warm": warm})
    assert drawn is not None
    assert [line.label for line in drawn.lines] == ["cold", "warm"]

    def height(value: float) -> float:
        """Per cent from the top, read off the axis."""
        (top, low), (bottom, high) = [(t.at, float(t.text)) for t in (drawn.y_ticks[0], drawn.y_ticks[-1])]
        return top + (value - low) / (high - low) * (bottom - top)

    for line, search in zip(drawn.lines, (cold, warm), strict=True):
        corners = [(float(x), float(y)) for x, y in re.findall(r"[MH]([\d.]+)[ V]([\d.]+)", line.path)]
        expected = [value for value in best_so_far(search) if value is not None]
        assert [100 * y / SIZE for _, y in corners] == pytest.approx([height(v) for v in expected], abs=0.1)
        assert [100 * x / SIZE for x, _ in corners] == pytest.approx([12.5, 37.5, 62.5, 87.5])
    inside = [dot for line in drawn.lines for dot in line.dots if not dot.beyond]
    assert [dot.top for dot in inside] == pytest.approx([height(dot.trial.value) for dot in inside])
    page = search_page({"lightgbm": {"cold": cold, "warm": warm}})
    for line in drawn.lines:
        assert f'd="{line.path}"' in page


def test_a_bad_beginning_does_not_flatten_the_rest() -> None:
    drawn = chart({"search": result(-1000.0, 0.5, 0.6, 0.61, 0.62, 0.63, 0.64)})
    assert drawn is not None
    dots = drawn.lines[0].dots
    assert (dots[0].beyond, dots[0].top) == (True, 100)
    assert not any(dot.beyond for dot in dots[2:])
    assert dots[2].top - dots[-1].top > 50


@pytest.mark.parametrize(("direction", "best", "until"), [("maximize", "0.7000", "2"), ("minimize", "0.4000", "3")])
def test_the_table_compares_with_the_first_search(direction: str, best: str, until: str) -> None:
    cold = result(0.5, 0.4, 0.7, direction=direction)
    warm = result(0.6, 0.75, 0.3, direction=direction)
    rows = Page(search_page({"lightgbm": {"cold": cold, "warm": warm}})).rows
    table = {row[0]: row[1:] for row in rows[1:3]}
    assert table["cold"] == ["3", "3.0 s", best, "0.8125", "3" if direction == "maximize" else "2"]
    assert table["warm"][-1] == until


def test_a_search_without_a_complete_trial_is_still_shown() -> None:
    page = search_page({"lightgbm": {"only": result(None, None)}})
    assert "No trial was complete." in page
    assert "ValueError" in page


def test_trials_until_counts_trials_and_knows_the_direction() -> None:
    assert trials_until(result(0.1, 0.5, 0.9), 0.5) == 2
    assert trials_until(result(0.1, 0.5, 0.9), 0.95) is None
    assert trials_until(result(0.9, 0.5, 0.1, direction="minimize"), 0.5) == 2
    assert trials_until(result(None, 0.5), None) is None
    assert best_so_far(result(None, 0.5, 0.4)) == [None, 0.5, 0.5]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.042, 0.0781), (-3.0, 12345.0), (1e-9, 3e-9), (5.0, 5.05)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low <= value <= high * (1 + 1e-12) for value, _ in found)
    assert len({text for _, text in found}) == len(found)
    assert all(math.isclose(float(text), value, rel_tol=1e-2, abs_tol=1e-12) for value, text in found)
