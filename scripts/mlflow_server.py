"""A real MLflow server that can be killed and started again at the same address."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests


class MLflowServer:
    """``backend``: the address of its database. ``folder``: for its log and its artifacts.

    Use it as a context: it is killed at the end. ``start`` waits until it answers.
    """

    def __init__(self, backend: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._backend, self._folder = backend, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"http://127.0.0.1:{self._port}"

    def start(self, seconds: float = 120.0) -> None:
        """Start it. Raises ``RuntimeError`` with its log if it does not answer within ``seconds``."""
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self._backend]
        command += ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        # The queues of jobs are seven more processes, of which no history knows.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        path = self._folder / "server.log"
        with path.open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True, env=environment
            )
        deadline = time.monotonic() + seconds
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(path.read_text())
            time.sleep(0.2)

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            return requests.get(f"{self.uri}/health", timeout=2).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """End it with all its workers, as when the machine loses power."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> "MLflowServer":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
