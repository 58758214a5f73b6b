"""The manifest beside a saved model: its family, its state in JSON, and the digests of its files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from metatune.errors import KnowledgeError

#: What a class is called, of a type that JSON keeps.
Label: TypeAlias = str | bool | int | float

MANIFEST = "model.json"
_FORMAT = 3


@dataclass(frozen=True)
class Manifest:
    """What ``model.json`` says: the family, the SHA-256 of each file, and the family's own state in plain JSON.

    ``classes`` are the labels in the order of the class codes; empty for regression. ``raw`` is what
    ``metatune.raw.raw_state`` gave, if the model is that of a task.
    """

    family: str
    files: Mapping[str, str]
    state: Mapping[str, Any]
    classes: tuple[Label, ...] = ()
    raw: Mapping[str, Any] | None = None


def write_manifest(
    directory: Path, *, family: str, files: Sequence[str], state: Mapping[str, Any] | None = None
) -> None:
    """Write ``model.json`` into ``directory``; ``files`` are names of files that are there already."""
    digests = {name: _digest(directory / name) for name in files}
    _write(directory, Manifest(family, digests, dict(state or {})))


def add_task(directory: Path, classes: Sequence[Label], raw: Mapping[str, Any] | None) -> None:
    """Add what is the task's to the manifest in ``directory``: a family, which writes it, knows class codes only."""
    _write(directory, replace(read_manifest(directory), classes=tuple(classes), raw=raw))


def _write(directory: Path, manifest: Manifest) -> None:
    content = json.dumps({"format": _FORMAT, **asdict(manifest)}, allow_nan=False)
    (directory / MANIFEST).write_text(content, encoding="utf-8")


def read_manifest(directory: Path) -> Manifest:
    """The manifest in ``directory``. Raises ``KnowledgeError`` when it is missing, damaged or of another format."""
    path = directory / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != _FORMAT:
            raise _damaged("saved in another format", path, raw["format"])
        classes = tuple(raw["classes"])
        if not all(isinstance(label, Label) for label in classes):
            raise _damaged("classes that are neither texts nor numbers", path, classes)
        examples = None if raw["raw"] is None else dict(raw["raw"])
        return Manifest(str(raw["family"]), dict(raw["files"]), dict(raw["state"]), classes, examples)
    except OSError as error:
        raise _damaged(f"cannot be read ({error.strerror})", path, str(directory)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(f"not a model's manifest ({error})", path, str(directory)) from error


def check_files(directory: Path, manifest: Manifest) -> None:
    """Raise ``KnowledgeError`` when a file of the manifest is missing, altered or outside ``directory``."""
    for name, digest in manifest.files.items():
        path = directory / name
        if Path(name).name != name:
            raise _damaged("a file outside the folder", directory / MANIFEST, name)
        try:
            found = _digest(path)
        except OSError as error:
            raise _damaged(f"cannot be read ({error.strerror})", path, name) from error
        if found != digest:
            raise _damaged("the file is not the one that was saved", path, name)


def _damaged(problem: str, path: Path, value: object) -> KnowledgeError:
    remedy = "Give the folder of a model saved by this version of metatune, or train and save the model again."
    return KnowledgeError(problem, field=str(path), value=value, remedy=remedy)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
