from __future__ import annotations

import io
import sys

import pytest

from actors.interfaces.timeline import timeline_lines

NOON = 1_772_366_400_000


def test_a_timeline_has_ages_signs_gaps_and_times_of_day() -> None:
    moments = [
        (NOON - 86_400_000, "v1 was made by run run-1"),
        (NOON - 5_000, "decided to wait: backoff, after workflow.run.failed run-2"),
        (NOON, "now: backoff (backoff)"),
        (NOON + 60_000, "until then it waits for the backoff after a failure"),
    ]
    assert [line.plain for line in timeline_lines(moments, NOON)] == [
        "   1 d ago ● v1 was made by run run-1  2026-02-28T12:00:00Z",
        "           │ 23 h 59 min",
        "   5 s ago ○ decided to wait: backoff, after workflow.run.failed run-2  11:59:55Z",
        "       now ◉ backoff (backoff)  12:00:00Z",
        "           │ 1 min",
        "  in 1 min ◌ until then it waits for the backoff after a failure  12:01:00Z",
    ]


def test_where_stdout_has_ascii_alone_so_has_the_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    lines = timeline_lines([(NOON - 90_000, "run run-1 failed (once now)"), (NOON, "now: stale (expired)")], NOON)
    assert "".join(line.plain for line in lines).isascii()
