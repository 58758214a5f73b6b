"""``Run``: what came of one replayed search, and the files that keep runs."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from metatune.errors import DataError


@dataclass(frozen=True)
class Protocol:
    """How the searches are replayed: evaluations of each, and what ``Fold`` does to the history."""

    n: int = 50
    history_rows: int = 500
    stress: str = "none"
    n_history: int | None = None
    whole: bool = False


class Key(NamedTuple):
    """What tells runs apart: a kept run counts for the same table content and version of metatune only.

    Between two versions the engine may change: whoever works on it gives every change a folder of its own.
    """

    table: str
    digest: str
    task: str
    seed: int
    method: str
    protocol: Protocol
    version: str


@dataclass(frozen=True, eq=False)
class Run:
    """One search. ``regret`` (n,) is normalised, after each evaluation; ``seconds`` (n,) is the wall time of each ask.

    ``error`` says why the method failed. If it did after some evaluations, ``regret`` goes on with the last one and
    ``seconds`` ends there; if it did before any, both are empty. ``digest`` is of the table, ``version`` of metatune.
    """

    table: str
    task: str
    seed: int
    method: str
    protocol: Protocol
    regret: np.ndarray
    seconds: np.ndarray
    error: str | None = None
    digest: str = field(kw_only=True)
    version: str = field(kw_only=True)

    @property
    def key(self) -> Key:
        """What tells runs apart."""
        return Key(self.table, self.digest, self.task, self.seed, self.method, self.protocol, self.version)


class Journal:
    """Runs as lines of JSON in ``<directory>/<table>/<method>.jsonl``, appended as they end.

    A process that is killed leaves at most half a line, which is ignored.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = Path(directory)

    def append(self, runs: Iterable[Run]) -> None:
        """Write ``runs`` at the end of their files."""
        for run in runs:
            path = self._path(run.table, run.method)
            path.parent.mkdir(parents=True, exist_ok=True)
            line = asdict(run) | {"regret": run.regret.tolist(), "seconds": run.seconds.tolist()}
            with path.open("a+b") as file:
                if file.tell() and not _ends_line(path):
                    file.write(b"\n")
                file.write(json.dumps(line).encode() + b"\n")

    def read(self, table: str, method: str) -> Iterator[Run]:
        """The runs of one method on one table, in the order in which they were written.

        Raises ``DataError`` for a line that is whole and yet no run.
        """
        path = self._path(table, method)
        for number, line in enumerate(path.read_text().splitlines() if path.is_file() else (), 1):
            try:
                raw = json.loads(line)
            except ValueError:  # cut off when its writer was killed
                continue
            try:
                arrays = {name: np.array(raw[name], dtype=np.float64) for name in ("regret", "seconds")}
                yield Run(**(raw | arrays | {"protocol": Protocol(**raw["protocol"])}))
            except (TypeError, KeyError, ValueError) as error:
                raise DataError(
                    f"line {number} is not a run ({type(error).__name__}: {error})",
                    field=path.name,
                    value=str(path),
                    remedy="Remove that line, or name another folder.",
                ) from error

    def _path(self, table: str, method: str) -> Path:
        return self._directory / quote(table, safe=" ") / f"{quote(method, safe=' ')}.jsonl"


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
