"""Seconds and memory that the meta-features take: ``python scripts/benchmark_metafeatures.py``.

Each size runs in a process of its own, on one core. Prints CPU seconds, the ratio to one LightGBM fit of 100 trees
on the same data (comparable between machines; tables only) and the additional peak of resident memory in MB. Linux
only.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from metatune.dataset import Dataset
from metatune.metafeatures import NAMES, describe_dataset, describe_images, describe_series, describe_texts, image
from metatune.metafeatures import series as series_features
from metatune.metafeatures import text as text_features

SIZES = ((10_000, 50), (1_000_000, 100))
BOUND_SECONDS = (1.0, 3.0)
BOUND_MB = 300
KINDS = ("binary", "multiclass", "regression")
EXAMPLES_BOUND_SECONDS = 2.0
EXAMPLES_BOUND_MB = 100


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


def images(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """70,000 images of 28 x 28: ten blurred patterns and noise."""
    y = rng.integers(0, 10, 70_000)
    patterns = np.kron(rng.integers(0, 200, (10, 7, 7)), np.ones((4, 4), dtype=int)).astype(np.uint8)
    return (patterns[y] + rng.integers(0, 56, (70_000, 28, 28), dtype=np.uint8))[..., None], y


def texts(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """25,000 texts of 20 to 1,000 words, whose frequencies fall as in English (Zipf)."""
    y = rng.integers(0, 2, 25_000)
    vocabulary = np.array([f"word{number}," for number in range(50_000)], dtype=object)
    found = np.empty(len(y), dtype=object)
    for row, label in enumerate(y):
        ranks = rng.zipf(1.3, int(np.clip(rng.lognormal(5.2, 0.7), 20, 1_000)))
        found[row] = " ".join(vocabulary[(ranks + label * (ranks > 500)) % len(vocabulary)])
    return found, y


def series(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """5,000 series of 1,000 steps: sines of ten frequencies and noise."""
    y = rng.integers(0, 10, 5_000)
    phase = rng.uniform(0, 2 * np.pi, (len(y), 1))
    waves = np.sin(np.arange(1_000) * (0.05 + 0.05 * y[:, None]) + phase)
    return (waves + rng.standard_normal(waves.shape)).astype(np.float32)[..., None], y


#: What to describe, the function that does, and how many numbers it gives.
EXAMPLES = {
    "70,000 images of 28 x 28": (images, describe_images, len(image.NAMES)),
    "25,000 texts": (texts, describe_texts, len(text_features.NAMES)),
    "5,000 series of 1,000 steps": (series, describe_series, len(series_features.NAMES)),
}


def memory_mb(field: str) -> float:
    """``VmRSS`` (resident now) or ``VmHWM`` (highest resident since the last reset) of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024.0 for line in lines if line.startswith(field))


def cost(work: Callable[[], object]) -> dict[str, float]:
    """CPU seconds and MB of ``work``, once cold: imports are done, nothing is warmed up."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak of making the data must not hide ours
    before = memory_mb("VmRSS")
    start = time.process_time()
    work()
    return {"seconds": time.process_time() - start, "mb": memory_mb("VmHWM") - before}


def measure(rows: int, columns: int, kind: str, *, peer: bool) -> dict[str, float]:
    """One size of a table."""
    data = mixed(rows, columns, kind)
    found = cost(lambda: describe_dataset(data))
    if peer:
        model = lightgbm.LGBMRegressor if kind == "regression" else lightgbm.LGBMClassifier
        start = time.process_time()
        model(n_estimators=100, n_jobs=1, verbose=-1).fit(data.X, data.y)
        found["peer"] = time.process_time() - start
    return found


def measure_examples(name: str) -> dict[str, float]:
    """One of ``EXAMPLES``."""
    make, describe, _ = EXAMPLES[name]
    X, y = make(np.random.default_rng(0))
    return cost(lambda: describe(X, y, "binary" if y.max() == 1 else "multiclass"))


def in_subprocess(*words: str) -> dict[str, float]:
    """What this script prints for ``words``, in a fresh interpreter on one thread."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, env=os.environ | one_thread, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("ROWS", "COLUMNS", "KIND"), help="one size, here, as JSON")
    parser.add_argument("--examples", choices=EXAMPLES, help="one kind of data that are no table, here, as JSON")
    parser.add_argument("--no-peer", action="store_true", help="leave out the LightGBM fit (minutes)")
    arguments = parser.parse_args()
    if arguments.one:
        rows, columns, kind = arguments.one
        print(json.dumps(measure(int(rows), int(columns), kind, peer=not arguments.no_peer)))
        return 0
    if arguments.examples:
        print(json.dumps(measure_examples(arguments.examples)))
        return 0
    within = tables(no_peer=arguments.no_peer) & examples()
    print("within the bounds" if within else "OUTSIDE the bounds")
    return 0 if within else 1


def tables(*, no_peer: bool) -> bool:
    """Whether tables are described within the bounds."""
    print(f"{len(NAMES)} meta-features of tables, one core")
    within = True
    for (rows, columns), bound in zip(SIZES, BOUND_SECONDS, strict=True):
        for kind in KINDS:
            # For ten classes LightGBM fits ten trees a round: not the same peer.
            without = ["--no-peer"] if no_peer or kind == "multiclass" else []
            found = in_subprocess("--one", str(rows), str(columns), kind, *without)
            ratio = f"{found['seconds'] / found['peer']:.3f} of a LightGBM fit, " if "peer" in found else ""
            print(f"{rows:>9,} x {columns:<3} {kind:<10} {found['seconds']:.2f} s, {ratio}{found['mb']:.0f} MB more")
            within &= found["seconds"] < bound and found["mb"] < BOUND_MB
    return within


def examples() -> bool:
    """Whether images, texts and series are described within the bounds."""
    within = True
    for name, (_, _, count) in EXAMPLES.items():
        found = in_subprocess("--examples", name)
        print(f"{name:<28} {count} meta-features, {found['seconds']:.2f} s, {found['mb']:.0f} MB more")
        within &= found["seconds"] < EXAMPLES_BOUND_SECONDS and found["mb"] < EXAMPLES_BOUND_MB
    return within


if __name__ == "__main__":
    sys.exit(main())
