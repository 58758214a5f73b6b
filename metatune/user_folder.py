"""``user_folder``: where metatune keeps what is this user's own, outside of any project."""

import os
import sys
from pathlib import Path
from typing import Literal

_BASE = {"cache": ("XDG_CACHE_HOME", ".cache"), "state": ("XDG_STATE_HOME", ".local/state")}


def user_folder(variable: str, kind: Literal["cache", "state"], name: str = "") -> Path:
    """The folder that the environment's ``variable`` names, else ``name`` in metatune's own among this user's.

    The latter follows the XDG Base Directory Specification 0.8; a ``state`` on Windows is in ``LOCALAPPDATA``.
    """
    named = os.environ.get(variable)
    if named:
        return Path(named).expanduser().absolute()
    xdg, usual = _BASE[kind]
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" and kind == "state" else xdg)
    return (Path(base) if base else Path.home() / usual) / "metatune" / name
