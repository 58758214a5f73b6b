"""Small tasks of generated time series."""

import numpy as np
from learner_contract import ContractTasks

from metatune.task import Task

LENGTH = 60


def waves(n: int = 240, *, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sine, square and saw waves of all phases with noise; their kind, and how many there are in a series."""
    rng = np.random.default_rng(seed)
    kinds, counts = np.arange(n) % n_classes, rng.uniform(2, 6, n)
    turns = counts[:, None] * np.linspace(0, 1, LENGTH) + rng.random(n)[:, None]
    sine = np.sin(2 * np.pi * turns)
    shapes = np.stack([sine, np.sign(sine), 2 * (turns % 1) - 1])
    return shapes[kinds, np.arange(n)] + rng.normal(0, 0.15, (n, LENGTH)), kinds, counts


def shapes(n_classes: int = 3) -> Task:
    """Which sort of wave it is."""
    X, kinds, _ = waves(n_classes=n_classes)
    return Task.from_series(X, kinds, name="shapes", validation="holdout")


def frequencies() -> Task:
    """How many waves there are."""
    X, _, counts = waves(n_classes=1)
    return Task.from_series(X, counts * 10, kind="regression", name="frequencies", validation="holdout")


def gaps() -> Task:
    """Two channels, of which one says something: of several lengths, with gaps, a constant one and a huge one."""
    rng = np.random.default_rng(2)
    X, kinds, _ = waves(n_classes=2, seed=1)
    both = np.stack([X, rng.normal(1e5, 3.0, X.shape)], axis=2)
    both[rng.random(both.shape) < 0.05] = np.nan
    both[20:40, 45:] = np.nan
    both[7], both[8, 3] = 4.0, 1e30
    return Task.from_series(both, np.where(kinds, "square", "sine"), name="gaps", validation="holdout")


def strange_series() -> np.ndarray:
    """Longer ones: nothing known, all the same, and the largest numbers there are."""
    X = np.full((3, LENGTH + 7, 2), np.nan, dtype=np.float32)
    X[1] = 1.0
    X[2, ::2], X[2, 1::2] = 3e38, -3e38
    return X


#: Constant predictions reach 0.5, 0.34 and about 11.
SERIES = ContractTasks(
    {
        "binary": (lambda: shapes(2), 0.9),
        "multiclass": (shapes, 0.8),
        "regression": (frequencies, 8.0),
    },
    gaps,
    strange_series,
    n_columns=LENGTH,
)
