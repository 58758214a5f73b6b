"""What happens in a worker process: it takes units through a pipe and reports each study and trial back.

Nothing is written here; the builder's own process alone talks to the store.
"""

import math
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from kb.catalogue import Entry
from kb.design import Unit, configurations, trial_key
from kb.examples import load_examples
from kb.identity import DESIGN_SEED, HOLDOUT_CELLS, SLOW, locked_as
from kb.packages import ARCHIVES
from kb.plan import ROW_CAPS
from kb.proposed import propose, proposer_for
from kb.tables import capped_rows, load_table
from metatune.errors import DataError, MetatuneError
from metatune.learners import get_family
from metatune.learners.evaluate import run_trial
from metatune.metafeatures import describe
from metatune.orphan import end_with_parent
from metatune.search.proposer import Proposer
from metatune.study import StudyRecord
from metatune.task import Task, TaskRecord
from metatune.trial import Configuration, Trial

SEED = 0
#: What trains slow families takes seconds to load: it is loaded before the clock of the first trial starts.
_HOST = "metatune.learners.keras_host"
_MAKERS = {"table": Task.from_arrays, "image": Task.from_images, "text": Task.from_texts, "series": Task.from_series}


@dataclass(frozen=True)
class Opened:
    """The study of a unit, before its trials."""

    study: StudyRecord


@dataclass(frozen=True)
class Started:
    """A trial begins."""

    number: int
    configuration: Configuration
    origin: str


@dataclass(frozen=True)
class Ended:
    """A trial ended."""

    trial: Trial


@dataclass(frozen=True)
class Done:
    """A unit has no more trials."""


@dataclass(frozen=True)
class Broken:
    """A unit cannot be worked on."""

    reason: str


Message: TypeAlias = Opened | Started | Ended | Done | Broken


def serve(pipe: Connection, folder: str, limit: float) -> None:
    """Work on each ``Unit`` that comes through ``pipe`` until it is closed; datasets come from ``folder``.

    The kernel ends this process when a trial has used ``limit`` seconds of processor time.
    """
    end_with_parent()
    try:
        while True:
            for message in work(pipe.recv(), Path(folder)):
                _allow(limit if isinstance(message, Started) else None)
                pipe.send(message)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _allow(seconds: float | None) -> None:
    """Limit the processor time of this process to ``seconds`` from now; no limit for ``None``."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    allowed = hard if seconds is None else math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))


def work(unit: Unit, folder: Path) -> Iterator[Message]:
    """What ``unit`` has to report, one message after the other."""
    try:
        task, record, rows = prepared(unit.entry, unit.row_cap, folder)
        _check_folds(unit, task)
    except (MetatuneError, OSError, KeyError, ImportError) as error:
        yield Broken(f"{type(error).__name__}: {error}")
        return
    if unit.family in SLOW:
        import_module(_HOST)
    yield Opened(_study(unit, task, record, rows))
    family = get_family(unit.family)
    proposer = None if unit.evidence is None else proposer_for(unit, record)
    done: list[Trial] = []
    for number in unit.numbers:
        started = _chosen(unit, proposer, record, done, number)
        yield started
        trial = run_trial(task, family, started.configuration, number=number, origin=started.origin, seed=SEED)
        done.append(replace(trial, key=trial_key(unit.study_id, number)))
        yield Ended(done[-1])
    yield Done()


def _chosen(unit: Unit, proposer: Proposer | None, record: TaskRecord, done: Sequence[Trial], number: int) -> Started:
    """Trial ``number``, from the design or by the ``proposer`` after the trials ``done``."""
    if proposer is not None:
        proposal = propose(proposer, unit, record, done, number)
        return Started(number, proposal.configuration, proposal.origin)
    design = configurations(get_family(unit.family), max(unit.numbers) + 1)
    return Started(number, design[number], "design" if number else "default")


@lru_cache(maxsize=8)
def prepared(entry: Entry, row_cap: int, folder: Path) -> tuple[Task, TaskRecord, int]:
    """The task, its record with meta-features, and the rows that the source has."""
    X, y, rows = _sampled(entry, row_cap, folder)
    task = _MAKERS[entry.modality](
        X,
        y,
        kind=entry.kind,
        name=entry.name,
        validation="holdout" if X.size > HOLDOUT_CELLS else None,
        group=entry.group,
        seed=SEED,
        repair=True,
    )
    return task, task.record(describe(task)), rows


def _check_folds(unit: Unit, task: Task) -> None:
    """Raise ``DataError`` if the dataset is judged otherwise than when its study began, whose id does not say how."""
    locked = locked_as(unit.entry)
    if locked is not None and unit.row_cap == ROW_CAPS[unit.entry.modality] and len(task.folds) != locked.folds:
        raise DataError(
            "judged otherwise than the trials that there are of it",
            field=f"folds of {unit.entry.name}",
            value=len(task.folds),
            remedy=f"Scores of {locked.folds} and of {len(task.folds)} folds do not compare: take its row out of "
            "locked.csv, and new studies begin.",
        )


def _sampled(entry: Entry, cap: int, folder: Path) -> tuple[pd.DataFrame | np.ndarray, pd.Series | np.ndarray, int]:
    """Inputs and targets of ``entry``, at most ``cap`` rows, and how many rows there are."""
    stratify = entry.kind != "regression"
    if entry.modality == "table":
        X, y = load_table(entry, folder)
        rows = capped_rows(y, cap, stratify=stratify)
        return X.iloc[rows].reset_index(drop=True), y.iloc[rows].reset_index(drop=True), len(y)
    examples, targets = load_examples(entry, folder)
    rows = capped_rows(targets, cap, stratify=stratify)
    return examples[rows], targets[rows], len(targets)


def _study(unit: Unit, task: Task, record: TaskRecord, rows: int) -> StudyRecord:
    library = "tensorflow" if unit.family in SLOW else "lightgbm" if unit.family == "lightgbm" else "scikit-learn"
    archive = ARCHIVES.get(unit.entry.package)
    source = archive.version if archive else version(unit.entry.package)
    folds = len(task.folds)
    notes = {
        "dataset": f"{unit.entry.package} {source}: {unit.entry.file}",
        "source_rows": str(rows),
        "row_cap": str(unit.row_cap),
        "validation": "holdout" if folds == 1 else f"{folds} folds",
        "design": f"scrambled Sobol, seed {DESIGN_SEED}",
        "library": f"{library} {version(library)}",
        "threads": "1",
    }
    space = get_family(unit.family).space()
    return StudyRecord(
        task=record, family=unit.family, space=space, id=unit.study_id, strategy="design", seed=SEED, notes=notes
    )
