"""``check_trial`` and ``check_study``: what the fields of stored documents may hold.

A run may have been edited, or written by somebody else; of what passes, columns can be made.
"""

import re
import reprlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from metatune.trial import TOO_LARGE

_Kind: TypeAlias = Callable[[Any], bool]
#: Doubles hold all whole numbers up to it.
_EXACT = 2**53
_HALF = re.compile("[\ud800-\udfff]")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole_text(value: Any) -> bool:
    """Whether ``value`` can be in a column of texts, or the name of a column: half a character cannot."""
    return isinstance(value, str) and not _HALF.search(value)


def _number(value: Any) -> bool:
    return isinstance(value, float) or (_whole(value) and abs(value) <= _EXACT)


def _real(value: Any) -> bool:
    """Whether ``value`` is a number of which a ``Trial`` makes a float; older ones wrote large whole numbers."""
    return isinstance(value, float) or (type(value) is int and abs(value) <= sys.float_info.max)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -TOO_LARGE <= value < TOO_LARGE


def _parameter(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _report(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _whole(value[0]) and _real(value[1])


def _none_or(kind: _Kind) -> _Kind:
    return lambda value: value is None or kind(value)


def _list_of(kind: _Kind) -> _Kind:
    return lambda value: isinstance(value, list) and all(map(kind, value))


def _mapping_to(kind: _Kind, *, names: _Kind = _text) -> _Kind:
    return lambda value: isinstance(value, dict) and all(map(names, value)) and all(map(kind, value.values()))


_TRIAL: Mapping[str, _Kind] = {
    "configuration": _mapping_to(_parameter),
    "value": _none_or(_real),
    "number": _whole,
    "key": _whole_text,
    "metrics": _mapping_to(_real, names=_whole_text),
    "curve": _list_of(_real),
    "best_step": _none_or(_whole),
    "reported": _list_of(_report),
    "fidelity": _real,
    "seconds": _real,
    "origin": _whole_text,
    "odds": _none_or(_real),
    "trusted": _none_or(_whole),
    "error": _none_or(_text),
    "started": _real,
}
_TASK: Mapping[str, _Kind] = {
    "name": _text,
    "kind": _text,
    "fingerprint": _text,
    "group": _text,
    "metafeatures": _mapping_to(_number),
    "n_rows": _whole,
    "n_columns": _whole,
}
_STUDY: Mapping[str, _Kind] = {
    "id": _whole_text,
    "family": _text,
    "strategy": _text,
    "created": _number,
    "notes": _mapping_to(_text),
}


def check_trial(raw: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` naming the first field of the trial ``raw`` that holds what it cannot."""
    _check(raw, _TRIAL)


def check_study(raw: Mapping[str, Any]) -> None:
    """As ``check_trial``, of a study."""
    _check(raw, _STUDY)
    _check(raw["task"], _TASK)


def _check(raw: Mapping[str, Any], kinds: Mapping[str, _Kind]) -> None:
    for name, value in raw.items():
        if name in kinds and not kinds[name](value):
            raise TypeError(f"{name} cannot be {reprlib.repr(value)}")
