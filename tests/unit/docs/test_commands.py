"""Every `python run.py ...` and `headwater ...` that a page shows is a command, with options that it has; what is
started with `python -m` is there."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex
from typing import Any

import pytest
import typer

from actors.interfaces.cli import app
from tests.unit.docs.markdown import PAGES, ROOT, all_blocks, page_name, prose

MADE = {
    "shop/": f"{ROOT}/config/",
    "apphub.json": f"{ROOT}/tests/unit/interfaces/exports/apphub.json",
}
"""What the reader makes, and what stands for it here."""
_GENERATED = ROOT / "docs" / "reference"
_PROMPT = "$ "
_CONTINUED = re.compile(r"\\\n\s*")
# The name alone is that of much else: a log, a unit, a prefix of keys.
_OURS = re.compile(r"(?:\bpython run\.py|^headwater)(?= |$)(.*)$")
_MODULE = re.compile(r"\bpython -m ([\w.]+)")
_END = re.compile(r"\s[|>&]")


def shown() -> list[tuple[str, str]]:
    """(where, command line) of each."""
    found = [
        (block.name, line.removeprefix(_PROMPT))
        for block in all_blocks("console")
        for line in _CONTINUED.sub(" ", block.text).splitlines()
        if line.startswith(_PROMPT)
    ]
    for page in PAGES:
        # Lines are wrapped inside a code span, too.
        found += [(page_name(page), " ".join(span.split())) for span in re.findall(r"`([^`]+)`", prose(page))]
    return [(where, line) for where, line in found if not where.startswith("docs/reference")]


def commands() -> list[tuple[str, str]]:
    """(where, arguments) of each that is ours."""
    return sorted({(where, match[1]) for where, line in shown() if (match := _OURS.search(line))})


@pytest.mark.parametrize(("where", "arguments"), commands())
def test_it_can_be_typed(where: str, arguments: str) -> None:
    # In the text a command's bare name stands for it; where one types along it has its arguments.
    is_name = ":" not in where and len(arguments.split()) == 1
    for made, there in MADE.items():
        arguments = arguments.replace(made, there)
    parse(arguments, named_only=is_name)


def test_modules_that_are_started_are_there() -> None:
    # The generator of the site is no part of the tests' installation.
    named = {match[1] for _, line in shown() for match in _MODULE.finditer(line)} - {"sphinx"}
    assert named >= {"tests.simulation", "tests.crash", "pytest"}
    assert [module for module in sorted(named) if importlib.util.find_spec(module) is None] == []


def test_an_option_that_is_not_there_would_be_seen() -> None:
    for wrong in ("runs --triger auto", "rums", "emit asset.made --asset a", "trigger"):
        with pytest.raises(Exception, match=r"(?i)no such|not one of|missing"):
            parse(wrong)


def test_every_command_is_on_a_page_besides_the_reference() -> None:
    group: Any = typer.main.get_command(app)
    # Pages name commands also without `python run.py`.
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if not page.is_relative_to(_GENERATED))
    assert [name for name in group.commands if not re.search(rf"(`|run\.py ){name}\b", text)] == []


def parse(arguments: str, *, named_only: bool = False) -> None:
    """What the shell would hand over, parsed as far as invoking it; raises what typer raises."""
    group: Any = typer.main.get_command(app)
    words = shlex.split(_END.split(f" {arguments} ")[0])
    with contextlib.suppress(typer.Exit), group.make_context("run.py", words) as context:  # `--help` exits
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, options = group.resolve_command(context, rest)
        if not named_only:
            with command.make_context(name, options, parent=context):
                pass
