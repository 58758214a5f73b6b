"""The second round: what the engine itself proposes for a dataset, from its trials and from all other datasets.

Such trials look where good configurations are, which a design meets only by chance. Their origin tells what they are,
and their numbers begin at ``FIRST``, so that the design can still grow.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from kb.catalogue import Entry
from kb.design import Evidence, Unit
from kb.others import without_group
from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.search.proposer import Observation, Proposal, Proposer
from metatune.study import StudyRecord
from metatune.surrogate.family import FamilySurrogate
from metatune.task import TaskRecord
from metatune.trial import Trial

#: Number of the first proposed trial of a study; a design never has so many.
FIRST = 1000
#: With fewer ended trials of the design, the engine would open a search instead of going on with one.
OBSERVED = 10


def proposed_units(
    entries: Sequence[Entry],
    records: Iterable[tuple[StudyRecord, Sequence[Trial]]],
    knowledge: Path,
    *,
    families: Iterable[str] | None = None,
    trials: int,
) -> list[Unit]:
    """A unit for every study of a design that has no ``trials`` proposals yet, in the order of ``entries``.

    ``knowledge`` is the folder from which the engine proposes.
    """
    known = {entry.name: (place, entry) for place, entry in enumerate(entries)}
    wanted = None if families is None else set(families)
    done: dict[str, dict[int, Trial]] = {}
    studies: dict[str, StudyRecord] = {}
    for study, ended in records:
        studies[study.id] = study
        done.setdefault(study.id, {}).update({trial.number: trial for trial in ended})
    found = []
    for id, study in studies.items():
        if study.task.name not in known or (wanted is not None and study.family not in wanted):
            continue
        place, entry = known[study.task.name]
        numbers = tuple(n for n in range(FIRST, FIRST + trials) if n not in done[id])
        if numbers and len(done[id]) >= OBSERVED:
            evidence = Evidence(tuple(done[id].values()), knowledge)
            found.append((place, Unit(entry, study.family, id, numbers, int(study.notes["row_cap"]), evidence)))
    return [unit for _, unit in sorted(found, key=lambda pair: (pair[0], pair[1].family))]


def proposer_for(unit: Unit, record: TaskRecord) -> Proposer:
    """The engine for the trials of ``unit``; it keeps what all of them need."""
    assert unit.evidence is not None
    others = _others(unit.evidence.knowledge, unit.family, record.group)
    return Proposer(record, get_family(unit.family).space(), surrogate=others)


def _others(folder: Path, family: str, group: str) -> FamilySurrogate | None:
    """What is known of ``family`` from the tasks of all groups but the dataset's own.

    The engine would take that one's trials for another task that foresees them perfectly.
    """
    known = _known(folder).surrogate(family, missing_ok=True)
    return None if known is None else without_group(known, group)


def propose(proposer: Proposer, unit: Unit, record: TaskRecord, done: Sequence[Trial], number: int) -> Proposal:
    """Its proposal for trial ``number`` of ``unit``, after the evidence of that and the trials ``done`` since."""
    assert unit.evidence is not None
    observed = [
        Observation(
            trial.configuration, None if trial.value is None else record.metric.score(trial.value), trial.seconds
        )
        for trial in (*unit.evidence.trials, *done)
    ]
    return proposer.propose(observed, number=number)


@lru_cache(maxsize=1)
def _known(folder: Path) -> Knowledge:
    return Knowledge.load(folder)
