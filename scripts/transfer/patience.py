"""What patience saves: searches that end when nothing better was found for a while, read off the runs there are."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from metatune.backtest.run import Run
from transfer.reading import Runs, common
from transfer.stages import PLAIN, SEARCH
from transfer.text import number, table

PATIENCE = 10
_METHODS = ("metatune", "gp", "tpe")


def patience_section(runs: Runs) -> str:
    """The section for which there are runs."""
    here = common(runs.of(SEARCH, _METHODS, PLAIN))
    names = [name for name in SEARCH if {run.method for run in here if run.table == name} == set(_METHODS)]
    if not names:
        return ""
    heads = ["table (searches)", *(f"`{m}`: evaluations, regret" for m in _METHODS), "`tpe` after all 50"]
    rows = [_row(name, [run for run in here if run.table == name]) for name in names]
    return (
        "### Searches that end early\n\n"
        f"`tune(..., patience={PATIENCE})` ends a search when {PATIENCE} trials in a row found nothing better. Mean "
        "number of evaluations it would have made of the 50, and mean regret by then.\n\n" + table(heads, rows)
    )


def _row(name: str, here: Sequence[Run]) -> list[str]:
    curves: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for run in here:
        curves[run.method].append(run.regret)
    cells = []
    for method in _METHODS:
        ends = [end(curve, PATIENCE) for curve in curves[method]]
        left = [curve[n - 1] for curve, n in zip(curves[method], ends, strict=True)]
        cells.append(f"{np.mean(ends):.1f}, {number(float(np.mean(left)))}")
    whole = float(np.mean([curve[-1] for curve in curves["tpe"]]))
    return [f"`{name}` ({len(curves['tpe'])})", *cells, number(whole)]


def end(regret: np.ndarray, patience: int) -> int:
    """After how many evaluations a search with ``regret`` (n,) so far ends: ``patience`` of them without a better one.

    All n where that does not happen.
    """
    since = 0
    for n in range(1, len(regret)):
        since = 0 if regret[n] < regret[n - 1] else since + 1
        if since == patience:
            return n + 1
    return len(regret)
