"""``Trial``: one configuration that was tried on one task, and what came of it."""

import math
import numbers
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from metatune.errors import UsageError
from metatune.redaction import redacted

ParamValue: TypeAlias = float | int | str | bool | None
Configuration: TypeAlias = Mapping[str, ParamValue]
Status: TypeAlias = Literal["complete", "pruned", "failed", "interrupted"]

STATUSES: tuple[Status, ...] = get_args(Status)
#: The origin of a configuration that was given to ``tune`` as a warm start.
WARM_START = "warm-start"
#: The origin of a configuration that code around ``collect`` chose, and the strategy of its study.
COLLECTED = "collected"
#: Counts and steps are whole numbers that a column of 64 bits holds: from minus this to below it.
TOO_LARGE = 2**63
#: The numbers that every trial has, and those that may be ``None``.
_NUMBERS: Mapping[str, type] = {"seconds": float, "fidelity": float, "started": float, "number": int}
_NUMBERS_OR_NONE: Mapping[str, type] = {"value": float, "odds": float, "best_step": int, "trusted": int}
#: Of what a number of each kind can be made, what that is called, and what to give for it.
_WANTED: Mapping[type, tuple[type, str, str]] = {
    float: (numbers.Real, "a number", "Give a float."),
    int: (numbers.Integral, "a whole number", "Give an int."),
}


def new_key() -> str:
    """A key that no other trial has; by it a trial is recognised wherever it is stored."""
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One ended trial.

    ``value`` is the task's metric in its own unit and direction, finite, and ``None`` exactly when the trial
    has no result (``failed``, ``interrupted``). ``curve`` holds the metric after each step of the fidelity
    (epochs, boosting rounds), oldest first; NaN where a step had none. ``best_step`` is the step (1-based) that early
    stopping kept, the mean over several folds; ``None`` without one. ``reported`` holds the pairs (step, value) that
    a pruner saw, in that order: of some steps, or of folds. ``seconds`` is wall time of the whole evaluation.
    ``fidelity`` is the share of the full budget that was used, in (0, 1]. ``origin`` says where the proposal came from
    (``default``, ``portfolio``, ``model``, ``random``, ``tpe``, ``warm-start``, ``collected``, ...).
    ``odds`` and ``trusted`` say why a model proposed as it did (see ``Proposal``); ``None`` where none was asked.
    ``started`` is seconds since the epoch. ``error`` is kept without credentials.

    Scores, seconds and other numbers but counts and steps are floats, whatever they were given as.
    Raises ``UsageError`` for a value that contradicts the status, and for what is no number where one belongs: a
    boolean is none.
    """

    configuration: Configuration
    status: Status
    value: float | None
    number: int = 0
    key: str = field(default_factory=new_key)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    best_step: int | None = None
    reported: tuple[tuple[int, float], ...] = ()
    fidelity: float = 1.0
    seconds: float = math.nan
    origin: str = "unknown"
    odds: float | None = None
    trusted: int | None = None
    error: str | None = None
    started: float = math.nan

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise UsageError(
                "unknown status",
                field="status",
                value=self.status,
                remedy=f"Use one of {', '.join(STATUSES)}.",
            )
        self._take_numbers()
        if self.value is not None and not math.isfinite(self.value):
            raise UsageError(
                "a value is finite",
                field="value",
                value=self.value,
                remedy="Leave value=None, with status 'failed' or 'pruned'.",
            )
        if self.status == "complete" and self.value is None:
            raise UsageError(
                "a complete trial needs a value",
                field="value",
                value=self.value,
                remedy="Record a trial without a result with status 'failed'.",
            )
        if self.status in ("failed", "interrupted") and self.value is not None:
            raise UsageError(
                f"a trial that is {self.status} has no value",
                field="value",
                value=self.value,
                remedy="Leave value=None, or use status 'complete'.",
            )
        if self.error is not None:
            object.__setattr__(self, "error", redacted(self.error))
        object.__setattr__(self, "configuration", MappingProxyType(dict(self.configuration)))

    def _take_numbers(self) -> None:
        """Make Python's own numbers of all that are given, those that the history gives back.

        Raises ``UsageError`` for what could be written there, but not be read again.
        """
        for name, kind in _NUMBERS.items():
            if not _is_own(value := getattr(self, name), kind):
                object.__setattr__(self, name, _own(name, value, kind))
        for name, kind in _NUMBERS_OR_NONE.items():
            if (value := getattr(self, name)) is not None and not _is_own(value, kind):
                object.__setattr__(self, name, _own(name, value, kind))
        # Nearly all numbers are Python's own. A history has millions, and a name for each would take time.
        metrics = {
            name: number if type(number) is float else _own(f"metrics[{name!r}]", number, float)
            for name, number in self.metrics.items()
        }
        object.__setattr__(self, "metrics", MappingProxyType(metrics))
        curve = [n if type(n) is float else _own(f"curve[{i}]", n, float) for i, n in enumerate(self.curve)]
        object.__setattr__(self, "curve", tuple(curve))
        reported = [
            (
                step if _is_own(step, int) else _own(f"reported[{i}][0]", step, int),
                number if type(number) is float else _own(f"reported[{i}][1]", number, float),
            )
            for i, (step, number) in enumerate(self.reported)
        ]
        object.__setattr__(self, "reported", tuple(reported))

    def __repr__(self) -> str:
        """Without what fills pages: the curve, the reports, other metrics and the key."""
        shown: dict[str, object] = {"number": self.number, "status": self.status, "value": self.value}
        shown |= {"origin": self.origin, "seconds": round(self.seconds, 3), "configuration": dict(self.configuration)}
        shown |= {} if self.error is None else {"error": self.error}
        return f"Trial({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __reduce__(self) -> tuple[object, ...]:
        # Mapping proxies cannot be pickled, and trials travel between worker processes.
        state = {name: getattr(self, name) for name in self.__dataclass_fields__}
        state["configuration"] = dict(self.configuration)
        state["metrics"] = dict(self.metrics)
        return _rebuild, (state,)


def _is_own(value: Any, kind: type) -> bool:
    """Whether ``value`` is one of Python's own numbers of ``kind`` already, which the history can hold."""
    return type(value) is kind and (kind is float or _is_held(value))


def _is_held(whole: Any) -> bool:
    """Whether a column of whole numbers can hold the number ``whole``."""
    return bool(-TOO_LARGE <= whole < TOO_LARGE)


def _own(name: str, value: Any, kind: type) -> Any:
    """``value`` as a number of Python's own ``kind``.

    Raises ``UsageError`` for what is none, as a boolean is, and for one that is too large to be read again.
    """
    wanted, what, remedy = _WANTED[kind]
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise UsageError(f"not {what} but of type {type(value).__name__}", field=name, value=value, remedy=remedy)
    if kind is int and not _is_held(value):
        raise UsageError("too large for a count or step", field=name, value=value, remedy="Stay below 2**63.")
    try:
        return kind(value) if value == value else math.nan  # one object for every NaN: equal trials compare equal
    except OverflowError as error:
        remedy = "Give it in a larger unit."
        raise UsageError("too large for a float", field=name, value=value, remedy=remedy) from error


def _rebuild(state: dict[str, object]) -> Trial:
    return Trial(**state)  # type: ignore[arg-type]
