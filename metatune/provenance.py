"""``provenance``: who made a record, and with which code; the machine's name only where the user allows it.

``METATUNE_PROVENANCE`` lists what may be kept: ``user``, ``code`` and ``host``, separated by commas; ``all`` or
``none``. Unless it is set, ``user,code``. When is part of every record anyway.
"""

import getpass
import os
import platform
import subprocess
from collections.abc import Callable, Mapping

from metatune.errors import UnknownNameError

PROVENANCE_VARIABLE = "METATUNE_PROVENANCE"
#: What is kept unless the user says otherwise.
USUAL = "user,code"

_GIT_SECONDS = 5.0


def provenance(allowed: str | None = None) -> dict[str, str]:
    """What is ``allowed`` (as in ``METATUNE_PROVENANCE``, which counts unless given) and known, by name.

    ``code`` is the commit that is checked out in the current folder. Raises ``UnknownNameError`` for another name.
    """
    text = os.environ.get(PROVENANCE_VARIABLE, USUAL) if allowed is None else allowed
    wanted = {word.strip() for word in text.split(",") if word.strip()} - {"none"}
    for word in wanted - {*_SOURCES, "all"}:
        raise UnknownNameError.of(PROVENANCE_VARIABLE, word, [*_SOURCES, "all", "none"])
    found = {name: look() for name, look in _SOURCES.items() if wanted & {name, "all"}}
    return {name: value for name, value in found.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in many containers
        return ""


def _code() -> str:
    """The commit; nothing outside a repository or without git. ``rev-parse`` runs no hook and no filter."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


_SOURCES: Mapping[str, Callable[[], str]] = {"user": _user, "code": _code, "host": platform.node}
