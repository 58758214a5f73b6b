"""A short list of configurations that together serve every earlier task well."""

import numpy as np


def greedy_portfolio(surfaces: np.ndarray, size: int, weights: np.ndarray | None = None) -> list[int]:
    """Positions of ``size`` candidates, best first, chosen greedily from ``surfaces`` (tasks, candidates).

    ``surfaces`` holds predicted scores, higher is better. Each step adds the candidate that lowers the weighted mean
    over tasks of the best rank in the list so far (greedy cover as in Wistuba, Schilling and Schmidt-Thieme,
    "Sequential model-free hyperparameter tuning", 2015). ``weights`` (tasks,) defaults to equal ones.
    """
    tasks, candidates = surfaces.shape
    order = np.argsort(-surfaces, axis=1, kind="stable")
    ranks = np.empty_like(order, dtype=np.float64)
    np.put_along_axis(ranks, order, np.arange(candidates, dtype=np.float64)[None, :].repeat(tasks, 0), axis=1)
    # The logarithm makes "second instead of tenth" count as much as "tenth instead of fiftieth".
    costs = np.log1p(ranks)
    share = np.full(tasks, 1.0 / tasks) if weights is None else weights / weights.sum()
    best = np.full(tasks, np.inf)
    chosen: list[int] = []
    for _ in range(min(size, candidates)):
        totals = share @ np.minimum(best[:, None], costs)
        totals[chosen] = np.inf
        chosen.append(int(np.argmin(totals)))
        best = np.minimum(best, costs[:, chosen[-1]])
    return chosen
