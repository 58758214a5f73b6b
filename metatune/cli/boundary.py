"""What every command has in common: where its output goes, and what its errors become.

A command does its work, writing progress to standard error, and returns an ``Answer``. Only then is standard output
written to: one JSON document with ``--json``, the readable form without it. Whatever a library prints meanwhile goes
to standard error.
"""

import contextlib
import errno
import functools
import json
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from metatune.errors import MetatuneError
from metatune.redaction import redacted
from metatune.wording import legible

#: With this variable set, errors show their traceback.
DEBUG_VARIABLE = "METATUNE_DEBUG"
INTERRUPTED = 130
_BUG = 1
#: As of a history or a knowledge that cannot be written.
_DISK = 4
#: What a disk says that takes nothing, whether or not it says of which file; and what is said where a right is missing,
#: or where a file is and a folder was wanted, or the other way round.
_REFUSED = frozenset({errno.EDQUOT, errno.ENOSPC, errno.EROFS})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_IN_THE_WAY = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR})
_PIPED_WIDTH = 120


@dataclass(frozen=True)
class Answer:
    """What a command found: ``document`` for programs, ``shown`` for people, and the exit code.

    ``typed`` is a command line to be copied; it is shown last and never wrapped.
    """

    document: Mapping[str, object]
    shown: RenderableType
    exit_code: int = 0
    typed: str | None = None


class _FailedError(Exception):
    """A command ended with an error that has been reported on standard error."""

    def __init__(self, exit_code: int, **fields: object) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
        self.document = {"error": {**fields, "exit_code": exit_code}}


def console(*, stderr: bool = True) -> Console:
    """A console that prints text as it is; piped, it is wide enough for tables unless ``COLUMNS`` says otherwise."""
    stream = sys.stderr if stderr else sys.stdout
    free = bool(os.environ.get("COLUMNS")) or (stream is not None and stream.isatty())
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=None if free else _PIPED_WIDTH)


def command(function: Callable[..., Answer]) -> Callable[..., None]:
    """Make a typer command of ``function``, whose parameter ``as_json`` says which form is printed."""

    @functools.wraps(function)
    def run(**options: Any) -> None:
        as_json = bool(options["as_json"])
        try:
            with _standard_output_kept():
                answer = _answer(function, options)
        except _FailedError as failure:
            if as_json:
                print(json.dumps(plain(failure.document), allow_nan=False))
            raise typer.Exit(failure.exit_code) from None
        screen = console(stderr=as_json)
        _print(screen, answer.shown)
        if answer.typed is not None:
            screen.print(answer.typed, soft_wrap=True)
        if as_json:
            print(json.dumps(plain(answer.document), allow_nan=False))
        raise typer.Exit(answer.exit_code)

    # typer keeps the line breaks of all paragraphs but the first.
    run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in (function.__doc__ or "").split("\n\n"))
    return run


def _print(screen: Console, shown: RenderableType) -> None:
    """Print ``shown`` without the spaces by which rich fills its columns: they are in the way of who copies a line."""
    with screen.capture() as lines:
        screen.print(shown)
    print(*(line.rstrip(" ") for line in lines.get().splitlines()), sep="\n", file=screen.file)


def _answer(function: Callable[..., Answer], options: Mapping[str, Any]) -> Answer:
    """What ``function`` answers. Raises ``_FailedError`` for whatever it raises."""
    try:
        return function(**options)
    except MetatuneError as error:
        fields = {"field": error.field, "value": error.value, "remedy": as_options(error.remedy)}
        _report(type(error).__name__, error.problem, **fields)
        raise _FailedError(error.exit_code, type=type(error).__name__, problem=error.problem, **fields) from error
    except KeyboardInterrupt:
        console().print("Interrupted.")
        raise _FailedError(INTERRUPTED, type="KeyboardInterrupt", problem="interrupted") from None
    except OSError as error:
        raise _unwritable(error) or _internal(error) from error
    # The last line of defence: nothing above this could handle it, and a traceback says nothing to most users.
    except Exception as error:
        raise _internal(error) from error


def _unwritable(error: OSError) -> "_FailedError | None":
    """What ends the command where a disk or a missing right keeps it from writing, which is reported; else ``None``."""
    if error.errno in _REFUSED:
        problem, remedy = "the disk refuses it", "Check the free space there, or name another place."
    elif error.errno in _FORBIDDEN and error.filename is not None:
        problem, remedy = "this is not permitted", "Check your permissions there, or name another place."
    elif error.errno in _IN_THE_WAY and error.filename is not None:
        problem, remedy = "something else is in its place", "Name another place."
    else:
        return None
    problem = f"{problem}: {error.strerror}"
    value = redacted(str(error.filename)) if error.filename is not None else None
    _report("OSError", problem, field="file", value=value, remedy=remedy)
    return _FailedError(_DISK, type="OSError", problem=problem, field="file", value=value, remedy=remedy)


def _internal(error: Exception) -> "_FailedError":
    """What ends the command for an error that nobody expected, which is reported."""
    problem = redacted(f"{type(error).__name__}: {error}")
    _report("Internal error", problem, remedy=f"Set {DEBUG_VARIABLE}=1 for the traceback, and please report it.")
    return _FailedError(_BUG, type=type(error).__name__, problem=redacted(str(error)))


def print_usage_error(error: Any) -> None:
    """Print the document of ``error``, by which typer refuses a command line."""
    parameter, context = getattr(error, "param", None), getattr(error, "ctx", None)
    field = parameter.opts[0] if parameter is not None else getattr(error, "option_name", "command line")
    remedy = f"See {context.command_path if context is not None else 'metatune'} --help."
    failure = _FailedError(
        error.exit_code, type="UsageError", problem=error.format_message(), field=field, value=None, remedy=remedy
    )
    print(json.dumps(plain(failure.document), allow_nan=False))


def as_options(remedy: str) -> str:
    """``remedy`` with arguments of ``Task`` and ``tune`` as they are typed: ``repair=True`` becomes ``--repair``."""
    remedy = remedy.replace("repair=True", "--repair")
    return re.sub(
        r"\b(kind|metric|seed|separator|decimal|test_size|modality|text|target)=('[^']*'|[\w.]*\w)",
        lambda match: f"--{match[1].replace('_', '-')} {match[2]}",
        remedy,
    )


def _report(kind: str, problem: str, **lines: object) -> None:
    """One block on standard error: what is wrong, where, and what to do."""
    shown = Text(f"{kind}: ", style="bold red")
    shown.append(legible(problem), style="default")
    for name, value in lines.items():
        shown.append(f"\n  {name + ':':<8}", style="dim")
        shown.append(legible(value if isinstance(value, str) else repr(value), limit=400), style="default")
    console().print(shown, soft_wrap=True)
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        traceback.print_exc()


@contextlib.contextmanager
def _standard_output_kept() -> Iterator[None]:
    """Send what is printed, by Python code or by a library's C code, to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def plain(value: object) -> object:
    """``value`` as strict JSON knows it: NaN and infinities are ``None``, unknown objects their text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    item = getattr(value, "item", None)  # a NumPy scalar, told without importing NumPy
    return plain(item()) if callable(item) else str(value)
