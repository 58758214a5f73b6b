"""The README is true: its commands are there once, its Python runs, its command lines parse."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CONSOLE = [line for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


def test_the_two_set_up_and_run_commands_stand_first_and_once() -> None:
    assert CONSOLE[0] == 'pip install ".[keras]" && metatune demo'
    assert CONSOLE[1] == 'pip install ".[test]" && pytest'
    assert sum("pip install" in line for line in CONSOLE) == 2


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_python_runs(number: int, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", SNIPPETS[number]], cwd=tmp_path, check=True)


@pytest.mark.parametrize("line", [line for line in CONSOLE if line.startswith("metatune ")])
def test_the_command_lines_are_known(line: str) -> None:
    words = shlex.split(line)
    options = [word for word in words if word.startswith("--")]
    done = subprocess.run(
        [sys.executable, "-m", "metatune", words[1], "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "PATH": ""},
    )
    assert all(option in done.stdout for option in options), done.stdout


def test_links_lead_somewhere() -> None:
    root = Path(__file__).parents[1]
    for page in (root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
