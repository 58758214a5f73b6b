"""Which model family is for which task."""

from typing import Any

from metatune.dataset import Data
from metatune.errors import UsageError
from metatune.learners import default_family, family_names
from metatune.learners.base import ModelFamily
from metatune.task import Task


def default_for(task: Task) -> str:
    """The name of the family that is tuned on ``task`` unless another one is named, by the sort of its data.

    Raises ``UsageError`` for a custom task.
    """
    if task.data is None:
        raise UsageError(
            "a custom task has no usual family",
            field="family",
            value=None,
            remedy="Name what is tuned, by which later searches find its history.",
        )
    return default_family(task.data.modality)


def check_named(family: object) -> None:
    """Raise ``UsageError`` for what is neither a name nor a ``ModelFamily``, such as an estimator or a list."""
    if not isinstance(family, str | ModelFamily):
        raise UsageError(
            "neither the name of a model family nor one",
            field="family",
            value=family,
            remedy=f"Give one name, such as {family_names()[0]!r}; any other model is tuned by an own objective=.",
        )


def check_family(task: Task, family: ModelFamily[Any]) -> Data[Any]:
    """The data of ``task``. Raises ``UsageError`` if it has none, or none that ``family`` can learn."""
    data = task.data
    if data is None or not task.folds:
        raise UsageError(
            "a custom task has no data to train on",
            field="task",
            value=task.name,
            remedy="Make the task from data, or judge configurations with your own objective.",
        )
    if data.modality != family.modality:
        raise UsageError(
            f"this family takes data of the sort {family.modality!r}, and the task's are of the sort {data.modality!r}",
            field="family",
            value=family.name,
            remedy=f"For these there are: {', '.join(family_names(data.modality))}.",
        )
    if data.kind not in family.kinds:
        raise UsageError(
            f"this family is not for {data.kind} tasks",
            field="family",
            value=family.name,
            remedy=f"It learns {', '.join(sorted(family.kinds))}.",
        )
    return data
