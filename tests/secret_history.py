"""A history with something in it that is to be forgotten."""

import json
from dataclasses import replace
from pathlib import Path

from planted import SPACE, record, study_of, utility

from metatune.history.mlflow_store import MLflowStore

#: The name of a task.
SECRET = "patients-of-doctor-no"


def filled(store: MLflowStore, folder: Path) -> MLflowStore:
    """``store`` with three studies of two tasks by two users; the secret one has files."""
    (folder / "best.json").write_text(json.dumps({"of": SECRET}))
    for i, (task, user) in enumerate([("wine", "ann"), (SECRET, "bob"), ("wine", "bob")]):
        study, trials = study_of(record(task), utility, configurations=SPACE.sample(10, i))
        study = replace(study, id=f"id-{i}-{task}", notes={"user": user})
        trials = [replace(t, key=f"{i}-{t.key}") for t in trials]
        trials[0] = replace(trials[0], status="failed", value=None, error=f"KeyError: {task}")
        store.open_study(study)
        store.add_trials(study.id, trials)
        store.close_study(study.id, status="finished", artifacts=[folder / "best.json"] if task == SECRET else [])
    (folder / "best.json").unlink()
    return store
