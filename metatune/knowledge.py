"""``Knowledge``: a directory with a snapshot, the surrogates trained on it, and a manifest that vouches for both."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import numpy as np

from metatune.errors import KnowledgeError, NoHistoryError, UnknownNameError
from metatune.family_table import FamilyTable
from metatune.history.schema import study_document
from metatune.manifest import MANIFEST, check_files, file_hashes
from metatune.metric import Metric
from metatune.snapshot import Snapshot
from metatune.surrogate.family import FamilySurrogate
from metatune.trial_table import content_digest
from metatune.version import __version__

#: Raised when the files, or the meta-features in them, change their meaning.
KNOWLEDGE_VERSION = 3
#: Names the knowledge to use instead of the one found or shipped.
KNOWLEDGE_VARIABLE = "METATUNE_KNOWLEDGE"
#: How the address of a published knowledge begins.
PUBLISHED = "models:/"
#: Where ``metatune train`` writes, and where a search looks, below the current folder.
LOCAL_DIRECTORY = Path("metatune-knowledge")


class Knowledge:
    """What the history teaches, one ``FamilySurrogate`` per model family, read when first asked for.

    Made by ``build`` (train on a snapshot), ``load`` (a directory that ``save`` wrote), ``starter`` (what ships with
    the package) or ``find`` (whichever of these applies).
    """

    def __init__(
        self, snapshot: Snapshot, *, surrogates: Mapping[str, FamilySurrogate], directory: Path | None
    ) -> None:
        self.snapshot = snapshot
        self.directory = directory
        self._surrogates = dict(surrogates)
        self._by_metric: dict[tuple[str, str, str], FamilySurrogate] = {}

    def __repr__(self) -> str:
        where = None if self.directory is None else str(self.directory)
        return f"Knowledge(directory={where!r}, studies={len(self.snapshot.studies)}, families={list(self.families)})"

    @property
    def families(self) -> tuple[str, ...]:
        """The model families it knows."""
        return self.snapshot.families

    def surrogate(
        self, family: str, metric: Metric | None = None, *, missing_ok: bool = False
    ) -> FamilySurrogate | None:
        """What is known of ``family``, one of ``families``; ``None`` if its trials teach nothing.

        With ``metric``, tasks count by it where their trials recorded it, whatever they were optimised for.
        Raises ``UnknownNameError`` for a family without any history, unless ``missing_ok``: then it is ``None``, too.
        Raises ``KnowledgeError`` for damaged files.
        """
        if family not in self.families and not missing_ok:
            hint = UnknownNameError.of("family", family, self.families).remedy
            remedy = f"{hint} A family of your own that is new has none: search without, MetaSampler(None)."
            raise UnknownNameError("no history of it in this knowledge", field="family", value=family, remedy=remedy)
        found = self._learnt(family) if family in self.families else None
        if found is None or not found.tasks:
            return None
        if metric is None:
            return found
        key = family, metric.name, metric.direction
        if key not in self._by_metric:
            self._by_metric[key] = found.judged_by(metric)
        return self._by_metric[key]

    def _learnt(self, family: str) -> FamilySurrogate:
        """What was learnt about one of ``families``, be it nothing; read when first asked for."""
        if family not in self._surrogates:
            if self.directory is None:
                raise KeyError(family)
            folder = self.directory / "surrogates" / _file_name(family)
            self._surrogates[family] = FamilySurrogate.read(folder, self.snapshot.family(family))
        return self._surrogates[family]

    @classmethod
    def build(cls, snapshot: Snapshot, *, reuse: "Knowledge | None" = None) -> "Knowledge":
        """Train on ``snapshot``; families whose trials are those of ``reuse`` are taken from there.

        Studies of ``reuse`` count as borrowed: the more of the others there are, the less weight they have.

        Raises ``NoHistoryError`` for a snapshot without studies.
        """
        if not snapshot.studies:
            raise NoHistoryError(
                "there are no studies to learn from",
                field="history",
                value=0,
                remedy="Run a search first: metatune tune.",
            )
        borrowed = frozenset(study.id for study in reuse.snapshot.studies) if reuse is not None else frozenset()
        surrogates = {}
        for family in snapshot.families:
            table = snapshot.family(family)
            known = reuse._learnt(family) if reuse is not None and family in reuse.families else None
            same = known is not None and _trained_on(known.table) == _trained_on(table)
            surrogates[family] = (
                replace(known, borrowed=borrowed)
                if known is not None and same
                else FamilySurrogate.fit(table, borrowed=borrowed)
            )
        return cls(snapshot, surrogates=surrogates, directory=None)

    @property
    def borrowed(self) -> frozenset[str]:
        """The ids of the studies that are not the team's own, such as those of the starter."""
        return frozenset().union(*(self._learnt(family).borrowed for family in self.families))

    def without(self, studies: Collection[str]) -> "Knowledge":
        """The same without the studies with these ids; families that had one are trained again."""
        gone = frozenset(studies)
        left = Snapshot.of(record for record in self.snapshot.records() if record[0].id not in gone)
        surrogates = {}
        for family in left.families:
            known, table = self._learnt(family), left.family(family)
            borrowed = known.borrowed - gone
            same = _trained_on(known.table) == _trained_on(table)
            surrogates[family] = (
                replace(known, table=table, borrowed=borrowed)
                if same
                else FamilySurrogate.fit(table, borrowed=borrowed)
            )
        return Knowledge(left, surrogates=surrogates, directory=None)

    def save(self, directory: Path) -> None:
        """Write everything into ``directory``, replacing an earlier knowledge there at once or not at all.

        Raises ``KnowledgeError`` if ``directory`` holds something else.
        """
        directory = Path(directory).resolve()
        if directory.exists() and any(directory.iterdir()) and not (directory / MANIFEST).is_file():
            raise KnowledgeError(
                "the folder holds other files",
                field="knowledge",
                value=str(directory),
                remedy="Name a new or empty folder.",
            )
        directory.parent.mkdir(parents=True, exist_ok=True)
        fresh = directory.with_name(f".{directory.name}.{uuid.uuid4().hex[:8]}")
        try:
            self.snapshot.write(fresh / "snapshot")
            for family in self.families:
                self._learnt(family).write(fresh / "surrogates" / _file_name(family))
            (fresh / MANIFEST).write_text(json.dumps(self._manifest(fresh), indent=1, sort_keys=True))
            _replace(directory, fresh)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _manifest(self, directory: Path) -> dict[str, object]:
        return {
            "version": KNOWLEDGE_VERSION,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "metatune": __version__,
            "snapshot": self.snapshot.digest,
            "studies": len(self.snapshot.studies),
            "files": file_hashes(directory),
        }

    @classmethod
    def load(cls, directory: Path) -> "Knowledge":
        """The knowledge in ``directory``, every file checked against the manifest.

        Raises ``KnowledgeError`` naming a file that is missing, altered or not in the manifest, or a version that
        this release cannot read.
        """
        directory = Path(directory)
        check_files(directory, files_of(directory))
        return cls(Snapshot.read(directory / "snapshot"), surrogates={}, directory=directory)

    @classmethod
    def starter(cls) -> "Knowledge":
        """The knowledge that ships with metatune."""
        return cls.load(starter_directory())

    @classmethod
    def find(cls, directory: Path | str | None = None) -> "Knowledge":
        """The knowledge in ``directory``; else in ``$METATUNE_KNOWLEDGE``, in ./metatune-knowledge, or the starter.

        Both may also name a published one, ``models:/<name>@<alias>``; see ``metatune.published.fetched``.
        """
        return cls.load(knowledge_directory(directory))


def knowledge_directory(directory: Path | str | None = None) -> Path:
    """The folder that ``Knowledge.find`` reads; a published knowledge is downloaded. Raises as ``fetched`` does."""
    named = str(directory) if directory is not None else os.environ.get(KNOWLEDGE_VARIABLE)
    if named and named.startswith(PUBLISHED):
        # Imported only now: MLflow takes a second to load, and a folder needs none of it.
        from metatune.published import fetched

        return fetched(named)
    if named:
        return Path(named)
    return LOCAL_DIRECTORY if (LOCAL_DIRECTORY / MANIFEST).is_file() else starter_directory()


def starter_directory() -> Path:
    """Where the starter knowledge is: inside the installed package, or beside it in a source tree."""
    package = Path(str(resources.files("metatune")))
    installed = package / "knowledge_base"
    return installed if (installed / MANIFEST).is_file() else package.parent / "knowledge_base"


def files_of(directory: Path) -> object:
    """What the manifest lists. Raises ``KnowledgeError`` where there is none, or one of another version."""
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        found = manifest["version"]
        files = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise KnowledgeError(
            f"not a knowledge folder ({error})",
            field="knowledge",
            value=str(directory),
            remedy="Name a folder that `metatune train` wrote.",
        ) from error
    if found != KNOWLEDGE_VERSION:
        raise KnowledgeError(
            f"this release reads version {KNOWLEDGE_VERSION}",
            field="knowledge version",
            value=found,
            remedy="Train the knowledge again with this release: metatune train.",
        )
    return files


def _trained_on(table: FamilyTable) -> tuple[str, list[str]]:
    """All that a surrogate is made of: the trials, and their studies with task and space."""
    studies = [study_document(table.studies[i]) for i in np.unique(table.study)]
    return content_digest(table.table), studies


def _replace(directory: Path, fresh: Path) -> None:
    """Put ``fresh`` where ``directory`` is; at every moment one whole version is in place or restorable."""
    if directory.exists():
        old = fresh.with_name(f"{fresh.name}.old")
        directory.rename(old)
        fresh.rename(directory)
        shutil.rmtree(old)
    else:
        fresh.rename(directory)


def _file_name(family: str) -> str:
    return quote(family, safe="").replace(".", "%2E")  # no family is called `..`
