"""Seconds and memory that the meta-features take: ``python scripts/benchmark_metafeatures.py``.

Each size runs in a process of its own, on one core. Prints CPU seconds, the ratio to one LightGBM fit of 100 trees
on the same data (comparable between machines) and the additional peak of resident memory in MB. Linux only.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from metatune.dataset import Dataset
from metatune.metafeatures import NAMES, describe_dataset

SIZES = ((10_000, 50), (1_000_000, 100))
BOUND_SECONDS = (1.0, 3.0)
BOUND_MB = 300
KINDS = ("binary", "multiclass", "regression")


def mixed(rows: int, columns: int, kind: str) -> Dataset:
    """A table with a tenth of categorical columns and 5 % missing numbers; five columns matter."""
    rng = np.random.default_rng(0)
    n_categorical = columns // 10
    values = rng.standard_normal((rows, columns - n_categorical))
    signal = values[:, :5].sum(axis=1) + rng.standard_normal(rows)
    for j in range(values.shape[1]):
        values[rng.integers(0, rows, rows // 20), j] = np.nan
    X = pd.DataFrame(values, columns=[f"n{j}" for j in range(values.shape[1])], copy=False)
    levels = [f"level {i}" for i in range(30)]
    for j in range(n_categorical):
        X[f"c{j}"] = pd.Categorical.from_codes(rng.integers(0, 30, rows), categories=levels)
    if kind == "regression":
        return Dataset(X, signal, "regression")
    k = 2 if kind == "binary" else 10
    y = np.searchsorted(np.quantile(signal, np.linspace(0, 1, k + 1)[1:-1]), signal).astype(np.int64)
    return Dataset(X, y, "binary" if k == 2 else "multiclass", tuple(range(k)))


def memory_mb(field: str) -> float:
    """``VmRSS`` (resident now) or ``VmHWM`` (highest resident since the last reset) of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024.0 for line in lines if line.startswith(field))


def measure(rows: int, columns: int, kind: str, *, peer: bool) -> dict[str, float]:
    """One size, once cold: imports are done, nothing is warmed up."""
    data = mixed(rows, columns, kind)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of making the data must not hide ours
    before = memory_mb("VmRSS")
    start = time.process_time()
    describe_dataset(data)
    found = {"seconds": time.process_time() - start, "mb": memory_mb("VmHWM") - before}
    if peer:
        model = lightgbm.LGBMRegressor if kind == "regression" else lightgbm.LGBMClassifier
        start = time.process_time()
        model(n_estimators=100, n_jobs=1, verbose=-1).fit(data.X, data.y)
        found["peer"] = time.process_time() - start
    return found


def in_subprocess(rows: int, columns: int, kind: str, *, peer: bool) -> dict[str, float]:
    """``measure`` in a fresh interpreter on one thread."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--one", str(rows), str(columns), kind, *([] if peer else ["--no-peer"])]
    done = subprocess.run(command, env=os.environ | one_thread, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("ROWS", "COLUMNS", "KIND"), help="one size, here, as JSON")
    parser.add_argument("--no-peer", action="store_true", help="leave out the LightGBM fit (minutes)")
    arguments = parser.parse_args()
    if arguments.one:
        rows, columns, kind = arguments.one
        print(json.dumps(measure(int(rows), int(columns), kind, peer=not arguments.no_peer)))
        return 0
    print(f"{len(NAMES)} meta-features, one core")
    within = True
    for (rows, columns), bound in zip(SIZES, BOUND_SECONDS, strict=True):
        for kind in KINDS:
            # For ten classes LightGBM fits ten trees a round: not the same peer.
            found = in_subprocess(rows, columns, kind, peer=not arguments.no_peer and kind != "multiclass")
            ratio = f"{found['seconds'] / found['peer']:.3f} of a LightGBM fit, " if "peer" in found else ""
            print(f"{rows:>9,} x {columns:<3} {kind:<10} {found['seconds']:.2f} s, {ratio}{found['mb']:.0f} MB more")
            within &= found["seconds"] < bound and found["mb"] < BOUND_MB
    print("within the bounds" if within else "OUTSIDE the bounds")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
