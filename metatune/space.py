"""``SearchSpace``: named Optuna distributions, and the conditions under which each is active."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json, json_to_distribution

from metatune.errors import ConfigurationError, SpaceError, UnknownNameError, UsageError
from metatune.parameter import (
    ParameterSpec,
    checked_name,
    describe,
    distribution_of,
    in_distribution,
    nearest,
    same_value,
    value_at,
)
from metatune.trial import Configuration, ParamValue


@dataclass(frozen=True)
class Condition:
    """A parameter is active only while ``parent`` is active and has one of ``values``."""

    parent: str
    values: tuple[ParamValue, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))

    def holds(self, configuration: Configuration) -> bool:
        """Whether ``configuration`` meets this condition (an absent parent does not)."""
        return self.parent in configuration and any(
            same_value(configuration[self.parent], value) for value in self.values
        )


@dataclass(frozen=True)
class Change:
    """One value that ``SearchSpace.clip`` altered: ``before`` or ``after`` is absent (``...``) where there is none."""

    parameter: str
    before: Any
    after: Any
    reason: str


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """Named parameters in a fixed order, with activation conditions.

    ``parameters`` maps names to distributions or their plain descriptions, ``conditions`` maps the name of a
    parameter to the condition that activates it; a parent must come before its children.
    A *configuration* of the space gives a value to every active parameter and to no other.

    Raises ``SpaceError`` naming the parameter: low above high, log with a bound at or below 0, no choices,
    a condition on an unknown or later parameter, or on a value that its parent cannot have.
    """

    parameters: Mapping[str, BaseDistribution]
    conditions: Mapping[str, Condition]

    def __init__(
        self, parameters: Mapping[str, ParameterSpec], conditions: Mapping[str, Condition] | None = None
    ) -> None:
        if not parameters:
            raise SpaceError("no parameters", field="space", value=dict(parameters), remedy="Give at least one.")
        built = {checked_name(name): distribution_of(name, spec) for name, spec in parameters.items()}
        object.__setattr__(self, "parameters", MappingProxyType(built))
        object.__setattr__(self, "conditions", MappingProxyType(dict(conditions or {})))
        self._check_conditions()

    def _check_conditions(self) -> None:
        order = {name: i for i, name in enumerate(self.parameters)}
        for child, condition in self.conditions.items():
            field = f"conditions[{child!r}]"
            if not isinstance(condition, Condition):
                raise SpaceError(
                    "not a condition", field=field, value=condition, remedy="Use Condition(parent, values)."
                )
            for name in (child, condition.parent):
                if name not in order:
                    raise SpaceError(
                        "condition on a parameter that the space does not have",
                        field=field,
                        value=name,
                        remedy=f"Known parameters: {', '.join(order)}.",
                    )
            if order[condition.parent] >= order[child]:
                raise SpaceError(
                    "a parent must come before its child",
                    field=field,
                    value=condition.parent,
                    remedy=f"Put {condition.parent!r} before {child!r}.",
                )
            parent = self.parameters[condition.parent]
            impossible = [value for value in condition.values if not in_distribution(parent, value)]
            if impossible or not condition.values:
                raise SpaceError(
                    f"{condition.parent!r} can never have this value",
                    field=field,
                    value=impossible,
                    remedy=f"Use values of {describe(parent)}.",
                )

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self.parameters)

    def __contains__(self, name: object) -> bool:
        return name in self.parameters

    def __getitem__(self, name: str) -> BaseDistribution:
        return self.parameters[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"SearchSpace({', '.join(f'{n}: {describe(d)}' for n, d in self.parameters.items())})"

    def __reduce__(self) -> tuple[object, ...]:
        return SearchSpace.from_json, (self.to_json(),)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that two spaces share exactly when they are equal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def is_active(self, name: str, configuration: Configuration) -> bool:
        """Whether ``name`` is active, given the values of the parameters before it."""
        condition = self.conditions.get(name)
        return condition is None or condition.holds(configuration)

    def active(self, values: Configuration) -> dict[str, ParamValue]:
        """Those of ``values`` whose parameter is active, in the order of the space."""
        kept: dict[str, ParamValue] = {}
        for name in self.parameters:
            if name in values and self.is_active(name, kept):
                kept[name] = values[name]
        return kept

    def contains(self, configuration: Configuration) -> bool:
        """Whether ``configuration`` has a valid value for every active parameter and nothing else."""
        return not self._violation(configuration)

    def check(self, configuration: Configuration, field: str = "configuration") -> None:
        """Raise ``ConfigurationError`` for what is no mapping, and for the first parameter that is unknown, missing,
        inactive or out of range.
        """
        check_configuration(configuration, field)
        violation = self._violation(configuration)
        if violation:
            name, problem, remedy = violation
            raise ConfigurationError(problem, field=f"{field}[{name!r}]", value=configuration.get(name), remedy=remedy)

    def _violation(self, configuration: Configuration) -> tuple[str, str, str] | None:
        for name in configuration:
            if name not in self.parameters:
                hint = UnknownNameError.of("parameter", name, self.parameters).remedy
                return name, "the space has no such parameter", hint
        for name, distribution in self.parameters.items():
            if not self.is_active(name, configuration):
                if name in configuration:
                    parent = self.conditions[name].parent
                    return (
                        name,
                        f"inactive while {parent!r} is {configuration.get(parent)!r}",
                        "Leave it out.",
                    )
            elif name not in configuration:
                return name, "missing", f"Give a value in {describe(distribution)}."
            elif not in_distribution(distribution, configuration[name]):
                return name, "out of range", f"Use a value in {describe(distribution)}."
        return None

    def is_settled_by(self, other: "SearchSpace") -> bool:
        """Whether ``other`` is this space, but for parameters of which this one knows nothing but ``None``.

        Of such a parameter nobody can tell what it is; ``other`` can of one of them at least.
        """
        if self.digest == other.digest or (list(self), self.conditions) != (list(other), other.conditions):
            return False
        return all(_is_none_alone(self[name]) or self[name] == other[name] for name in self)

    def sample(self, n: int, seed: int | np.random.Generator = 0) -> list[dict[str, ParamValue]]:
        """``n`` independent uniform configurations (log-uniform where the parameter is logarithmic)."""
        rng = np.random.default_rng(seed)
        draws = rng.random((n, len(self)))
        return [self.from_unit(row) for row in draws]

    def from_unit(self, row: Sequence[float] | np.ndarray) -> dict[str, ParamValue]:
        """The configuration at the point ``row`` of the unit cube, one coordinate in [0, 1] per parameter."""
        values = {
            name: value_at(distribution, float(u))
            for (name, distribution), u in zip(self.parameters.items(), row, strict=True)
        }
        return self.active(values)

    def suggest(self, trial: optuna.Trial) -> dict[str, ParamValue]:
        """Ask ``trial`` for every active parameter, parents first."""
        values: dict[str, ParamValue] = {}
        for name, distribution in self.parameters.items():
            if self.is_active(name, values):
                values[name] = trial._suggest(name, distribution)
        return values

    def clip(
        self, configuration: Configuration, defaults: Configuration | None = None
    ) -> tuple[dict[str, ParamValue], tuple[Change, ...]]:
        """The nearest configuration of this space, and a report of every change.

        Numbers go to the nearest allowed value; a choice that is not allowed and a missing parameter take the
        value of ``defaults`` where that is valid, else the middle of the range or the first choice; unknown and
        inactive parameters are left out.
        """
        fallback = dict(defaults or {})
        kept: dict[str, ParamValue] = {}
        changes: list[Change] = []
        for name, distribution in self.parameters.items():
            if not self.is_active(name, kept):
                if name in configuration:
                    changes.append(Change(name, configuration[name], ..., "inactive"))
                continue
            before: Any = configuration.get(name, ...)
            kept[name] = nearest(distribution, before, fallback.get(name, ...))
            if before is ... or not in_distribution(distribution, before):
                reason = "missing" if before is ... else "out of range"
                changes.append(Change(name, before, kept[name], reason))
        changes += [Change(n, v, ..., "unknown") for n, v in configuration.items() if n not in self.parameters]
        return kept, tuple(changes)

    def to_json(self) -> str:
        """The space as JSON text; ``from_json`` gives an equal space back."""
        return json.dumps(
            {
                "parameters": {n: json.loads(distribution_to_json(d)) for n, d in self.parameters.items()},
                "conditions": {n: {"parent": c.parent, "values": list(c.values)} for n, c in self.conditions.items()},
            },
            sort_keys=False,
        )

    @classmethod
    def from_json(cls, text: str) -> "SearchSpace":
        """The space that ``to_json`` wrote. Raises ``SpaceError`` for anything else."""
        try:
            raw = json.loads(text)
            parameters = {n: json_to_distribution(json.dumps(d)) for n, d in raw["parameters"].items()}
            conditions = {n: Condition(c["parent"], tuple(c["values"])) for n, c in raw["conditions"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SpaceError(
                f"not a search space ({error})",
                field="space",
                value=text,
                remedy="Pass what SearchSpace.to_json gave.",
            ) from error
        return cls(parameters, conditions)


def check_configuration(configuration: object, field: str) -> None:
    """Raise ``ConfigurationError`` for what does not map names to values."""
    if not isinstance(configuration, Mapping):
        remedy = "Give a dict of names and values."
        raise ConfigurationError("not a configuration", field=field, value=configuration, remedy=remedy)


def check_space(space: object) -> None:
    """Raise ``UsageError`` for what is neither a ``SearchSpace`` nor ``None``, such as the dict that one is made of."""
    if space is not None and not isinstance(space, SearchSpace):
        raise UsageError(
            "not a search space", field="space", value=space, remedy="Make one: metatune.SearchSpace({...})."
        )


def _is_none_alone(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, CategoricalDistribution) and distribution.choices == (None,)
