"""``Task``: what is to be learnt, how it is judged, and which rows judge it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd

from metatune.dataset import Data, Modality, as_series, column_of, dataset_from_frame
from metatune.errors import UsageError
from metatune.examples import images_from_arrays, series_from_arrays, texts_from_arrays
from metatune.fingerprint import fingerprint_of, fingerprint_of_name
from metatune.metric import OF_POSITIVE, Direction, Kind, Metric
from metatune.reading import read_content
from metatune.repair import Inspector, Repair
from metatune.splits import TEST, Folds, Validation, left_out, plan_rows, split


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """What of a task may leave the machine: names and numbers about it, no data.

    ``fingerprint`` is a keyed hash; equal data have equal fingerprints under one key. ``group`` joins tasks made
    from the same source, so that no split separates them; it is the fingerprint unless given.
    ``metafeatures`` maps names to numbers, NaN meaning unknown.
    """

    name: str
    kind: Kind
    metric: Metric
    fingerprint: str
    group: str = ""
    metafeatures: Mapping[str, float] = field(default_factory=dict, repr=False)
    n_rows: int = 0
    n_columns: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "metafeatures", dict(self.metafeatures))
        if not self.group:
            object.__setattr__(self, "group", self.fingerprint)


class TaskOptions(TypedDict, total=False):
    """What all constructors of ``Task`` from data take by name; described there."""

    metric: str | None
    kind: str | None
    name: str | None
    validation: Validation
    test_size: float
    group: str | None
    seed: int
    repair: bool
    positive: object | None


@dataclass(frozen=True, eq=False)
class Task:
    """A learning task with its data and its splits; or a custom one without data.

    ``test`` are positions of rows that no trial sees; ``folds`` are pairs of positions (train, valid), one pair for
    a holdout, k for k-fold. Both index ``data``; the test rows are in no fold, the valid rows of a fold not in its
    train rows. Every class is in the test split (if there is one) and on both sides of every fold; of own folds, in
    the train rows.
    ``repairs`` says what was changed in the data before anything else.

    Made by ``from_dataframe``, ``from_arrays``, ``from_images``, ``from_texts``, ``from_series``, ``from_file`` or
    ``custom``. All but the last share these arguments:

    ``metric``: a name that ``Metric.of`` knows; ``None`` for the default of the kind.
    ``kind``: ``binary``, ``multiclass``, ``classification`` or ``regression``; inferred from the target if ``None``.
    ``positive``: the class that ``f1``, ``precision`` and ``recall`` are of, where there are two; else the last.
    ``validation``: ``"holdout"`` (25 %), the share of a holdout, or the number of folds; ``None`` is 3 folds below
    2,000 rows and a holdout from there. Or own folds, pairs (train, valid) of positions of rows, as scikit-learn's
    splitters give them: where rows belong together, ``GroupKFold(3).split(X, y, groups)``; where they are of one time
    after another, ``TimeSeriesSplit(3).split(X)``; rows that are in none of them are the test split, such as the latest
    with ``TimeSeriesSplit(3).split(X[:900])``. Where all folds train on what comes before, older rows that are in none
    are left out, which ``repairs`` says.
    ``test_size``: the share of the test split, 0.2 unless given, 0 for none.
    ``name``: the target's unless given. ``group``: a name shared by tasks from the same source. ``seed`` (0 unless
    given) fixes the splits. ``repair``: repair bad data and report it in ``repairs`` instead of raising.

    They raise ``DataError`` for data that cannot be learnt from and ``UsageError`` for a wrong argument, naming
    column, value and remedy, and leave what they were given unchanged.
    """

    name: str
    kind: Kind
    metric: Metric
    fingerprint: str
    data: Data[Any] | None = None
    test: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    folds: Folds = ()
    metafeatures: Mapping[str, float] = field(default_factory=dict)
    group: str = ""
    seed: int = 0
    repairs: tuple[Repair, ...] = ()

    @property
    def positive(self) -> object | None:
        """The class that the metric is of; ``None`` for a metric of all classes, or of values."""
        of_one = self.data is not None and self.kind == "binary" and self.metric.scorer in OF_POSITIVE
        return self.data.classes[1] if self.data is not None and of_one else None

    def __repr__(self) -> str:
        """Without rows: what is learnt, how it is judged, and how much data there is."""
        shown: dict[str, object] = {"name": self.name, "kind": self.kind, "metric": self.metric.name}
        if self.data is not None:
            shown |= {"modality": self.data.modality, "rows": self.data.n_rows, "columns": self.data.n_columns}
            shown |= {"test_rows": len(self.test), "folds": len(self.folds), "repairs": len(self.repairs)}
        return f"Task({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @cached_property
    def search_rows(self) -> np.ndarray:
        """Positions of all rows that trials may see: everything but the test split, ascending."""
        return np.unique(np.concatenate([self.test[:0], *(rows for pair in self.folds for rows in pair)]))

    @cached_property
    def train_rows(self) -> int:
        """How many rows the smallest fold trains on: what configurations are clamped to; 0 without data."""
        return min((len(train) for train, _ in self.folds), default=0)

    def record(self, metafeatures: Mapping[str, float] | None = None) -> TaskRecord:
        """What may leave the machine, with ``metafeatures`` as computed by the caller."""
        data = self.data
        return TaskRecord(
            name=self.name,
            kind=self.kind,
            metric=self.metric,
            fingerprint=self.fingerprint,
            group=self.group,
            metafeatures=self.metafeatures if metafeatures is None else metafeatures,
            n_rows=0 if data is None else data.n_rows,
            n_columns=0 if data is None else data.n_columns,
        )

    @classmethod
    def from_dataframe(cls, frame: pd.DataFrame, target: str, **options: Unpack[TaskOptions]) -> "Task":
        """The task to predict the column ``target`` of ``frame`` from its other columns."""
        if not isinstance(frame, pd.DataFrame):
            raise UsageError(
                "not a pandas DataFrame",
                field="frame",
                value=type(frame).__name__,
                remedy="Use Task.from_arrays(X, y) for arrays, Task.from_file(path, target) for files.",
            )
        y = column_of(frame, target)
        return cls.from_arrays(frame.drop(columns=[target]), y, target=str(target), **options)

    @classmethod
    def from_arrays(cls, X: Any, y: Any, *, target: str = "target", **options: Unpack[TaskOptions]) -> "Task":
        """The task to predict ``y``, shape (n,), from ``X``, shape (n, d), matched by position.

        An array's columns are called x0, x1, ...; arrays of ``float64`` are not copied, so do not write to them.
        ``target`` is what the target is called.
        """
        return cls._from(dataset_from_frame, X, y, target=target, **options)

    @classmethod
    def from_images(cls, X: Any, y: Any, *, target: str = "target", **options: Unpack[TaskOptions]) -> "Task":
        """The task to predict ``y`` from images of one size: shape (n, height, width) or (n, height, width, channels).

        Pixels are 0 to 255, or floats 0 to 1. ``options``: as for ``from_arrays``.
        """
        return cls._from(images_from_arrays, X, y, target=target, **options)

    @classmethod
    def from_texts(cls, texts: Any, y: Any, *, target: str = "target", **options: Unpack[TaskOptions]) -> "Task":
        """The task to predict ``y`` from ``texts``, n strings. ``options``: as for ``from_arrays``."""
        return cls._from(texts_from_arrays, texts, y, target=target, **options)

    @classmethod
    def from_series(cls, X: Any, y: Any, *, target: str = "target", **options: Unpack[TaskOptions]) -> "Task":
        """The task to predict ``y`` from whole time series: shape (n, length) or (n, length, channels).

        NaN is a missing value, at the end of a series one that is beyond it. ``options``: as for ``from_arrays``.
        """
        return cls._from(series_from_arrays, X, y, target=target, **options)

    @classmethod
    def _from(
        cls,
        read: Callable[..., tuple[Data[Any], tuple[Repair, ...]]],
        X: Any,
        y: Any,
        *,
        target: str,
        metric: str | None = None,
        kind: str | None = None,
        name: str | None = None,
        validation: Validation = None,
        test_size: float = TEST,
        group: str | None = None,
        seed: int = 0,
        repair: bool = False,
        positive: object | None = None,
    ) -> "Task":
        """The task on the data that ``read`` makes of ``X`` and ``y``."""
        if group is not None and not isinstance(group, str):
            raise UsageError(
                "not a name",
                field="group",
                value=group,
                remedy="Name the source of the task; where rows belong together, give the folds as validation=.",
            )
        y = as_series(y)
        plan = plan_rows(validation, test_size, len(y))
        data, repairs = read(X, y, kind=kind, target=target, rows_per_class=plan.rows_per_class, repair=repair)
        judge = Metric.of(metric, data.kind)
        judge.check_targets(data.y, target)
        strata = data.y if data.classes else np.zeros(data.n_rows, dtype=np.int64)
        test, folds = split(strata, plan, seed=seed, judged=judge.classes_judged(data.n_classes))
        if positive is not None:  # after the split, which stays as it is
            data = data.with_positive(positive)
        return cls(
            name=name or target,
            kind=data.kind,
            metric=judge,
            fingerprint=fingerprint_of(data),
            data=data,
            test=test,
            folds=folds,
            group=group or "",
            seed=seed,
            repairs=(*repairs, *left_out(test, folds, data.n_rows)),
        )

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        target: str | None = None,
        *,
        text: str | None = None,
        modality: Modality | None = None,
        separator: str | None = None,
        decimal: str = ".",
        name: str | None = None,
        repair: bool = False,
        **options: Any,
    ) -> "Task":
        """The task in a CSV, Parquet or ``.npz`` file, called by the file's name.

        CSV and Parquet: to predict the column ``target`` from the others, or from the texts in the column ``text``
        alone. With ``modality="series"`` the other columns are the steps of one time series a row.
        ``.npz``: to predict the array ``target`` (``"y"`` unless given) from the array ``X``: texts, a table (2 axes)
        or images (4 axes); where the axes leave a doubt, ``modality`` says which (``"image"``, ``"series"``).
        What pandas wrote to Parquet as an index with a name is a column.
        ``separator``: of a CSV file, a comma unless given; ``decimal``: ``","`` for decimal commas in it. ``options``:
        as for ``from_dataframe``.
        """
        path = Path(path)
        inspector = Inspector(repair=repair)
        content = read_content(
            path, inspector, target=target, text=text, modality=modality, separator=separator, decimal=decimal
        )
        makers = {
            "table": cls.from_arrays,
            "image": cls.from_images,
            "text": cls.from_texts,
            "series": cls.from_series,
        }
        task = makers[content.modality](
            content.X, content.y, target=content.target, name=name or path.stem, repair=repair, **options
        )
        return replace(task, repairs=(*inspector.repairs, *task.repairs))

    @classmethod
    def custom(
        cls,
        name: str,
        *,
        metric: str,
        direction: Direction,
        metafeatures: Mapping[str, float] | None = None,
        group: str | None = None,
        seed: int = 0,
    ) -> "Task":
        """A task without data, known by its name: the user's own objective gives ``metric``.

        ``metafeatures``: any numbers that tell tasks of this sort apart, NaN for unknown. Raises ``UsageError`` for a
        well-known ``metric`` with the wrong ``direction``.
        """
        if not isinstance(name, str) or not name:
            raise UsageError("a custom task needs a name", field="name", value=name, remedy="Give a non-empty text.")
        return cls(
            name=name,
            kind="custom",
            metric=Metric.own(metric, direction),
            fingerprint=fingerprint_of_name(name),
            metafeatures=_finite_or_nan(metafeatures or {}),
            group=group or "",
            seed=seed,
        )


def _finite_or_nan(metafeatures: Mapping[str, float]) -> dict[str, float]:
    for feature, value in metafeatures.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or math.isinf(value):
            raise UsageError(
                "a meta-feature is a finite number or NaN",
                field=f"metafeatures[{feature!r}]",
                value=value,
                remedy="Encode it as a number.",
            )
    return {feature: float(value) for feature, value in metafeatures.items()}


def check_task(task: object) -> None:
    """Raise ``UsageError`` for what is not a ``Task``, such as a table or a path that one can be made of."""
    if not isinstance(task, Task):
        raise UsageError("not a task", field="task", value=task, remedy="Make one: Task.from_dataframe, from_file ...")
