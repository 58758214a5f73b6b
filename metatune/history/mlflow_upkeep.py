"""Keep a history in order: end the runs that dead processes left running, and find what is not whole."""

import math
import time
from collections import defaultdict
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run

from metatune.errors import StoreError
from metatune.history import mlflow_runs, schema
from metatune.history.mlflow_runs import HEARTBEAT, OWNER
from metatune.history.mlflow_store import MLflowStore
from metatune.history.owner import Owner

#: A process of which nothing can be known, because it is on another machine, counts as dead after this many seconds
#: without a heartbeat. Long, because clocks differ and servers are away for hours; a study that was ended too early
#: still takes trials, and is marked as running when its process opens it again.
SILENT_SECONDS = 86_400.0
#: A trial is written within seconds; one that is half written for so long was left by a dead process.
_HALF_WRITTEN_SECONDS = 3_600.0


@dataclass(frozen=True)
class Defects:
    """What is not whole: ids of studies and keys of trials.

    ``abandoned`` studies are marked as running though their process is dead; ``half_written`` trials have everything
    in the store, but their run is not marked as ended; ``doubled`` are there more than once (reading counts them
    once); ``lost`` trials have no study.
    """

    abandoned: tuple[str, ...] = ()
    half_written: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.abandoned or self.half_written or self.doubled or self.lost)


def defects(store: MLflowStore, *, silent: float = SILENT_SECONDS) -> Defects:
    """Look for what is not whole, without changing anything. Raises ``StoreError``."""
    return _examined(store, silent=silent, repair=False)


def repair(store: MLflowStore, *, silent: float = SILENT_SECONDS) -> Defects:
    """Mark abandoned studies as interrupted, complete half-written trials, and delete what is doubled.

    Gives what was found. Never touches what a living process of this machine owns; what a process elsewhere owns
    only after ``silent`` seconds without a heartbeat. Trials without a study are left alone. Raises ``StoreError``.
    """
    return _examined(store, silent=silent, repair=True)


def _examined(store: MLflowStore, *, silent: float, repair: bool) -> Defects:
    with store.runs() as (client, find):
        studies, trials = defaultdict(list), defaultdict(list)
        for run in find("study"):
            studies[run.data.tags.get(schema.STUDY_ID, "")].append(run)
        for run in find("trial"):
            trials[run.data.tags.get(schema.TRIAL_KEY, "")].append(run)
        dead = {id for id, runs in studies.items() if any(_dead(run, silent) for run in runs)}
        half = {key: runs for key, runs in trials.items() if _half_written(runs[0], studies, dead)}
        doubled = {name: runs for name, runs in (*studies.items(), *trials.items()) if len(runs) > 1}
        lost = [key for key, runs in trials.items() if runs[0].data.tags.get(schema.STUDY_ID, "") not in studies]
        if repair:
            for runs in doubled.values():
                mlflow_runs.single(client, iter(runs))
            for runs in half.values():
                _complete(client, min(runs, key=mlflow_runs.order), studies)
            for id in dead:
                client.set_terminated(min(studies[id], key=mlflow_runs.order).info.run_id, "KILLED")
        return Defects(tuple(dead), tuple(half), tuple(doubled), tuple(lost))


def _dead(run: Run, silent: float) -> bool:
    """Whether the study of ``run`` is marked as running, but its process has ended."""
    if run.info.status != "RUNNING":
        return False
    owner = Owner.parse(run.data.tags.get(OWNER, ""))
    alive = None if owner is None else owner.alive()
    return time.time() - _last_seen(run) > silent if alive is None else not alive


def _last_seen(run: Run) -> float:
    try:
        return float(run.data.tags[HEARTBEAT])
    except (KeyError, ValueError):
        return float(run.info.start_time or math.nan) / 1000


def _half_written(run: Run, studies: dict[str, list[Run]], dead: set[str]) -> bool:
    if run.info.status != "RUNNING":
        return False
    study = run.data.tags.get(schema.STUDY_ID, "")
    old = time.time() - float(run.info.start_time) / 1000 > _HALF_WRITTEN_SECONDS
    return study in dead or old or (study in studies and studies[study][0].info.status != "RUNNING")


def _complete(client: MlflowClient, run: Run, studies: dict[str, list[Run]]) -> None:
    """End the run of a trial as its record says, or as failed if that cannot be read."""
    try:
        trial = schema.decode_trial(run.data.tags)
        study = schema.decode_study(studies[run.data.tags[schema.STUDY_ID]][0].data.tags)
    except (StoreError, KeyError):
        client.set_terminated(run.info.run_id, "FAILED")
        return
    mlflow_runs.finish(client, run.info.run_id, schema.encode_trial(trial, study), trial)
