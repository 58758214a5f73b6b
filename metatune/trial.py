"""``Trial``: one configuration that was tried on one task, and what came of it."""

import math
import numbers
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

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
        self._check_numbers()
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
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def _check_numbers(self) -> None:
        """Raise ``UsageError`` for what could be written into the history, but not be read again."""
        if self._is_plain():
            return
        found: dict[str, object] = {name: getattr(self, name) for name in ("seconds", "fidelity", "started")}
        maybe = {"value": self.value, "odds": self.odds}
        found |= {name: value for name, value in maybe.items() if value is not None}
        found |= {f"metrics[{name!r}]": value for name, value in self.metrics.items()}
        found |= {f"curve[{i}]": value for i, value in enumerate(self.curve) if not isinstance(value, float)}
        found |= {f"reported[{i}][1]": value for i, (_, value) in enumerate(self.reported)}
        whole: dict[str, object] = {"number": self.number}
        whole |= {name: value for name in ("best_step", "trusted") if (value := getattr(self, name)) is not None}
        whole |= {f"reported[{i}][0]": step for i, (step, _) in enumerate(self.reported)}
        _check_all(found, numbers.Real, "a number", "Give a float.")
        _check_all(whole, numbers.Integral, "a whole number", "Give an int.")

    def _is_plain(self) -> bool:
        """Whether numbers are Python's own, as nearly always: a history has millions, and names for each take time."""
        reals = (self.seconds, self.fidelity, self.started, *self.metrics.values(), *self.curve)
        return (
            all(type(number) is float for number in reals)
            and all(type(number) is float or number is None for number in (self.value, self.odds))
            and all(type(whole) is int or whole is None for whole in (self.best_step, self.trusted))
            and type(self.number) is int
            and all(type(step) is int and type(value) is float for step, value in self.reported)
        )

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


def _check_all(found: Mapping[str, object], kind: type, what: str, remedy: str) -> None:
    for name, value in found.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UsageError(f"not {what} but of type {type(value).__name__}", field=name, value=value, remedy=remedy)


def _rebuild(state: dict[str, object]) -> Trial:
    return Trial(**state)  # type: ignore[arg-type]
