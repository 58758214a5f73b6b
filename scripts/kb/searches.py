"""Searches with and without knowledge: how they are kept, and what pairs of them say. See ``benchmark_reserved.py``."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from metatune.version import __version__

#: The goal: the median number of warm trials.
GOAL = 5
FILE = "searches.jsonl"


@dataclass(frozen=True)
class Search:
    """What is to be run; ``knowledge`` is the digest of what it knows of the family, empty for a cold search."""

    family: str
    dataset: str
    seed: int
    method: str
    trials: int
    knowledge: str

    @property
    def random_seed(self) -> int:
        """The seed of its random numbers, another one for every dataset, the same for cold and warm.

        With one seed for all, every cold search would begin with the same random configurations, and what is measured
        would rest on how good these happen to be.
        """
        return int(np.random.SeedSequence([self.seed, zlib.crc32(self.dataset.encode())]).generate_state(1)[0])


@dataclass(frozen=True)
class Ended:
    """A search that ended. ``scores``, higher is better, has ``None`` for failed trials; ``seconds`` is wall time."""

    search: Search
    metric: str
    scores: tuple[float | None, ...]
    seconds: float
    error: str | None = None

    @property
    def best(self) -> np.ndarray:
        """Best score so far after each trial (``search.trials``,), minus infinity before the first complete one."""
        found = [-np.inf if score is None else score for score in self.scores]
        curve = np.maximum.accumulate(found) if found else np.array([-np.inf])
        return np.pad(curve, (0, self.search.trials - len(curve)), mode="edge")


def read(folder: Path) -> dict[Search, Ended]:
    """The searches that ended without an error.

    Ignored are a line that was cut off when its writer was killed, and searches by another version of metatune or with
    other random numbers than theirs are now: a cold and a warm one would not begin alike.
    """
    path, found = folder / FILE, {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        search = Search(**raw.pop("search"))
        made = raw.pop("random_seed", None), raw.pop("version", None)
        ended = Ended(search, **(raw | {"scores": tuple(raw["scores"])}))
        if ended.error is None and made == (search.random_seed, __version__):
            found[search] = ended
    return found


def append(folder: Path, ended: Ended) -> None:
    """Write ``ended`` at the end of the file, on a line of its own whatever was cut off before."""
    path = folder / FILE
    line = asdict(ended) | {"random_seed": ended.search.random_seed, "version": __version__}
    whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a") as file:
        file.write(("" if whole else "\n") + json.dumps(line) + "\n")


def trials_to_reach(best: np.ndarray, target: float) -> float:
    """The number, from 1, of the trial with which ``best`` (n,), ascending, reaches ``target``; infinite if none."""
    return float(np.argmax(best >= target)) + 1 if best[-1] >= target else np.inf


def summarise(done: dict[Search, Ended], *, trials: int, knowledge: Mapping[str, str]) -> dict[str, Any]:
    """Family by family what the searches of ``trials`` trials say; infinite numbers as ``None``.

    ``knowledge``: digests by family. Searches with another one do not count.
    """
    pairs: dict[str, dict[str, list[tuple[Ended, Ended]]]] = {}
    for search, cold in done.items():
        known = knowledge.get(search.family, "")
        warm = done.get(Search(search.family, search.dataset, search.seed, "warm", trials, known))
        if search.method == "cold" and search.trials == trials and warm is not None and np.isfinite(cold.best[-1]):
            pairs.setdefault(search.family, {}).setdefault(search.dataset, []).append((cold, warm))
    return {
        "trials": trials,
        "knowledge": {family: knowledge[family] for family in pairs},
        "families": {family: _of_family(datasets) for family, datasets in pairs.items()},
    }


def _of_family(datasets: dict[str, list[tuple[Ended, Ended]]]) -> dict[str, Any]:
    """``datasets``: pairs of a cold and a warm search, one for each seed."""
    needed = {name: [trials_to_reach(w.best, c.best[-1]) for c, w in pairs] for name, pairs in datasets.items()}
    cold = [np.median([trials_to_reach(c.best, c.best[-1]) for c, _ in pairs]) for pairs in datasets.values()]
    lead = {name: [float(w.best[-1] - c.best[-1]) for c, w in pairs] for name, pairs in datasets.items()}
    by_dataset = [float(np.median(numbers)) for numbers in needed.values()]
    low, middle, high = np.quantile(by_dataset, (0.25, 0.5, 0.75), method="inverted_cdf")
    median = float(np.median(by_dataset))
    return {
        "datasets": len(datasets),
        "searches": sum(map(len, datasets.values())),
        "warm_trials": {"median": _plain(median), "quartiles": [_plain(low), _plain(middle), _plain(high)]},
        "cold_trials": {"median": float(np.median(cold))},
        "within_goal": float(np.mean([number <= GOAL for number in by_dataset])),
        "reached": float(np.mean([np.isfinite(number) for number in by_dataset])),
        "goal_met": median <= GOAL,
        "at_end": {
            "datasets": sign_test([float(np.mean(leads)) for leads in lead.values()]),
            "searches": sign_test([value for leads in lead.values() for value in leads]),
        },
        "by_dataset": {
            name: {"warm_trials": [_plain(n) for n in needed[name]], "lead": [_plain(v) for v in lead[name]]}
            for name in sorted(datasets)
        },
    }


def sign_test(leads: Sequence[float]) -> dict[str, float | int]:
    """How many of ``leads`` are above, equal to and below 0, and the p-values of "behind" and "ahead" (one-sided).

    Equal ones do not count, as usual (Dixon and Mood, 1946). Without any other the p-values are 1.
    """
    ahead, behind = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    n = ahead + behind
    return {
        "ahead": ahead,
        "equal": len(leads) - n,
        "behind": behind,
        "p_behind": float(binomtest(ahead, n, alternative="less").pvalue) if n else 1.0,
        "p_ahead": float(binomtest(ahead, n, alternative="greater").pvalue) if n else 1.0,
    }


def _plain(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def table(summary: dict[str, Any]) -> str:
    """The table for ``docs/benchmarks.md``."""
    n = summary["trials"]
    heads = [
        "family", "datasets", "searches", f"warm trials to reach the cold best of {n}: median (quartiles)",
        "cold trials for it", f"within {GOAL}", f"ahead / equal / behind at {n}", "p (behind)",
        "the same of single searches", "p (behind)",
    ]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for family, found in summary["families"].items():
        low, _, high = (_number(value, n) for value in found["warm_trials"]["quartiles"])
        tests = [found["at_end"][of] for of in ("datasets", "searches")]
        cells = [
            family, found["datasets"], found["searches"],
            f"{_number(found['warm_trials']['median'], n)} ({low}, {high})",
            _number(found["cold_trials"]["median"], n), f"{found['within_goal']:.0%}",
            *(cell for t in tests for cell in (f"{t['ahead']} / {t['equal']} / {t['behind']}", f"{t['p_behind']:.2g}")),
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _number(value: float | None, most: int) -> str:
    return f"> {most}" if value is None else f"{value:g}"
