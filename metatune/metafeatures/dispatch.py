"""``describe``: the meta-features of a task, whatever its data are."""

from metatune.dataset import Dataset
from metatune.examples import Images, Texts, TimeSeries
from metatune.metafeatures.image import describe_images
from metatune.metafeatures.series import describe_series
from metatune.metafeatures.tabular import describe_rows
from metatune.metafeatures.text import describe_texts
from metatune.task import Task


def describe(task: Task) -> dict[str, float]:
    """The meta-features of ``task``, from the rows that trials may see; a custom task's own, as given."""
    data = task.data
    match data:
        case Dataset():
            return describe_rows(data, task.search_rows)
        case Images():
            return describe_images(data.X, data.y, data.kind, rows=task.search_rows)
        case Texts():
            return describe_texts(data.X, data.y, data.kind, rows=task.search_rows)
        case TimeSeries():
            return describe_series(data.X, data.y, data.kind, rows=task.search_rows)
        case _:
            return dict(task.metafeatures)
