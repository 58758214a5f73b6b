"""``metatune doctor``: is everything there that metatune needs, and in order?"""

import calendar
import contextlib
import json
import os
import platform
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeAlias

from metatune.errors import MetatuneError
from metatune.history import mlflow_upkeep
from metatune.history.address import Address
from metatune.history.defects import Defects
from metatune.history.mlflow_store import MLflowStore
from metatune.history.replay import look
from metatune.history.spool import folders, probe
from metatune.knowledge import Knowledge, knowledge_directory
from metatune.learners import family_names
from metatune.mirror import refreshed
from metatune.redaction import redacted
from metatune.wording import plural

State: TypeAlias = Literal["ok", "warning", "problem"]

_NEEDED = ("optuna", "lightgbm", "scikit-learn", "mlflow", "pyarrow", "pandas", "numpy", "scipy", "skops",
           "cmaes", "typer", "rich", "jinja2", "requests", "sqlalchemy")  # fmt: skip
_KERAS = ", ".join(name for name in family_names() if name.startswith("keras_"))
#: Optional packages, the families that need them, and how to install them.
_OPTIONAL = {"tensorflow": (_KERAS, 'pip install "metatune[keras]"')}
_REPAIR = "metatune doctor --repair, or metatune sync, puts that in order."
_LOW_DISK = 1e9
_OLD_DAYS = 90


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and for anything but ``ok`` what to do."""

    name: str
    state: State
    found: str
    remedy: str = ""
    #: What the process exits with because of a problem.
    exit_code: int = 1


def examine(store: MLflowStore, knowledge: Path | str | None = None, *, repair: bool = False) -> Iterator[Check]:
    """Every check in turn; none raises. ``knowledge``: as for ``Knowledge.find``.

    Nothing is changed, unless ``repair`` asks to put the history in order (see ``mlflow_upkeep.repair``).
    """
    yield _python()
    yield from map(_package, _NEEDED)
    yield from (_optional(name, *about) for name, about in _OPTIONAL.items())
    yield _threads()
    yield from _store(store, repair=repair)
    yield from _spool()
    try:
        yield _knowledge(knowledge_directory(knowledge))
    except MetatuneError as error:  # of a published one that cannot be fetched
        yield _failed("knowledge", error)
    yield _disk(Path.cwd())


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "problem", "not installed", f"pip install {name}")


def _optional(name: str, gives: str, remedy: str) -> Check:
    try:
        return Check(name, "ok", f"{version(name)}, for {gives}")
    except PackageNotFoundError:
        return Check(name, "warning", f"not installed; needed for {gives}", remedy)


def _threads() -> Check:
    cores = os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    if limit is not None and limit.isdigit() and int(limit) > cores:
        return Check(
            "threads", "warning", f"OMP_NUM_THREADS={limit} on {plural(cores, 'core')}", f"Set it to {cores} or less."
        )
    return Check("threads", "ok", plural(cores, "core") + (f", OMP_NUM_THREADS={limit}" if limit else ""))


def _store(store: MLflowStore, *, repair: bool) -> Iterator[Check]:
    file, shown = Address.of(store.uri).file, redacted(store.uri)
    if file is not None and not file.exists():
        writable = os.access(next(folder for folder in file.parents if folder.exists()), os.W_OK)
        remedy = "" if writable else "Choose another folder with --tracking-uri."
        yield Check(
            "history", "ok" if writable else "problem", f"{shown}, made by the first search", remedy, exit_code=4
        )
        return
    try:
        snapshot, read = refreshed(store, named=True)
        unfinished = store.unfinished()
        broken = mlflow_upkeep.repair(store) if repair else mlflow_upkeep.defects(store)
    except MetatuneError as error:
        yield _failed("history", error)
        return
    tasks = plural(len({study.task.fingerprint for study in snapshot.studies}), "task")
    studies = plural(len(snapshot.studies), "study", "studies")
    yield Check("history", "ok", f"{shown}: {tasks}, {studies}, {plural(read.trials, 'trial')}")
    if read.unreadable:
        yield _unreadable(read.unreadable)
    if file is not None:
        yield _journal(file)
    yield from _whole(broken, repair=repair)
    unfinished = [id for id in unfinished if id not in broken.abandoned]
    if unfinished:
        yield Check(
            "running studies",
            "warning",
            f"{len(unfinished)} run now: {', '.join(unfinished[:5])}",
            "If one was killed on another machine, it can be resumed: metatune tune ... --resume ID.",
        )


def _whole(broken: Defects, *, repair: bool) -> Iterator[Check]:
    """What the search for defects found; ``repair`` says that all but the lost trials are repaired by now."""
    for name, found, what, remedy in (
        ("abandoned studies", broken.abandoned, "whose process is dead, are marked as running", _REPAIR),
        ("half-written trials", broken.half_written, "are complete, but their run is not marked as ended", _REPAIR),
        ("doubled runs", broken.doubled, "are there more than once; reading counts them once", _REPAIR),
        ("lost trials", broken.lost, "have no study: it was deleted", "Delete them in MLflow, or restore the study."),
    ):
        if found:
            listed = f"{len(found)} {what}: {', '.join(found[:5])}"
            repaired = repair and remedy == _REPAIR
            yield Check(
                name,
                "ok" if repaired else "warning",
                f"repaired: {listed}" if repaired else listed,
                remedy * (not repaired),
            )


def _spool() -> Iterator[Check]:
    """What waits on the local disk for a history."""
    found = list(look(folders()))
    waiting, unreadable = sum(one.waiting for one in found), sum(one.unreadable for one in found)
    where = ", ".join(sorted({str(one.path.parent) for one in found})) or str(folders()[0])
    if problem := _unsafe(folders()[0]):
        remedy = "Make room there, or name a folder on another disk in METATUNE_SPOOL."
        yield Check("spool disk", "problem", f"{folders()[0]} cannot be written durably: {problem}", remedy)
    if not waiting:
        yield Check("spool", "ok", f"{where}: nothing waits")
    else:
        owned = sum(one.waiting for one in found if one.owned)
        said = f"{where}: {plural(waiting, 'trial')} waiting, {owned:,} in running processes"
        yield Check("spool", "warning", said, "metatune sync")
    broken = [one for one in found if one.unreadable or (one.destination is None and one.reason)]
    if broken:
        listed = "; ".join(f"{one.path} {one.reason}" for one in broken[:5])
        remedy = "Look at these lines; delete the file when nothing in it is wanted."
        yield Check("unreadable spool", "warning", f"{plural(unreadable, 'line')}: {listed}", remedy)


def _unsafe(folder: Path) -> str:
    """Why the disk does not take and confirm a small file in ``folder``; empty if it does, or is not in use yet."""
    try:
        if folder.exists():
            probe(folder)
    except OSError as error:
        return str(error)
    return ""


def _unreadable(runs: Mapping[str, str]) -> Check:
    listed = "; ".join(f"{run}: {problem}" for run, problem in list(runs.items())[:5])
    more = f"; and {len(runs) - 5} more" if len(runs) > 5 else ""
    remedy = "Delete these runs in MLflow if they are damaged; update metatune if a newer version wrote them."
    return Check("unreadable runs", "warning", f"{len(runs)} are left out: {listed}{more}", remedy)


def _journal(file: Path) -> Check:
    """Without a write-ahead log, readers such as `mlflow ui` and a search lock each other out."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode == "wal":
        return Check("journal", "ok", "write-ahead log")
    remedy = "Move it to a local disk: network file systems often have no write-ahead log."
    return Check("journal", "warning", f"journal mode {mode}", remedy)


def _knowledge(directory: Path) -> Check:
    try:
        known = Knowledge.load(directory)
        usable = [family for family in known.families if known.surrogate(family) is not None]
        created = json.loads((directory / "manifest.json").read_text()).get("created", "")
    except MetatuneError as error:
        return _failed("knowledge", error)
    found = (
        f"{directory}: {plural(len(known.snapshot.studies), 'study', 'studies')} of {', '.join(usable)}; files intact"
    )
    try:
        days = (time.time() - calendar.timegm(time.strptime(str(created), "%Y-%m-%dT%H:%M:%SZ"))) / 86_400
    except ValueError:
        return Check("knowledge", "ok", f"{found}, of unknown age")
    found += f", {plural(round(days), 'day')} old"
    if days > _OLD_DAYS:
        return Check("knowledge", "warning", found, "Learn from what came since: metatune train.")
    return Check("knowledge", "ok", found)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    state: State = "ok" if free >= _LOW_DISK else "warning"
    return Check("disk", state, f"{free / 1e9:.1f} GB free here", "" if state == "ok" else "Make room for the history.")


def _failed(name: str, error: MetatuneError) -> Check:
    return Check(
        name, "problem", f"{error.problem} ({error.field}: {error.value})", error.remedy, exit_code=error.exit_code
    )
