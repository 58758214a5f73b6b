"""The picture in docs/architecture.md is true: layers, hosts, and what importing metatune costs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "metatune"
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: Packages that only the named files may import.
HOSTS = {
    "tensorflow": {"learners/keras_host.py"},
    "keras": {"learners/keras_host.py"},
    "mlflow": {
        "history/mlflow_store.py",
        "history/mlflow_database.py",
        "history/mlflow_experiment.py",
        "history/mlflow_runs.py",
        "history/mlflow_upkeep.py",
        "history/foreign_runs.py",
        "history/api_reader.py",
        "history/registry.py",
        "history/forgetting.py",
    },
    "lightgbm": {"learners/lightgbm.py", "surrogate/gbdt.py"},
    "jinja2": {"report/"},
    "typer": {"cli/"},
    "rich": {"cli/"},
    "skops": {"learners/"},
    "torch": {"backtest/peers/"},
    "smac": {"backtest/peers/smac.py"},
    "syne_tune": {"backtest/peers/syne_tune.py"},
    "ax": {"backtest/peers/ax.py"},
    "openbox": {"backtest/peers/openbox_server.py"},
}
UNPICKLERS = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
#: ``cli`` commands import what they need when they run, so that --help answers at once; the others say why.
LATE_IMPORTS_ALLOWED = ("cli/", "history/reader.py", "knowledge.py", "metric.py")


def name_of(path: Path) -> str:
    """The dotted name below the package: ``search.prior``; empty for the root."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def rows() -> dict[str, int]:
    """Module or package -> row, as the table in docs/architecture.md says."""
    found = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        match = re.match(r"\| (\d+) \| (.+?) \|", line)
        if match:
            for module in re.findall(r"`([\w/]+)`", match[2]):
                found[module.rstrip("/")] = int(match[1])
    return found


ROWS = rows()


def row_of(module: str) -> int:
    """The row of ``search.prior`` is that of ``search`` unless it has its own."""
    return ROWS[module] if module in ROWS else ROWS[module.split(".")[0]]


def imports(path: Path) -> Iterator[tuple[str, ast.stmt, bool]]:
    """Every imported module with its statement, and whether the import is inside a function."""
    tree = ast.parse(path.read_text())
    late = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node, node in late
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield str(node.module), node, node in late


def own_modules() -> set[str]:
    return {name_of(path) for path in SOURCES} - {""}


def test_the_table_names_every_module_and_nothing_else() -> None:
    tops = {module.split(".")[0] for module in own_modules()}
    assert tops <= set(ROWS), f"not in the table: {sorted(tops - set(ROWS))}"
    assert set(ROWS) <= own_modules() | tops, f"in the table only: {sorted(set(ROWS) - own_modules())}"


@pytest.mark.parametrize("path", [p for p in SOURCES if name_of(p)], ids=name_of)
def test_imports_point_to_the_same_or_a_lower_row(path: Path) -> None:
    for module, node, late in imports(path):
        assert module != "metatune", f"{path}:{node.lineno}: imports the package root"
        if module.startswith("metatune."):
            target = module.removeprefix("metatune.")
            assert target in own_modules(), f"{path}:{node.lineno}: {module} does not exist"
            assert row_of(target) <= row_of(name_of(path)), f"{path}:{node.lineno}: {module} is higher up"
            local = path.relative_to(PACKAGE).as_posix()
            assert not late or local.startswith(LATE_IMPORTS_ALLOWED), f"{path}:{node.lineno}: import in a function"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: name_of(p) or "root")
def test_hosts_are_imported_in_their_own_files_only(path: Path) -> None:
    local = path.relative_to(PACKAGE).as_posix()
    for module, node, _ in imports(path):
        allowed = HOSTS.get(module.split(".")[0])
        assert allowed is None or any(local == a or (a.endswith("/") and local.startswith(a)) for a in allowed), (
            f"{path}:{node.lineno}: {module}"
        )


def runs_code(path: Path) -> list[str]:
    """What in the file could run code that data bring: unpicklers, eval, exec."""
    found = [module for module, _, _ in imports(path) if module.split(".")[0] in UNPICKLERS]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            found.append(node.func.id)
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "unsafe_load"):
            found.append(node.arg)
        if isinstance(node, ast.Attribute) and node.attr in (
            "read_pickle",
            "to_pickle",
            "enable_unsafe_deserialization",
        ):
            found.append(node.attr)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: name_of(p) or "root")
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    assert runs_code(path) == []


def test_running_code_would_be_found(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.py"
    hostile.write_text("import pickle\nimport numpy as np\nnp.load('x', allow_pickle=True)\neval('1')\n")
    assert set(runs_code(hostile)) == {"pickle", "allow_pickle", "eval"}


def test_importing_metatune_loads_nothing_heavy() -> None:
    heavy = ["tensorflow", "keras", "mlflow", "lightgbm", "sklearn", "pandas", "optuna", "scipy", "numpy"]
    code = f"import sys, metatune; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_search_space_alone_loads_no_host() -> None:
    hosts = ["tensorflow", "mlflow", "lightgbm"]
    code = (
        f"import sys, metatune; metatune.SearchSpace({{'x': [1, 2]}}); print([m for m in {hosts} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_has_the_name_of_what_the_package_gives() -> None:
    """Importing the module would put it in the place of the function, and calling that fail from then on."""
    import metatune

    assert not {path.stem for path in PACKAGE.iterdir()} & set(metatune.__all__)


def test_the_public_names_exist_and_are_sorted() -> None:
    import metatune

    assert metatune.__all__ == sorted(metatune.__all__)
    assert all(getattr(metatune, name) is not None for name in metatune.__all__)
    assert set(metatune.__all__) == {*metatune._HOME, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        metatune.nonsense  # noqa: B018


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: name_of(p) or "root")
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
