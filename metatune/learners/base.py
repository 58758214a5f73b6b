"""The contract of a model family that metatune can train itself; ``TaskModel``, what a user gets of one."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np

from metatune.dataset import XT, Data, DataKind, Modality
from metatune.errors import KnowledgeError
from metatune.learners.saving import Label, Manifest, add_task
from metatune.metric import Metric
from metatune.raw import Raw, raw_from, raw_state
from metatune.space import Change, SearchSpace
from metatune.trial import Configuration, ParamValue

#: ``report(step, value)``: the metric, in its own unit, after ``step`` steps (1, 2, ...) of the fidelity.
#: It may raise to stop the fit (``optuna.TrialPruned``, ``KeyboardInterrupt``); a fit lets that travel.
Report: TypeAlias = Callable[[int, float], None]
#: The data that a family takes.
D = TypeVar("D", bound=Data[Any])


class FittedModel(ABC, Generic[XT]):
    """A trained model with its preprocessing: it takes raw examples, ``X`` of the data that its family takes.

    ``curve`` is the metric on the validation rows after each step, in the metric's own unit, empty where the
    library has no steps. ``best_step`` is the step (1-based) that early stopping kept, ``None`` without one.
    """

    #: 0 for regression.
    n_classes: int
    curve: tuple[float, ...] = ()
    best_step: int | None = None

    @abstractmethod
    def predict(self, X: XT) -> np.ndarray:
        """Class codes (``int64``) or values (``float64``) for the rows of ``X``, shape (n,)."""

    @abstractmethod
    def predict_proba(self, X: XT) -> np.ndarray:
        """Class probabilities, shape (n, k), rows summing to 1. Only for classification."""

    @abstractmethod
    def save(self, directory: Path) -> Path:
        """Write the model into the existing folder ``directory`` without pickle; the main file's path.

        Ends with ``saving.write_manifest``, by which ``learners.load_model`` finds the family again.
        """

    def labelled(self, classes: Iterable[object], raw: Raw | None = None) -> "TaskModel":
        """This model with the labels of its task, in the order of the codes (none for regression), and its ``raw``."""
        return TaskModel(self, classes, raw)

    def restored(self, manifest: Manifest) -> "TaskModel":
        """This model, just loaded, as that of the task in ``manifest``. Raises ``KnowledgeError`` if it is not."""
        if manifest.classes and len(manifest.classes) != self.n_classes:
            raise KnowledgeError(
                f"the model tells {self.n_classes} classes apart, and its manifest has names for another number",
                field="classes",
                value=list(manifest.classes),
                remedy="Give the folder as it was saved, or train and save the model again.",
            )
        return TaskModel(self, manifest.classes, None if manifest.raw is None else raw_from(manifest.raw))


class TaskModel:
    """A trained model that answers in the terms of its task: the labels that its target had, or values.

    ``fitted`` is the family's own model, which knows class codes only. ``classes_`` are the labels in the order of
    the columns of ``predict_proba``, shape (k,), empty for regression. Labels that are neither texts, booleans nor
    finite numbers (dates, intervals) are given as texts. ``raw`` reads examples as the task did; without it, they
    must be as ``Data.X`` is.
    """

    def __init__(self, fitted: FittedModel[Any], classes: Iterable[object], raw: Raw | None = None) -> None:
        self.fitted = fitted
        self.classes_ = _label_array([_label(value) for value in classes])
        self.raw = raw

    def predict(self, X: Any) -> np.ndarray:
        """Labels, or values (``float64``) for regression, for the raw examples ``X``; shape (n,).

        Raises ``DataError`` for examples of another sort than those of the task, such as a table without a column.
        """
        predicted = self.fitted.predict(self._normal(X))
        return self.classes_[predicted] if len(self.classes_) else predicted

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities, shape (n, k), rows summing to 1. Only for classification. Raises as ``predict``."""
        return self.fitted.predict_proba(self._normal(X))

    def _normal(self, X: Any) -> Any:
        return X if self.raw is None else self.raw.normal(X)

    def save(self, directory: Path) -> Path:
        """Write the model into the existing folder ``directory`` for ``learners.load_model``; the main file's path."""
        path = self.fitted.save(directory)
        add_task(directory, self.classes_.tolist(), None if self.raw is None else raw_state(self.raw))
        return path


def _label(value: object) -> Label:
    plain: object = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return str(plain)
    return plain if isinstance(plain, Label) else str(plain)


def _label_array(classes: Sequence[Label]) -> np.ndarray:
    # Of texts, of several types at once, or of very large numbers, NumPy would cut or convert some.
    array = np.array(classes)
    exact = array.dtype.kind in "bif" and [(type(x), x) for x in array.tolist()] == [(type(x), x) for x in classes]
    return array if exact else np.array(classes, dtype=object)


class ModelFamily(ABC, Generic[D]):
    """One kind of model: its space, the library's default in it, and how it is trained on data of type ``D``.

    Order of calls: ``space`` and ``default`` (cheap, import no host), then any number of ``fit``.
    A family keeps no state between fits. A ``fit`` is reproducible for equal arguments on one machine.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[DataKind]]
    modality: ClassVar[Modality] = "table"
    #: What one step of ``curve`` is ("boosting rounds", "epochs"); empty where there are none.
    fidelity: ClassVar[str] = ""

    @abstractmethod
    def space(self) -> SearchSpace:
        """Where to search. One and the same for all tasks, so that histories compare."""

    @abstractmethod
    def default(self) -> dict[str, ParamValue]:
        """The library's own default as a configuration of ``space()``."""

    def clamp(
        self, configuration: Configuration, n_rows: int, n_columns: int
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """``configuration`` with what cannot work on so few rows or columns reduced, and a report of it."""
        return dict(configuration), ()

    def full_steps(self, configuration: Configuration) -> int | None:
        """The steps of a fit that nothing stops early; ``None`` where there are no steps."""
        return None

    @abstractmethod
    def fit(
        self,
        configuration: Configuration,
        train: D,
        *,
        valid: D | None,
        metric: Metric,
        seed: int,
        steps: int | None = None,
        report: Report | None = None,
        threads: int = 1,
    ) -> FittedModel[Any]:
        """Train on ``train``; with ``valid``, stop early by ``metric`` on it, fill the curve and call ``report``.

        Without ``valid`` (the refit at the end of a search) train for exactly ``steps`` steps where given.
        Raises whatever the library raises; the caller turns it into a failed trial.
        """

    @abstractmethod
    def load(self, directory: Path) -> FittedModel[Any]:
        """The model that ``FittedModel.save`` wrote into ``directory``, without running code from it.

        ``learners.load_model`` calls it: it checks the files before, and turns what is raised into a
        ``KnowledgeError``.
        """


def at_most(
    configuration: Configuration, limits: Mapping[str, int], reason: str
) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
    """``configuration`` with the numbers named in ``limits`` cut to their limit, and a report; for ``clamp``."""
    values, changes = dict(configuration), []
    for name, limit in limits.items():
        before = values.get(name)
        if isinstance(before, int | float) and before > limit:
            values[name] = limit
            changes.append(Change(name, before, limit, reason))
    return values, tuple(changes)
