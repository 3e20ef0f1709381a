"""Which time windows are left as they are after a long pause or outage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.core.catching_up import passed_over
from actors.core.decide import Defaults, Reason, Skip, decide
from actors.core.graph import AssetSpec, AutoMaterialize, CatchUp
from actors.core.partitions import Granularity, StaticPartitioning, TimeWindowPartitioning
from actors.core.state import Dismissal, Materialization, PartitionState

NOON = 1_772_366_400_000
"""2026-03-01T12:00:00Z"""

HOUR_MS = 3_600_000
DEFAULTS = Defaults(catch_up_after_ms=HOUR_MS)
HOURLY = AssetSpec(
    "x",
    "w",
    "s",
    ("a",),
    partitioning=TimeWindowPartitioning(Granularity.HOUR),
    auto=AutoMaterialize(on_upstream_update=True),
)


def stale(hour: int, latest: int, **others: object) -> PartitionState:
    state = PartitionState(f"2026-03-01T{hour:02d}", latest={"a": latest})
    return replace(state, **others)  # type: ignore[arg-type]


def keys(spec: AssetSpec, states: list[PartitionState], held_ms: int = HOUR_MS) -> list[str]:
    return [key[-2:] for key in passed_over(spec, states, DEFAULTS, held_ms, NOON)]


def test_only_the_latest_of_the_stale_windows_is_made() -> None:
    assert keys(HOURLY, [stale(11, 3), stale(9, 1), stale(10, 2)]) == ["09", "10"]
    assert keys(HOURLY, [stale(11, 3)]) == []


def test_after_a_short_while_all_are_made() -> None:
    assert keys(HOURLY, [stale(10, 2), stale(11, 3)], HOUR_MS - 1) == []


def test_a_policy_can_catch_up_on_all() -> None:
    auto = AutoMaterialize(on_upstream_update=True, catch_up=CatchUp.ALL)
    assert keys(replace(HOURLY, auto=auto), [stale(10, 2), stale(11, 3)]) == []


@pytest.mark.parametrize(
    "other",
    [
        stale(11, 3, run_id="run-1"),
        stale(11, 3, made=Materialization(1, 1, NOON, inputs={"a": 3})),
        stale(11, 3, dismissed=Dismissal(0, {"a": 3})),
        PartitionState("no hour", latest={"a": 3}),
        PartitionState(None, latest={"a": 3}),
    ],
    ids=["in flight", "fresh", "dismissed", "no window", "no key"],
)
def test_what_would_not_be_made_now_counts_for_nothing(other: PartitionState) -> None:
    assert keys(HOURLY, [stale(9, 1), stale(10, 2), other]) == ["09"]


def test_static_partitions_are_all_made() -> None:
    spec = replace(HOURLY, partitioning=StaticPartitioning(("eu", "us")))
    states = [PartitionState(key, latest={"a": 1}) for key in ("eu", "us")]
    assert passed_over(spec, states, DEFAULTS, HOUR_MS, NOON) == {}


def test_what_is_passed_over_is_left_until_something_newer_comes() -> None:
    made = Materialization(4, 4, NOON, inputs={"a": 1})
    older = stale(9, 2, made=made)
    (dismissal,) = passed_over(HOURLY, [older, stale(10, 3)], DEFAULTS, HOUR_MS, NOON).values()
    assert dismissal == Dismissal(4, {"a": 2}, is_passed_over=True)
    older.dismissed = dismissal
    assert decide(HOURLY, older, DEFAULTS, NOON) == Skip(Reason.PASSED_OVER)
    older.latest["a"] = 3
    assert decide(HOURLY, older, DEFAULTS, NOON).reason is Reason.UPSTREAM_UPDATED
