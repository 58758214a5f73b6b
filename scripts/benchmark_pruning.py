"""What pruners cost and save: random searches on tables with learning curves, replayed epoch by epoch.

    python scripts/benchmark_pruning.py --benchmarks DIR [--seeds 3] [--only "metatune;median"] [--stress inverted]

Every method sees the same hundred configurations per task in the same order, in a real Optuna study, and reports every
epoch. Half of the configurations are the pool that they are drawn from; ``metatune`` learns from at most 200 random
curves per task of the other half, of the tasks that are not in the fold of the one replayed. Regret is that of the best
trial that ran to the end, normalised by the pool's best and worst; *loss* is what it exceeds that of stopping nothing.
Settings of metatune were chosen on lcbench. Optuna's pruners run as they come, and again with settings that make them
cautious; Wilcoxon's compares the values at equal epochs of a trial and of the best one, as if epochs were instances.
"""

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import optuna
import pandas as pd
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)

from metatune.pruner import MetaPruner
from metatune.surrogate.curves import CurveModel

TRIALS = 100
HISTORY = 200
AT = (0.05, 0.1, 0.2, 0.35)
FOLDS = 12

PEERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda steps: NopPruner(),
    "hyperband": lambda steps: HyperbandPruner(min_resource=1, max_resource=steps),
    "median": lambda steps: MedianPruner(),
    "wilcoxon": lambda steps: WilcoxonPruner(),
    "halving": lambda steps: SuccessiveHalvingPruner(),
    "patient median": lambda steps: PatientPruner(MedianPruner(), patience=3),
    "hyperband, from 4": lambda steps: HyperbandPruner(min_resource=4, max_resource=steps),
    "median, from 10": lambda steps: MedianPruner(n_warmup_steps=10),
    "wilcoxon, p .01": lambda steps: WilcoxonPruner(p_threshold=0.01, n_startup_steps=5),
    "halving, from 4 by 2": lambda steps: SuccessiveHalvingPruner(min_resource=4, reduction_factor=2),
    "halving, from 6 by 2": lambda steps: SuccessiveHalvingPruner(min_resource=6, reduction_factor=2),
    "halving, from 8 by 3": lambda steps: SuccessiveHalvingPruner(min_resource=8, reduction_factor=3),
}
OWN = ("metatune", "metatune without history")


@dataclass(frozen=True)
class Table:
    """``score`` (tasks, configurations, epochs), higher is better, finite."""

    name: str
    direction: str
    score: np.ndarray


def read(folder: Path) -> Table:
    """The curves of a table; losses as -log(min(loss, 10)), diverged ones as 10, the loss before training left out."""
    curves = pd.read_parquet(folder / "curves.parquet").sort_values(["task_id", "config_id"])
    direction = str(pd.read_parquet(folder / "trials.parquet", columns=["direction"]).direction.iloc[0])
    steps = [column for column in curves.columns if column not in ("task_id", "config_id", "s0")]
    score = curves[steps].to_numpy(np.float64).reshape(curves.task_id.nunique(), -1, len(steps))
    if direction == "minimize":
        score = -np.log(np.clip(np.nan_to_num(score, nan=10.0, posinf=10.0), 1e-12, 10.0))
    return Table(folder.name, direction, score)


@dataclass
class Fold:
    """The halves of one seed, and the model that learns from all tasks but those in the fold of the one replayed."""

    table: Table
    seed: int
    stress: str

    def __post_init__(self) -> None:
        n_tasks, n, _ = self.table.score.shape
        rng = np.random.default_rng(self.seed)
        self.history, self.pool = np.array_split(rng.permutation(n), 2)
        self.fold = rng.permutation(n_tasks) % FOLDS
        self._models: dict[int, CurveModel] = {}

    def model(self, task: int) -> CurveModel:
        fold = int(self.fold[task])
        if fold not in self._models:
            past = [self._curves(other) for other in np.flatnonzero(self.fold != fold)]
            self._models[fold] = CurveModel.fit(past, seed=self.seed)
        return self._models[fold]

    def _curves(self, task: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, task, 1])
        curves = self.table.score[task, rng.choice(self.history, min(HISTORY, len(self.history)), replace=False)]
        if self.stress == "inverted":
            return -curves
        if self.stress == "shuffled":  # the end of each curve is that of another
            return np.column_stack([curves[:, :-1], rng.permutation(curves[:, -1])])
        return curves

    def search(self, task: int) -> tuple[np.ndarray, float, float]:
        """The curves of the trials in order, and the pool's best and worst score."""
        rng = np.random.default_rng([self.seed, task, 2])
        order = rng.choice(self.pool, min(TRIALS, len(self.pool)), replace=False)
        final = self.table.score[task, self.pool, -1]
        return self.table.score[task, order], float(final.max()), float(final.min())


def replay(curves: np.ndarray, direction: str, pruner: BasePruner) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Epochs used by each trial, whether it ran to the end, and the seconds of each decision."""
    study = optuna.create_study(direction=direction, pruner=pruner, study_name="replay")
    sign = 1.0 if direction == "maximize" else -1.0
    used, ended, seconds = [], [], []
    for curve in curves:
        trial, stopped = study.ask(), False
        for epoch, value in enumerate(sign * curve, start=1):
            trial.report(float(value), epoch)
            if epoch < len(curve):
                start = time.perf_counter()
                stopped = trial.should_prune()
                seconds.append(time.perf_counter() - start)
            if stopped:
                break
        if stopped:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, float(value))
        used.append(epoch)
        ended.append(not stopped)
    return np.array(used), np.array(ended), seconds


def measure(fold: Fold, task: int, method: str) -> dict[str, object]:
    """One search: share of epochs, regret in the end and after ``AT`` of all epochs, and both for stopping nothing."""
    curves, best, worst = fold.search(task)
    if method in OWN:
        pruner: BasePruner = MetaPruner(fold.model(task) if method == "metatune" else None)
    else:
        pruner = PEERS[method](curves.shape[1])
    used, ended, seconds = replay(curves, fold.table.direction, pruner)
    regret = (best - np.maximum.accumulate(np.where(ended, curves[:, -1], worst))) / (best - worst)
    spent = np.cumsum(used) / curves[..., 0].size / curves.shape[1]
    full = (best - float(curves[:, -1].max())) / (best - worst)
    anytime = [float(regret[spent <= share][-1]) if (spent <= share).any() else 1.0 for share in AT]
    return {
        "share": float(spent[-1]),
        "regret": float(regret[-1]),
        "loss": float(regret[-1]) - full,
        "anytime": anytime,
        "ended": int(ended.sum()),
        "ms": 1e3 * float(np.quantile(seconds, 0.95)),
    }


def summary(runs: Sequence[dict[str, object]], n_tasks: int) -> dict[str, object]:
    """Means over tasks, seeds averaged first; the standard error is over tasks."""
    by_task = np.array([run["loss"] for run in runs]).reshape(-1, n_tasks).mean(axis=0)
    mean = {name: float(np.mean([run[name] for run in runs])) for name in ("share", "regret", "loss", "ended", "ms")}
    error = float(by_task.std(ddof=1) / np.sqrt(n_tasks))
    return {**mean, "error": error, "anytime": np.mean([run["anytime"] for run in runs], axis=0).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of the benchmark tables")
    parser.add_argument("--tables", default="lcbench,taskset_adam8p")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="methods, separated by semicolons: " + "; ".join([*OWN, *PEERS]))
    parser.add_argument("--stress", choices=("none", "inverted", "shuffled"), default="none", help="of the history")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    methods = [m.strip() for m in arguments.only.split(";")] if arguments.only else [*OWN, *PEERS]
    document: dict[str, object] = {}
    at = " | ".join(f"at {share:.0%}" for share in AT)
    for name in arguments.tables.split(","):
        table = read(arguments.benchmarks / name)
        folds = [Fold(table, seed, arguments.stress) for seed in range(arguments.seeds)]
        n_tasks = len(table.score)
        print(f"\n{name}: {n_tasks} tasks, {arguments.seeds} seeds, history {arguments.stress}\n")
        print(f"| pruner | epochs used | final regret | loss | ± | ran to the end | {at} | ms (p95) |")
        print("|" + "---|" * (7 + len(AT)))
        results = {}
        for method in methods:
            found = summary([measure(fold, task, method) for fold in folds for task in range(n_tasks)], n_tasks)
            results[method] = found
            anytime = " | ".join(f"{regret:.4f}" for regret in found["anytime"])  # type: ignore[attr-defined]
            print(
                f"| {method} | {found['share']:.1%} | {found['regret']:.4f} | {found['loss']:.4f} | "
                f"{found['error']:.4f} | {found['ended']:.1f} | {anytime} | {found['ms']:.2f} |",
            )
            sys.stdout.flush()
        keeps = [m.keep for fold in folds for m in fold._models.values()]
        if keeps:
            print(f"\nkeep {np.min(keeps):.3f} to {np.max(keeps):.3f}, mean {np.mean(keeps):.3f}")
        document[name] = results
    if arguments.json:
        arguments.json.write_text(json.dumps({"stress": arguments.stress, "tables": document}, indent=1))


if __name__ == "__main__":
    main()
