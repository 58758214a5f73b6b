"""``search_page``: what searches found, as one HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metatune.comparison import counted, trials_until
from metatune.recommendation import Recommendation
from metatune.report.chart import Chart, chart
from metatune.report.environment import ENVIRONMENT
from metatune.result import TuneResult
from metatune.task import TaskRecord
from metatune.trial import Trial
from metatune.version import __version__


@dataclass(frozen=True)
class _Search:
    """A row of a section's table. ``until``: trials after which it was as good as the section's first search."""

    label: str
    result: TuneResult
    trials: list[Trial]
    failed: int
    until: int | None


@dataclass(frozen=True)
class _Section:
    """Searches that are drawn together, and the configurations they found, one row per parameter."""

    heading: str
    task: TaskRecord
    chart: Chart | None
    searches: list[_Search]
    configurations: list[tuple[str, list[object]]]
    recommendation: Recommendation | None

    @property
    def failures(self) -> bool:
        """Whether any trial failed."""
        return any(search.failed for search in self.searches)


def search_page(
    sections: Mapping[str, Mapping[str, TuneResult]],
    *,
    title: str = "Search report",
    summary: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    recommendations: Mapping[str, Recommendation] | None = None,
) -> str:
    """The page, complete: no scripts, nothing that a browser would fetch, every text escaped.

    ``sections``: under each heading searches by label, which are drawn together and so must have one metric; the
    first one is what the others are compared with. ``summary`` are sentences for the top, ``facts`` short texts by
    name, ``recommendations`` what the history said beforehand, by heading.
    """
    advised = recommendations or {}
    built = [_section(heading, results, advised.get(heading)) for heading, results in sections.items() if results]
    template = ENVIRONMENT.get_template("search.html.j2")
    return template.render(title=title, summary=summary, facts=facts or {}, sections=built, version=__version__)


def _section(heading: str, results: Mapping[str, TuneResult], recommendation: Recommendation | None) -> _Section:
    first = next(iter(results.values()))
    searches = [
        _Search(
            label,
            result,
            counted(result),
            sum(trial.status == "failed" for trial in result.trials),
            trials_until(result, first.best_value),
        )
        for label, result in results.items()
    ]
    best = [result.best_configuration or {} for result in results.values()]
    names = dict.fromkeys(name for configuration in best for name in configuration)
    rows: list[tuple[str, list[object]]] = [(name, [c.get(name, ...) for c in best]) for name in names]
    return _Section(heading, first.task, chart(results), searches, rows, recommendation)
