"""What `pause` and `unpause` take, and what they refuse before the catalog is opened."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from actors.core.pauses import Pause
from actors.interfaces.cli import app
from actors.interfaces.debug_view import asset_lines
from actors.interfaces.dump import pause_json
from actors.interfaces.durations import parse_duration_ms

NOON = 1_795_435_200_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("15m", 900_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("250ms", 250),
        ("1h30m", 5_400_000),
        ("1d2h3m4s5ms", 93_784_005),
        ("0h5m", 300_000),
        ("3660d", 316_224_000_000),
    ],
)
def test_a_duration_is_a_number_and_a_unit_or_several(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "h", "2 h", " 2h", "2h ", "-2h", "1.5h", "2H", "2h2h", "30m1h", "2w", "²h", "٣h", "1e3s", "2h\n"]
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 90s, 15m, 2h, 1d or 1h30m"):
        parse_duration_ms(text)


@pytest.mark.parametrize(("text", "flaw"), [("0s", "no time at all"), ("3661d", "ten years"), ("9" * 12 + "d", "ten")])
def test_a_duration_is_neither_nothing_nor_for_ever(text: str, flaw: str) -> None:
    with pytest.raises(ValueError, match=flaw):
        parse_duration_ms(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_the_parts_of_a_duration_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    assert parse_duration_ms(text) == (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000


def refusal(*args: str) -> str:
    result: Any = CliRunner().invoke(app, list(args))
    assert (result.exit_code, result.stdout) == (2, "")
    return str(result.stderr)


@pytest.mark.parametrize("command", ["pause", "unpause"])
@pytest.mark.parametrize(
    "scopes",
    [(), ("--all", "--asset", "a"), ("--workflow", "w", "--asset", "a"), ("--all", "--workflow", "w", "--asset", "a")],
)
def test_exactly_one_scope_is_given(command: str, scopes: tuple[str, ...]) -> None:
    assert refusal(command, *scopes) == "error: say what is meant by one of --all, --workflow SLUG and --asset ID\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--for", "2h", "--until", "2099-01-01T00:00:00Z"), "--for and --until both say when it ends"),
        (("--for", "soon"), "--for: 'soon' is no duration"),
        (("--until", "tomorrow"), "--until: 'tomorrow' is no ISO 8601 timestamp"),
        (("--until", "2099-01-01T00:00:00"), "has no offset"),
        (("--until", "2020-01-01T00:00:00Z"), "--until: '2020-01-01T00:00:00Z' is over"),
        (("--reason", "r" * 201), "--reason has 201 characters; at most 200 are kept"),
    ],
)
def test_an_end_or_a_reason_that_cannot_be_used_is_refused(options: tuple[str, ...], told: str) -> None:
    assert told in refusal("pause", "--all", *options)


@pytest.mark.parametrize(
    ("pause", "line"),
    [
        (
            Pause("workflow:w", NOON - 60_000, NOON + 120_000, "moving"),
            "  paused by workflow:w since 1 min ago (2026-11-23T11:59:00.000Z), "
            "ends in 2 min (2026-11-23T12:02:00.000Z): moving",
        ),
        (Pause("all", NOON), "  paused by all since now (2026-11-23T12:00:00.000Z), until it is unpaused"),
    ],
)
def test_debug_says_by_which_pause_an_asset_is_held(pause: Pause, line: str) -> None:
    assert line in asset_lines({"assetId": "a", "pause": pause_json(pause)}, NOON)
