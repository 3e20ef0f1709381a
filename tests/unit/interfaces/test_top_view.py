"""One frame of `top`, drawn from the document that the service and the catalog gave."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from actors.interfaces.top_view import Frame, draw_frame

NOON = 1_772_366_400_000
RUNS: list[Any] = [
    {
        "runId": f"run-{number}",
        "workflowSlug": f"w{number}",
        "partitionKey": None,
        "createdAt": f"2026-03-01T11:58:0{number}.000Z",
        "startedAt": f"2026-03-01T11:59:0{number}.000Z",
        "stepsOver": number,
        "steps": 4,
        "goingOn": [{"stepId": "load", "attempt": 2}],
    }
    for number in (2, 0, 1)
]
TOLD: dict[str, Any] = {
    "startedAtMs": NOON - 60_000,
    "term": 3,
    "leader": {"host": "one", "pid": 7},
    "standbys": [{"host": "two"}],
    "activeCount": 30,
    "wantedCount": 0,
    "queuedCount": 0,
    "active": RUNS,
    "wanted": [],
    "overview": {
        "stale": 31,
        "waiting": {"in-flight": 30, "suspended": 1},
        "failing": [{"assetId": "a", "partitionKey": "k", "state": "suspended", "failures": 5, "until": None}],
        "next": [{"at": "2026-03-01T12:00:05.000Z", "assetId": "b", "partitionKey": None, "what": "expires"}],
        "failedRuns": [
            {
                "at": "2026-03-01T11:59:58.000Z",
                "runId": "run-9",
                "workflowSlug": "w9",
                "partitionKey": None,
                "outcome": "failed",
                "error": "x" * 500,
            }
        ],
        "rates": {"seconds": 10, "decisionsPerSecond": 12.34, "eventsPerSecond": 2.0, "runsPerMinute": 0.0},
        "slots": {"launcher": "local", "processes": 2, "maxRuns": 40, "workflows": {}, "pools": {"gpu": 1}},
    },
    "stream": {"appended": 9, "behind": 12, "lagMs": 4_000, "deadLetters": 1},
    "used": {"workflows": {}, "pools": {"gpu": 1}},
    "pauses": [],
}


def lines(frame: Frame, width: int = 120) -> list[str]:
    out = Console(file=io.StringIO(), width=width, height=frame.height or 100)
    with out.capture() as captured:
        out.print(draw_frame(TOLD, frame))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_frame_says_who_leads_how_much_there_is_and_which() -> None:
    drawn = lines(Frame(NOON))
    assert drawn[:6] == [
        "service  one, pid 7, leads in term 3, runs for 1 min; 1 stands by",
        "assets   31 stale: 30 in-flight, 1 suspended",
        "runs     30 of 40 in flight, 0 queued; 0 a minute end",
        "events   2 a second, 12.3 decisions a second (last 10 s); 12 behind, the first for 4 s; 1 dead letters",
        "slots    2 worker processes here; pool gpu: 1 of 1",
        "paused   nothing",
    ]
    assert "IN FLIGHT  3 of 30" in drawn
    # The oldest first.
    assert [line.split()[0] for line in drawn if " load (attempt 2)" in line] == ["w0", "w1", "w2"]
    assert any(line.split() == ["w2", "58", "s", "███░░░", "2/4", "load", "(attempt", "2)", "run-2"] for line in drawn)
    assert any(line.split() == ["a@k", "suspended", "5", "when", "it", "is", "resumed"] for line in drawn)
    assert any(line.split() == ["b", "it", "expires", "in", "5", "s"] for line in drawn)


def test_runs_are_sorted_and_filtered_as_was_wished() -> None:
    by_steps = [line.split()[0] for line in lines(Frame(NOON, sort="steps")) if "load" in line]
    assert by_steps == ["w0", "w1", "w2"]
    filtered = lines(Frame(NOON, filter="W1"))
    assert [line.split()[0] for line in filtered if "load" in line] == ["w1"]
    assert "NEXT  1" not in filtered


def test_a_frame_fits_the_screen() -> None:
    drawn = lines(Frame(NOON, width=60, height=24, footer="q quit"), width=60)
    assert len(drawn) <= 24
    assert max(map(len, drawn)) <= 60
    assert "q quit" in drawn[-1]
    # Each table has a row before one has two.
    assert {
        title for title in ("IN FLIGHT", "FAILING", "NEXT", "FAILED RUNS") if any(title in row for row in drawn)
    } == {"IN FLIGHT", "FAILING", "NEXT", "FAILED RUNS"}
