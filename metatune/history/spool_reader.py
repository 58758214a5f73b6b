"""What is in a spool file, read line by line; the writer of the file may have died in the middle of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metatune.errors import StoreError
from metatune.history import schema
from metatune.history.spool import SPOOL_VERSION, Destination, Ended, Entry
from metatune.history.store import ENDINGS
from metatune.study import StudyRecord
from metatune.trial import Trial

#: What reading a damaged line raises.
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, StoreError)


@dataclass(frozen=True)
class Content:
    """What is in a spool file: the entries that wait, by the order in which they were written.

    ``unreadable`` are lines, with their numbers, that are damaged; a last line that was cut is none: its writer died
    while writing it. ``destination`` is ``None``, and ``reason`` says why, for a file that is no spool of ours.
    """

    destination: Destination | None
    entries: tuple[Entry, ...] = ()
    studies: Mapping[str, StudyRecord] = field(default_factory=dict)
    unreadable: Mapping[int, str] = field(default_factory=dict)
    cut: bool = False
    reason: str = ""

    @property
    def trials(self) -> int:
        """How many trials wait."""
        return sum(isinstance(entry.what, Trial) for entry in self.entries)


def read(path: Path) -> Content:
    """What is in the spool file ``path``. Raises ``OSError``."""
    text = path.read_bytes().decode("ascii", "replace")
    lines = text.split("\n")
    try:
        header = schema.from_json(lines[0])
        if header["spool"] != SPOOL_VERSION:
            return Content(None, reason=f"version {header['spool']}, this metatune reads {SPOOL_VERSION}")
        destination = Destination(str(header["store"]), str(header["experiment"]))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        return Content(None, reason=f"the first line cannot be read ({error})")
    entries: dict[int, Entry] = {}
    studies: dict[str, StudyRecord] = {}
    unreadable: dict[int, str] = {}
    cut = False
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            raw = schema.from_json(line)
            if "sent" in raw:
                for n in raw["sent"]:
                    entries.pop(n, None)
                continue
            entry = entry_of(raw)
        except DAMAGED:
            cut = number == len(lines)
            if not cut:
                unreadable[number] = line
            continue
        entries[entry.n] = entry
        if isinstance(entry.what, StudyRecord):
            studies[entry.study_id] = entry.what
    return Content(destination, tuple(entries.values()), studies, unreadable, cut)


def entry_of(raw: Mapping[str, object]) -> Entry:
    """The entry in a line that was parsed. Raises one of ``DAMAGED``."""
    n = raw["n"]
    if not isinstance(n, int):
        raise TypeError("a line has a number")
    if "study" in raw:
        study = schema.study_of(schema.to_json(raw["study"]))
        return Entry(study.id, study, n)
    of = str(raw["of"])
    if "trial" in raw:
        return Entry(of, schema.trial_of(schema.to_json(raw["trial"])), n)
    status, artifacts = raw["close"], raw["artifacts"]
    if status not in ENDINGS or not isinstance(artifacts, Mapping):
        raise TypeError("a study ends in a known way, with texts by name")
    texts = {str(name): str(text) for name, text in artifacts.items()}
    "".join((*texts, *texts.values())).encode()  # half a character is none
    return Entry(of, Ended(str(status), texts), n)
