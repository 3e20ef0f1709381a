from __future__ import annotations

import json
import re
from contextlib import redirect_stdout
from io import StringIO

import pytest

from actors.interfaces.render import age_text, duration_text, print_json, print_table, state_text, when_text

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (1_250, "1.2 s"),
        (10_000, "10 s"),
        (59_999, "59 s"),
        (MINUTE, "1 min"),
        (4 * MINUTE + 10_999, "4 min 10 s"),
        (3 * HOUR + 59_000, "3 h"),
        (3 * HOUR + 5 * MINUTE, "3 h 5 min"),
        (2 * DAY + 4 * HOUR + 59 * MINUTE, "2 d 4 h"),
        (-1_500, "-1.5 s"),
    ],
)
def test_durations_have_at_most_two_units(ms: int, text: str) -> None:
    assert duration_text(ms) == text


def test_ages_know_past_and_future() -> None:
    assert age_text(0, 90_000) == "1 min 30 s ago"
    assert age_text(90_000, 0) == "in 1 min 30 s"
    assert age_text(500, 0) == "now"


def test_a_time_is_told_as_age_and_as_iso() -> None:
    assert when_text(1_763_892_000_000, 1_763_892_005_000) == "5 s ago (2025-11-23T10:00:00.000Z)"
    assert when_text(None, 0) is None


def test_a_table_in_a_pipe_is_neither_wrapped_nor_padded_nor_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    print_table(("A", "B"), [(long, None), ("short", "y")], empty="nothing")
    head, first, second = capsys.readouterr().out.splitlines()
    assert head == "A".ljust(500) + "  B"
    assert first == f"{long}  -"
    assert second == "short".ljust(500) + "  y"


class _Terminal(StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_a_narrow_terminal_folds_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(_Terminal()) as terminal:
        print_table(("ASSET", "RUN"), [("orders.daily", "0123456789abcdef" * 4)], empty="nothing")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert max(map(len, lines)) <= 40
    assert "0123456789abcdef" * 4 in "".join(line.split()[-1] for line in lines if line.strip())


def test_colours_are_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    with redirect_stdout(_Terminal()) as terminal:
        print_table(("A",), [(state_text("failed"),)], empty="nothing")
    assert "\x1b[31m" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(_Terminal()) as terminal:
        print_table(("A",), [(state_text("failed"),)], empty="nothing")
    assert "\x1b[31m" not in terminal.getvalue()
    with redirect_stdout(StringIO()) as pipe:
        print_table(("A",), [(state_text("failed"),)], empty="nothing")
    assert pipe.getvalue() == "A\nfailed\n"


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A",), [], empty="no runs")
    assert capsys.readouterr().out == "no runs\n"


def test_json_keeps_letters_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "Zürich", "rows": [1]})
    out = capsys.readouterr().out
    assert "Zürich" in out
    assert json.loads(out) == {"name": "Zürich", "rows": [1]}
