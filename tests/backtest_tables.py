"""Small folders of recorded trials, on which replays can be checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metatune.backtest.run import Run
from metatune.backtest.table import ReplayTable, read_table
from metatune.version import __version__

#: Six tasks by default, whose optima lie near x = .3 (learning_rate .01, kind good).
TASKS = 6
CONFIGURATIONS = 60

SPACE: dict[str, Any] = {
    "metric": "accuracy",
    "direction": "maximize",
    "params": {
        "x": {"type": "uniform_float", "lower": 0.0, "upper": 1.0, "log": False, "default": 0.5},
        "learning_rate": {"type": "float", "lower": 1e-4, "upper": 1.0, "log": True, "default": 0.1},
        "kind": {"type": "categorical", "choices": ["good", "bad"], "default": "bad"},
        "degree": {"type": "uniform_int", "lower": 1, "upper": 9, "log": False, "default": 3},
    },
}


def trials_of(tasks: int = TASKS, n: int = CONFIGURATIONS, seed: int = 0, shared: bool = True) -> pd.DataFrame:
    """Trials of ``tasks`` tasks on ``n`` random configurations each; ``degree`` is active for kind good only."""
    parts = []
    for task in range(tasks):
        rng = np.random.default_rng(seed if shared else [seed, task])
        good = rng.random(n) < 0.5
        frame = pd.DataFrame(
            {
                "task_id": f"task{task}",
                "hp__x": rng.random(n).astype(np.float32),
                "hp__learning_rate": (10 ** rng.uniform(-4, 0, n)).astype(np.float32),
                "hp__kind": np.where(good, "good", "bad"),
                "hp__degree": np.where(good, rng.integers(1, 10, n), np.nan),
            }
        )
        loss = (frame["hp__x"] - 0.3 - 0.02 * task) ** 2 + 0.1 * (np.log10(frame["hp__learning_rate"]) + 2) ** 2
        frame["y"] = (0.9 - loss - 0.3 * ~good - 0.01 * task).astype(np.float32)
        frame["direction"] = "maximize"
        frame["cost"] = np.arange(n) + 1.0
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def write_folder(
    folder: Path,
    trials: pd.DataFrame | None = None,
    *,
    space: Mapping[str, Any] = SPACE,
    tasks: pd.DataFrame | None = None,
) -> Path:
    """Write the layout into ``folder``; tasks that are near in number are near in their meta-feature ``size``."""
    trials = trials_of() if trials is None else trials
    names = list(dict.fromkeys(trials["task_id"]))
    if tasks is None:
        tasks = pd.DataFrame({"task_id": names, "mf__size": np.arange(len(names), dtype=float), "q__other": 1.0})
    folder.mkdir(parents=True, exist_ok=True)
    trials.to_parquet(folder / "trials.parquet")
    tasks.to_parquet(folder / "tasks.parquet")
    (folder / "space.json").write_text(json.dumps(space))
    return folder


def small_table(folder: Path, **options: Any) -> ReplayTable:
    """The table of ``trials_of(**options)``."""
    return read_table(write_folder(folder / "small", trials_of(**options)))


def recorded_run(*fields: Any, **others: Any) -> Run:
    """A ``Run`` of ``fields`` by this version; on a table whose digest is d, unless ``others`` say another."""
    return Run(*fields, **({"digest": "d", "version": __version__} | others))
