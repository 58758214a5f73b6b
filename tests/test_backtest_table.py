"""Folders of recorded trials and snapshots as tables to replay."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from backtest_tables import SPACE, small_table, trials_of, write_folder
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from planted import FAMILY, record, study_of, utility
from planted import SPACE as PLANTED
from typer.testing import CliRunner

from metatune.backtest.history_tables import joint_space, tables_of
from metatune.backtest.table import ReplayTable, read_table, read_tables
from metatune.cli.main import app
from metatune.errors import DataError, SpaceError, UnknownNameError, UsageError
from metatune.learners import get_family
from metatune.snapshot import Snapshot
from metatune.space import Condition, SearchSpace


def described(**params: Any) -> dict[str, Any]:
    return SPACE | {"params": params}


def with_column(name: str, values: Any) -> pd.DataFrame:
    trials = trials_of(tasks=2, n=12)
    return trials.assign(**{f"hp__{name}": np.resize(np.asarray(values), len(trials))})


def test_configurations_scores_and_records_are_those_of_the_files(tmp_path: Path) -> None:
    table = small_table(tmp_path)
    trials = trials_of()
    assert table.name == "small"
    assert len(table.tasks) == 6
    assert len(table.configurations) == 60
    assert table.shared
    for i, task in enumerate(table.tasks):
        own = trials[trials.task_id == f"task{i}"]
        assert task.record.name == task.record.group == f"task{i}"
        assert task.record.metafeatures == {"size": float(i)}
        np.testing.assert_array_equal(task.score, own["y"].to_numpy(dtype=np.float64))
        np.testing.assert_array_equal(task.seconds, np.arange(60) + 1.0)
        for row, (_, cells) in zip(task.rows, own.iterrows(), strict=True):
            configuration = table.configurations[row]
            assert configuration["x"] == float(cells["hp__x"])
            assert configuration["kind"] == cells["hp__kind"]
            assert configuration.get("degree", np.nan) == pytest.approx(cells["hp__degree"], nan_ok=True)


def test_every_configuration_is_of_the_space_although_bounds_are_rounded_on_disk(tmp_path: Path) -> None:
    trials = trials_of(tasks=2, n=12)
    trials.loc[trials.index % 12 == 3, "hp__learning_rate"] = np.float32(1e-4)  # below 1e-4 as a double
    table = read_table(write_folder(tmp_path / "t", trials))
    assert float(np.float32(1e-4)) < 1e-4
    assert all(table.space.contains(configuration) for configuration in table.configurations)
    assert all(type(c.get("degree", 1)) is int and type(c["x"]) is float for c in table.configurations)


def test_matrices_are_columns_of_the_parameters(tmp_path: Path) -> None:
    table = small_table(tmp_path)
    columns = table.encoder.columns
    x, kind = table.X[:, columns.index("n:x")], table.X[:, columns.index("c:kind")]
    np.testing.assert_array_equal(x, [c["x"] for c in table.configurations])
    np.testing.assert_array_equal(kind, [float(c["kind"] == "bad") for c in table.configurations])
    assert table.U.shape == (60, 5)
    assert table.owners.tolist() == [0, 1, 2, 2, 3]
    lowest = min(table.configurations, key=lambda c: float(c["learning_rate"]))  # type: ignore[arg-type]
    assert table.U[table.configurations.index(lowest), 1] == pytest.approx(
        (np.log10(float(lowest["learning_rate"])) + 4) / 4, abs=1e-6  # type: ignore[arg-type]
    )  # fmt: skip


def test_conditions_are_read_off_the_trials(tmp_path: Path) -> None:
    assert dict(small_table(tmp_path).space.conditions) == {"degree": Condition("kind", ("good",))}


def test_a_parent_comes_before_its_child_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    params = SPACE["params"]
    space = described(degree=params["degree"], kind=params["kind"], x=params["x"])
    table = read_table(write_folder(tmp_path / "t", space=space))
    assert list(table.space) == ["kind", "degree", "x"]


def test_parameters_that_are_active_together_depend_on_their_parent_and_not_on_each_other(tmp_path: Path) -> None:
    trials = trials_of()
    style = np.where(trials["hp__degree"] > 4, "high", "low").astype(object)
    trials["hp__style"] = np.where(trials["hp__degree"].isna(), None, style)
    space = described(style={"type": "categorical", "choices": ["low", "high"]}, **SPACE["params"])
    good = Condition("kind", ("good",))
    table = read_table(write_folder(tmp_path / "t", trials, space=space))
    assert dict(table.space.conditions) == {"style": good, "degree": good}


def test_a_parameter_that_nothing_explains_is_missing_without_a_condition(tmp_path: Path) -> None:
    trials = trials_of(tasks=2, n=12)
    trials.loc[trials.index % 12 < 5, "hp__x"] = np.nan
    table = read_table(write_folder(tmp_path / "t", trials))
    assert "x" not in table.space.conditions
    assert sum("x" not in c for c in table.configurations) == 5


@pytest.mark.parametrize(
    ("spec", "values", "expected"),
    [
        ({"type": "float", "choices": [1e-3, 0.1, 1], "log": True, "ordinal": True}, [0.1, 1.0], (1e-3, 1.0, True)),
        ({"type": "categorical", "choices": [16, 64], "ordinal": True}, [16, 64], (16, 64, False)),
        ({"type": "float", "lower": -8.0, "upper": 6.0, "log": "pre-applied"}, [-1.0, 2.0], (-8.0, 6.0, False)),
        ({"type": "float", "lower": 1.0, "upper": 3.0}, ["1.5", "2"], (1.0, 3.0, False)),
        ({"type": "uniform_int", "lower": 1, "upper": 8, "log": True}, [1, 16], (1, 16, True)),
        ({"type": "float"}, [0.25, 0.75], (0.25, 0.75, False)),
    ],
)
def test_numbers(tmp_path: Path, spec: dict[str, Any], values: list[Any], expected: tuple[Any, ...]) -> None:
    table = read_table(write_folder(tmp_path / "t", with_column("p", values), space=described(p=spec)))
    distribution = table.space["p"]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    assert (distribution.low, distribution.high, distribution.log) == expected
    assert isinstance(distribution, IntDistribution) == isinstance(expected[0], int)


def test_choices_are_recognised_however_the_file_stores_them_and_unknown_ones_are_added(tmp_path: Path) -> None:
    spec = {"type": "categorical", "choices": [True, 10, "a"]}
    folder = write_folder(tmp_path / "t", with_column("p", ["True", "10", "a", "b"]), space=described(p=spec))
    table = read_table(folder)
    assert isinstance(table.space["p"], CategoricalDistribution)
    assert table.space["p"].choices == (True, 10, "a", "b")
    assert table.configurations[0] == {"p": True}


def test_choices_are_recognised_in_single_precision(tmp_path: Path) -> None:
    spec = {"type": "categorical", "choices": [0.1, 0.3]}
    folder = write_folder(tmp_path / "t", with_column("p", np.float32([0.1, 0.3])), space=described(p=spec))
    table = read_table(folder)
    assert table.space["p"] == CategoricalDistribution([0.1, 0.3])
    assert table.configurations == [{"p": 0.1}, {"p": 0.3}]


def test_a_cell_without_a_value_is_the_choice_of_none_where_there_is_one(tmp_path: Path) -> None:
    spec = {"type": "categorical", "choices": [None, "balanced"]}
    cells = np.array([None, "balanced"], dtype=object)
    table = read_table(write_folder(tmp_path / "t", with_column("p", cells), space=described(p=spec)))
    assert table.configurations == [{"p": None}, {"p": "balanced"}]
    assert np.ptp(table.U, axis=0).any()


def test_parameters_that_do_not_vary_are_dropped(tmp_path: Path) -> None:
    params = SPACE["params"] | {
        "constant": {"type": "float", "lower": 0.0, "upper": 1.0},
        "absent": {"type": "float", "lower": 0.0, "upper": 1.0},
        "empty": {"type": "categorical", "choices": []},
    }
    trials = with_column("constant", [0.5]).assign(hp__empty=np.nan)
    table = read_table(write_folder(tmp_path / "t", trials, space=SPACE | {"params": params}))
    assert set(table.space) == {"x", "learning_rate", "kind", "degree"}


def test_a_loss_is_negated_and_a_result_that_is_not_finite_is_a_failure(tmp_path: Path) -> None:
    trials = trials_of(tasks=2, n=12).assign(direction="minimize")
    trials["y"] = np.resize([0.5, np.nan, np.inf, 3.0], len(trials))
    table = read_table(write_folder(tmp_path / "t", trials))
    np.testing.assert_array_equal(table.tasks[0].score[:4], [-0.5, np.nan, np.nan, -3.0])


def test_the_losses_of_taskset_count_by_their_logarithm_up_to_ten(tmp_path: Path) -> None:
    trials = trials_of(tasks=2, n=12).assign(direction="minimize")
    trials["y"] = np.resize([0.5, np.nan, 1e30, 3.0], len(trials))
    table = read_table(write_folder(tmp_path / "taskset_like", trials))
    np.testing.assert_allclose(table.tasks[0].score[:4], [np.log(2), np.nan, -np.log(10), -np.log(3)])


def test_the_default_is_known_when_every_active_parameter_has_one(tmp_path: Path) -> None:
    assert small_table(tmp_path).default == {"x": 0.5, "learning_rate": 0.1, "kind": "bad"}
    params = SPACE["params"] | {"x": {"type": "float", "lower": 0.0, "upper": 1.0}}
    assert read_table(write_folder(tmp_path / "t", space=SPACE | {"params": params})).default is None


def test_a_default_at_the_bound_of_a_column_in_single_precision_is_in_its_range(tmp_path: Path) -> None:
    trials = with_column("rate", [0.1, 0.3, 0.7]).astype({"hp__rate": np.float32})
    folder = write_folder(tmp_path / "t", trials, space=described(rate={"type": "float", "default": 0.1}))
    table = read_table(folder)
    assert table.default == {"rate": float(np.float32(0.1))}
    (folder / "space.json").write_text(json.dumps(described(rate={"type": "float", "default": 0.0999})))
    with pytest.raises(DataError, match="cannot have"):
        read_table(folder)


@pytest.mark.parametrize(("name", "default"), [("kind", "best"), ("x", "0.5"), ("x", -1), ("degree", 2.5)])
def test_a_default_that_is_no_value_of_its_parameter_is_refused(tmp_path: Path, name: str, default: Any) -> None:
    space = described(**{name: SPACE["params"][name] | {"default": default}})
    with pytest.raises(DataError) as caught:
        read_table(write_folder(tmp_path / "t", space=space))
    assert (caught.value.field, caught.value.value) == (f"params[{name!r}]['default']", default)


def test_qualities_serve_where_there_are_no_meta_features_and_groups_are_taken_over(tmp_path: Path) -> None:
    tasks = pd.DataFrame({"task_id": [f"task{i}" for i in range(6)], "q__size": [1.0, np.inf, 3, 4, 5, 6]})
    table = read_table(write_folder(tmp_path / "t", tasks=tasks.assign(group=["a", "a", "b", "b", "c", "c"])))
    assert table.tasks[0].record.metafeatures == {"size": 1.0}
    assert np.isnan(table.tasks[1].record.metafeatures["size"])
    assert [task.record.group for task in table.tasks] == ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize("groups", [["a", None, None, "a"], [1.0, np.nan, np.nan, 1.0]])
def test_tasks_without_a_group_are_history_for_one_another(tmp_path: Path, groups: list[Any]) -> None:
    trials = trials_of(tasks=4, n=12)
    tasks = pd.DataFrame({"task_id": [f"task{i}" for i in range(4)], "group": groups})
    found = [task.record.group for task in read_table(write_folder(tmp_path / "t", trials, tasks=tasks)).tasks]
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_what_more_of_the_tasks_have_describes_them(tmp_path: Path) -> None:
    few, more = [1.0, 2, np.nan, np.nan, np.nan, np.nan], [1.0, 2, 3, np.nan, np.nan, np.nan]
    tasks = pd.DataFrame({"task_id": [f"task{i}" for i in range(6)], "mf__one": few, "mf__two": few, "q__size": more})
    assert set(read_table(write_folder(tmp_path / "q", tasks=tasks)).tasks[0].record.metafeatures) == {"size"}
    same = tasks.assign(q__size=few)
    assert set(read_table(write_folder(tmp_path / "mf", tasks=same)).tasks[0].record.metafeatures) == {"one", "two"}


def test_a_folder_of_several_spaces_gives_a_table_of_each(tmp_path: Path) -> None:
    one, two = trials_of().assign(search_space_id="one"), trials_of(seed=1).assign(search_space_id="two")
    folder = write_folder(tmp_path / "t", pd.concat([one, two], ignore_index=True))
    tables = read_tables(folder)
    assert [table.name for table in tables] == ["one", "two"]
    assert [len(table.configurations) for table in tables] == [60, 60]
    with pytest.raises(UsageError, match="several tables"):
        read_table(folder)


def test_missing_cells_and_own_configurations(tmp_path: Path) -> None:
    holes = trials_of().drop(index=[0, 5, 130])
    table = read_table(write_folder(tmp_path / "t", holes))
    assert table.shared
    assert [len(task.rows) for task in table.tasks] == [58, 60, 59, 60, 60, 60]
    own = read_table(write_folder(tmp_path / "own", trials_of(shared=False)))
    assert not own.shared
    assert len(own.configurations) == 360


def test_what_is_wrong_with_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"space\.json"):
        read_table(tmp_path / "nowhere")
    with pytest.raises(DataError, match="'y'"):
        read_table(write_folder(tmp_path / "a", trials_of().drop(columns="y")))
    with pytest.raises(DataError, match="task not described"):
        read_table(write_folder(tmp_path / "b", tasks=pd.DataFrame({"task_id": ["task0"], "mf__size": [1.0]})))
    with pytest.raises(DataError, match="parameter that varies"):
        read_table(write_folder(tmp_path / "c", trials_of(tasks=2, n=1)))
    with pytest.raises(DataError, match="hp__kind: not a number"):
        read_table(write_folder(tmp_path / "d", space=described(kind={"type": "float"})))
    with pytest.raises(DataError, match="hp__x: a logarithmic parameter"):
        read_table(write_folder(tmp_path / "e", space=described(x={"type": "float", "lower": 0.0, "log": True})))
    with pytest.raises(UnknownNameError, match="gaussian"):
        read_table(write_folder(tmp_path / "f", space=described(x={"type": "gaussian"})))
    with pytest.raises(SpaceError, match="''"):
        read_table(
            write_folder(tmp_path / "g", with_column("", [1.0, 2.0]), space=described(**{"": {"type": "float"}}))
        )
    broken = write_folder(tmp_path / "h")
    (broken / "space.json").write_text(json.dumps([]))
    with pytest.raises(DataError, match="params"):
        read_table(broken)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"y": "often"}, "trials.parquet['y']"),
        ({"cost": "3 s"}, "trials.parquet['cost']"),
        ({"direction": "down"}, "direction"),
        ({"direction": [["minimize"]] * 24}, "direction"),
    ],
)
def test_a_column_that_cannot_be_read_is_named(tmp_path: Path, changed: dict[str, Any], field: str) -> None:
    folder = write_folder(tmp_path / "t", trials_of(tasks=2, n=12).assign(**changed))
    with pytest.raises(DataError) as caught:
        read_table(folder)
    assert caught.value.field == field


def test_numbers_of_tasks_are_the_same_as_floats_and_as_texts(tmp_path: Path) -> None:
    trials = trials_of(tasks=3, n=12)
    numbers = trials.assign(task_id=trials["task_id"].str.removeprefix("task").astype(float))
    for i, ids in enumerate(([0, 1, 2], ["0", "1", "2"], [0.0, 1.0, 2.0])):
        table = read_table(write_folder(tmp_path / str(i), numbers, tasks=pd.DataFrame({"task_id": ids})))
        assert table.labels == ["0", "1", "2"]


def test_what_pandas_wrote_as_an_index_with_a_name_is_a_column(tmp_path: Path) -> None:
    trials = trials_of(tasks=3, n=12)
    tasks = pd.DataFrame({"task_id": [f"task{i}" for i in range(3)], "mf__size": [1.0, 2.0, 3.0]})
    plain = read_table(write_folder(tmp_path / "plain" / "t", trials, tasks=tasks))
    indexed = write_folder(tmp_path / "indexed" / "t", trials, tasks=tasks.set_index("task_id"))
    trials.set_index("task_id").to_parquet(indexed / "trials.parquet")
    assert read_table(indexed).digest == plain.digest


@pytest.mark.parametrize("spec", [{"type": "categorical"}, {"type": "int"}, {"choices": [[16], [16, 8]]}])
def test_a_parameter_whose_cells_are_lists_is_refused(tmp_path: Path, spec: dict[str, Any]) -> None:
    trials = trials_of(tasks=2, n=12).assign(hp__layers=[[16], [16, 8]] * 12)
    with pytest.raises(DataError, match="Write lists as texts") as caught:
        read_table(write_folder(tmp_path / "t", trials, space=described(layers=spec)))
    assert (caught.value.field, caught.value.value) == ("hp__layers", "[16]")


def test_a_search_space_that_is_a_list_is_refused(tmp_path: Path) -> None:
    trials = trials_of(tasks=2, n=12).assign(search_space_id=[[1], [2]] * 12)
    with pytest.raises(DataError, match="not a value in each cell") as caught:
        read_tables(write_folder(tmp_path / "t", trials))
    assert caught.value.field == "trials.parquet['search_space_id']"


@pytest.mark.parametrize("column", ["task_id", "search_space_id"])
def test_rows_that_belong_nowhere_are_refused(tmp_path: Path, column: str) -> None:
    trials = trials_of(tasks=2, n=12).assign(search_space_id=["one", "two"] * 12)
    trials.loc[[3, 5], column] = None
    tasks = pd.DataFrame({"task_id": ["task0", "task1"]})
    with pytest.raises(DataError, match="missing in 2 rows") as caught:
        read_tables(write_folder(tmp_path / "t", trials, tasks=tasks))
    assert caught.value.field == f"trials.parquet['{column}']"


@pytest.mark.parametrize(
    "spec", [5, {"type": "categorical", "choices": 5}, {"type": "float", "lower": "low", "upper": 1.0}]
)
def test_a_parameter_that_is_not_described_is_named(tmp_path: Path, spec: Any) -> None:
    with pytest.raises(DataError) as caught:
        read_table(write_folder(tmp_path / "t", space=described(x=spec)))
    assert caught.value.field == "params['x']"


def test_what_is_said_of_a_parameter_beyond_the_layout_is_told_and_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    usual = read_table(write_folder(tmp_path / "t"))
    assert not caplog.messages
    more = {name: spec | {"q": None, "meta": {"unit": "m"}} for name, spec in SPACE["params"].items()}
    table = read_table(write_folder(tmp_path / "t", space=described(**more)))
    assert table.digest == usual.digest
    (said,) = caplog.messages
    assert "'q' (of 'degree'), 'meta' (of 'degree')" in said
    assert "lower" in said.split("Those that are: ")[1]


def test_a_parameter_that_does_not_vary_may_be_of_any_type(tmp_path: Path) -> None:
    params = SPACE["params"] | {"fixed": {"type": "constant", "value": 3}}
    table = read_table(write_folder(tmp_path / "t", with_column("fixed", [3]), space=described(**params)))
    assert set(table.space) == {"x", "learning_rate", "kind", "degree"}


@pytest.mark.parametrize(
    ("spec", "values", "expected"),
    [
        ({"type": "bool"}, [True, False], CategoricalDistribution([True, False])),
        ({"type": "ordinal", "choices": ["low", "high"]}, ["high", "low"], CategoricalDistribution(["low", "high"])),
        ({"type": "ordinal", "choices": [1, 2, 4]}, [1, 2], IntDistribution(1, 4)),
    ],
)
def test_truth_values_and_ordered_values_have_types_of_their_own(
    tmp_path: Path, spec: dict[str, Any], values: list[Any], expected: BaseDistribution
) -> None:
    table = read_table(write_folder(tmp_path / "t", with_column("p", values), space=described(p=spec)))
    assert table.space["p"] == expected


@pytest.mark.parametrize("log", ["yes", "true", 1, "pre_applied"])
def test_a_scale_that_nobody_knows_is_refused(tmp_path: Path, log: object) -> None:
    with pytest.raises(DataError, match="pre-applied") as caught:
        read_table(write_folder(tmp_path / "t", space=described(x={"type": "float", "log": log})))
    assert (caught.value.field, caught.value.value) == ("params['x']['log']", log)


def test_a_list_of_parameters_is_refused_with_the_right_form(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "t", space=SPACE | {"params": [{"name": "x", "type": "float"}]})
    with pytest.raises(DataError, match=r"by name, such as \{\"params\": \{"):
        read_table(folder)


def test_the_example_of_the_guide_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "tables.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (line,) = re.findall(r"```console\nmetatune (.*?)\n```", guide)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    table = read_table("my-table")
    assert (len(table.tasks), len(table.configurations)) == (4, 60)
    assert table.space.conditions == {"gamma": Condition("kernel", ("rbf",))}
    assert table.default == {"rate": 0.1, "kernel": "rbf", "gamma": 0.5}
    assert {task.record.metric.direction for task in table.tasks} == {"minimize"}
    result = CliRunner().invoke(app, [*line.split(), "--evaluations", "5", "--workers", "1"])
    assert result.exit_code == 0
    assert "my-table: mean regret over 4 tasks" in result.stdout


def test_keys_of_the_guide_are_those_that_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "tables.md").read_text()
    keys = re.findall(
        r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*`) \|", guide.split("`params` maps")[1], re.MULTILINE))
    )
    spec = {"type": "float", "lower": 0.0, "upper": 1.0} | dict.fromkeys(("default", "name", "n_values"))
    read_table(write_folder(tmp_path / "t", space=described(x=spec | {"log": False, "choices": [], "ordinal": False})))
    assert set(keys) == {*spec, "log", "choices", "ordinal"}
    assert not caplog.messages


def test_meta_features_are_numbers(tmp_path: Path) -> None:
    tasks = pd.DataFrame({"task_id": [f"task{i}" for i in range(6)], "mf__size": ["large"] * 6})
    with pytest.raises(DataError, match="mf__size"):
        read_table(write_folder(tmp_path / "t", tasks=tasks))


def test_the_trials_of_a_task_agree_on_its_direction_and_those_that_are_silent_have_that_of_the_space(
    tmp_path: Path,
) -> None:
    silent = read_table(write_folder(tmp_path / "s", trials_of(tasks=2, n=12).assign(direction=None)))
    assert [task.record.metric.direction for task in silent.tasks] == ["maximize", "maximize"]
    trials = trials_of(tasks=2, n=12)
    trials["direction"] = pd.Categorical(np.where(trials["task_id"] == "task1", "minimize", None))
    some = read_table(write_folder(tmp_path / "c", trials))
    assert [task.record.metric.direction for task in some.tasks] == ["maximize", "minimize"]
    trials = trials_of(tasks=2, n=12)
    trials.loc[3, "direction"] = "minimize"
    with pytest.raises(DataError, match="task0"):
        read_table(write_folder(tmp_path / "t", trials))


def test_a_snapshot_gives_a_table_per_family_with_its_tasks_of_enough_trials() -> None:
    large = [study_of(record(f"t{i}"), utility, configurations=PLANTED.sample(12, i)) for i in range(3)]
    few = study_of(record("few"), utility, configurations=PLANTED.sample(7, 9))
    alone = study_of(record("alone"), utility, configurations=PLANTED.sample(12, 9), family="alone")
    (table,) = tables_of(Snapshot.of([*large, few, alone]))
    assert table.name == FAMILY
    assert sorted(task.record.name for task in table.tasks) == ["t0", "t1", "t2"]
    assert not table.shared
    assert table.default is None
    for task in table.tasks:
        configurations = [table.configurations[row] for row in task.rows]
        assert configurations == PLANTED.sample(12, int(task.record.name[1:]))
        np.testing.assert_allclose(task.score, [utility(c) for c in configurations])


def test_tasks_of_one_name_are_told_apart_by_their_labels() -> None:
    same = [record("same"), record("same", "minimize")]
    studies = [study_of(r, utility, configurations=PLANTED.sample(12, i)) for i, r in enumerate(same)]
    studies[1][0].__dict__["id"] = "another"
    trials = [t.__class__(**{**t.__dict__, "key": f"k{t.number}"}) for t in studies[1][1]]
    (table,) = tables_of(Snapshot.of([studies[0], (studies[1][0], trials)]))
    assert table.labels == ["same", "same (2)"]


def test_a_family_of_metatune_brings_its_default_and_its_spaces_are_joined() -> None:
    family = get_family("knn")
    space = family.space()
    small = SearchSpace({"weights": ["uniform", "distance"]})
    studies = [
        study_of(record(name), lambda c: float(c["weights"] == "uniform"), configurations=own.sample(12, 1), space=own, family="knn")  # noqa: E501
        for name, own in (("a", space), ("b", small))
    ]  # fmt: skip
    (table,) = tables_of(Snapshot.of(studies))
    assert table.default == family.default()
    assert set(table.space) == set(space)
    assert all(table.space.contains(configuration) for configuration in table.configurations)
    second = next(task for task in table.tasks if task.record.name == "b")
    assert {table.configurations[row]["n_neighbors"] for row in second.rows} == {family.default()["n_neighbors"]}


def test_joint_spaces_hold_all_ranges_and_choices_and_the_last_kind() -> None:
    old = SearchSpace({"a": {"low": 0.0, "high": 1.0}, "b": ["x", "y"], "c": ["x"], "gone": [1, 2]})
    new = SearchSpace({"a": {"low": 0.5, "high": 2.0}, "b": ["y", "z"], "c": {"low": 0.0, "high": 1.0}})
    joint = joint_space([old, new])
    assert joint == SearchSpace(
        {"a": {"low": 0.0, "high": 2.0}, "b": ["y", "z", "x"], "c": {"low": 0.0, "high": 1.0}, "gone": [1, 2]}
    )


def test_joint_spaces_keep_a_grid_and_a_logarithmic_scale() -> None:
    old = SearchSpace({"units": {"type": "int", "low": 32, "high": 96, "step": 32}, "rate": {"low": 1e-3, "high": 1.0}})
    new = SearchSpace(
        {
            "units": {"type": "int", "low": 64, "high": 256, "step": 32},
            "rate": {"low": 1e-4, "high": 0.1, "log": True},
        }
    )
    for spaces in ((old, new), (new, old)):
        assert joint_space(spaces) == SearchSpace(
            {
                "units": {"type": "int", "low": 32, "high": 256, "step": 32},
                "rate": {"low": 1e-4, "high": 1.0, "log": True},
            }
        )


def test_a_condition_whose_parent_is_of_another_kind_now_is_none() -> None:
    unit = {"low": 0.0, "high": 1.0}
    old = SearchSpace({"booster": ["tree", "dart"], "rate": unit}, {"rate": Condition("booster", ("dart",))})
    new = SearchSpace({"booster": {"type": "int", "low": 0, "high": 1}, "x": unit})
    joint = joint_space([old, new])
    assert set(joint) == {"booster", "rate", "x"}
    assert not joint.conditions
    assert joint_space([new, old]).conditions == old.conditions
    for spaces in ((old, new), (new, old)):
        records = [
            study_of(
                record(f"{i} {t}"),
                lambda c: float(c["booster"] in ("dart", 1)),
                space=space,
                configurations=space.sample(12, t),
            )
            for i, space in enumerate(spaces)
            for t in range(2)
        ]
        records = [(replace(study, created=float(i)), trials) for i, (study, trials) in enumerate(records)]
        (table,) = tables_of(Snapshot.of(records))
        assert table.space == joint_space(spaces)


def changed(table: ReplayTable, **record: Any) -> ReplayTable:
    """``table`` with another ``record`` of its first task."""
    first = replace(table.tasks[0], record=replace(table.tasks[0].record, **record))
    return replace(table, tasks=(first, *table.tasks[1:]))


def test_the_digest_is_of_all_that_a_replay_depends_on(tmp_path: Path) -> None:
    table = small_table(tmp_path, tasks=2, n=10)
    first = table.tasks[0]
    wider = json.loads(json.dumps(SPACE))
    wider["params"]["x"]["upper"] = 2.0
    others = [
        replace(table, configurations=[table.configurations[0] | {"x": 0.123}, *table.configurations[1:]]),
        read_table(write_folder(tmp_path / "wider" / "small", trials_of(2, 10), space=wider)),
        replace(table, default={"x": 0.25}),
        changed(table, metafeatures={**first.record.metafeatures, "size": 7.0}),
        changed(table, group="another"),
        replace(table, tasks=(replace(first, own=False), *table.tasks[1:])),
        replace(table, tasks=(replace(first, score=first.score + 1), *table.tasks[1:])),
        replace(table, tasks=(replace(first, rows=first.rows[::-1].copy()), *table.tasks[1:])),
    ]
    digests = {table.digest, *(other.digest for other in others)}
    assert len(digests) == 1 + len(others)
    slower = replace(table, tasks=(replace(first, seconds=first.seconds * 2), *table.tasks[1:]))
    assert slower.digest == small_table(tmp_path, tasks=2, n=10).digest == table.digest  # seconds are not replayed
