"""The benchmark of the starter knowledge: groups leave together, and its figures say what they claim to."""

import sys
from pathlib import Path

import numpy as np
import pytest
from backtest_tables import recorded_run

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import benchmark_knowledge as benchmark
from kb import few, firsts
from kb.firsts import First
from kb.proposed import FIRST
from sklearn.datasets import load_wine

from metatune.backtest.run import Protocol, Run
from metatune.backtest.summary import summarise
from metatune.errors import DataError, UnknownNameError
from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.learners.evaluate import run_trial
from metatune.metric import Metric
from metatune.recommender import recommend
from metatune.surrogate.family import FamilySurrogate
from metatune.surrogate.meta import MetaSurrogate
from metatune.surrogate.tasks import TaskTrials
from metatune.task import Task


@pytest.fixture(scope="module")
def starter() -> Knowledge:
    return Knowledge.starter()


def known(starter: Knowledge, family: str) -> FamilySurrogate:
    surrogate = starter.surrogate(family)
    assert surrogate is not None
    return surrogate


def test_a_group_is_left_out_as_a_whole(starter: Knowledge) -> None:
    surrogate = known(starter, "linear")
    groups = [task.record.group for task in surrogate.tasks]
    several = max(groups, key=groups.count)
    rest = firsts.without_group(surrogate, several)
    assert len(rest.tasks) == len(rest.smoothness) == len(groups) - groups.count(several)
    assert several not in {record.group for record in rest.records}
    assert rest.design is not None
    assert rest.design.scores.shape[0] == len(rest.tasks)


def test_no_meta_surrogate_has_seen_the_group_that_it_is_asked_about(
    starter: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    surrogate, seen = known(starter, "tfidf_linear"), {}

    def fit(tasks: list[TaskTrials], encoder: object, *, features: tuple[str, ...]) -> str:
        name = f"without {len(seen)}"
        seen[name] = {task.record.group for task in tasks}
        return name

    monkeypatch.setattr(MetaSurrogate, "fit", fit)
    others = firsts._Others(surrogate)
    groups = {task.record.group for task in surrogate.tasks}
    for group in groups:
        name: str = others.than(group).meta  # type: ignore[assignment]
        assert group not in seen[name]
        assert len(seen[name]) >= 0.9 * len(groups)


def test_what_was_proposed_for_a_dataset_is_not_recommended_for_it(starter: Knowledge) -> None:
    surrogate = known(starter, "lightgbm")
    iris = next(task for task in surrogate.tasks if task.record.name == "iris")
    proposed = set(iris.rows[surrogate.table.number[iris.rows] >= FIRST].tolist())
    assert proposed
    ((task, prior, _),) = firsts.left_out(surrogate, {"iris"})
    assert set(task.rows.tolist()) == set(iris.rows.tolist()) - proposed
    assert len(prior.pool) == len(task.rows) == len(task.score) == len(task.X)


def test_another_metric_is_recommended_and_judged_by_on_the_datasets_that_recorded_it(starter: Knowledge) -> None:
    text = starter.surrogate("tfidf_linear", Metric.of("log_loss", "multiclass"))
    assert text is not None
    with_loss = [record for record in text.records if record.metric.name == "log_loss"]
    assert 0 < len(with_loss) < len(text.records)
    assert len(list(benchmark.replay(text, "log_loss"))) == len(with_loss)
    rows = benchmark.regret_table({"tfidf_linear": text}, "log_loss").splitlines()
    assert rows[2].startswith(f"| tfidf_linear | {len(with_loss)} |")


def test_families_without_the_metric_are_left_out_and_an_unknown_one_is_said(
    starter: Knowledge, capsys: pytest.CaptureFixture[str]
) -> None:
    text = starter.surrogate("tfidf_linear", Metric.of("log_loss", "multiclass"))
    assert text is not None
    rows = benchmark.regret_table({"tfidf_linear": text, "keras_text": known(starter, "keras_text")}, "log_loss")
    assert [row.split(" |")[0] for row in rows.splitlines()[2:]] == ["| tfidf_linear"]
    with pytest.raises(DataError, match="--metric"):
        benchmark.regret_table({"keras_text": known(starter, "keras_text")}, "log_loss")
    assert benchmark.main(["regret", "--families", "tfidf_linear", "--metric", "acuracy"]) == UnknownNameError.exit_code
    assert "Did you mean 'accuracy'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        benchmark.main(["first", "--metric", "log_loss"])
    assert "--metric is of regret" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["regret", "first", "few", "ranks"])
def test_families_that_cannot_be_benchmarked_are_said(
    part: str, starter: Knowledge, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main([part, "--families", "nope"]) == UnknownNameError.exit_code
    assert "--families" in capsys.readouterr().err
    with pytest.raises(DataError, match="10 sources"):
        benchmark.families_of(starter, ["keras_cnn"])


CHEAP = ("lightgbm", "hist_gradient_boosting", "random_forest", "extra_trees", "linear", "svm", "knn")


@pytest.mark.parametrize("family", ["lightgbm", "linear", "svm", "knn", "keras_mlp"])
def test_the_first_recommendation_for_iris_is_no_worse_than_the_default(starter: Knowledge, family: str) -> None:
    surrogate = starter.surrogate(family, Metric.of("accuracy", "multiclass"))  # as recommend asks for it
    assert surrogate is not None
    (found,) = firsts.firsts(surrogate, {"iris"})
    assert found.good
    assert not found.harmful


@pytest.mark.parametrize("family", CHEAP)
def test_the_first_recommendation_for_wine_is_trained_and_no_worse_than_the_default(
    starter: Knowledge, family: str
) -> None:
    assert "wine" not in {record.name for record in known(starter, family).records}
    X, y = load_wine(return_X_y=True, as_frame=True)
    task = Task.from_arrays(X, y, name="wine")
    learner = get_family(family)
    advice = recommend(task, family, knowledge=starter).items[0]
    usual, _ = learner.clamp(learner.default(), task.train_rows, X.shape[1])
    first, default = (run_trial(task, learner, each).value for each in (advice.configuration, usual))
    assert first is not None
    assert default is not None
    assert first >= default - firsts.standard_error(default, 142, accuracy=True)
    assert first >= default - firsts.HARM


def test_what_is_recommended_was_tried_and_its_score_is_the_recorded_one(starter: Knowledge) -> None:
    surrogate = known(starter, "lightgbm")
    ((task, prior, default),) = firsts.left_out(surrogate, {"iris"})
    (found,) = firsts.firsts(surrogate, {"iris"})
    assert prior.pool == [surrogate.table.configuration(int(row)) for row in task.rows]
    assert any(found.gain == pytest.approx(score - task.score[default]) for score in task.score)
    # 120 of 150 rows are no test rows, and each is in one of the three folds that judge.
    assert firsts.validated(surrogate, task) == 120


def test_the_spread_of_a_target_is_that_of_the_data(starter: Knowledge) -> None:
    surrogate = known(starter, "linear")
    ((task, _, _),) = firsts.left_out(surrogate, {"diabetes"})
    assert firsts.spread(surrogate, task) == pytest.approx(77, rel=0.1)  # of load_diabetes, all rows


def test_standard_errors() -> None:
    assert firsts.standard_error(0.8, 400, accuracy=True) == pytest.approx(0.02)
    assert firsts.standard_error(1.0, 400, accuracy=True) == 0.0
    rng = np.random.default_rng(0)
    rmses = np.sqrt(((3.0 * rng.standard_normal((4000, 50))) ** 2).mean(axis=1))
    assert firsts.standard_error(3.0, 50, accuracy=False) == pytest.approx(rmses.std(), rel=0.05)


def test_planted_recommendations_are_counted() -> None:
    equal, within, behind, failed = First("a", 0.0, 0.01), First("b", -0.01, 0.011), First("c", -0.02, 0.01), -np.inf
    found = [equal, within, behind, First("d", 0.3, 0.0)]
    table = benchmark.first_table({"knn": found}).splitlines()
    assert table[2] == "| knn | 4 | 75% | 25% | 25% | -0.020 | 0 |"
    assert table[-2:] == [
        "Goal of 90% within one standard error: not met (75.0%).",
        "Worse by more than 2%: none.",
    ]
    harmed = benchmark.first_table({"knn": [equal] * 19, "svm": [First("d", failed, 0.5)]}).splitlines()
    assert harmed[-2:] == [
        "Goal of 90% within one standard error: met (95.0%).",
        "Worse by more than 2%: svm on d (-inf).",
    ]


def test_ranks_of_planted_searches() -> None:
    """One method is always ahead; where the pools end there is no rank."""

    def run(table: str, method: str, level: float) -> Run:
        return recorded_run(table, "task", 0, method, Protocol(n=25), np.full(25, level), np.full(25, 0.1))

    runs = [run(t, m, level) for t in ("knn", "svm") for m, level in (("metatune", 0.1), ("random", 0.2), ("tpe", 0.2))]
    lines = benchmark.ranks_table(summarise(runs), {"knn": 50, "svm": 10}).splitlines()[2:]
    assert lines[:3] == [
        "| knn | 1 | metatune | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 0.100 | 0.100 |",
        "| knn | 1 | random | 2.50 | 2.50 | 2.50 | 2.50 | 2.50 | 0.200 | 0.200 |",
        "| knn | 1 | TPE | 2.50 | 2.50 | 2.50 | 2.50 | 2.50 | 0.200 | 0.200 |",
    ]
    assert lines[3] == "| svm | 1 | metatune | 1.00 | 1.00 | 1.00 | – | – | 0.100 | 0.100 |"
    assert lines[6] == "| all | 2 | metatune | 1.00 | 1.00 | 1.00 | – | – |  |  |"


def test_only_families_of_many_sources_are_replayed(starter: Knowledge) -> None:
    assert "lightgbm" in benchmark.families_of(starter, None)
    few = {s.family for s in starter.snapshot.studies} - set(benchmark.families_of(starter, None))
    for family in few:
        assert len({s.task.group for s in starter.snapshot.studies if s.family == family}) < 10
    assert benchmark.families_of(starter, ["knn"]) == ["knn"]


def test_few_known_datasets_share_no_source_with_those_they_recommend_for(
    starter: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str]]] = []
    text = known(starter, "tfidf_linear")

    def firsts_of(whole: FamilySurrogate, asked: set[str], *, known: FamilySurrogate) -> list[First]:
        asked_groups = {record.group for record in whole.records if record.name in asked}
        seen.append(({record.group for record in known.records}, asked_groups))
        return [First(name, 0.0, 0.1) for name in {*asked, *(record.name for record in known.records)}]

    monkeypatch.setattr(few, "firsts", firsts_of)
    found = {one.dataset for one in few.firsts_of_few(starter, "tfidf_linear", None, 5, draws=2)}
    assert found == {record.name for record in text.records if few.reported(record.name)}
    assert [len(history) for history, _ in seen] == [5, 5]
    assert seen[0][0] != seen[1][0]
    for history, asked in seen:
        assert asked
        assert not history & asked


def test_the_table_of_few_has_a_row_a_size(starter: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
    gains = [First("a", 0.0, 0.1), First("b", 0.5, 0.1), First("c", -0.05, 0.1), First("d", 0.01, 0.1)]
    monkeypatch.setattr(benchmark, "firsts_of_few", lambda *_, draws: gains * draws)
    rows = benchmark.few_table(starter, ["knn"], 2).splitlines()
    assert rows[2] == "| 5 | 8 | 75% | 25.0% | +0.0150 |"
    assert len(rows) == 2 + len(few.SIZES)
