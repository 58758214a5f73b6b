"""Small pieces of a published knowledge, for the tests of publishing, serving and security."""

import json
from functools import cache
from pathlib import Path

from planted import study_of, utility

from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.manifest import MANIFEST, file_hashes
from metatune.metric import Metric
from metatune.snapshot import Snapshot
from metatune.task import TaskRecord

#: A family that metatune trains itself: the server recommends only these.
FAMILY = "knn"


@cache
def knn_knowledge(tasks: int = 4, trials: int = 24, *, helpful: bool = True, seed: int = 0) -> Knowledge:
    """Tasks that all like many neighbours (or few, where it is not ``helpful``)."""
    return Knowledge.build(knn_snapshot(tasks, trials, helpful=helpful, seed=seed))


def knn_snapshot(tasks: int = 4, trials: int = 24, *, helpful: bool = True, seed: int = 0) -> Snapshot:
    space = get_family(FAMILY).space()
    number = next(name for name in space if name == "n_neighbors")
    sign = 1.0 if helpful else -1.0
    records = []
    for i in range(tasks):
        task = TaskRecord(
            name=f"task{i}",
            kind="binary",
            metric=Metric.of("accuracy", "binary"),
            fingerprint=f"{seed}-{i}",
            metafeatures={"log_rows": 5.0 + i, "log_classes": 1.0},
        )
        records.append(
            study_of(
                task,
                lambda c, i=i: sign * float(c[number]) / 100.0 + 1e-4 * i,  # type: ignore[arg-type]
                space=space,
                configurations=space.sample(trials, seed + i),
                family=FAMILY,
            )
        )
    return Snapshot.of(records)


def resealed(folder: Path) -> Path:
    """``folder`` with a manifest that vouches for whatever is in it: what somebody hostile would hand over."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = file_hashes(folder)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


__all__ = ["FAMILY", "knn_knowledge", "knn_snapshot", "resealed", "utility"]
