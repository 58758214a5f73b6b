"""What is known of a family from the tasks of all groups but one."""

from dataclasses import replace

import numpy as np

from metatune.surrogate.family import FamilySurrogate


def without_group(surrogate: FamilySurrogate, group: str) -> FamilySurrogate:
    """``surrogate`` as if it had never seen a dataset of ``group``, and without the meta-surrogate, which had."""
    kept = [i for i, task in enumerate(surrogate.tasks) if task.record.group != group]
    return replace(
        surrogate,
        tasks=tuple(surrogate.tasks[i] for i in kept),
        smoothness=tuple(surrogate.smoothness[i] for i in kept),
        design=surrogate.design and surrogate.design.of_tasks(np.array(kept, dtype=np.int64)),
        meta=None,
    )
