"""What holds for all tests: one thread per process, and nothing of the user's own settings."""

import os
import signal
import tempfile

import pytest

# Several test processes share the cores; threads of their libraries would only get in each other's way.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ.setdefault(variable, "1")
for variable in ("METATUNE_KNOWLEDGE", "METATUNE_KEY", "MLFLOW_TRACKING_URI"):
    os.environ.pop(variable, None)
# Not the user's own spool: searches also send what others left there.
os.environ["METATUNE_SPOOL"] = tempfile.mkdtemp(prefix="metatune-tests-spool-")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# A shell has what it starts in the background ignore Ctrl-C, which tests send to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_copies_in_the_cache_of_the_user(tmp_path_factory):
    os.environ["METATUNE_MIRROR"] = str(tmp_path_factory.mktemp("mirror"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The test's own spool: what it writes is there, or beside it in ``fallback``."""
    # Here, not above: the settings above must be made before metatune is loaded.
    from metatune.history import spool

    monkeypatch.setenv("METATUNE_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(spool, "fallback_folder", lambda: tmp_path / "fallback")
    return tmp_path / "spool"
