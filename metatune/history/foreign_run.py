"""``ForeignRun``: a run of MLflow that metatune did not write."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Tag of a dataset that says that the run was trained on it.
TRAINED_ON = ("mlflow.data.context", "train")

_PARENT = "mlflow.parentRunId"
#: Tags of MLflow itself that tell what made a run; its other tags are left out.
_TOLD = {"mlflow.autologging", "mlflow.runName"}


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """One run without the client's objects. Times are seconds since the epoch, ``None`` where unknown.

    ``metrics`` are the last values. ``dataset`` is name and digest of the logged training data.
    """

    id: str
    name: str
    experiment: str
    parent: str | None
    status: str
    started: float | None
    ended: float | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: tuple[str, str] | None


def foreign_run(
    *,
    id: str,
    name: str | None,
    experiment: str,
    status: str,
    times: tuple[int | None, int | None],
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    datasets: Sequence[tuple[str, str, bool]],
) -> ForeignRun:
    """The run as MLflow has it. ``times``: its start and end in milliseconds; ``datasets``: name, digest, and whether
    the run was trained on it.
    """
    # Thousands of runs share their names and most of their texts: interned, each is kept once.
    told = {sys.intern(k): sys.intern(v) for k, v in tags.items() if not k.startswith("mlflow.") or k in _TOLD}
    trained = [one for one in datasets if one[2]]
    dataset = next(iter(trained or datasets), None)
    return ForeignRun(
        id=id,
        name=str(name or ""),
        experiment=experiment,
        parent=tags.get(_PARENT),
        status=str(status),
        started=None if times[0] is None else times[0] / 1000,
        ended=None if times[1] is None else times[1] / 1000,
        params={sys.intern(k): sys.intern(v) for k, v in params.items()},
        metrics={sys.intern(k): measured(v) for k, v in metrics.items()},
        tags=told,
        dataset=None if dataset is None else dataset[:2],
    )


def measured(value: float) -> float:
    """The value of a metric that was logged: MLflow keeps infinities as the largest numbers there are."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else float(value)
