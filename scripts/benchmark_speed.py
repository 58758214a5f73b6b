"""Seconds per proposal with a history, beside Optuna's samplers; seconds of a cold ``metatune recommend``.

    python scripts/benchmark_speed.py

Speed depends on the machine; the ratio to the peers in the same run says more.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import optuna
import pandas as pd

from metatune.encoding import UnitEncoder
from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.metric import Metric
from metatune.sampler import MetaSampler
from metatune.task import TaskRecord


def proposal_seconds(sampler: optuna.samplers.BaseSampler, family: str, observed: int, repeats: int) -> np.ndarray:
    """Seconds of each of ``repeats`` proposals, every one with exactly ``observed`` ended trials."""
    space = get_family(family).space()
    seconds = []
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for configuration in space.sample(observed, rng):
            distributions = {name: space[name] for name in configuration}
            value = -sum(abs(place - 0.6) for place in UnitEncoder(space).encode([configuration])[0])
            value += 0.1 * float(rng.normal())
            study.add_trial(optuna.trial.create_trial(params=configuration, distributions=distributions, value=value))
        start = time.perf_counter()
        space.suggest(study.ask())
        seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def recommend_seconds(rows: int, columns: int) -> float:
    """Wall time of ``metatune recommend`` on a CSV as a cold process."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, columns)), columns=[f"f{i}" for i in range(columns)])
    frame["y"] = (frame["f0"] + frame["f1"] ** 2 + rng.normal(size=rows) > 1).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame.to_csv(path, index=False)
        command = [sys.executable, "-m", "metatune", "recommend", str(path), "--target", "y", "--json"]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="lightgbm")
    parser.add_argument("--observed", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    surrogate = Knowledge.find().surrogate(arguments.family)
    record = TaskRecord(name="new", kind="binary", metric=Metric("roc_auc", "maximize"), fingerprint="new")
    space = get_family(arguments.family).space()
    samplers = {
        "MetaSampler": lambda: MetaSampler(surrogate, task=record, space=space, seed=0),
        "TPESampler": lambda: optuna.samplers.TPESampler(seed=0, multivariate=True),
    }
    tasks = len(surrogate.tasks) if surrogate else 0
    print(f"{arguments.family}: a history of {tasks} tasks, {arguments.repeats} proposals each")
    for observed in arguments.observed:
        for name, make in samplers.items():
            # The first proposal of a process also scores the candidate pool; it is shown apart.
            seconds = proposal_seconds(make(), arguments.family, observed, arguments.repeats)
            median, high = np.quantile(seconds[1:], [0.5, 0.95]) * 1e3
            first = seconds[0] * 1e3
            print(
                f"{name:12s} {observed:4d} observed: median {median:5.1f} ms, p95 {high:5.1f} ms, first {first:5.1f} ms"
            )
    print(
        "metatune recommend, 10,000 x 50 CSV, cold process:",
        json.dumps([round(recommend_seconds(10_000, 50), 2) for _ in range(3)]),
        "s",
    )


if __name__ == "__main__":
    main()
