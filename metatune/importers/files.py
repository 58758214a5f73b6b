"""Files that other tools wrote: found below a folder, and read as data only."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metatune.errors import UsageError


def checked_folder(directory: str | Path, pattern: str, tool: str) -> Path:
    """``directory`` as an absolute path. Raises ``UsageError`` unless files like ``pattern`` are below it."""
    root = Path(directory).absolute()
    if not root.is_dir():
        raise UsageError("no such folder", field="directory", value=str(directory), remedy="Give an existing folder.")
    if next(root.rglob(pattern), None) is None:
        raise UsageError(
            f"no files {pattern} below it",
            field="directory",
            value=str(directory),
            remedy=f"Give the folder in which {tool} keeps its trials.",
        )
    return root


def read_json(path: Path) -> Any:
    """The JSON document in ``path``; ``None`` if it cannot be read."""
    try:
        return parsed_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def parsed_json(text: str) -> Any:
    """The JSON document ``text``; ``None`` if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def read_json_lines(path: Path) -> Iterator[Any]:
    """The documents in ``path``, one a line; lines that are damaged or cut off are left out."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    continue
    except OSError:
        return


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with paths such as ``net/depth`` for names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = value
    return found
