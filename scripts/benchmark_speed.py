"""Seconds and memory: a proposal beside Optuna's samplers, a snapshot loaded, a history learnt, a cold recommendation.

    python scripts/benchmark_speed.py proposal [--tasks 500 --trials 1000]
    python scripts/benchmark_speed.py load [--rows 100000]
    python scripts/benchmark_speed.py fit [--rows 100000]
    python scripts/benchmark_speed.py recommend

Each prints rows of a table in Markdown. Histories are synthetic unless ``proposal`` is run without ``--tasks``. Speed
depends on the machine; the ratio to the peers in the same run says more.
"""

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
from optuna.distributions import CategoricalDistribution, IntDistribution

from metatune.encoding import ConfigurationEncoder, UnitEncoder
from metatune.history.schema import to_json
from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.metric import Metric
from metatune.sampler import MetaSampler
from metatune.snapshot import Snapshot
from metatune.space import Condition, SearchSpace
from metatune.study import StudyRecord
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.tasks import tasks_of
from metatune.surrogate.validation import validate
from metatune.task import TaskRecord
from metatune.trial_table import FIXED

METAFEATURES = 69
#: Where the score of every synthetic task peaks, up to its own shift, and that of the search that is timed.
PEAK = 0.6
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def wide_space(columns: int = 60) -> SearchSpace:
    """A third of the parameters are choices, the others floats, logarithmic floats and integers; some conditional."""
    choices = columns // 3
    parameters: dict[str, object] = {f"c{i:02d}": [f"choice{j}" for j in range(2 + i % 5)] for i in range(choices)}
    kinds = (
        {"low": 0.0, "high": 1.0},
        {"low": 1e-5, "high": 1.0, "log": True},
        {"type": "int", "low": 1, "high": 500},
        {"low": -10.0, "high": 10.0},
    )
    parameters |= {f"n{i:02d}": kinds[i % len(kinds)] for i in range(columns - choices)}
    conditional = {f"n{i:02d}": Condition(f"c{i % choices:02d}", ("choice0", "choice1")) for i in range(0, 10, 2)}
    return SearchSpace(parameters, conditional)  # type: ignore[arg-type]


def synthetic_snapshot(space: SearchSpace, tasks: int, trials: int, family: str = "synthetic") -> Snapshot:
    """``tasks`` studies of ``trials`` trials each: noisy quadratics whose optimum depends on the meta-features."""
    rng = np.random.default_rng(0)
    described = rng.normal(size=(tasks, METAFEATURES))
    studies = [
        StudyRecord(
            task=TaskRecord(
                name=f"task{i}",
                kind="binary",
                metric=Metric("roc_auc", "maximize"),
                fingerprint=f"fingerprint{i:05d}",
                metafeatures={f"feature{j:02d}": float(value) for j, value in enumerate(row)},
            ),
            family=family,
            space=space,
            id=f"study{i:05d}",
            strategy="design",
            created=0.0,
        )
        for i, row in enumerate(described)
    ]
    n, study = tasks * trials, np.repeat(np.arange(tasks, dtype=np.int32), trials)
    columns, score = _parameter_columns(space, described, study, rng)
    failed = rng.random(n) < 0.02
    values: dict[str, pa.Array] = {
        "key": pa.array([f"{row:032x}" for row in range(n)]),
        "study": pa.DictionaryArray.from_arrays(study, [record.id for record in studies]),
        "number": pa.array(np.arange(n) % trials),
        "status": pa.DictionaryArray.from_arrays(failed.astype(np.int32), ["complete", "failed"]),
        "value": pa.array(score + 0.05 * rng.normal(size=n), mask=failed),
        "seconds": pa.array(rng.lognormal(1.0, 1.0, n)),
        "fidelity": pa.array(np.ones(n)),
        "started": pa.array(np.arange(n, dtype=np.float64)),
        "origin": pa.DictionaryArray.from_arrays(np.zeros(n, dtype=np.int32), ["random"]),
        "curve": pa.ListArray.from_arrays(np.zeros(n + 1, dtype=np.int32), pa.array([], pa.float64())),
    }
    fixed = {name: values[name] if name in values else pa.nulls(n, kind) for name, kind in FIXED.items()}
    return Snapshot(studies, {family: pa.table({**fixed, **columns})})


def _parameter_columns(
    space: SearchSpace, described: np.ndarray, study: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Columns of the table, uniform over ``space``, and the score of each row before noise."""
    n, score = len(study), np.zeros(len(study))
    columns, codes = {}, {}
    for i, (name, distribution) in enumerate(space.parameters.items()):
        condition, inactive = space.conditions.get(name), np.zeros(n, dtype=bool)
        if condition is not None:
            parent = space[condition.parent]
            assert isinstance(parent, CategoricalDistribution)
            inactive = ~np.isin(codes[condition.parent], [parent.choices.index(value) for value in condition.values])
        if isinstance(distribution, CategoricalDistribution):
            codes[name] = rng.integers(0, len(distribution.choices), n, dtype=np.int32)
            texts = pa.array([to_json(choice) for choice in distribution.choices])
            columns[f"s__{name}"] = pa.DictionaryArray.from_arrays(pa.array(codes[name], mask=inactive), texts)
            score -= 0.3 * ~inactive * (codes[name] > 0) / (1 + i)
            continue
        unit, low, high = rng.random(n), distribution.low, distribution.high
        numbers = low * (high / low) ** unit if distribution.log else low + unit * (high - low)
        numbers = np.rint(numbers) if isinstance(distribution, IntDistribution) else numbers
        columns[f"n__{name}"] = pa.array(np.asarray(numbers, dtype=np.float64), mask=inactive)
        optimum = PEAK + 0.15 * np.tanh(described[:, i % METAFEATURES])
        score -= ~inactive * (unit - optimum[study]) ** 2 / (1 + i % 8)
    return columns, score


def proposal_seconds(
    sampler: optuna.samplers.BaseSampler, space: SearchSpace, observed: int, repeats: int
) -> tuple[float, np.ndarray]:
    """Seconds of the first proposal, and of one in each of ``repeats`` searches with ``observed`` ended trials.

    Of those, the sampler has seen all but the last one before, as in any search that it guides.
    """
    first, seconds = 0.0, []
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for configuration in space.sample(observed - 1, rng):
            distributions = {name: space[name] for name in configuration}
            value = -sum(abs(place - PEAK) for place in UnitEncoder(space).encode([configuration])[0])
            value += 0.1 * float(rng.normal())
            study.add_trial(optuna.trial.create_trial(params=configuration, distributions=distributions, value=value))
        last, took = _asked(study, space)
        first = first or took
        study.tell(last, float(rng.normal()))
        seconds.append(_asked(study, space)[1])
    return first, np.array(seconds)


def _asked(study: optuna.Study, space: SearchSpace) -> tuple[optuna.Trial, float]:
    start = time.perf_counter()
    trial = study.ask()
    space.suggest(trial)
    return trial, time.perf_counter() - start


def measure_proposals(arguments: argparse.Namespace) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    family, space = arguments.family, get_family(arguments.family).space()
    if arguments.tasks:
        knowledge = Knowledge.build(synthetic_snapshot(space, arguments.tasks, arguments.trials, family))
    else:
        knowledge = Knowledge.find()
    surrogate = knowledge.surrogate(family)
    record = TaskRecord(
        name="new",
        kind="binary",
        metric=Metric("roc_auc", "maximize"),
        fingerprint="new",
        metafeatures=surrogate.records[0].metafeatures if surrogate else {},
    )
    samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "MetaSampler": lambda: MetaSampler(surrogate, task=record, space=space, seed=0),
        "Optuna TPESampler (multivariate)": lambda: optuna.samplers.TPESampler(seed=0, multivariate=True),
    }
    if importlib.util.find_spec("torch"):
        samplers["Optuna GPSampler"] = lambda: optuna.samplers.GPSampler(seed=0)
    tasks = surrogate.tasks if surrogate else ()
    print(f"{family}: a history of {len(tasks)} tasks, {sum(len(task.X) for task in tasks)} trials of them used\n")
    print("| sampler | observed | median | p95 | first |\n|---|---|---|---|---|")
    for observed in arguments.observed:
        for name, make in samplers.items():
            # The first proposal of a process also scores the candidate pool; it is shown apart.
            first, seconds = proposal_seconds(make(), space, observed, arguments.repeats)
            cells = [*np.quantile(seconds, [0.5, 0.95]), first]
            print(f"| {name} | {observed} | " + " | ".join(f"{cell * 1e3:.1f} ms" for cell in cells) + " |", flush=True)


class Steps:
    """Rows of a table: wall and CPU seconds of each step, and the peak of resident memory until then."""

    def __init__(self) -> None:
        print("| step | seconds | CPU seconds | peak memory |\n|---|---|---|---|")
        self._start = self._last = self._now()

    @staticmethod
    def _now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    def done(self, what: str) -> None:
        self._row(what, self._last)
        self._last = self._now()

    def total(self, what: str) -> None:
        self._row(what, self._start)

    def _row(self, what: str, since: np.ndarray) -> None:
        wall, cpu = self._now() - since
        # Kilobytes on Linux, bytes on macOS.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
        print(f"| {what} | {wall:.2f} | {cpu:.2f} | {peak:.2f} GB |", flush=True)


def measure_load(arguments: argparse.Namespace) -> None:
    steps = Steps()
    snapshot = Snapshot.read(arguments.snapshot)
    steps.done(f"{len(snapshot.studies)} studies")
    for family in snapshot.families:
        table = snapshot.family(family)
        steps.done(f"{family}: {len(table)} trials from the file")
        for part in (table.score, table.status, table.numeric, table.categorical, table.metrics):
            assert part is not None
        steps.done(f"{family}: {len(table.numeric)} numeric and {len(table.categorical)} categorical columns")
    steps.total("**in all**")
    steps = Steps()
    assert snapshot.digest
    steps.done("digest of the content, which a search notes and `metatune train` compares")


def measure_fit(arguments: argparse.Namespace) -> None:
    snapshot = Snapshot.read(arguments.snapshot)
    for family in snapshot.families:
        table = snapshot.family(family)
        steps = Steps()
        if arguments.parts:
            encoder = ConfigurationEncoder.of(table)
            steps.done("encoder")
            tasks = tasks_of(table, encoder)
            steps.done(f"{len(tasks)} tasks, {sum(len(task.X) for task in tasks)} trials of them used")
            features = sorted({name for task in tasks for name in task.record.metafeatures})
            print(validate(tasks, encoder, features))
            steps.done("validation")
            MetaSurrogate.fit(tasks, encoder, features=features)
            steps.done("meta-surrogate with meta-features")
        else:
            FamilySurrogate.fit(table)
            steps.total(f"{len(table)} trials x {len(table.numeric) + len(table.categorical)} columns fitted")


def measure_recommendations(arguments: argparse.Namespace) -> None:
    """Wall time of ``metatune recommend`` on a CSV as a cold process."""
    rows, columns = arguments.rows or 10_000, 50
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, columns)), columns=[f"f{i}" for i in range(columns)])
    frame["y"] = (frame["f0"] + frame["f1"] ** 2 + rng.normal(size=rows) > 1).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame.to_csv(path, index=False)
        command = [sys.executable, "-m", "metatune", "recommend", str(path), "--target", "y", "--json"]
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, cwd=folder)
            print(f"| metatune recommend, {rows} x {columns} CSV, cold process | {time.perf_counter() - start:.2f} |")


SECTIONS = {
    "proposal": measure_proposals,
    "load": measure_load,
    "fit": measure_fit,
    "recommend": measure_recommendations,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--family", default="lightgbm", help="proposal: the space that is searched")
    parser.add_argument("--observed", type=int, nargs="+", default=[50, 100], help="proposal: ended trials")
    parser.add_argument("--repeats", type=int, default=30, help="proposal: how many are timed")
    parser.add_argument("--tasks", type=int, default=0, help="proposal: a synthetic history of so many tasks")
    parser.add_argument("--trials", type=int, default=1000, help="trials of each synthetic task")
    parser.add_argument("--rows", type=int, help="load, fit: trials of the synthetic history; recommend: rows of data")
    parser.add_argument("--columns", type=int, default=60, help="load, fit: parameters of the synthetic history")
    parser.add_argument("--parts", action="store_true", help="fit: time the parts, without the task models")
    parser.add_argument("--snapshot", type=Path, help="load, fit: measure this snapshot, in this process")
    arguments = parser.parse_args()
    if arguments.section == "proposal" and "OMP_NUM_THREADS" not in os.environ:
        # Threads are limited before numpy is imported: small matrices are slower in several.
        subprocess.run([sys.executable, *sys.argv], env={**os.environ, **ONE_THREAD}, check=True)
        return
    if arguments.section not in ("load", "fit") or arguments.snapshot:
        SECTIONS[arguments.section](arguments)
        return
    tasks = max(1, (arguments.rows or 1_000_000) // arguments.trials)
    with tempfile.TemporaryDirectory() as folder:
        synthetic_snapshot(wide_space(arguments.columns), tasks, arguments.trials).write(Path(folder))
        command = [sys.executable, __file__, *sys.argv[1:], "--snapshot", folder]
        # A process of its own, so that the peak of memory is that of what is measured.
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
