"""The verb ``publish``: put a knowledge into MLflow's model registry, and let the team use it if it is no worse.

Every published knowledge becomes a version. The alias ``champion``, which is what a team uses
(``METATUNE_KNOWLEDGE=models:/metatune-knowledge@champion``), goes to it unless searches replayed with it as history
are worse than with the present champion (``metatune.backtest.versions``). What was decided, and by which figures, is
kept as tags of the version.
"""

from dataclasses import dataclass
from pathlib import Path

from metatune.backtest.versions import Comparison, compare
from metatune.errors import KnowledgeError, UsageError
from metatune.history.registry import Reference, Registry, Version
from metatune.knowledge import Knowledge, files_of
from metatune.manifest import MANIFEST, checked_names, sha256
from metatune.provenance import provenance
from metatune.published import fetched
from metatune.version import __version__

CHAMPION = "champion"
NAME = "metatune-knowledge"

#: So often the champion may change while a knowledge is compared with it.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Decision:
    """Whether a version takes the alias, and why; ``comparison`` where there was another champion to compare with."""

    takes_alias: bool
    reason: str
    champion: str | None = None
    comparison: Comparison | None = None

    @property
    def tags(self) -> dict[str, str]:
        """What the registry keeps of it."""
        found = {"metatune.decision": self.reason, "metatune.champion_before": self.champion or "none"}
        if self.comparison is not None:
            found["metatune.regret"] = f"{self.comparison.newer:.6f}"
            found["metatune.regret_of_champion"] = f"{self.comparison.older:.6f}"
            found["metatune.replayed_tasks"] = str(self.comparison.tasks)
        return found


@dataclass(frozen=True)
class Publication:
    """The ``version`` that was made, or was there already with the same files (``made`` is false then)."""

    version: Version
    decision: Decision
    made: bool


def publish(directory: Path, *, name: str = NAME, registry: Registry | None = None, force: bool = False) -> Publication:
    """Publish the knowledge in ``directory`` as a version of the model ``name``; ``force``: as champion in any case.

    Publishing what is the champion already changes nothing. Raises ``KnowledgeError`` for a folder that is not a whole
    knowledge, ``UsageError`` for a bad name, ``StoreError`` for a registry that cannot be used.
    """
    champion_reference = Reference(_checked(name), alias=CHAMPION)
    registry = Registry() if registry is None else registry
    knowledge = Knowledge.load(directory)
    manifest = sha256(Path(directory) / MANIFEST)
    champion = registry.find(champion_reference) if registry.exists else None
    if champion is not None and champion.manifest == manifest:
        return Publication(champion, Decision(True, "it is the champion already", champion.address), made=False)
    decision = _decide(knowledge, champion, registry, force=force)
    version = registry.register(
        name,
        Path(directory),
        list(checked_names(files_of(directory))),
        tags=_tags(knowledge) | decision.tags,
        requirement=f"metatune=={__version__}",
    )
    for _ in range(_ATTEMPTS):
        now = registry.find(champion_reference)
        if (now and now.manifest) == (champion and champion.manifest):
            break
        champion, decision = now, _decide(knowledge, now, registry, force=force)
        registry.set_tags(version, decision.tags)
    if decision.takes_alias:
        registry.set_alias(version, CHAMPION)
    return Publication(version, decision, made=True)


def _decide(knowledge: Knowledge, champion: Version | None, registry: Registry, *, force: bool) -> Decision:
    """Whether ``knowledge`` may take the alias from ``champion``."""
    if champion is None:
        return Decision(True, "there was no champion")
    try:
        present = Knowledge.load(fetched(champion.address, registry=registry))
    except KnowledgeError as error:
        problem = f"the champion cannot be read ({error.problem})"
        return Decision(force, f"forced: {problem}" if force else problem, champion.address)
    missing = sorted(set(present.families) - set(knowledge.families))
    comparison = compare(knowledge.snapshot, present.snapshot)
    problem = _problem(missing, comparison, same=knowledge.snapshot.digest == present.snapshot.digest)
    if not problem:
        return Decision(True, "it is not worse than the champion", champion.address, comparison)
    return Decision(force, f"forced: {problem}" if force else problem, champion.address, comparison)


def _problem(missing: list[str], comparison: Comparison | None, *, same: bool) -> str:
    """Why a version must not take the alias; empty if it may."""
    if missing:
        return f"it knows nothing of {', '.join(missing)}, which the champion knows"
    if comparison is None:
        return "" if same else "it has too few tasks to be compared with the champion"
    if comparison.is_worse:
        return f"searches with it lose {comparison.newer:.3f} where those with the champion lose {comparison.older:.3f}"
    return ""


def _tags(knowledge: Knowledge) -> dict[str, str]:
    made = {f"metatune.{key}": value for key, value in provenance().items()}
    return made | {
        "metatune.version": __version__,
        "metatune.snapshot": knowledge.snapshot.digest,
        "metatune.studies": str(len(knowledge.snapshot.studies)),
        "metatune.families": ", ".join(knowledge.families),
    }


def _checked(name: str) -> str:
    if not name or any(c in name for c in "/:@") or not name.isprintable() or len(name) > 200:
        raise UsageError(
            "not a name for a registered model",
            field="name",
            value=name,
            remedy="Use letters, digits and hyphens.",
        )
    return name
