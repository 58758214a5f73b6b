"""Tables on the screen: nothing that is copied is ever broken, at any width that holds it."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from metatune.cli.listing import Listing

WORDS = ("3fa9c1d2e4b5", "hist_gradient_boosting", "0.9929", "learning_rate=0.1057", "l2_regularization=0.0005039")


def lines(listing: Listing, width: int) -> list[str]:
    screen = Console(file=io.StringIO(), width=width)
    screen.print(listing)
    return screen.file.getvalue().splitlines()


def trials() -> Listing:
    made = Listing("study", "family", "value", "configuration", "why", right=["value"], wraps=["why"])
    made.add_row(*WORDS[:3], Text("  ".join(WORDS[3:])), "because it is as good as any other one that was tried")
    made.add_row("3fa9c1d2e4b6", "knn", "11.5", "", "")
    return made


@pytest.mark.parametrize("width", [31, 40, 60, 80, 100, 200])
def test_no_name_and_no_number_is_broken(width: int) -> None:
    shown = lines(trials(), width)
    assert all(word in " ".join(shown) for word in WORDS)
    assert max(map(len, shown)) <= width
    assert all(line == line.rstrip() for line in shown)


def test_what_has_no_room_stands_below_its_row() -> None:
    shown = lines(trials(), 60)
    assert shown[1] == "study         family                   value"
    assert shown[3] == "3fa9c1d2e4b5  hist_gradient_boosting  0.9929"
    assert shown[4:6] == [
        "    configuration: learning_rate=0.1057",
        "    l2_regularization=0.0005039  why: because it is as good",
    ]
    assert shown[-2] == "3fa9c1d2e4b6  knn                       11.5"


def test_sentences_are_wrapped_in_their_column() -> None:
    made = Listing("left out", "why", right=["left out"], wraps=["why"])
    made.add_row("12", "the trial was not finished when its process ended")
    assert lines(made, 40)[1:-1] == [
        "left out  why",
        "─" * 40,
        "      12  the trial was not finished",
        "          when its process ended",
    ]


def test_wide_letters_take_two_cells() -> None:
    made = Listing("task", "best", right=["best"])
    made.add_row("予測", "1")
    made.add_row("wine", "2")
    assert lines(made, 40)[3:5] == ["予測     1", "wine     2"]


@pytest.mark.parametrize("width", [1, 4, 5])
def test_the_narrowest_screen(width: int) -> None:
    assert lines(trials(), width)
