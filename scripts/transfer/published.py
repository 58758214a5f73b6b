"""Beside published figures: whole pool, regret by the table's bounds, the tasks that the paper has."""

from pathlib import Path

import numpy as np
import pandas as pd

from transfer.reading import Runs, on, summary
from transfer.stages import OWN, PLAIN
from transfer.text import number, table, tasks_told

_AT = (1, 3, 5, 10, 25, 50)
#: Bars for the mean regret of metatune.
_BARS = {10: 0.020, 25: 0.012, 50: 0.009}


def published_section(runs: Runs, folder: Path) -> str:
    """The methods' regret on the published tasks of the table in ``folder``, and the published curves."""
    file = folder / "published_curves.parquet"
    if not file.is_file():
        return ""
    curves = pd.read_parquet(file)
    found = summary(on(runs.of([folder.name], OWN, PLAIN), curves["task"].unique()))
    if not found["tables"]:
        return ""
    methods = found["tables"][folder.name]["methods"]
    rows = [[f"`{name}`", *(number(entry["regret"].get(str(e))) for e in _AT)] for name, entry in methods.items()]
    rows += [[f"published: {name}", *map(number, values)] for name, values in published(folder).items()]
    rows.append(["bar", *(number(_BARS.get(e)) for e in _AT)])
    return (
        f"### `{folder.name}` as published\n\nMean regret by the table's own bounds, over the whole pool. "
        f"{tasks_told(found)} The published curves have 30 seeds.\n\n{table(['method', *map(str, _AT)], rows)}"
    )


def published(folder: Path) -> dict[str, list[float]]:
    """Mean regret of the published optimisers at the evaluations of the table."""
    curves = pd.read_parquet(folder / "published_curves.parquet").sort_values("iteration")
    y = pd.read_parquet(folder / "trials.parquet", columns=["task_id", "y"]).groupby("task_id")["y"]
    low, high = y.min(), y.max()
    best = curves.groupby(["optimizer", "task", "seed"])["value"].cummin()
    regret = (best - curves["task"].map(low)) / (curves["task"].map(high) - curves["task"].map(low))
    mean = regret.groupby([curves["optimizer"], curves["task"], curves["iteration"]]).mean()
    by_optimizer = mean.groupby(level=["optimizer", "iteration"]).mean().unstack("iteration")
    return {str(name): [float(np.asarray(row)[e - 1]) for e in _AT] for name, row in by_optimizer.iterrows()}
