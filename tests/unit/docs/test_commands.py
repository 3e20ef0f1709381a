"""Every `python run.py ...` that a page shows is a command, with options that it has."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from actors.interfaces.cli import app
from tests.unit.docs.markdown import PAGES, ROOT, all_blocks, page_name, prose

_GENERATED = ROOT / "docs" / "reference"
_PROMPT = "$ "
_END = re.compile(r"\s[|>&]")


def shown() -> list[tuple[str, str]]:
    """(where, command line) of each."""
    found = [
        (block.name, line.removeprefix(_PROMPT))
        for block in all_blocks("console")
        for line in block.text.splitlines()
        if line.startswith(_PROMPT)
    ]
    for page in PAGES:
        # Lines are wrapped inside a code span, too.
        found += [(page_name(page), " ".join(span.split())) for span in re.findall(r"`([^`]+)`", prose(page))]
    return [(where, line) for where, line in found if "run.py" in line and not where.startswith("docs/reference")]


@pytest.mark.parametrize(("where", "line"), sorted(set(shown())))
def test_it_can_be_typed(where: str, line: str) -> None:
    arguments = line.partition("python run.py")[2]
    # In the text a command's bare name stands for it; where one types along it has its arguments.
    is_name = ":" not in where and len(arguments.split()) == 1
    # A file that the reader makes is not there.
    parse(arguments.replace("shop/", f"{ROOT}/config/"), named_only=is_name)


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
    with group.make_context("run.py", words) as context:
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, options = group.resolve_command(context, rest)
        if not named_only:
            with command.make_context(name, options, parent=context):
                pass
