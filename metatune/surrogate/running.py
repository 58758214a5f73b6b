"""What past trials teach about running one: how its learning curve will end, and how long it will take."""

from collections.abc import Sequence

import numpy as np

from metatune.encoding import ConfigurationEncoder
from metatune.errors import NoHistoryError
from metatune.family_table import FamilyTable
from metatune.surrogate.cost import CostModel
from metatune.surrogate.curves import CurveModel
from metatune.surrogate.targets import evenly
from metatune.surrogate.tasks import TaskTrials

#: Trials of a task that costs, and that curves, are learnt from: more would change little.
_COST_TRIALS, _CURVES = 200, 200


def cost_of(table: FamilyTable, tasks: Sequence[TaskTrials], encoder: ConfigurationEncoder) -> CostModel | None:
    """The model of the seconds of a trial; ``None`` where they were not recorded."""
    # Only complete trials: one that crashed took less than it would have.
    complete = [(task.rows[ok := ~np.isnan(task.score)], task.score[ok]) for task in tasks]
    kept = [rows[evenly(score, _COST_TRIALS)] for rows, score in complete]
    rows = np.concatenate(kept)
    groups = np.repeat(np.arange(len(kept)), [len(own) for own in kept])
    try:
        return CostModel.fit(encoder.encode_table(table, rows), table.seconds[rows], groups=groups, encoder=encoder)
    except NoHistoryError:
        return None


def curves_of(table: FamilyTable, tasks: Sequence[TaskTrials]) -> CurveModel | None:
    """The model of learning curves; ``None`` where no trial has one.

    Curves of one task that end early, since the trial stopped itself, stay at their last value.
    """
    found = []
    for task in tasks:
        rows = task.rows[evenly(task.score, _CURVES)]
        metric = table.studies[int(table.study[rows[0]])].task.metric
        curves = [metric.score(curve) for row in rows if len(curve := table.curve(int(row))) > 1]
        if curves:
            longest = max(map(len, curves))
            found.append(np.array([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves]))
    return CurveModel.fit(found) if found else None
