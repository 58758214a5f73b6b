"""The model families that metatune trains itself, by name; a family's host is imported when it is asked for."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metatune.errors import KnowledgeError, MetatuneError, MissingDependencyError, UnknownNameError
from metatune.learners.saving import check_files, read_manifest

if TYPE_CHECKING:
    from metatune.dataset import Modality
    from metatune.learners.base import ModelFamily, TaskModel

__all__ = ["default_family", "family_names", "get_family", "load_model"]


@dataclass(frozen=True)
class _Entry:
    """Where the class of a family is, what data it takes, and the extra that installs its host."""

    module: str
    cls: str
    modality: "Modality" = "table"
    extra: str | None = None


#: For each sort of data, the first one is the default.
_FAMILIES = {
    "lightgbm": _Entry("metatune.learners.lightgbm", "LightGBM"),
    "random_forest": _Entry("metatune.learners.random_forest", "RandomForest"),
    "extra_trees": _Entry("metatune.learners.extra_trees", "ExtraTrees"),
    "hist_gradient_boosting": _Entry("metatune.learners.hist_gradient_boosting", "HistGradientBoosting"),
    "linear": _Entry("metatune.learners.linear", "Linear"),
    "svm": _Entry("metatune.learners.svm", "SVM"),
    "knn": _Entry("metatune.learners.knn", "KNN"),
    "keras_mlp": _Entry("metatune.learners.keras_mlp", "KerasMLP", extra="keras"),
    "tfidf_linear": _Entry("metatune.learners.tfidf_linear", "TfidfLinear", "text"),
    "keras_cnn": _Entry("metatune.learners.keras_cnn", "KerasCNN", "image", extra="keras"),
    "keras_text": _Entry("metatune.learners.keras_text", "KerasText", "text", extra="keras"),
    "keras_series": _Entry("metatune.learners.keras_series", "KerasSeries", "series", extra="keras"),
}


def family_names(modality: "Modality | None" = None) -> tuple[str, ...]:
    """The names of all families, or of those for ``modality``, whether their host is installed or not."""
    return tuple(name for name, entry in _FAMILIES.items() if modality in (None, entry.modality))


def default_family(modality: "Modality") -> str:
    """The name of the family that is tuned unless another one is named."""
    return family_names(modality)[0]


def get_family(name: str) -> "ModelFamily[Any]":
    """The family called ``name``.

    Raises ``UnknownNameError`` for an unknown name, ``MissingDependencyError`` when its host is not installed.
    """
    if name not in _FAMILIES:
        raise UnknownNameError.of("family", name, _FAMILIES)
    entry = _FAMILIES[name]
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if entry.extra is None or missing.startswith("metatune"):
            raise
        raise MissingDependencyError.of(name, missing, entry.extra) from error
    family: ModelFamily[Any] = getattr(module, entry.cls)()
    return family


def load_model(path: str | Path) -> "TaskModel":
    """The model that ``TuneResult.save`` or ``metatune tune --save`` wrote into the folder ``path``, of any family.

    Its ``predict`` gives the labels that the target had. Nothing in the folder can run code.

    Raises ``KnowledgeError`` when the folder is missing, damaged, altered or of another version.
    """
    directory = Path(path)
    manifest = read_manifest(directory)
    check_files(directory, manifest)
    try:
        return get_family(manifest.family).load(directory).restored(manifest)
    except (MissingDependencyError, KnowledgeError):
        raise
    # The readers of the hosts raise whatever they like on a file that they did not write.
    except Exception as error:
        problem = error.problem if isinstance(error, MetatuneError) else f"{type(error).__name__}: {error}"
        raise KnowledgeError(
            f"the saved model cannot be loaded ({problem})",
            field=str(directory),
            value=manifest.family,
            remedy="Train and save the model again with the installed versions.",
        ) from error
