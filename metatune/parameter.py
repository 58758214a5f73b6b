"""One parameter: what its Optuna distribution allows, and its place in [0, 1]."""

import math
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from metatune.errors import SpaceError, UnknownNameError
from metatune.trial import ParamValue

#: What may stand for a distribution: Optuna's object, a sequence of choices, or a mapping such as
#: ``{"low": 1e-4, "high": 1.0, "log": True}`` (``"type": "int"`` for whole numbers).
ParameterSpec = BaseDistribution | Mapping[str, Any] | Sequence[Any]


def same_value(a: object, b: object) -> bool:
    """Equality that tells ``True`` from 1 and ``"1"``, but not 1 from 1.0."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b


def in_distribution(distribution: BaseDistribution, value: object) -> bool:
    """Whether ``value`` is allowed by ``distribution`` (numbers to a relative 1e-9, on the step grid)."""
    if isinstance(distribution, CategoricalDistribution):
        return any(same_value(value, choice) for choice in distribution.choices)
    number = _number(value)
    if number is None or not math.isfinite(number):
        return False
    # On a linear scale a rounding error near 0 is as small a step as elsewhere; on a logarithmic one it is not.
    slack = 0.0 if distribution.log else 1e-12 * max(1.0, distribution.high - distribution.low)  # type: ignore[attr-defined]
    return math.isclose(_on_grid(distribution, number), number, rel_tol=1e-9, abs_tol=slack)


def nearest(distribution: BaseDistribution, value: object, fallback: object = ...) -> ParamValue:
    """The allowed value nearest to ``value``; for one that cannot be placed, ``fallback`` if allowed, or the middle."""
    if isinstance(distribution, CategoricalDistribution):
        for wanted in (value, fallback):
            for choice in distribution.choices:
                if same_value(choice, wanted):
                    return choice
        return distribution.choices[0]
    number = _number(value)
    if number is None and in_distribution(distribution, fallback):
        number = _number(fallback)
    return value_at(distribution, 0.5) if number is None else _on_grid(distribution, number)


def _number(value: object) -> float | None:
    """``value`` as a float, infinite if too large for one; ``None`` for what is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    try:
        return None if math.isnan(value) else float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def value_at(distribution: BaseDistribution, u: float) -> ParamValue:
    """The value at quantile ``u`` in [0, 1] of the uniform (or log-uniform) distribution."""
    u = min(max(u, 0.0), 1.0)
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(u * len(distribution.choices)), len(distribution.choices) - 1)]
    low, high = _bounds(distribution)
    if getattr(distribution, "log", False):
        return _on_grid(distribution, math.exp(math.log(low) + u * (math.log(high) - math.log(low))))
    return _on_grid(distribution, low + u * (high - low))


def units_at(distribution: FloatDistribution | IntDistribution, values: np.ndarray) -> np.ndarray:
    """The inverse of ``value_at`` for numbers: the quantiles in [0, 1] at which ``values`` lie; NaN stays NaN."""
    low, high = _bounds(distribution)
    if distribution.log:
        values = np.log(np.maximum(values, low))
        low, high = math.log(low), math.log(high)
    if high <= low:
        return np.where(np.isnan(values), np.nan, 0.5)
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _bounds(distribution: Any) -> tuple[float, float]:
    """Bounds widened by half a step, so that each grid value owns an equal share of [0, 1]."""
    low, high = float(distribution.low), float(distribution.high)
    step = distribution.step or 0.0
    if isinstance(distribution, IntDistribution) and distribution.log:
        return max(low - 0.5, 0.5), high + 0.5
    return low - step / 2, high + step / 2


def _on_grid(distribution: Any, value: float) -> float | int:
    low, high = distribution.low, distribution.high
    value = min(max(value, float(low)), float(high))
    if isinstance(distribution, IntDistribution):
        steps = round((value - low) / distribution.step)
        return int(min(low + steps * distribution.step, high))
    if distribution.step is not None:
        steps = round((value - low) / distribution.step)
        return float(min(low + steps * distribution.step, high))
    return float(value)


def checked_name(name: object) -> str:
    """``name`` if it can name a parameter. Raises ``SpaceError`` otherwise."""
    if not isinstance(name, str) or not name:
        raise SpaceError(
            "a parameter's name is a non-empty string",
            field="space",
            value=name,
            remedy="Rename the parameter.",
        )
    return name


def distribution_of(name: str, spec: ParameterSpec) -> BaseDistribution:
    """The distribution that ``spec`` stands for. Raises ``SpaceError`` naming the parameter."""
    field = f"space[{name!r}]"
    try:
        distribution = _built(spec, field)
        if isinstance(distribution, CategoricalDistribution):
            _check_choices(distribution.choices)
        elif not (math.isfinite(distribution.low) and math.isfinite(distribution.high)):  # type: ignore[attr-defined]
            raise ValueError("the bounds must be finite")
    except (ValueError, TypeError) as error:
        raise SpaceError(
            f"not a valid parameter: {error}",
            field=field,
            value=spec,
            remedy="Give low <= high (low > 0 with log), or a non-empty list of different choices.",
        ) from error
    return distribution


def _built(spec: ParameterSpec, field: str) -> BaseDistribution:
    if isinstance(spec, BaseDistribution):
        return spec
    if isinstance(spec, str | Set):
        raise TypeError("a text or a set is not a list of choices")
    if isinstance(spec, tuple) and len(spec) == 2 and all(_number(end) is not None for end in spec):
        # Elsewhere this is a range; two choices without a word would be another search than was meant.
        low, high = spec
        raise SpaceError(
            "a pair of numbers may be a range or two choices",
            field=field,
            value=spec,
            remedy=f"Use {{'low': {low!r}, 'high': {high!r}}} for a range, [{low!r}, {high!r}] for two choices.",
        )
    options = dict(spec) if isinstance(spec, Mapping) else {"choices": tuple(spec)}
    kind = options.pop("type", "categorical" if "choices" in options else "float")
    makers: dict[str, type[BaseDistribution]] = {
        "float": FloatDistribution,
        "int": IntDistribution,
        "categorical": CategoricalDistribution,
    }
    if kind not in makers:
        raise UnknownNameError.of(f"{field}['type']", kind, makers)
    _check_choices(options.get("choices", ()))  # before Optuna, which only warns
    return makers[kind](**options)


def _check_choices(choices: Sequence[Any]) -> None:
    for i, choice in enumerate(choices):
        if not (choice is None or isinstance(choice, bool | int | float | str)) or choice != choice:
            raise TypeError(f"the choice {choice!r} is not a text, number, boolean or None")
        if any(same_value(choice, other) for other in choices[:i]):
            raise ValueError(f"the choice {choice!r} is there twice")


def joined(one: Any, other: Any) -> BaseDistribution:
    """A distribution that holds what both do; where a number meets choices, ``one`` alone.

    The scale is logarithmic if one of them is and the range allows it: the encoder takes it so, and on a linear scale
    all that was searched on a logarithmic one would be near 0. Steps are kept if all values of both are on one grid.
    """
    if isinstance(one, CategoricalDistribution) != isinstance(other, CategoricalDistribution):
        return one  # type: ignore[no-any-return]
    if isinstance(one, CategoricalDistribution):
        more = [choice for choice in other.choices if not any(same_value(choice, own) for own in one.choices)]
        return CategoricalDistribution((*one.choices, *more))
    low, high = min(one.low, other.low), max(one.high, other.high)
    log = (one.log or other.log) and low > 0
    step = None if log else _common_step(one, other)
    if isinstance(one, IntDistribution) and isinstance(other, IntDistribution):
        return IntDistribution(low, high, log=log, step=int(step or 1))
    return FloatDistribution(float(low), float(high), log=log, step=step)


def _common_step(one: Any, other: Any) -> float | None:
    """The step of both, if one grid has the values of both; in decimals, as Optuna counts steps."""
    if one.step is None or one.step != other.step:
        return None
    apart = Decimal(str(other.low)) - Decimal(str(one.low))
    return None if apart % Decimal(str(one.step)) else float(one.step)


def plain_distribution(distribution: BaseDistribution) -> BaseDistribution:
    """``distribution``, of which choices that a parameter cannot have are named by their text (``plain_value``)."""
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution(tuple(plain_value(choice) for choice in distribution.choices))
    return distribution


def plain_value(value: Any) -> Any:
    """``value`` as a parameter may have it: a number of Python's own, a text, a boolean or ``None``, else its text."""
    value = value.item() if isinstance(value, np.generic) else value
    simple = value is None or isinstance(value, bool | int | str)
    return value if simple or (isinstance(value, float) and math.isfinite(value)) else repr(value)


def can_be_parameter(name: str, distribution: BaseDistribution) -> bool:
    """Whether a space can have ``distribution``, made plain, as its parameter ``name``."""
    try:
        distribution_of(checked_name(name), plain_distribution(distribution))
    except SpaceError:
        return False
    choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
    return not any(a == b for i, a in enumerate(choices) for b in choices[:i])  # Optuna cannot tell True from 1


def describe(distribution: BaseDistribution) -> str:
    """The allowed values as a person writes them."""
    if isinstance(distribution, CategoricalDistribution):
        return "{" + ", ".join(map(repr, distribution.choices)) + "}"
    d: Any = distribution
    grid = f", step {d.step}" if d.step not in (None, 1) else ""
    return f"[{d.low}, {d.high}]{' log' if d.log else ''}{grid}"
