"""Families of learning curves with planted behaviour; arrays (trials, steps), higher is better."""

import numpy as np


def steady(n: int, steps: int = 50, *, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Who leads early wins: all curves have one shape, and differ by how high they end."""
    rng = np.random.default_rng(seed)
    t = np.arange(1, steps + 1) / steps
    curves = rng.random((n, 1)) * (1.0 - np.exp(-6.0 * t)) + rng.normal(0, 0.001, (n, steps))
    return scale * curves


def crossing(n: int, steps: int = 50, *, seed: int = 0) -> np.ndarray:
    """Who leads early loses: fast starters level off at .6, slow ones rise steadily to between .5 and 1."""
    rng = np.random.default_rng(seed)
    t = np.arange(1, steps + 1) / steps
    fast = (0.5 + 0.1 * rng.random((n, 1))) * (1.0 - np.exp(-20.0 * t))
    slow = (0.5 + 0.5 * rng.random((n, 1))) * t**0.9
    return np.where(rng.random((n, 1)) < 0.5, fast, slow) + rng.normal(0, 0.002, (n, steps))


def shuffled(curves: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Each curve with the last fifth of another one: what was seen says nothing about the end."""
    cut = curves.shape[1] * 4 // 5
    order = np.random.default_rng(seed).permutation(len(curves))
    return np.column_stack([curves[:, :cut], curves[order, cut:]])


def decided_at_the_end(n: int, steps: int = 50, *, seed: int = 0) -> np.ndarray:
    """The worst one to the last step but one wins; all others end as they ran."""
    curves = steady(n, steps, seed=seed)
    curves[curves[:, -2].argmin(), -1] = 2.0
    return curves
