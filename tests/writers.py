"""Processes that record trials in one history at the same time."""

import multiprocessing
import time

from metatune.history.mlflow_store import MLflowStore
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial

SPACE = SearchSpace({"rate": {"low": 1e-4, "high": 1.0, "log": True}})


def record(uri: str, writer: int, trials: int, go: float) -> None:
    """A study of its own: each trial as it ends, and at the end all of them again, as after a lost answer."""
    task = TaskRecord(name="t", kind="custom", metric=Metric("loss", "minimize"), fingerprint="f", metafeatures={})
    study = StudyRecord(task=task, family="f", space=SPACE, id=f"study-{writer}", created=float(writer))
    those = [
        Trial(configuration={"rate": 0.1}, status="complete", value=float(n), number=n, key=f"{writer}-{n}")
        for n in range(trials)
    ]
    store = MLflowStore(uri)
    time.sleep(max(0.0, go - time.time()))
    store.open_study(study)
    for trial in those:
        store.add_trials(study.id, [trial])
    store.add_trials(study.id, those)
    store.close_study(study.id, status="finished")
    again = MLflowStore(uri)
    again.add_trials(study.id, those)


def write(uri: str, writers: int, trials: int) -> list[int | None]:
    """Let so many processes record so many trials each, all beginning at once; how they ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["writers"])
    go = time.time() + 3
    processes = [context.Process(target=record, args=(uri, writer, trials, go)) for writer in range(writers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]
