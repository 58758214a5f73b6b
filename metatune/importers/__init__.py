"""What other tools recorded, brought into the history: MLflow runs, Optuna, KerasTuner, Ray Tune, tables.

Each importer reads a source as it is, runs none of its code, and returns an ``ImportReport``. Trials are known by
identifiers that the source gave them, so importing again adds only what is new.
"""

from metatune.importers.keras_tuner import import_kerastuner
from metatune.importers.mlflow_runs import import_mlflow
from metatune.importers.names import Names
from metatune.importers.optuna_storage import import_optuna
from metatune.importers.ray_tune import import_ray
from metatune.importers.report import ImportReport, StudyImport
from metatune.importers.table import import_table

__all__ = [
    "ImportReport",
    "Names",
    "StudyImport",
    "import_kerastuner",
    "import_mlflow",
    "import_optuna",
    "import_ray",
    "import_table",
]
