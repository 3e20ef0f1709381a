from __future__ import annotations

import sys

import pytest

from actors.interfaces.program import as_called, command


@pytest.mark.parametrize(
    ("called", "line"),
    [
        ("/opt/venv/bin/headwater", "headwater resume 'orders daily' --partition 2026-11-23"),
        ("run.py", "python run.py resume 'orders daily' --partition 2026-11-23"),
        ("/usr/lib/python3/pytest/__main__.py", "python run.py resume 'orders daily' --partition 2026-11-23"),
    ],
)
def test_a_hint_can_be_typed_as_the_program_was_called(called: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    assert command("resume", "orders daily", "--partition", "2026-11-23") == line
    assert as_called("Examples: python run.py runs") == f"Examples: {command('runs')}"
