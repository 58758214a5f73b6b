"""``Listing``: a table whose cells can be copied, however narrow the screen."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_GAP = "  "
#: What went below its row is indented by so much.
_INDENT = 4
#: A column of sentences is wrapped where this much of it fits beside the others.
_LEAST_WIDTH = 24


class Listing:
    """Rows under ``columns``; those named in ``right`` hold numbers, those in ``wraps`` sentences.

    Only sentences are wrapped. Of the other columns, those for which there is no room stand below each row as
    ``name: value``, so that an id, a name or a number is broken only where the screen is narrower than it.
    """

    def __init__(self, *columns: str, right: Iterable[str] = (), wraps: Iterable[str] = ()) -> None:
        self._columns, self._right, self._wraps = columns, frozenset(right), frozenset(wraps)
        self._rows: list[tuple[list[Text], str]] = []

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """Add a row of as many ``cells`` as there are columns."""
        self._rows.append(([cell if isinstance(cell, Text) else Text(cell) for cell in cells], style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Header, rule, rows."""
        widths = self._widths(options.max_width)
        yield Text()
        yield from self._line(console, [Text(name) for name in self._columns], widths, "bold")
        yield Text("─" * (sum(widths.values()) + len(_GAP) * (len(widths) - 1)))
        for cells, style in self._rows:
            yield from self._line(console, cells, widths, style)
            below = self._below(cells, widths)
            for line in below.wrap(console, max(1, options.max_width - _INDENT)) if below else ():
                line.rstrip()
                yield Text.assemble(" " * _INDENT, line)
        yield Text()

    def _widths(self, room: int) -> dict[int, int]:
        """The widths of the columns that have room, by position: the first one, and of the others as many as fit."""
        widest = [
            max(_width(cell) for cell in (Text(name), *(cells[i] for cells, _ in self._rows)))
            for i, name in enumerate(self._columns)
        ]
        widths: dict[int, int] = {}
        for i, width in enumerate(widest):
            least = min(width, _LEAST_WIDTH) if self._columns[i] in self._wraps else width
            if not widths or least + len(_GAP) <= room:
                widths[i] = min(least, room)
                room -= widths[i] + (len(_GAP) if i else 0)
        for i, width in widths.items():
            more = min(widest[i] - width, room) if self._columns[i] in self._wraps else 0
            widths[i] += more
            room -= more
        return widths

    def _line(self, console: Console, cells: Sequence[Text], widths: dict[int, int], style: str) -> Iterator[Text]:
        wrapped = [cells[i].wrap(console, width) for i, width in widths.items()]
        for parts in zip_longest(*wrapped, fillvalue=Text()):
            line = Text(style=style)
            for part, (i, width) in zip(parts, widths.items(), strict=True):
                part = part.copy()
                part.rstrip()
                space = " " * (width - part.cell_len)
                line.append(_GAP if i else "")
                line.append_text(Text(space) + part if self._columns[i] in self._right else part + Text(space))
            line.rstrip()
            yield line

    def _below(self, cells: Sequence[Text], widths: dict[int, int]) -> Text:
        pairs = [(self._columns[i], cell) for i, cell in enumerate(cells) if i not in widths and cell]
        told = [Text.assemble((f"{' '.join(name.split())}: ", "dim"), cell) for name, cell in pairs]
        return Text(_GAP).join(told)


def _width(cell: Text) -> int:
    return max(line.cell_len for line in cell.split("\n", allow_blank=True)) if cell else 0
