"""How the report of an import looks on the screen."""

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from metatune.cli.display import headline
from metatune.cli.listing import Listing
from metatune.wording import legible, number, plural

if TYPE_CHECKING:
    from metatune.importers import ImportReport

_MOST = 20


def shown(report: "ImportReport") -> RenderableType:
    """The report: what came in, what did not and why, and what was made of names and values."""
    parts: list[RenderableType] = [headline(_summary(report))]
    if report.studies:
        parts += _studies(report)
    if report.skipped or report.refused:
        parts += _left_out(report)
    if report.types:
        parts += _parameters(report)
    parts += [Text(f"Note: {legible(note)}") for note in report.notes]
    parts.append(Text(_next(report), style="dim"))
    return Group(*parts)


def _summary(report: "ImportReport") -> str:
    verb = "Would import" if report.dry_run else "Imported"
    text = f"{verb} {plural(report.imported, 'trial')} from {report.source}"
    if report.known:
        text += f"; {report.known:,} {'was' if report.known == 1 else 'were'} in the history already"
    if report.merged:
        text += f"; {plural(report.merged, 'duplicate')} merged"
    return text


def _studies(report: "ImportReport") -> list[RenderableType]:
    known, merged = report.known > 0, report.merged > 0
    columns = ["task", "family", "study", "new", *(["known"] if known else []), *(["merged"] if merged else []),
               "best", "metric"]  # fmt: skip
    made = Listing(*columns, right=("new", "known", "merged", "best"))
    for study in report.studies[:_MOST]:
        made.add_row(
            *(legible(text, limit=40) for text in (study.task, study.family, study.name)),
            f"{study.imported:,}",
            *([f"{study.known:,}"] if known else []),
            *([f"{study.merged:,}"] if merged else []),
            number(study.best),
            legible(f"{study.metric} ({'higher' if study.direction == 'maximize' else 'lower'} is better)", limit=60),
        )
    rest = len(report.studies) - _MOST
    return [made, *([Text(f"and {plural(rest, 'study', 'studies')} more; --json lists all.")] if rest > 0 else [])]


def _left_out(report: "ImportReport") -> list[RenderableType]:
    made = Listing("left out", "why", right=("left out",), wraps=("why",))
    for reason, count in sorted(report.skipped.items(), key=lambda pair: -pair[1]):
        made.add_row(f"{count:,}", legible(reason, limit=200))
    for metric, count in sorted(report.refused.items(), key=lambda pair: -pair[1]):
        made.add_row(f"{count:,}", legible(f"only scores on the training rows, such as {metric}", limit=200))
    return [made]


def _parameters(report: "ImportReport") -> list[RenderableType]:
    other = defaultdict(list)
    for family, aliases in report.aliases.items():
        for name, ours in aliases.items():
            other[family, ours].append(name)
    made = Listing("family", "parameter", "values", "was called", wraps=("values", "was called"))
    for family, types in report.types.items():
        for i, (name, kind) in enumerate(types.items()):
            if i == _MOST:
                made.add_row("", f"and {len(types) - _MOST} more", "", "")
                break
            made.add_row(
                legible(family, limit=40) if i == 0 else "",
                legible(name, limit=60),
                legible(_short(kind), limit=100),
                legible(", ".join(other[family, name]), limit=60),
            )
    parts: list[RenderableType] = [made]
    if report.inferred:
        text = ", ".join(report.inferred)
        parts.append(Text(f"Types and ranges of {legible(text, limit=200)} were inferred from the recorded values."))
    reasons = defaultdict(list)
    for name, reason in report.ignored.items():
        reasons[reason].append(name)
    for reason, names in reasons.items():
        parts.append(Text(f"Ignored, {reason}: {legible(', '.join(sorted(names)), limit=400)}."))
    return parts


def _short(kind: str) -> str:
    """Numbers with many digits cut to four."""
    return re.sub(r"\d+\.\d{5,}(e[+-]?\d+)?", lambda match: f"{float(match[0]):.4g}", kind)


def _next(report: "ImportReport") -> str:
    if report.imported and report.dry_run:
        return "Nothing was written: leave --dry-run out to import."
    if report.imported:
        return "`metatune train` learns from it; `metatune history` lists it."
    return "Nothing new." if report.known else "There is nothing to import."
