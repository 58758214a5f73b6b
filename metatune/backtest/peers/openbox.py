"""OpenBox's transfer learning: its advisor with a history of source tasks, which picks RGPE (Feurer et al. 2018).

The advisor's own choices are kept: three opening points from the best of the source tasks, then an ensemble of one
model per source task and one of this task, expected improvement, one proposal in ten at random. Its model ranks the
unevaluated rows of the pool; opening and random points are mapped to the nearest such row. OpenBox's pins exclude it
from metatune's environment, so it runs as a process of its own, by the interpreter ``METATUNE_OPENBOX_PYTHON`` names.
"""

import json
import os
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from optuna.distributions import CategoricalDistribution

from metatune.backtest.fold import Problem
from metatune.backtest.method import Observed, Search
from metatune.backtest.peers import OPENBOX_PYTHON
from metatune.backtest.peers.pool import Pool, as_texts, completed, from_texts, source_tasks
from metatune.errors import SearchError
from metatune.space import SearchSpace
from metatune.trial import Configuration

#: Trials of a source task that it is given, at random: the default of its ``RGPE``, whose cost is cubic in them.
SOURCE_ROWS = 50
#: Source tasks that it is given, at random: every proposal ranks each of them against the observations, in Python.
SOURCE_TASKS = 10


class OpenBoxSearch:
    """One search by OpenBox; failures are told as failed trials."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._space, self._pool = problem.space, Pool(problem)
        server = Path(__file__).with_name("openbox_server.py")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  open as long as the process
        # Isolated: the folder of the script has modules with the names of the packages.
        self._process = subprocess.Popen(
            [os.environ[OPENBOX_PYTHON], "-I", str(server)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        weakref.finalize(self, _end, self._process, self._errors)
        tasks = source_tasks(problem, rows=SOURCE_ROWS, tasks=SOURCE_TASKS, seed=seed)
        self._send(
            {
                **described(problem.space),
                "tasks": [(self._texts(rows), losses.tolist()) for rows, losses in tasks],
                "rows": self._texts(problem.configurations),
                "seed": int(np.random.default_rng(seed).integers(2**31)),
            }
        )

    def ask(self, observed: Observed) -> int:
        """See ``Search``; raises ``SearchError`` when OpenBox fails."""
        self._send(self._pool.news(observed))
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise self._failure()
        return self._pool.nearest(from_texts(self._space, json.loads(answer)), observed)

    def _texts(self, configurations: Sequence[Configuration]) -> list[dict[str, Any]]:
        return [as_texts(self._space, completed(self._space, c)) for c in configurations]

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def _failure(self) -> SearchError:
        self._process.wait()
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
        return SearchError(
            f"OpenBox stopped ({last})",
            field=OPENBOX_PYTHON,
            value=os.environ[OPENBOX_PYTHON],
            remedy="Check that this interpreter can import openbox.",
        )


def described(space: SearchSpace) -> dict[str, Any]:
    """``space`` as plain values, choices as texts."""
    parameters: list[dict[str, Any]] = []
    for name, distribution in space.parameters.items():
        if isinstance(distribution, CategoricalDistribution):
            parameters.append({"name": name, "choices": [str(choice) for choice in distribution.choices]})
        else:
            bounds: Any = distribution
            whole = isinstance(bounds.low, int)
            parameters.append({"name": name, "low": bounds.low, "high": bounds.high, "log": bounds.log, "whole": whole})
    conditions = {name: (c.parent, [str(value) for value in c.values]) for name, c in space.conditions.items()}
    return {"parameters": parameters, "conditions": conditions}


def _end(process: "subprocess.Popen[str]", errors: IO[str]) -> None:
    for stream in (process.stdin, process.stdout, errors):
        if stream is not None:
            stream.close()
    process.wait()


def method(problem: Problem, seed: int) -> Search:
    """A search by OpenBox's transfer learning."""
    return OpenBoxSearch(problem, seed)
