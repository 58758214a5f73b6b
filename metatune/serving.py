"""A published knowledge behind MLflow's model server: descriptions of tasks in, recommendations out.

One row of the input describes one task::

    {"family": "lightgbm", "n": 3, "metafeatures": {"n_rows": 569.0, ...}, "kind": "binary", "metric": "roc_auc"}

or, with everything that is known of it, ``{"family": ..., "n": ..., "task": {the fields of TaskRecord}}``. ``n`` is 3,
``kind`` custom and ``metric`` the kind's usual one unless given; a custom metric needs a ``direction``. ``rows`` and
``columns`` say how large the data are, ``seed`` fixes what is left to chance. The answer has one document per row: what
``Recommendation.to_dict`` gives.

A row that is not understood is an error of the whole request, whose text names the field.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from metatune.errors import UnknownNameError, UsageError
from metatune.fingerprint import fingerprint_of_name
from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.metric import Kind, Metric
from metatune.recommender import recommend_for
from metatune.task import TaskRecord

#: A request for more is refused, since every one of them is searched for.
MOST = 100

_FIELDS = {"family", "n", "metafeatures", "kind", "metric", "direction", "rows", "columns", "name", "seed", "task"}
_TASK_FIELDS = {"name", "kind", "metric", "fingerprint", "group", "metafeatures", "n_rows", "n_columns"}


class Recommender:
    """What the model server asks; reads nothing after it was made but what the knowledge reads when first asked."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    def predict(self, model_input: object, params: Mapping[str, Any] | None = None) -> list[dict[str, object]]:
        """One recommendation per row of ``model_input``, as plain values. Raises ``UsageError`` naming a field."""
        return [self._answer(row) for row in _rows(model_input)]

    def _answer(self, row: Mapping[str, Any]) -> dict[str, object]:
        unknown = sorted(set(row) - _FIELDS)
        if unknown:
            raise UnknownNameError.of("field", unknown[0], _FIELDS)
        family = get_family(_text(row, "family"))
        n, seed = _whole(row.get("n", 3), "n", 1, MOST), _whole(row.get("seed", 0), "seed", 0, 2**31)
        found = recommend_for(_record(row), family, n, knowledge=self._knowledge, seed=seed)
        answer: dict[str, object] = _finite(found.to_dict())
        return answer


def _load_pyfunc(path: str) -> Recommender:
    """What MLflow calls with the folder of the knowledge. Raises ``KnowledgeError``."""
    return Recommender(Knowledge.load(Path(path)))


def _rows(model_input: object) -> list[Mapping[str, Any]]:
    """The rows of a table or a list, without what a table fills in where a row lacks a column."""
    if isinstance(model_input, pd.DataFrame):
        records = model_input.astype(object).to_dict("records")
        return [{str(k): v for k, v in one.items() if not _absent(v)} for one in records]
    given = [model_input] if isinstance(model_input, Mapping) else model_input
    if not isinstance(given, list) or not all(isinstance(row, Mapping) for row in given):
        raise UsageError(
            "not rows with named fields",
            field="input",
            value=type(model_input).__name__,
            remedy='Send {"dataframe_records": [{"family": ..., "metafeatures": {...}}]}.',
        )
    return given


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _record(row: Mapping[str, Any]) -> TaskRecord:
    given = row.get("task")
    if given is None:
        given = {
            "name": row.get("name", "request"),
            "kind": row.get("kind", "custom"),
            "metric": {"name": row.get("metric"), "direction": row.get("direction")},
            "metafeatures": row.get("metafeatures"),
            "n_rows": row.get("rows", 0),
            "n_columns": row.get("columns", 0),
        }
    elif not isinstance(given, Mapping) or set(given) - _TASK_FIELDS:
        raise UsageError("not a task", field="task", value=given, remedy=f"Known: {', '.join(sorted(_TASK_FIELDS))}.")
    name = _text(given, "name", "request")
    kind = _text(given, "kind", "custom")
    if kind not in get_args(Kind):
        raise UnknownNameError.of("kind", kind, get_args(Kind))
    return TaskRecord(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        metric=_metric(given.get("metric"), kind),  # type: ignore[arg-type]
        # Never that of the request: equal data would be taken for the known task, which may be a secret of its owner.
        fingerprint=fingerprint_of_name(name),
        metafeatures=_numbers(given.get("metafeatures")),
        n_rows=_whole(given.get("n_rows", 0), "rows", 0, 2**53),
        n_columns=_whole(given.get("n_columns", 0), "columns", 0, 2**53),
    )


def _metric(given: object, kind: Kind) -> Metric:
    fields = given if isinstance(given, Mapping) else {"name": given}
    name, direction = fields.get("name"), fields.get("direction")
    if kind != "custom" and (name is None or isinstance(name, str)):
        return Metric.of(name, kind)
    if not isinstance(name, str) or direction not in ("maximize", "minimize"):
        raise UsageError(
            "a custom task needs a metric with a direction",
            field="metric",
            value=given,
            remedy="Give metric and direction (maximize or minimize), or a kind such as binary.",
        )
    return Metric.own(name, direction)


def _numbers(given: object) -> dict[str, float]:
    fields = {} if given is None else given
    if not isinstance(fields, Mapping):
        raise UsageError("not names with numbers", field="metafeatures", value=given, remedy="Send an object.")
    numbers = {}
    for name, value in fields.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UsageError("not a number", field=f"metafeatures[{name!r}]", value=value, remedy="Send a number.")
        numbers[str(name)] = float(value) if value is not None and math.isfinite(value) else math.nan
    return numbers


def _text(row: Mapping[str, Any], field: str, default: str | None = None) -> str:
    value = row.get(field, default)
    if not isinstance(value, str) or not value:
        raise UsageError("a text is needed", field=field, value=value, remedy="Send a non-empty text.")
    return value


def _whole(value: object, field: str, least: int, most: int) -> int:
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise UsageError("not a whole number in range", field=field, value=value, remedy=f"Send {least} to {most}.")
    return number


def _finite(value: Any) -> Any:
    """``value`` as strict JSON knows it: NaN and infinities are ``None``."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
