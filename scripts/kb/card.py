"""The card of the knowledge base: what is in it, how it was made and what it is not good for, from its own records."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TypeAlias

from kb.catalogue import Entry, LeftOut
from kb.identity import HOLDOUT_CELLS
from kb.packages import ARCHIVES
from kb.plan import ROUNDS, ROW_CAPS
from kb.proposed import FIRST
from kb.reserved import reserved
from metatune.study import StudyRecord
from metatune.trial import Trial

_INTRODUCTION = """\
# The starter knowledge base

Real trials on real datasets: what metatune knows before it has seen any of your own. It holds scores, seconds,
configurations and meta-features, no rows, no column names and no class names of any dataset.

This card is written by `python scripts/build_knowledge_base.py export`; edit `scripts/kb/card.py` instead of it.
How well the trials of other datasets foretell those of one that was left out is in [validation.md](validation.md).
"""

_METHOD = """\
## How it was made

`python scripts/build_knowledge_base.py build` downloads the packages below (pinned by SHA-256, read without being
installed) and trains every model itself. It can be stopped at any time and goes on where it was.

- **Design.** For each family one list of configurations, the same for all datasets: the library's default, then a
  scrambled Sobol sequence in the family's space. No optimiser chose them, so they are not biased towards regions
  that an optimiser liked.
- **Proposals.** In a second round, which some of the families have (see above), metatune's engine proposed
  configurations for a dataset, from its trials and those of the datasets of other groups. Their origin says so
  (`model`, `model-doubting-history`, `model-without-history`), their numbers begin at {first:,}.
- **Metric.** ROC AUC for two classes, accuracy for more, RMSE for regression.
- **Validation.** A test split of 20 % that no trial sees, as in a user's own task. Of the rest, 3 folds for datasets
  below 2,000 rows and a holdout of 25 % from there, or where rows times columns (pixels, points) exceed {cells}.
- **Rows.** Larger datasets are sampled down, classes in proportion: {caps}. Classes with fewer than 10 members are
  left out. Photographs are scaled to 32 x 32 pixels.
- **Curves.** Rounded to four digits (one part in 16,384), to take less room.
- **Order.** Rounds over all datasets, {rounds} configurations of each cheap and slow family after each: a base that
  was built in part has fewer configurations, not fewer datasets.
- **Cost.** One thread per trial. A trial that takes too long is ended and recorded as failed, as is one that raises.
"""

_WEAKNESSES = """\
## Known weaknesses

- Small data: no dataset has more than {cap} rows, so what is best for large ones is not in here. The families' own
  clamps help, a team's own history helps more.
- The tables are classical ones, mostly of textbooks: surveys, medicine, economics, few columns, few missing values.
  Targets were chosen from column names by hand; columns that give the target away were left out where they were seen.
- The images are small, mostly of digits and clothes, many of them parts of two collections; the series are those of
  the UCR archive; the texts are mostly English, short, about sentiment or topic.
- Validation scores of small datasets are noisy; the same seed and splits for all configurations make them
  comparable, not exact.
- Seconds depend on the machine and on what else ran on it: use them as ratios. A failed trial that names a time-out
  says as much about the machine as about the configuration.
- Licences of packages rarely cover the data inside them; the series of the UCR archive are given for academic use, four
  collections of texts for research. This is why no data are here, only results of training on them; look at the
  sources before using the data for something else.
"""


Records: TypeAlias = Sequence[tuple[StudyRecord, Sequence[Trial]]]


def card(records: Records, entries: Sequence[Entry], left_out: Sequence[LeftOut]) -> str:
    """The text of the card for ``records``; datasets without a study are not listed."""
    caps = ", ".join(f"{modality} data to {cap:,} rows" for modality, cap in ROW_CAPS.items())
    rounds = ", ".join(f"{cheap} and {slow}" for cheap, slow in ROUNDS)
    parts = [
        _INTRODUCTION,
        _families(records),
        _counts(records, entries),
        _METHOD.format(caps=caps, rounds=rounds, cells=f"{HOLDOUT_CELLS:,}", first=FIRST),
        _WEAKNESSES.format(cap=f"{max(ROW_CAPS.values()):,}"),
        _reserved(entries),
        _licences(records, entries),
        _datasets(records, entries),
        _excluded(left_out),
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
        sizes = [sum(trial.number < FIRST for trial in those) for _, those in mine]
        libraries = sorted({study.notes.get("library", "") for study, _ in mine})
        rows.append(
            (
                family,
                ", ".join(libraries),
                len(mine),
                len(flat),
                f"{min(sizes)} ({median(sizes):g})",
                sum(trial.number >= FIRST for trial in flat),
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
        "of the design, a dataset: fewest (median)",
        "proposed",
        "failed (time-outs)",
        "median seconds",
        "configurations worse than the default (median)",
    )
    return f"## Content\n\n{trials:,} trials on {tasks} datasets.\n\n{table(header, rows)}"


def _counts(records: Records, entries: Sequence[Entry]) -> str:
    """Datasets, by modality and kind, with trials in here and in the catalogue as a whole."""
    withheld, present = reserved(entries), {study.task.name for study, _ in records}
    rows = []
    for modality, kind in sorted({(entry.modality, entry.kind) for entry in entries}):
        those = [entry for entry in entries if (entry.modality, entry.kind) == (modality, kind)]
        here = [entry for entry in those if entry.name in present]
        kept = sum(entry.group in withheld for entry in those)
        rows.append((modality, kind, len(here), len({entry.group for entry in here}), len(those), kept))
    header = ("data", "kind", "datasets", "groups", "in the catalogue", "of these reserved")
    return f"## Datasets by kind\n\n{table(header, rows)}"


def _reserved(entries: Sequence[Entry]) -> str:
    withheld = reserved(entries)
    lines = []
    for modality in sorted({entry.modality for entry in entries}):
        names = sorted(entry.name for entry in entries if entry.modality == modality and entry.group in withheld)
        lines.append(f"- {modality} ({len(names)}): {', '.join(names)}")
    return (
        "## Reserved test set\n\nNo trial on these is in here, so that metatune can be judged on them. They were "
        "chosen by a rule (`scripts/kb/reserved.py`): of the groups with one dataset those whose name has the smallest "
        "SHA-256.\n\n" + "\n".join(lines) + "\n"
    )


def _licences(records: Records, entries: Sequence[Entry]) -> str:
    present = {study.task.name for study, _ in records}
    counts = Counter(entry.licence for entry in entries if entry.name in present)
    return (
        "## Licences of the sources\n\nOf the packages, and of the data where it is stated. No rows of them are in "
        f"here.\n\n{table(('licence', 'datasets'), counts.most_common())}"
    )


def _share_below_default(study: StudyRecord, trials: Sequence[Trial]) -> float | None:
    """The share of the rest of the design that the default beats; ``None`` where it failed."""
    score = study.task.metric.score
    scores = {t.number: score(t.value) for t in trials if t.value is not None and t.number < FIRST}
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
                f"{entry.modality} {task.kind}" if entry else task.kind,
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
        f"another.\n\n{table(header, rows)}"
    )


def _excluded(left_out: Sequence[LeftOut]) -> str:
    reasons: dict[str, list[str]] = {}
    for one in left_out:
        reasons.setdefault(one.reason, []).append(f"{one.name} ({one.package})")
    lines = "\n".join(f"- {reason}: {', '.join(names)}" for reason, names in reasons.items())
    packages = ", ".join(f"{one.package} {one.version} (SHA-256 {one.sha256})" for one in ARCHIVES.values())
    return f"## Packages, and what was left out\n\nscikit-learn; {packages}.\n\n{lines}\n"


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "+") for cell in line) + " |\n" for line in lines)
