"""The build: what is left to do goes to worker processes, what ends to the history, and the screen says how far."""

import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kb.design import Unit
from kb.pool import run_units
from kb.worker import Broken, Done, Ended, Opened
from metatune.history.outbox import Outbox
from metatune.trial import Trial


@dataclass
class _Progress:
    """Counts, and an estimate of the time left from the mean seconds per trial of each family."""

    left: dict[str, int]
    workers: int
    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def note(self, unit: Unit, trial: Trial) -> None:
        self.left[unit.family] -= 1
        self.seconds[unit.family].append(trial.seconds)
        self.failed[unit.study_id] += trial.status == "failed"

    def line(self, unit: Unit) -> str:
        done = sum(map(len, self.seconds.values()))
        passed = time.monotonic() - self.started
        means = {family: sum(values) / len(values) for family, values in self.seconds.items()}
        unknown = max(means.values(), default=0.0)
        # Reading data, meta-features and writing take their share: scale by what the clock says.
        overhead = passed * self.workers / max(sum(map(sum, self.seconds.values())), 1e-9)
        left = sum(count * means.get(family, unknown) for family, count in self.left.items()) * overhead / self.workers
        return (
            f"{done}/{done + sum(self.left.values())} trials  {unit.entry.name} x {unit.family}: "
            f"{len(unit.numbers)} done, {self.failed[unit.study_id]} failed  "
            f"[{done / passed:.1f} trials/s, {passed / 60:.0f} min, about {left / 60:.0f} min left]"
        )


def build(units: Sequence[Unit], outbox: Outbox, *, workers: int, folder: str, limit: float) -> int:
    """Make all trials of ``units`` and record them; the number of units whose dataset was unusable.

    They take the way of all trials: to the spool as they end, so that a killed build loses none, and on to the store.
    """
    progress = _Progress(_by_family(units), workers)
    broken = 0
    for unit, message in run_units(units, workers=workers, folder=folder, limit=limit):
        if isinstance(message, Opened):
            outbox.open_study(message.study)
        elif isinstance(message, Ended):
            outbox.add_trial(unit.study_id, message.trial)
            progress.note(unit, message.trial)
        elif isinstance(message, Done):
            outbox.close_study(unit.study_id, "finished", {})
            # Else trials that end quickly wait for a pause, of which there is none.
            outbox.flush()
            print(progress.line(unit), flush=True)
        elif isinstance(message, Broken):
            broken += 1
            print(f"{unit.entry.name} x {unit.family}: {message.reason}", file=sys.stderr, flush=True)
    return broken


def _by_family(units: Sequence[Unit]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for unit in units:
        counts[unit.family] += len(unit.numbers)
    return counts


def summary(units: Sequence[Unit]) -> str:
    """What is about to be done, in one line."""
    counts: Mapping[str, int] = _by_family(units)
    parts = ", ".join(f"{family} {count}" for family, count in counts.items())
    datasets = len({unit.entry.name for unit in units})
    return f"{sum(counts.values())} trials to make on {datasets} datasets ({parts})"
