"""Which trials are to be made, in which order, given what the store already has."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from kb.catalogue import Entry
from kb.design import Unit, study_id
from metatune.history.store import HistoryStore
from metatune.learners import get_family

CHEAP = ("lightgbm", "random_forest", "linear", "svm", "knn")
SLOW = ("keras_mlp",)


def plan(
    entries: Sequence[Entry], families: Sequence[str], *, configurations: Mapping[str, int], row_cap: int
) -> list[Unit]:
    """All units, as if nothing had been done.

    The cheap families come first, dataset by dataset, so that a build that is stopped early covers whole tasks. The
    slow ones start after a third of that, one in turn with each further dataset.
    """

    def unit(entry: Entry, family: str) -> Unit:
        numbers = tuple(range(configurations[family]))
        return Unit(entry, family, study_id(entry, get_family(family), row_cap), numbers, row_cap)

    cheap = [[unit(entry, family) for family in families if family not in SLOW] for entry in entries]
    slow = [unit(entry, family) for entry in entries for family in families if family in SLOW]
    third = len(entries) // 3
    ordered = [one for block in cheap[:third] for one in block]
    for block, later in zip_longest(cheap[third:], slow):
        ordered += [*(block or ()), *([later] if later else ())]
    return ordered


def pending(units: Sequence[Unit], store: HistoryStore) -> list[Unit]:
    """What is left of ``units``: those with trials that ``store`` does not have, reduced to them."""
    done = {study.id: {trial.number for trial in trials} for study, trials in store.records()}
    left = []
    for unit in units:
        numbers = tuple(number for number in unit.numbers if number not in done.get(unit.study_id, ()))
        if numbers:
            left.append(replace(unit, numbers=numbers))
    return left
