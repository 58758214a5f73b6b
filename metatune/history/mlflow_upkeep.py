"""Keep a history in order: end the runs that dead processes left running, and find what is not whole."""

import math
import time
from collections import defaultdict
from typing import TypeAlias

from mlflow.entities import Run

from metatune.errors import StoreError
from metatune.history import mlflow_runs, schema
from metatune.history.defects import Defects, Uneven
from metatune.history.mlflow_runs import HEARTBEAT, OWNER, Find
from metatune.history.mlflow_store import MLflowStore
from metatune.history.owner import Owner
from metatune.history.reader import uneven

#: A process of which nothing can be known, because it is on another machine, counts as dead after this many seconds
#: without a heartbeat. Long, because clocks differ and servers are away for hours; a study that was ended too early
#: still takes trials, and is marked as running when its process opens it again.
SILENT_SECONDS = 86_400.0
#: A trial is written within seconds; one that is half written for so long was left by a dead process.
_HALF_WRITTEN_SECONDS = 3_600.0


def defects(store: MLflowStore, *, silent: float = SILENT_SECONDS) -> Defects:
    """Look for what is not whole in all of the history, without changing anything. Raises ``StoreError``."""
    known = uneven(store)
    with store.runs() as find:
        return _found(find, silent, known)[0]


def repair(store: MLflowStore, *, thorough: bool = True, silent: float = SILENT_SECONDS) -> Defects:
    """Mark abandoned studies as interrupted, complete half-written trials, and delete what is doubled.

    Gives what was found. Never touches what a living process of this machine owns; what a process elsewhere owns
    only after ``silent`` seconds without a heartbeat. Trials without a study are left alone. Unless ``thorough``,
    only runs that are marked as running are looked at, which is quick. Raises ``StoreError``.
    """
    known = uneven(store) if thorough else Uneven((), (), ())
    with store.runs() as find:
        found, studies, trials, half = _found(find, silent, known)
        for runs in (*studies.values(), *trials.values()):
            mlflow_runs.single(find.client, iter(runs))
        for name in half:
            _complete(find, min(trials[name], key=mlflow_runs.order))
        for id in found.abandoned:
            run = min(studies[id], key=mlflow_runs.order)
            find.client.set_terminated(run.info.run_id, "KILLED")
        return found


_Studies: TypeAlias = dict[str, list[Run]]
_Trials: TypeAlias = dict[tuple[str, str], list[Run]]


def _found(find: Find, silent: float, known: Uneven | None) -> tuple[Defects, _Studies, _Trials, list[tuple[str, str]]]:
    """The defects, the runs of studies by id and of trials by study and key, and which of these are half written.

    Looks at the runs that are marked as running and at those of what is ``known``, else at all.
    """
    studies: defaultdict[str, list[Run]] = defaultdict(list)
    trials: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in _looked_at(find, "study", known):
        studies[run.data.tags.get(schema.STUDY_ID, run.info.run_id)].append(run)
    for run in _looked_at(find, "trial", known):
        tags = run.data.tags
        trials[tags.get(schema.STUDY_ID, ""), tags.get(schema.TRIAL_KEY, run.info.run_id)].append(run)
    dead = [id for id, runs in studies.items() if any(_dead(run, silent) for run in runs)]
    living = {id for id, runs in studies.items() if runs[0].info.status == "RUNNING"} - set(dead)
    half = [name for name, runs in trials.items() if _half_written(runs[0], own=name[0] in living)]
    doubled = [id for id, runs in studies.items() if len(runs) > 1]
    doubled += [key for (_, key), runs in trials.items() if len(runs) > 1]
    lost = [key for study, key in trials if study not in studies] if known is None else known.lost
    return Defects(tuple(dead), tuple(key for _, key in half), tuple(doubled), tuple(lost)), studies, trials, half


def _looked_at(find: Find, record: str, known: Uneven | None) -> list[Run]:
    """Runs of studies or of trials, each once, in the order in which they were made."""
    if known is None:
        return list(find(record))
    runs = list(find(record, running=True))
    if record == "study":
        runs += [run for id in known.studies for run in find(record, study=id)]
    else:
        runs += [run for study, key in known.trials for run in find(record, study=study, key=key)]
    return sorted({run.info.run_id: run for run in runs}.values(), key=mlflow_runs.order)


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


def _half_written(run: Run, *, own: bool) -> bool:
    """Whether nobody will end the run of a trial; ``own``: the process of its study lives, and may do so."""
    old = time.time() - float(run.info.start_time) / 1000 > _HALF_WRITTEN_SECONDS
    return run.info.status == "RUNNING" and (old or not own)


def _complete(find: Find, run: Run) -> None:
    """End the run of a trial as its record says, or as failed if that cannot be read."""
    try:
        trial = schema.decode_trial(run.data.tags)
        study = next(find("study", study=run.data.tags.get(schema.STUDY_ID, "")))
        data = schema.encode_trial(trial, schema.decode_study(study.data.tags))
    except (StoreError, StopIteration):
        find.client.set_terminated(run.info.run_id, "FAILED")
        return
    mlflow_runs.finish(find.client, run.info.run_id, data, trial)
