"""What is in the frozen stores of ``data/history``: one MLflow database per version of the schema, never written again.

    python tests/frozen_history.py tests/data/history/schema-1.db.gz

writes another one with the code in use. Do so whenever ``SCHEMA_VERSION`` is raised (and name the file by it), or when
documents get further fields; what an older file lacks is then left out of what ``trials`` expects of it.
``schema-1-first.db.gz`` is of the first code that wrote a history, before trials had ``best_step`` and ``reported``.
"""

import gzip
import math
import sqlite3
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from metatune.history.mlflow_store import MLflowStore
from metatune.metric import Metric
from metatune.space import Condition, SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial

FOLDER = Path(__file__).parent / "data" / "history"
#: Fields that the documents of a file do not have.
MISSING = {"schema-1": ("odds", "trusted"), "schema-1-first": ("best_step", "reported", "odds", "trusted")}

_NAME = "näme with ✓"
_SPACE = SearchSpace(
    {
        "rate": {"low": 1e-4, "high": 1.0, "log": True},
        "booster": ["gbdt", "dart", None, True],
        "drop": {"low": 0.0, "high": 0.5},
        _NAME: {"low": 1, "high": 64},
    },
    {"drop": Condition("booster", ("dart",))},
)


def studies() -> list[StudyRecord]:
    """Oldest first."""
    table = TaskRecord(
        name="wine, “red”", kind="regression", metric=Metric("rmse", "minimize"), fingerprint="0123456789abcdef" * 2,
        group="wines", metafeatures={"n_rows": 178.0, "skew": math.nan, "ratio": math.inf, "tiny": 5e-324},
        n_rows=178, n_columns=13,
    )  # fmt: skip
    own = TaskRecord(name="own", kind="custom", metric=Metric("score", "maximize"), fingerprint="f" * 32)
    return [
        StudyRecord(
            task=table, family="lightgbm", space=_SPACE, id="frozen-1", strategy="meta", seed=7, created=1.7e9,
            notes={"metatune": "0", "quote": "'\"\\ %"},
        ),
        StudyRecord(task=own, family="own", space=_SPACE, id="frozen-2", strategy="tpe", created=1.7e9 + 100),
    ]  # fmt: skip


def trials(study_id: str, missing: tuple[str, ...] = ()) -> list[Trial]:
    """By number; without the fields ``missing``."""
    known = {field.name for field in fields(Trial)} - set(missing)

    def made(number: int, **more: object) -> Trial:
        shared = {"number": number, "key": f"{study_id}-{number}", "started": 1.7e9 + number, "seconds": 0.125 * number}
        chosen = {"configuration": {"rate": 0.1 + 0.2, "booster": "gbdt", _NAME: 3}, **shared, **more}
        return Trial(**{name: value for name, value in chosen.items() if name in known})

    if study_id == "frozen-2":
        return [made(0, status="complete", value=-1.0)]
    long = tuple(math.sin(step) for step in range(1, 601))
    return [
        made(0, status="complete", value=0.1 + 0.2, metrics={"rmse": 0.1 + 0.2, "r2": 2 / 3}, origin="default"),
        made(
            1, status="complete", value=long[-1], curve=long, best_step=590, fidelity=1.0,
            configuration={"rate": 1e-4, "booster": "dart", "drop": 0.5, _NAME: 64},
        ),
        made(2, status="pruned", value=3.5, curve=(4.5, math.nan, 3.5), reported=((1, 4.5), (3, 3.5)), fidelity=0.3),
        made(3, status="failed", value=None, error="ValueError: Zeile 1\nböse ✓", origin="model"),
        made(4, status="interrupted", value=None, configuration={"rate": 1.0, "booster": None, _NAME: 1}),
    ]  # fmt: skip


def write(target: Path) -> None:
    """A new frozen store, with nothing of this machine in it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        store = MLflowStore(f"sqlite:///{file}")
        for study in studies():
            store.open_study(study)
            store.add_trials(study.id, trials(study.id))
            store.close_study(study.id, status="finished")
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE experiments SET artifact_location = 'mlartifacts'")
            connection.execute("UPDATE runs SET artifact_uri = 'mlartifacts', user_id = 'somebody', source_name = ''")
            connection.execute("DELETE FROM tags WHERE key IN ('mlflow.user', 'mlflow.source.name', 'metatune.owner')")
            connection.execute("DELETE FROM tags WHERE key LIKE 'mlflow.source.%'")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        target.write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
