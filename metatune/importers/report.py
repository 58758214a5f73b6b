"""``ImportReport``: what an import did, complete enough to be judged without looking at the source."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from metatune.metric import Direction


@dataclass(frozen=True, kw_only=True)
class StudyImport:
    """One study of the source: how many of its trials were added, known before, or merged with an equal one."""

    id: str
    name: str
    task: str
    family: str
    metric: str
    direction: Direction
    imported: int = 0
    known: int = 0
    merged: int = 0
    best: float | None = None


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What was imported from ``source``, and what was not.

    ``skipped`` counts records left out, by reason; ``refused`` those that had training scores only, by the name of
    one. ``aliases`` maps, per family, other names of parameters to those that are used now. ``types`` holds, per
    family, each parameter's type and range; ``inferred`` names the families whose types were inferred from the values.
    ``ignored`` maps parameters that were left out to the reason. With ``dry_run``, nothing was written.
    """

    source: str
    studies: tuple[StudyImport, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    inferred: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def imported(self) -> int:
        """Trials that were added, or would be."""
        return sum(study.imported for study in self.studies)

    @property
    def known(self) -> int:
        """Trials that an earlier import had added."""
        return sum(study.known for study in self.studies)

    @property
    def merged(self) -> int:
        """Trials that equal another one of their study."""
        return sum(study.merged for study in self.studies)

    def document(self) -> dict[str, object]:
        """The report as plain values."""
        totals = {"imported": self.imported, "known": self.known, "merged": self.merged}
        return {**totals, "skipped_total": sum(self.skipped.values()), "refused_total": sum(self.refused.values()),
                **asdict(self)}  # fmt: skip
