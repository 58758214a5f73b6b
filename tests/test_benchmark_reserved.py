"""The benchmark on reserved datasets: what it says of planted searches, and that it can be stopped and taken up."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import benchmark_reserved as benchmark
from kb import searches
from kb.catalogue import read_catalogue, select
from kb.searches import Ended, Search

from metatune.errors import DataError, SearchError, UnknownNameError
from metatune.knowledge import Knowledge, starter_directory
from metatune.version import __version__


def ended(method: str, *scores: float | None, dataset: str = "a", seed: int = 0, family: str = "knn") -> Ended:
    digest = "k" if method == "warm" else ""
    return Ended(Search(family, dataset, seed, method, 4, digest), "accuracy", scores, 1.0)


def summary(*found: Ended) -> dict:
    return searches.summarise({one.search: one for one in found}, trials=4, knowledge={"knn": "k"})["families"]


@pytest.mark.parametrize(("target", "number"), [(0.5, 1), (0.6, 2), (0.7, 2), (0.8, 4), (0.81, np.inf)])
def test_the_trial_that_reaches_a_score(target: float, number: float) -> None:
    assert searches.trials_to_reach(np.array([0.5, 0.7, 0.7, 0.8]), target) == number


def test_failed_trials_and_a_search_that_ended_early() -> None:
    assert ended("cold", None, 0.5, None, 0.4).best.tolist() == [-np.inf, 0.5, 0.5, 0.5]
    assert ended("cold", 0.5, 0.6).best.tolist() == [0.5, 0.6, 0.6, 0.6]


def test_planted_searches_are_summed_up() -> None:
    """Of three datasets warm reaches the cold best in the second and third trial, and never; it ends ahead on one."""
    found = summary(
        ended("cold", 0.1, 0.2, 0.3, 0.3, dataset="a"), ended("warm", 0.2, 0.4, 0.4, 0.4, dataset="a"),
        ended("cold", 0.1, 0.1, 0.1, 0.5, dataset="b"), ended("warm", 0.1, None, 0.5, 0.2, dataset="b"),
        ended("cold", 0.9, 0.2, 0.3, 0.3, dataset="c"), ended("warm", 0.8, 0.4, 0.4, 0.4, dataset="c"),
    )["knn"]  # fmt: skip
    assert (found["datasets"], found["searches"]) == (3, 3)
    assert found["warm_trials"] == {"median": 3.0, "quartiles": [2.0, 3.0, None]}
    assert found["cold_trials"] == {"median": 3.0}
    assert (found["within_goal"], found["reached"], found["goal_met"]) == (2 / 3, 2 / 3, True)
    at_end = found["at_end"]["datasets"]
    assert (at_end["ahead"], at_end["equal"], at_end["behind"]) == (1, 1, 1)
    assert found["by_dataset"]["c"] == {"warm_trials": [None], "lead": [pytest.approx(-0.1)]}


def test_seeds_of_a_dataset_are_one_dataset() -> None:
    found = summary(
        ended("cold", 0.5, seed=0), ended("warm", 0.4, seed=0),
        ended("cold", 0.5, seed=1), ended("warm", 0.8, seed=1),
        ended("cold", 0.5, seed=2), ended("warm", 0.5, seed=2),
    )["knn"]  # fmt: skip
    assert (found["datasets"], found["searches"], found["warm_trials"]["median"]) == (1, 3, 1.0)
    assert [found["at_end"]["datasets"][what] for what in ("ahead", "equal", "behind")] == [1, 0, 0]
    assert [found["at_end"]["searches"][what] for what in ("ahead", "equal", "behind")] == [1, 1, 1]


def test_a_median_that_is_not_reached_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    families = summary(ended("cold", 0.5), ended("warm", 0.4))
    assert families["knn"]["warm_trials"]["median"] is None
    assert not families["knn"]["goal_met"]
    table = searches.table({"trials": 4, "families": families})
    assert "| knn | 1 | 1 | > 4 (> 4, > 4) | 1 | 0% | 0 / 0 / 1 | 0.5 | 0 / 0 / 1 | 0.5 |" in table


def test_only_pairs_of_one_knowledge_and_length_are_compared() -> None:
    other = Ended(Search("knn", "a", 0, "warm", 4, "older"), "accuracy", (1.0,), 1.0)
    longer = Ended(Search("knn", "a", 0, "cold", 9, ""), "accuracy", (1.0,), 1.0)
    assert summary(ended("cold", 0.5), other, longer) == {}
    assert summary(ended("cold", None), ended("warm", 0.5)) == {}


@pytest.mark.parametrize(
    ("leads", "behind", "ahead"),
    [([1.0] * 5, 1.0, 1 / 32), ([-1.0] * 5 + [0.0] * 3, 1 / 32, 1.0), ([1.0, -1.0], 0.75, 0.75), ([0.0], 1.0, 1.0)],
)
def test_sign_test(leads: list[float], behind: float, ahead: float) -> None:
    found = searches.sign_test(leads)
    assert (found["p_behind"], found["p_ahead"]) == (pytest.approx(behind), pytest.approx(ahead))


def test_what_ended_is_kept_and_what_was_cut_off_is_run_again(tmp_path: Path) -> None:
    first, failed, last = ended("cold", 0.5, None), ended("warm", dataset="b"), ended("warm", 0.7)
    failed = Ended(failed.search, "accuracy", (), 0.0, "SearchError: none")
    searches.append(tmp_path, first)
    with (tmp_path / searches.FILE).open("a") as file:
        file.write('{"search": {"fam')
    for one in (failed, last):
        searches.append(tmp_path, one)
    assert searches.read(tmp_path) == {first.search: first, last.search: last}
    assert searches.read(tmp_path / "nothing") == {}


def test_searches_with_other_random_numbers_or_by_another_version_are_run_again(tmp_path: Path) -> None:
    kept = [ended("cold", 0.5, dataset=name) for name in "abc"]
    for one in kept:
        searches.append(tmp_path, one)
    assert list(searches.read(tmp_path).values()) == kept
    path = tmp_path / searches.FILE
    lines = path.read_text().splitlines()
    lines[0] = lines[0].replace(f'"random_seed": {kept[0].search.random_seed}', '"random_seed": 0')
    lines[1] = lines[1].replace(f'"version": "{__version__}"', '"version": "0.0.1"')
    path.write_text("\n".join(lines) + "\n")
    assert list(searches.read(tmp_path).values()) == kept[2:]
    path.write_text(lines[2].replace(f', "random_seed": {kept[2].search.random_seed}', "") + "\n")
    assert searches.read(tmp_path) == {}


def test_what_is_known_of_one_family_does_not_depend_on_the_others() -> None:
    starter = Knowledge.starter()
    iris = next(study.id for study in starter.snapshot.studies if (study.task.name, study.family) == ("iris", "knn"))
    less = starter.without([iris])
    names = ["knn", "linear"]
    before, after = benchmark.digests(starter, names), benchmark.digests(less, names)
    assert before["linear"] == after["linear"] != before["knn"] != after["knn"]


def test_every_dataset_has_its_turn_before_the_next_seed() -> None:
    entries = select(read_catalogue()[0], ["iris", "imdb"])
    found = list(benchmark.planned(entries, {"knn": "k", "keras_text": "t"}, seeds=2, trials=4))
    assert [(s.seed, s.dataset, s.family, s.method, s.knowledge) for s in found[:4]] == [
        (0, "iris", "knn", "cold", ""), (0, "iris", "knn", "warm", "k"),
        (0, "imdb", "keras_text", "cold", ""), (0, "imdb", "keras_text", "warm", "t"),
    ]  # fmt: skip
    assert len(found) == 8


def test_every_dataset_begins_with_random_configurations_of_its_own() -> None:
    entries = select(read_catalogue()[0], ["iris", "diabetes"])
    found = list(benchmark.planned(entries, {"knn": "k"}, seeds=2, trials=4))
    assert len({(s.dataset, s.random_seed) for s in found}) == len({s.random_seed for s in found}) == 4


def test_searches_are_run_with_and_without_the_knowledge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_knowledge", [])
    benchmark._begin(starter_directory())
    (entry,) = select(read_catalogue()[0], ["diabetes"])
    cold, warm = (
        benchmark.run(search, entry, Path()) for search in benchmark.planned([entry], {"knn": "k"}, seeds=1, trials=3)
    )
    assert (cold.metric, len(cold.scores), len(warm.scores)) == ("rmse", 3, 3)
    assert cold.scores[0] != warm.scores[0]
    assert warm.best[-1] > -60  # higher is better
    assert benchmark.run(cold.search, entry, Path()).scores == cold.scores


def test_cold_and_warm_have_the_random_numbers_of_their_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []

    def stop(*_: object, seed: int, **__: object) -> None:
        used.append(seed)
        raise SearchError("stopped", field="seed", value=seed, remedy="None.")

    monkeypatch.setattr(benchmark, "tune", stop)
    monkeypatch.setattr(benchmark, "_knowledge", [None])
    entries = select(read_catalogue()[0], ["iris", "diabetes"])
    planned = list(benchmark.planned(entries, {"knn": "k"}, seeds=1, trials=3))
    for search in planned:
        benchmark.run(search, next(entry for entry in entries if entry.name == search.dataset), Path())
    assert used == [search.random_seed for search in planned]
    assert used[0] == used[1] != used[2] == used[3]


def test_only_reserved_datasets_that_the_knowledge_never_saw() -> None:
    starter = Knowledge.starter()
    assert len(benchmark.chosen(None, starter)) == 44
    with pytest.raises(UnknownNameError):
        benchmark.chosen(["iris"], starter)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "reserved", lambda _: frozenset({"iris"}))
        with pytest.raises(DataError, match="made from it"):
            benchmark.chosen(["iris"], starter)


def test_a_family_that_is_not_in_the_knowledge_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark.os, "environ", dict(os.environ))  # of which the script changes some
    starter = Knowledge.starter()
    few = starter.without([study.id for study in starter.snapshot.studies if study.family != "tfidf_linear"])
    few.save(tmp_path / "few")
    words = ["--runs", str(tmp_path / "runs"), "--report", "--knowledge", str(tmp_path / "few"), "--families", "knn"]
    assert benchmark.main(words) == UnknownNameError.exit_code
    assert "knn" in capsys.readouterr().err
    assert benchmark.main([*words[:-1], "tfidf_linear"]) == 0
