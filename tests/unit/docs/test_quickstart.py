"""The two commands of the README are what CI runs, and what the project can do."""

from __future__ import annotations

import re
import tomllib

from tests.unit.docs.markdown import ROOT, blocks


def commands() -> list[str]:
    """What the first two console blocks of the README say to type."""
    found = [
        block.text.strip().removeprefix("$ ") for block in blocks(ROOT / "README.md") if block.language == "console"
    ]
    return found[:2]


def test_the_readme_begins_with_two_commands() -> None:
    assert commands() == ["pip install -e . && python run.py", "pip install -e '.[test]' && python -m pytest"]


def test_they_stand_on_the_first_screen() -> None:
    head = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    for command in commands():
        assert f"$ {command}" in head


def test_ci_runs_the_second_as_it_stands_there() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands()[1] in lines


def test_what_they_name_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    for command in commands():
        assert all(extra in extras for extra in re.findall(r"\.\[(\w+)\]", command))
    assert (ROOT / "run.py").is_file()
    assert any(dependency.startswith("pytest") for dependency in extras["test"])
