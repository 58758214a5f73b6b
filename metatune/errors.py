"""The exceptions of metatune; each names the field, the value it had and the remedy.

::

    MetatuneError                 exit code 1
    ├── UsageError                exit code 2   a wrong argument
    │   ├── SpaceError                          a search space that cannot be
    │   ├── ConfigurationError                  a configuration that is not in its space
    │   ├── UnknownNameError                    a metric, family, strategy … that does not exist
    │   └── MissingDependencyError              an optional package that is not installed
    ├── DataError                 exit code 3   data that cannot be learnt from
    ├── StoreError                exit code 4   the history cannot be read or written
    │   └── StoreUnavailableError               … at the moment: what is to be written can wait
    ├── NoHistoryError            exit code 5   there is nothing to learn from
    ├── KnowledgeError            exit code 4   a knowledge directory is damaged or of another version
    └── SearchError               exit code 6   a search ended without a usable trial
"""

import difflib
import re
from collections.abc import Iterable

from metatune.redaction import redacted

#: What urllib3 says in the end, after all that it tried.
_CAUSE = re.compile(r"""\(Caused by \w+\(["'](?:\w+\([^)]*\): )?(.+?)["']\)\)""")


def first_line(error: BaseException) -> str:
    """The first line of what ``error`` says; drivers say pages. The name of its class if it says nothing.

    Of a request that failed, the cause alone.
    """
    line = next(iter(str(error).splitlines()), type(error).__name__)
    cause = _CAUSE.search(line)
    return line if cause is None else cause[1]


class MetatuneError(Exception):
    """Base of all errors that a user can act upon.

    ``field`` is the argument, column or file at fault, ``value`` what it was, ``remedy`` what to do. Credentials in
    any of them are left out, since messages end up in logs.
    """

    exit_code = 1

    def __init__(self, problem: str, *, field: str, value: object, remedy: str) -> None:
        problem, field, remedy = redacted(problem), redacted(field), redacted(remedy)
        value = redacted(value) if isinstance(value, str) else value
        super().__init__(problem, field, value, remedy)
        self.problem = problem
        self.field = field
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.field}: {self.problem} (got {_brief(self.value)}). {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive a process pool without this.
        return _rebuild, (type(self), self.problem, self.field, self.value, self.remedy)


def _rebuild(kind: type[MetatuneError], problem: str, field: str, value: object, remedy: str) -> MetatuneError:
    return kind(problem, field=field, value=value, remedy=remedy)


def _brief(value: object, limit: int = 160) -> str:
    """``value`` on one line; of a long one the middle is left out, since a path tells most at its end."""
    text = repr(value)
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[-half:]}"


class UsageError(MetatuneError):
    """An argument is wrong."""

    exit_code = 2


class SpaceError(UsageError):
    """A search space cannot be built as described."""


class ConfigurationError(UsageError):
    """A configuration does not belong to its search space."""


class UnknownNameError(UsageError):
    """A name is not known; the message offers the nearest known ones."""

    @classmethod
    def of(cls, field: str, name: object, known: Iterable[str]) -> "UnknownNameError":
        """The error for ``name`` given as ``field`` where only ``known`` are allowed."""
        names = sorted(known)
        near = difflib.get_close_matches(str(name).casefold(), {n.casefold() for n in names}, n=3, cutoff=0.6)
        close = [n for folded in near for n in names if n.casefold() == folded]
        listed = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
        hint = f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else f"Known: {listed}."
        return cls("unknown name", field=field, value=name, remedy=hint)


class MissingDependencyError(UsageError):
    """An optional package is needed and not installed."""

    @classmethod
    def of(cls, feature: str, package: str, extra: str) -> "MissingDependencyError":
        """The error for ``feature`` that needs ``package`` from the extra ``extra``."""
        return cls(
            f"needs the package {package!r}, which is not installed",
            field=feature,
            value=package,
            remedy=f'Install it: pip install "metatune[{extra}]".',
        )


class DataError(MetatuneError):
    """The data cannot be learnt from as they are."""

    exit_code = 3


class StoreError(MetatuneError):
    """The history cannot be read or written."""

    exit_code = 4


class StoreUnavailableError(StoreError):
    """The history cannot be reached or written at the moment; the same call may work later."""


class KnowledgeError(MetatuneError):
    """A knowledge directory is damaged, altered or of another version."""

    exit_code = 4

    @classmethod
    def unreadable(cls, problem: str, error: Exception, *, field: str, value: object) -> "KnowledgeError":
        """The error for a part of the knowledge that ``error`` kept from being read."""
        return cls(
            f"{problem} ({error})", field=field, value=value, remedy="Train the knowledge again: metatune train."
        )


class NoHistoryError(MetatuneError):
    """No usable history for what was asked."""

    exit_code = 5


class SearchError(MetatuneError):
    """A search ended without a single usable trial, or an objective broke its contract."""

    exit_code = 6
