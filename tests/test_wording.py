"""Numbers in sentences."""

import pytest

from metatune.wording import number, plural


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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0037124, "0.003712"),
        (-0.0371249, "-0.03712"),
        (0.00012347, "0.0001235"),
        (0.000012345, "1.234e-05"),
        (0.12345, "0.1235"),
        (0.0, "0.0000"),
        (12.34567, "12.3457"),
        (1234.567, "1234.6"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_a_number_has_four_significant_digits_or_more(value: float | None, said: str) -> None:
    assert number(value) == said


def test_fewer_digits_are_significant_too() -> None:
    assert [number(0.00371, 2), number(0.5, 2), number(0.0371, 2)] == ["0.0037", "0.50", "0.037"]
