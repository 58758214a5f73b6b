"""What texts in a column look like: numbers with decimal commas, dates, sentences, or a name of each row."""

import re
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

#: Texts of so many words are sentences; a column has a text of its own in each row from this share of its rows on.
TEXT_WORDS = 5
TEXT_SHARE = 0.9
#: From so many rows on, a different text in each of them is no accident.
_MIN_ROWS = 20
_LOOKED_AT = 1_000
_NEARLY_ALL = 0.9
_DECIMAL = re.compile(r"\s*[-+]?(\d+|\d{1,3}(\.\d{3})+)?(,\d+)?\s*")
#: Three digits after a comma may as well be the rest of a thousand.
_HAS_DECIMALS = re.compile(r",(\d{1,2}|\d{4,})\s*$")
_TIME = r"([ T]+\d{1,2}:\d{2}.*)?"
_DATE = re.compile(
    rf"\s*(\d{{4}}([-/.])\d{{1,2}}\2\d{{1,2}}|\d{{1,2}}([-/.])\d{{1,2}}\3\d{{4}}|\d{{1,2}}/\d{{1,2}}/\d{{2}}){_TIME}\s*"
)

#: How decimal commas become numbers, as a remedy.
POINTS = (
    "Read the file with decimal=',', or turn them into numbers "
    "(column.str.replace('.', '').str.replace(',', '.').astype(float))"
)
#: What is said of a column that became a category, by what its texts look like.
NOTICES = {
    "decimals": "it looks like numbers with decimal commas, but was kept as a category of texts: read the file with "
    "decimal=',' (--decimal , on the command line)",
    "written dates": "it looks like dates: each different date is a category of its own; give year, month ... as "
    "numbers, or leave it out of the data",
    "text": "it looks like text, but was kept as a category; Task.from_texts, or of a file text={name!r} "
    "(--text on the command line), learns from it as such",
    "names": "it has a different value in nearly every row, which tells a model nothing, and was kept as a category: "
    "leave it out of the data",
}


def appearance(levels: Sequence[str], n_rows: int) -> str | None:
    """A key of ``NOTICES`` for a column of ``n_rows`` rows with these different texts; ``None`` for a category."""
    if are_decimals(levels):
        return "decimals"
    if n_rows >= _MIN_ROWS and _match(_DATE, levels):
        return "written dates"
    if len(levels) <= TEXT_SHARE * n_rows:
        return None
    if words(levels) >= TEXT_WORDS:
        return "text"
    return "names" if n_rows >= _MIN_ROWS else None


def are_decimals(levels: Iterable[object]) -> bool:
    """Whether nearly all of ``levels`` are numbers, some with commas that do not stand between thousands."""
    texts = [level for level in islice(levels, _LOOKED_AT) if isinstance(level, str)]
    return len(texts) > 2 and any(map(_HAS_DECIMALS.search, texts)) and _match(_DECIMAL, texts)


def words(levels: Sequence[str]) -> int:
    """How many words half of the texts have."""
    return int(np.median([len(text.split()) for text in levels]))


def _match(pattern: re.Pattern[str], levels: Sequence[str]) -> bool:
    looked_at = levels[:_LOOKED_AT]
    return sum(pattern.fullmatch(text) is not None for text in looked_at) >= _NEARLY_ALL * len(looked_at)
