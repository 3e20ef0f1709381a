"""Time that was watched, and time that was not."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from actors.execution.watched_time import WatchedTime

PERIOD_MS = 10_000
MOST_MS = 2_000


def silent_since(*looks_ms: int) -> int | None:
    watched = WatchedTime(PERIOD_MS, most_ms=MOST_MS)
    return [watched.look(at_ms) for at_ms in looks_ms][-1]


def test_a_period_that_was_watched_begins_a_period_ago() -> None:
    assert silent_since(*range(0, 10_000, 1_000)) is None
    assert silent_since(*range(0, 11_000, 1_000)) == 0
    assert silent_since(*range(0, 61_000, 1_000)) == 50_000


def test_an_outage_counts_as_little_as_two_looks() -> None:
    looks = [*range(0, 10_000, 1_000), 600_000, 601_000]
    assert silent_since(*looks[:-2]) is None
    assert silent_since(*looks) == 2_000, "a sign of life at 2 s is missed for 7 s, the outage as 2 s, and 1 s"


def test_it_goes_on_where_every_look_is_late() -> None:
    """Or nothing would ever be given up on a machine that is busy for good."""
    assert silent_since(*range(0, 100_000, 5_000)) == 70_000


def test_a_clock_that_is_set_back_begins_anew() -> None:
    assert silent_since(*range(100_000, 120_000, 1_000), 50_000) is None
    assert silent_since(*range(100_000, 120_000, 1_000), *range(50_000, 60_000, 1_000)) is None
    assert silent_since(*range(100_000, 120_000, 1_000), *range(50_000, 61_000, 1_000)) == 50_000


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=300))
def test_nothing_is_given_up_before_a_whole_period_was_watched(gaps_ms: list[int]) -> None:
    watched = WatchedTime(PERIOD_MS, most_ms=MOST_MS)
    looks_ms = [0]
    watched.look(0)
    for gap_ms in gaps_ms:
        looks_ms.append(looks_ms[-1] + gap_ms)
        since_ms = watched.look(looks_ms[-1])
        counted = [
            min(later - earlier, MOST_MS)
            for earlier, later in pairwise(looks_ms)
            if since_ms is not None and earlier >= since_ms
        ]
        assert since_ms is None or sum(counted) >= PERIOD_MS
        assert since_ms is not None or sum(min(gap, MOST_MS) for gap in gaps_ms[: len(looks_ms) - 1]) < PERIOD_MS
