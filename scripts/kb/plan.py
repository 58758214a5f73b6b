"""Which trials are to be made, in which order, given what there is already."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from kb.catalogue import Entry
from kb.design import Unit
from kb.identity import SLOW, study_id
from metatune.dataset import Modality
from metatune.learners import family_names, get_family
from metatune.study import StudyRecord
from metatune.trial import Trial

#: Configurations of a cheap and of a slow family after each round. More datasets are worth more than more
#: configurations, so a round covers all datasets before the next one begins.
ROUNDS = ((15, 10), (30, 25), (50, 25))
#: Datasets are sampled down to so many rows.
ROW_CAPS: Mapping[Modality, int] = {"table": 3000, "text": 3000, "series": 3000, "image": 2000}


def plan(entries: Sequence[Entry], families: Iterable[str] | None = None, *, limit: int | None = None) -> list[Unit]:
    """All units, as if nothing had been done: round after round, dataset after dataset.

    ``families`` limits the model families, ``limit`` the configurations of each.
    """
    units = []
    done: dict[tuple[str, str], int] = {}
    for cheap, slow in ROUNDS:
        for entry in entries:
            for family in family_names(entry.modality):
                if families is not None and family not in families:
                    continue
                first = done.get((entry.name, family), 0)
                last = min(slow if family in SLOW else cheap, limit or cheap)
                if last > first:
                    row_cap = ROW_CAPS[entry.modality]
                    study = study_id(entry, family, get_family(family).space().digest, row_cap)
                    units.append(Unit(entry, family, study, tuple(range(first, last)), row_cap))
                    done[entry.name, family] = last
    return units


def pending(units: Sequence[Unit], records: Iterable[tuple[StudyRecord, Sequence[Trial]]]) -> list[Unit]:
    """What is left of ``units``: those with trials that ``records`` do not have, reduced to them."""
    done: dict[str, set[int]] = {}
    for study, trials in records:
        done.setdefault(study.id, set()).update(trial.number for trial in trials)
    left = []
    for unit in units:
        numbers = tuple(number for number in unit.numbers if number not in done.get(unit.study_id, ()))
        if numbers:
            left.append(replace(unit, numbers=numbers))
    return left
