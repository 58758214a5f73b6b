"""``Task``: what is to be learnt, how it is judged, and which rows judge it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from metatune.dataset import Dataset
from metatune.metric import Kind, Metric


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """What of a task may leave the machine: names and numbers about it, no data.

    ``fingerprint`` is a keyed hash; equal data have equal fingerprints under one key. ``group`` joins tasks made
    from the same source, so that no split separates them; it is the fingerprint unless given.
    ``metafeatures`` maps names to numbers, NaN meaning unknown.
    """

    name: str
    kind: Kind
    metric: Metric
    fingerprint: str
    group: str = ""
    metafeatures: Mapping[str, float] = field(default_factory=dict)
    n_rows: int = 0
    n_columns: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "metafeatures", dict(self.metafeatures))
        if not self.group:
            object.__setattr__(self, "group", self.fingerprint)


@dataclass(frozen=True, eq=False)
class Task:
    """A learning task with its data and its splits; or a custom one without data.

    ``test`` are positions of rows that no trial sees; ``folds`` are pairs of positions (train, valid), one pair for
    a holdout, k for k-fold. Both index ``data`` and are disjoint from one another as usual.
    """

    name: str
    kind: Kind
    metric: Metric
    fingerprint: str
    data: Dataset | None = None
    test: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    folds: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    metafeatures: Mapping[str, float] = field(default_factory=dict)
    group: str = ""
    seed: int = 0

    @cached_property
    def search_rows(self) -> np.ndarray:
        """Positions of all rows that trials may see: everything but the test split, ascending."""
        return np.unique(np.concatenate([np.concatenate(pair) for pair in self.folds]))

    def record(self, metafeatures: Mapping[str, float] | None = None) -> TaskRecord:
        """What may leave the machine, with ``metafeatures`` as computed by the caller."""
        data = self.data
        return TaskRecord(
            name=self.name,
            kind=self.kind,
            metric=self.metric,
            fingerprint=self.fingerprint,
            group=self.group,
            metafeatures=self.metafeatures if metafeatures is None else metafeatures,
            n_rows=0 if data is None else data.n_rows,
            n_columns=0 if data is None else data.n_columns,
        )

    # from_dataframe, from_arrays, from_file, custom: see the contract in docs/architecture.md


_ = Any
