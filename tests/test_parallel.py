"""Fits side by side: the same results in the same order, whatever the number of threads."""

import threading
import time

import pytest
from planted import planted_surrogate

from metatune.surrogate.parallel import each, threads
from metatune.surrogate.validation import validate


@pytest.mark.parametrize(("named", "expected"), [("1", 1), ("3", 3), ("2,1", 2)])
def test_the_environment_says_how_many_threads(monkeypatch: pytest.MonkeyPatch, named: str, expected: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", named)
    assert threads() == expected


@pytest.mark.parametrize("named", ["", "0", "many"])
def test_without_a_word_from_it_there_is_one_per_core(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", named)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert threads() == 3


def test_results_keep_the_order_of_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    seen = set()

    def slow_first(i: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(0.05 if i == 0 else 0.01)
        return i * i

    assert each(slow_first, range(9)) == [i * i for i in range(9)]
    assert len(seen) == 3
    assert each(slow_first, []) == []


def test_a_failure_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(ZeroDivisionError):
        each(lambda i: 1 / i, [1, 0, 2])


def test_validation_does_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    surrogate = planted_surrogate()
    found = []
    for named in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", named)
        found.append(validate(surrogate.tasks, surrogate.encoder, ()))
    assert found[0] == found[1] == surrogate.validation
