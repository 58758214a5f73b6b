"""The card of the knowledge base: what is in it, how it was made and what it is not good for, from its own records."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TypeAlias

from kb.catalogue import Entry, LeftOut
from kb.packages import ARCHIVES
from kb.worker import HOLDOUT_CELLS
from metatune.study import StudyRecord
from metatune.trial import Trial

_INTRODUCTION = """\
# The starter knowledge base

Real trials on real datasets: what metatune knows before it has seen any of your own. It holds scores, seconds,
configurations and meta-features, no rows, no column names and no class names of any dataset.

This card is written by `python scripts/build_knowledge_base.py export`; edit `scripts/kb/card.py` instead of it.
"""

_METHOD = """\
## How it was made

`python scripts/build_knowledge_base.py build` downloads the packages below (pinned by SHA-256, read without being
installed) and trains every model itself. It can be stopped at any time and goes on where it was.

- **Design.** For each family one list of configurations, the same for all datasets: the library's default, then a
  scrambled Sobol sequence in the family's space. No optimiser chose them, so the history is not biased towards
  regions that an optimiser liked.
- **Metric.** ROC AUC for two classes, accuracy for more, RMSE for regression.
- **Validation.** A test split of 20 % that no trial sees, as in a user's own task. Of the rest, 3 folds for datasets
  below 2,000 rows and a holdout of 25 % from there; a holdout always for `keras_mlp`, and for all families where rows
  times columns exceed {cells}.
- **Rows.** Larger datasets are sampled down to {cap} rows, classes in proportion. Classes with fewer than 10 members
  are left out.
- **Cost.** One thread per trial. A trial that takes too long is ended and recorded as failed, as is one that raises.
"""

_WEAKNESSES = """\
## Known weaknesses

- Small data: no dataset has more than {cap} rows in training, so what is best for large ones is not in here. The
  family's own clamps help, a team's own history helps more.
- Classical tables only, mostly numeric, few with missing values; many of them are decades old and well studied.
- Validation scores of small datasets are noisy; the same seed and splits for all configurations make them
  comparable, not exact.
- Seconds depend on the machine and on what else ran on it: use them as ratios. A failed trial that names a time-out
  says as much about the machine as about the configuration.
- `keras_mlp` is judged on a holdout where the other families have 3 folds: compare scores within a family only.
- Licences of packages rarely cover the data inside them. This is why no data are here; look at the sources before
  using the data for something else.
"""


Records: TypeAlias = Sequence[tuple[StudyRecord, Sequence[Trial]]]


def card(records: Records, entries: Sequence[Entry], left_out: Sequence[LeftOut]) -> str:
    """The text of the card for ``records``; datasets without a study are not listed."""
    cap = f"{max((study.task.n_rows for study, _ in records), default=0):,}"
    parts = [
        _INTRODUCTION,
        _families(records),
        _METHOD.format(cap=cap, cells=f"{HOLDOUT_CELLS:,}"),
        _datasets(records, entries),
        _excluded(left_out),
        _WEAKNESSES.format(cap=cap),
    ]
    return "\n".join(parts)


def _families(records: Records) -> str:
    trials = sum(len(those) for _, those in records)
    tasks = len({study.task.fingerprint for study, _ in records})
    rows = []
    for family in sorted({study.family for study, _ in records}):
        mine = [(study, those) for study, those in records if study.family == family]
        flat = [trial for _, those in mine for trial in those]
        failed = [trial for trial in flat if trial.status == "failed"]
        late = sum("Timeout" in (trial.error or "") for trial in failed)
        seconds = [trial.seconds for trial in flat if trial.status == "complete"]
        beaten = [share for study, those in mine if (share := _share_below_default(study, those)) is not None]
        libraries = sorted({study.notes.get("library", "") for study, _ in mine})
        rows.append(
            (
                family,
                ", ".join(libraries),
                len(mine),
                len(flat),
                f"{len(failed)} ({late})",
                f"{median(seconds):.2g}" if seconds else "",
                f"{median(beaten):.0%}" if beaten else "",
            )
        )
    header = (
        "family",
        "library",
        "datasets",
        "trials",
        "failed (time-outs)",
        "median seconds",
        "configurations worse than the default (median)",
    )
    return f"## Content\n\n{trials:,} trials on {tasks} datasets.\n\n{_table(header, rows)}"


def _share_below_default(study: StudyRecord, trials: Sequence[Trial]) -> float | None:
    """The share of the other configurations that the default beats; ``None`` where it failed."""
    scores = {t.number: study.task.metric.score(t.value) for t in trials if t.value is not None}
    default = scores.pop(0, None)
    return sum(score < default for score in scores.values()) / len(scores) if default is not None and scores else None


def _datasets(records: Records, entries: Sequence[Entry]) -> str:
    known = {entry.name: entry for entry in entries}
    studies: dict[str, list[StudyRecord]] = {}
    for study, _ in records:
        studies.setdefault(study.task.name, []).append(study)
    rows = []
    for name in sorted(studies):
        task, entry = studies[name][0].task, known.get(name)
        source = int(studies[name][0].notes.get("source_rows", task.n_rows))
        rows.append(
            (
                name,
                studies[name][0].notes.get("dataset", ""),
                task.kind,
                f"{task.n_rows:,}" + (f" of {source:,}" if source > task.n_rows else ""),
                task.n_columns,
                task.group if task.group != name else "",
                len(studies[name]),
                entry.licence if entry else "",
                entry.notes if entry else "",
            )
        )
    header = ("name", "source", "kind", "rows", "columns", "group", "families", "licence", "notes")
    return (
        "## Datasets\n\nDatasets of one group come from one source: no comparison may learn from one and judge on "
        f"another.\n\n{_table(header, rows)}"
    )


def _excluded(left_out: Sequence[LeftOut]) -> str:
    reasons: dict[str, list[str]] = {}
    for one in left_out:
        reasons.setdefault(one.reason, []).append(f"{one.name} ({one.package})")
    lines = "\n".join(f"- {reason}: {', '.join(names)}" for reason, names in reasons.items())
    packages = ", ".join(f"{one.package} {one.version} (SHA-256 {one.sha256})" for one in ARCHIVES.values())
    return f"## Packages, and what was left out\n\nscikit-learn; {packages}.\n\n{lines}\n"


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "+") for cell in line) + " |\n" for line in lines)
