"""``fetched``: a published knowledge as a folder of this machine, downloaded once and checked whenever it is used.

The cache is ``$METATUNE_CACHE``, else ``$XDG_CACHE_HOME/metatune``, else ``~/.cache/metatune``. A folder in it is
named by version and manifest, made under another name and renamed, so that several processes may start at once. Which
version an address meant when the registry was last reached is kept beside them, for the time when it cannot be.
"""

import hashlib
import json
import logging
import shutil
import uuid
from pathlib import Path
from urllib.parse import quote

from metatune.errors import KnowledgeError, MetatuneError, NoHistoryError, StoreError
from metatune.history.registry import Reference, Registry, Version
from metatune.manifest import MANIFEST, check_files, checked_names, sha256
from metatune.user_folder import user_folder

CACHE_VARIABLE = "METATUNE_CACHE"

_LOG = logging.getLogger("metatune")


def fetched(address: str, *, registry: Registry | None = None) -> Path:
    """The folder with the knowledge at ``address`` (``models:/<name>@<alias>``), every file checked.

    When the registry cannot be reached, the version that ``address`` meant last, with a warning. Raises ``UsageError``
    for a bad address, ``NoHistoryError`` for one that names nothing, ``StoreError`` for a registry that cannot be
    reached and was not before, ``KnowledgeError`` for files that are not those that were published.
    """
    reference = Reference.parse(address)
    registry = Registry() if registry is None else registry
    cache = cache_directory()
    remembered = cache / "addresses" / f"{_digest(f'{registry.uri} {address}')}.json"
    try:
        version = registry.find(reference)
        if version is None:
            raise NoHistoryError(
                "no knowledge was published under this address",
                field="knowledge",
                value=address,
                remedy="Publish one: metatune publish.",
            )
        folder = _cached(version, registry, cache)
    except StoreError as error:
        kept = _remembered(remembered, cache)
        if kept is None:
            raise
        _LOG.warning("The registry cannot be reached, so the knowledge in %s is used: %s", kept.name, error)
        return kept
    _remember(remembered, folder)
    return folder


def cache_directory() -> Path:
    """Where published knowledge is kept on this machine."""
    return user_folder(CACHE_VARIABLE, "cache")


def _cached(version: Version, registry: Registry, cache: Path) -> Path:
    """The folder of ``version`` in ``cache``; downloaded if it is not there or was damaged."""
    folder = cache / "knowledge" / f"{quote(version.name, safe=' ')[:80]}-{version.number}-{version.manifest[:16]}"
    if _is_whole(folder, version.manifest):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{uuid.uuid4().hex}")
    fresh.mkdir()
    try:
        registry.download(version, [MANIFEST], fresh)
        if sha256(fresh / MANIFEST) != version.manifest:
            raise _altered(version, "its manifest is not the one that was published")
        files = _listed(fresh / MANIFEST)
        registry.download(version, list(files), fresh)
        check_files(fresh, files)
        _put(fresh, folder, version.manifest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _put(fresh: Path, folder: Path, manifest: str) -> None:
    """Move ``fresh`` to ``folder`` unless another process has put the same there meanwhile."""
    for _ in range(2):
        try:
            fresh.rename(folder)
            return
        except OSError:
            if _is_whole(folder, manifest):
                return
            damaged = folder.with_name(f".{uuid.uuid4().hex}")
            folder.rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)
    raise KnowledgeError(
        "the cache cannot be written",
        field="cache",
        value=str(folder),
        remedy=f"Check the permissions there, or name another folder in {CACHE_VARIABLE}.",
    )


def _is_whole(folder: Path, manifest: str) -> bool:
    try:
        if sha256(folder / MANIFEST) != manifest:
            return False
        check_files(folder, _listed(folder / MANIFEST))
    except (OSError, MetatuneError):
        return False
    return True


def _listed(manifest: Path) -> dict[str, str]:
    """The files that a manifest lists, by safe names."""
    try:
        return checked_names(json.loads(manifest.read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise KnowledgeError.unreadable("not a manifest", error, field="knowledge", value=str(manifest)) from error


def _remember(file: Path, folder: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{uuid.uuid4().hex}")
    partial.write_text(json.dumps({"folder": folder.name, "manifest": sha256(folder / MANIFEST)}))
    partial.replace(file)


def _remembered(file: Path, cache: Path) -> Path | None:
    """The folder that ``_remember`` noted, if it is there and whole."""
    try:
        kept = json.loads(file.read_text())
        folder = cache / "knowledge" / Path(str(kept["folder"])).name
        return folder if _is_whole(folder, str(kept["manifest"])) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _altered(version: Version, problem: str) -> KnowledgeError:
    return KnowledgeError(
        f"this version was altered: {problem}",
        field="knowledge",
        value=version.address,
        remedy="Do not use it; publish the knowledge again: metatune publish.",
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
