"""The manifest beside a saved model: its family, its state in JSON, and the digests of its files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metatune.errors import KnowledgeError

MANIFEST = "model.json"
_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What ``model.json`` says: the family, the SHA-256 of each file, and the family's own state in plain JSON."""

    family: str
    files: Mapping[str, str]
    state: Mapping[str, Any]


def write_manifest(
    directory: Path, *, family: str, files: Sequence[str], state: Mapping[str, Any] | None = None
) -> None:
    """Write ``model.json`` into ``directory``; ``files`` are names of files that are there already."""
    manifest = {
        "format": _FORMAT,
        "family": family,
        "files": {name: _digest(directory / name) for name in files},
        "state": dict(state or {}),
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, allow_nan=False), encoding="utf-8")


def read_manifest(directory: Path) -> Manifest:
    """The manifest in ``directory``. Raises ``KnowledgeError`` when it is missing, damaged or of another format."""
    path = directory / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != _FORMAT:
            raise _damaged("saved in another format", path, raw["format"])
        return Manifest(str(raw["family"]), dict(raw["files"]), dict(raw["state"]))
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
