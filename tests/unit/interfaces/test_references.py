"""The pages that are made from the code say what the code says now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.interfaces import cli_reference, events_reference, settings_reference

FOLDER = Path(__file__).parents[3] / "docs" / "reference"


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("cli", cli_reference.render),
        ("settings", settings_reference.render),
        ("events", events_reference.render),
    ],
)
def test_the_page_is_up_to_date(name: str, render: Callable[[], str]) -> None:
    page = FOLDER / f"{name}.md"
    assert page.read_text(encoding="utf-8") == render(), (
        f"run: python -m actors.interfaces.{name}_reference > docs/reference/{name}.md"
    )


def test_the_pages_name_what_they_are_about() -> None:
    assert "## trigger" in cli_reference.render()
    assert "`--param NAME=VALUE`" in cli_reference.render()
    assert "`HEADWATER_REDIS__URL`" in settings_reference.render()
    assert "## workflow.run.failed" in events_reference.render()
