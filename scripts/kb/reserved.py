"""The reserved test set: datasets that no knowledge is ever made from, chosen by a rule and not by hand.

Among the groups that have one dataset only (so that little knowledge is lost), those whose name has the smallest
SHA-256 are taken: as many as ``COUNTS`` says, for tables of each kind, for other data of each modality.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

from kb.catalogue import Entry

#: By stratum: the kind of a table, the modality of other data. 30 tables, 4 texts, 8 time series, 2 image tasks.
COUNTS = {"binary": 10, "multiclass": 10, "regression": 10, "text": 4, "series": 8, "image": 2}


def reserved(entries: Sequence[Entry]) -> frozenset[str]:
    """The groups among ``entries``, the whole catalogue, that are reserved."""
    sizes = Counter(entry.group for entry in entries)
    alone = sorted((entry for entry in entries if sizes[entry.group] == 1), key=lambda entry: _hash(entry.group))
    taken: Counter[str] = Counter()
    groups = set()
    for entry in alone:
        stratum = entry.kind if entry.modality == "table" else entry.modality
        if taken[stratum] < COUNTS[stratum]:
            taken[stratum] += 1
            groups.add(entry.group)
    return frozenset(groups)


def _hash(group: str) -> str:
    return hashlib.sha256(group.encode()).hexdigest()
