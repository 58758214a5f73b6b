"""Released packages as search methods, each by its own code: nothing here imitates a peer.

One module per package; it imports the package at its top, so it is imported only after ``unavailable`` said ``None``.
"""

import importlib.util
import os
import shutil

#: Method -> the packages that its module imports.
_PACKAGES = {
    "optuna_gp": ("torch",),
    "smac": ("smac", "ConfigSpace"),
    "syne_tune": ("syne_tune", "xgboost", "huggingface_hub"),
    "ax": ("ax", "botorch"),
}
#: Names a Python interpreter that has OpenBox: its pins (numpy < 2, pandas < 2.2) exclude it from metatune's own.
OPENBOX_PYTHON = "METATUNE_OPENBOX_PYTHON"

#: The methods of this package; each is the module of that name, and the function ``method`` in it.
NAMES = (*_PACKAGES, "openbox")


def unavailable(name: str) -> str | None:
    """Why the method ``name`` cannot run here, with the remedy; ``None`` when it can."""
    if name == "openbox":
        return _openbox_unavailable()
    missing = [package for package in _PACKAGES[name] if importlib.util.find_spec(package) is None]
    if missing:
        return f'{", ".join(missing)} not installed: pip install "metatune[bench]"'
    return None


def _openbox_unavailable() -> str | None:
    python = os.environ.get(OPENBOX_PYTHON)
    if not python:
        return (
            "OpenBox needs numpy < 2 and pandas < 2.2, so it cannot share an environment with metatune: "
            "make one for it (python -m venv DIR; DIR/bin/pip install openbox) "
            f"and set {OPENBOX_PYTHON}=DIR/bin/python"
        )
    return None if shutil.which(python) else f"{OPENBOX_PYTHON}={python} is not an executable"
