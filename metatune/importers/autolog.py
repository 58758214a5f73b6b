"""What MLflow's autologging of scikit-learn, LightGBM, XGBoost and Keras leaves in a run, and what of it misleads."""

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metatune.history.foreign_run import ForeignRun

CV_RESULTS = "cv_results.csv"
KERAS, BOOSTING, ESTIMATOR, SEARCH = "keras", "boosting", "scikit-learn", "search"
#: Metrics that count or time something.
BOOKKEEPING = re.compile(
    r"(stopped|restored)_epoch|(stopped|best)_iteration|(mean|std)_(fit|score)_time|rank_test_.*|std_test_.*|epoch|step"
    r"|.*(_time|_seconds|runtime|duration)|system/.*"
)
_LAST_STEP = re.compile(r"\('(\w+)', (\w+)\(")
_PARAMETER = "param_"
_FOLD = re.compile(r"split\d+_test_\w+")


def flavour(run: ForeignRun) -> str | None:
    """What logged ``run`` by itself; ``None`` for runs that were logged by hand."""
    name = run.tags.get("estimator_name", "")
    if name.endswith("SearchCV"):
        return SEARCH
    tool = run.tags.get("mlflow.autologging", "")
    if tool in ("tensorflow", "keras") or ("opt_name" in run.params and "loss" in run.metrics):
        return KERAS
    if tool in ("lightgbm", "xgboost") or "num_boost_round" in run.params:
        return BOOSTING
    return ESTIMATOR if name else None


def scores(run: ForeignRun) -> list[str]:
    """The metrics of an autologged run that were measured on validation rows, the usual objective first.

    Keras: ``val_*``; ``validation_*`` repeats it, the others are of the training rows. Boosting: named
    ``<rows>-<metric>``, in the order of the parameter ``metric``. A fitted estimator has training scores only: even
    what it logs for later calls of ``score`` may be on the training rows.
    """
    match flavour(run):
        case "keras":
            return sorted((n for n in run.metrics if n.startswith("val_")), key=lambda name: (name != "val_loss", name))
        case "boosting":
            asked = re.findall(r"[\w@]+", run.params.get("metric", run.params.get("eval_metric", "")))
            places = {name: place for place, name in enumerate(asked)}
            names = [n for n in run.metrics if "-" in n]
            return sorted(names, key=lambda name: (places.get(name.rpartition("-")[2], len(asked)), name))
        case _:
            return []


def steps(run: ForeignRun, points: Sequence[tuple[int, float]]) -> tuple[tuple[float, ...], int | None]:
    """The curve that the history ``points`` of a metric holds, and the step (1-based) that early stopping kept.

    With early stopping, LightGBM, XGBoost and Keras append one more step, which repeats the best one.
    """
    values = [value for _, value in points]
    best: int | None = None
    if "best_iteration" in run.metrics and "stopped_iteration" in run.metrics:
        # LightGBM counts iterations from 1, XGBoost from 0: the repeated value tells.
        best = _repeated(values, int(run.metrics["best_iteration"]))
    elif "restored_epoch" in run.metrics:
        best = _repeated(values, int(run.metrics["restored_epoch"]) + 1)
    if best is not None:
        values = values[:-1]
    return (tuple(values) if len(values) > 1 else ()), best


def _repeated(values: Sequence[float], guess: int) -> int | None:
    """The step (1-based), ``guess`` or a neighbour, whose value the last one repeats."""
    for step in (guess, guess + 1, guess - 1):
        if 1 <= step < len(values) and values[step - 1] == values[-1]:
            return step
    return None


def parameters(run: ForeignRun) -> dict[str, str]:
    """The params of ``run``, without what Keras adds to them: counters of optimisers, noise of single precision."""
    if flavour(run) != KERAS:
        return dict(run.params)
    return {name: _of_optimizer(name, value) for name, value in run.params.items()}


def _of_optimizer(name: str, value: str) -> str:
    if name == "opt_name":
        return re.sub(r"_\d+$", "", value)
    if name.startswith("opt_"):
        try:
            number = float(value)
        except ValueError:
            return value
        short = np.float32(number)
        return str(short) if float(short) == number else value
    return value


@dataclass(frozen=True)
class Candidate:
    """One row of ``cv_results.csv``: mean score over the folds, and the seconds that all fits took."""

    row: int
    parameters: dict[str, object]
    value: float
    seconds: float


def searched_estimator(run: ForeignRun) -> tuple[str, str]:
    """The class of the estimator that a search tuned, and the prefix of its parameters if it ends a pipeline."""
    text = run.params.get("estimator", "")
    found = _LAST_STEP.findall(text)
    if found:
        return found[-1][1], f"{found[-1][0]}__"
    return (re.match(r"\w*", text) or [""])[0], ""


def candidates(run: ForeignRun, rows: Sequence[Mapping[str, str]]) -> Iterator[Candidate]:
    """All candidates that the search ``run`` scored; the child runs are of the five best only."""
    scorer = run.params.get("refit", "True")
    column = "mean_test_score" if rows and "mean_test_score" in rows[0] else f"mean_test_{scorer}"
    # With several metrics, each fold has several columns.
    folds = len({name.partition("_test_")[0] for name in (rows[0] if rows else ()) if _FOLD.fullmatch(name)})
    _, prefix = searched_estimator(run)
    for number, row in enumerate(rows):
        values = {name.removeprefix(prefix): value for name, value in _row_parameters(row).items()}
        seconds = (_number(row.get("mean_fit_time")) + _number(row.get("mean_score_time"))) * max(folds, 1)
        yield Candidate(number, values, _number(row.get(column)), seconds)


def _row_parameters(row: Mapping[str, str]) -> dict[str, object]:
    """The configuration of one row: ``params`` where it is a plain literal, else the columns ``param_*``.

    In the columns, an empty cell is ``None`` or a parameter that this candidate does not have; ``params`` tells which.
    """
    text = row.get("params", "")
    try:
        read = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        read = None
    if isinstance(read, dict):
        return {str(name): value for name, value in read.items()}
    named = {name.removeprefix(_PARAMETER): value for name, value in row.items() if name.startswith(_PARAMETER)}
    return {
        name: None if value == "" else value
        for name, value in named.items()
        if value != "" or re.search(rf"'{re.escape(name)}': None\b", text)
    }


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
