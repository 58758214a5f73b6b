"""``Recommendation``: configurations for a task never seen, with the evidence for them."""

from collections.abc import Mapping
from dataclasses import dataclass

from metatune.space import Change
from metatune.trial import ParamValue
from metatune.wording import legible, percent, plural, settings_text, told

#: So many similar tasks are named in print.
_NAMED = 3


@dataclass(frozen=True)
class SimilarTask:
    """A known task near the one at hand: ``distance`` by meta-features, ``best`` in the unit of ``metric``."""

    name: str
    distance: float
    trials: int
    best: float
    metric: str


@dataclass(frozen=True)
class RecommendedConfiguration:
    """A configuration and what is expected of it.

    ``better_than``: the share of configurations it is expected to beat on this task, in [0, 1], with the 10th and
    the 90th percentile of what the known tasks say. ``gain``: expected improvement over the default, positive
    when better, from similar tasks with the same metric; absolute for scores, relative to the default's value for
    losses; ``None`` where no such task is known. ``changes``: what was reduced because the task is small.
    """

    configuration: Mapping[str, ParamValue]
    origin: str
    better_than: float
    better_than_low: float
    better_than_high: float
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    changes: tuple[Change, ...] = ()

    @property
    def share_text(self) -> str:
        """``better_than`` with its interval, in words."""
        return f"{percent(self.better_than)} ({100 * self.better_than_low:.0f}–{percent(self.better_than_high)})"

    def gain_text(self, *, relative: bool) -> str:
        """``gain`` with its interval, in words; a dash where it is unknown."""
        if self.gain is None or self.gain_low is None or self.gain_high is None:
            return "–"
        if relative:
            return f"{100 * self.gain:+.0f} % ({100 * self.gain_low:+.0f} to {100 * self.gain_high:+.0f} %)"
        return f"{self.gain:+.4f} ({self.gain_low:+.4f} to {self.gain_high:+.4f})"


@dataclass(frozen=True)
class Recommendation:
    """Configurations of ``family`` in the order in which to try them, and the ``tasks`` and ``trials`` behind them.

    ``unlike`` is true when no known task is near this one; the default, if there is one, then comes first.
    ``relative_gain`` says that gains are shares of the default's value.
    """

    family: str
    metric: str
    items: tuple[RecommendedConfiguration, ...]
    similar: tuple[SimilarTask, ...]
    tasks: int
    trials: int
    unlike: bool
    relative_gain: bool
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """For a person: each configuration with what is expected of it, the evidence, and what to do with it."""
        rows: list[tuple[str, str]] = []
        for i, item in enumerate(self.items):
            expected = [f"from {item.origin}"]
            if self.tasks:
                expected.append(f"expected to beat {item.share_text} of configurations")
            if item.gain is not None:
                expected.append(f"gain over the default {item.gain_text(relative=self.relative_gain)}")
            rows += [(f".items[{i}]", ", ".join(expected)), ("", settings_text(item.configuration))]
        if self.tasks:
            evidence = f"{plural(self.trials, 'trial')} on {plural(self.tasks, 'task')}"
            nearest = ", ".join(legible(task.name, limit=60) for task in self.similar[:_NAMED])
            rows.append(("evidence", evidence + (f"; most similar: {nearest}" if nearest else "")))
        rows += [("note", legible(note)) for note in self.notes]
        rows.append(
            ("next", f".items[0].configuration is the first as a dict; tune(task, {self.family!r}) searches on")
        )
        return told(f"Recommended for {legible(self.family)}, judged by {legible(self.metric)}", rows)

    def to_dict(self) -> dict[str, object]:
        """The same as plain values that JSON can hold."""
        return {
            "family": self.family,
            "metric": self.metric,
            "recommendations": [
                {
                    "configuration": dict(item.configuration),
                    "origin": item.origin,
                    "better_than": [item.better_than_low, item.better_than, item.better_than_high],
                    "gain": None if item.gain is None else [item.gain_low, item.gain, item.gain_high],
                    "clamped": [{"parameter": c.parameter, "before": c.before, "after": c.after} for c in item.changes],
                }
                for item in self.items
            ],
            "gain_is_relative": self.relative_gain,
            "similar_tasks": [vars(task) for task in self.similar],
            "tasks": self.tasks,
            "trials": self.trials,
            "unlike_anything_known": self.unlike,
            "notes": list(self.notes),
        }
