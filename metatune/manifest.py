"""Manifests: which files a folder consists of, with the SHA-256 of each, and nothing outside the folder.

A name in a manifest is data of whoever wrote it. It is used only after ``safe_path`` has said that it stays inside.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from metatune.errors import KnowledgeError

#: The file of a folder that lists the others.
MANIFEST = "manifest.json"

_DIGEST = re.compile(r"[0-9a-f]{64}")
# Beyond what any file system of today takes, and characters that mean something else on one of them.
_LONGEST, _STRANGE = 400, re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')


def safe_path(directory: Path, name: object) -> Path:
    """Where the file ``name`` of a manifest is in ``directory``.

    Raises ``KnowledgeError`` for a name that is not a plain relative path with ``/``, or that leads through a link.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    plain = isinstance(name, str) and "/".join(parts) == name and not name.startswith("/")
    if not parts or not plain or ".." in parts or len(str(name)) > _LONGEST or _STRANGE.search(str(name)):
        raise _hostile("the name of a file does not stay inside its folder", name)
    path = directory
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise _hostile("a link instead of a file", name)
    return path


def file_hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file in ``directory`` but its manifest, by name. Raises ``KnowledgeError`` for a link."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or (path.is_file() and name != MANIFEST):
            found[name] = sha256(safe_path(directory, name))
    return found


def checked_names(files: object) -> dict[str, str]:
    """``files`` as a mapping of safe names to digests. Raises ``KnowledgeError`` for anything else."""
    if not isinstance(files, Mapping):
        raise _hostile("the list of files is damaged", type(files).__name__)
    for name, digest in files.items():
        safe_path(Path(), name)
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise _hostile("the SHA-256 of a file is damaged", name)
    return dict(files)


def check_files(directory: Path, files: object) -> None:
    """Check that ``directory`` holds ``files`` (digests by name), and its folders nothing else but hidden files.

    Files beside the manifest, such as a README, are not looked at. Raises ``KnowledgeError`` naming a file that is
    missing, altered, a link, or not listed.
    """
    listed = checked_names(files)
    for name, expected in listed.items():
        path = safe_path(directory, name)
        if not path.is_file() or sha256(path) != expected:
            raise KnowledgeError(
                "the file is missing" if not path.is_file() else "the file was altered (its SHA-256 differs)",
                field="knowledge",
                value=str(path),
                remedy="Restore the folder, or train again: metatune train.",
            )
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if name in listed or "/" not in name or path.name.startswith(".") or (path.is_dir() and not path.is_symlink()):
            continue
        raise KnowledgeError(
            "the file is not in the manifest",
            field="knowledge",
            value=str(path),
            remedy="Remove it; what a knowledge consists of is listed in its manifest.",
        )


def sha256(path: Path) -> str:
    """SHA-256 of the content of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hostile(problem: str, value: object) -> KnowledgeError:
    return KnowledgeError(
        problem, field="manifest", value=value, remedy="Do not use this folder; fetch it again from whom you trust."
    )
