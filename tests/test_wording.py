"""Numbers in sentences."""

import pytest

from metatune.wording import plural


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("trial",), "0 trials"),
        (1, ("trial",), "1 trial"),
        (1, ("study", "studies"), "1 study"),
        (2000, ("study", "studies"), "2,000 studies"),
    ],
)
def test_plural(count: int, words: tuple[str, ...], said: str) -> None:
    assert plural(count, *words) == said
