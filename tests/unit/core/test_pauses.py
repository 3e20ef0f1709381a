"""Which pause holds an asset back, and what that does to its decision."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.decide import Defaults, Materialize, Reason, Skip, Wait, decide, is_settled
from actors.core.describe import describe
from actors.core.graph import AssetSpec, AutoMaterialize
from actors.core.pauses import MAX_REASON, Pause, Pauses, check_scope
from actors.core.quiet_hours import QuietHours, QuietWindow
from actors.core.state import FailureRecord, Materialization, PartitionState

NOON = 1_772_366_400_000
DEFAULTS = Defaults()
SPEC = AssetSpec("x", "w", "s", ("a",), auto=AutoMaterialize(on_upstream_update=True))
FRESH = PartitionState(None, made=Materialization(1, 1, NOON - 1, inputs={"a": 1}), latest={"a": 1})
STALE = replace(FRESH, latest={"a": 2})
PAUSE = Pause("all", NOON - 10, NOON + 10)


def pauses(**ends: int | None) -> Pauses:
    """By kind of scope, when it ends."""
    names = {"everything": "all", "workflow": "workflow:w", "asset": "asset:x"}
    return Pauses({names[kind]: Pause(names[kind], NOON - 100, end) for kind, end in ends.items()})


@pytest.mark.parametrize("scope", ["all", "workflow:w", "asset:x", "asset:a:b", "workflow:with space"])
def test_a_scope_is_everything_a_workflow_or_an_asset(scope: str) -> None:
    assert check_scope(scope) == scope
    assert Pause(scope, NOON).scope == scope


@pytest.mark.parametrize("scope", ["", "ALL", "all:", "workflow:", "asset", "asset:", "pool:gpu", "asset:\n", "x"])
def test_what_is_no_scope_is_refused_with_the_three_forms(scope: str) -> None:
    with pytest.raises(ValueError, match="write all, workflow:SLUG or asset:ID"):
        Pause(scope, NOON)


def test_a_pause_ends_after_it_begins_and_has_a_short_reason() -> None:
    assert Pause("all", NOON, NOON + 1, "r" * MAX_REASON).reason
    with pytest.raises(ValueError, match="end before it begins"):
        Pause("all", NOON, NOON)
    with pytest.raises(ValueError, match="201 characters"):
        Pause("all", NOON, None, "r" * 201)


@pytest.mark.parametrize(
    ("ends", "scope"),
    [
        ({}, None),
        ({"everything": None}, "all"),
        ({"workflow": None}, "workflow:w"),
        ({"asset": None}, "asset:x"),
        ({"everything": NOON + 2, "workflow": NOON + 1, "asset": NOON + 1}, "all"),
        ({"everything": NOON + 1, "workflow": NOON + 2, "asset": NOON + 1}, "workflow:w"),
        ({"everything": NOON + 1, "workflow": NOON + 2, "asset": NOON + 3}, "asset:x"),
        ({"everything": NOON + 9, "asset": None}, "asset:x"),
        ({"everything": None, "asset": NOON + 9}, "all"),
        ({"everything": NOON, "workflow": NOON - 1, "asset": NOON + 1}, "asset:x"),
        ({"everything": NOON, "workflow": NOON - 1}, None),
    ],
)
def test_the_pause_that_ends_last_holds(ends: dict[str, int | None], scope: str | None) -> None:
    found = pauses(**ends).paused_until("x", "w", NOON)
    assert (found.scope if found else None) == scope


def test_others_are_not_held() -> None:
    held = pauses(workflow=None, asset=None)
    assert held.paused_until("y", "v", NOON) is None
    assert held.paused_until("w", "x", NOON) is None
    assert held.paused_until("y", None, NOON) is None


@given(st.dictionaries(st.sampled_from(["everything", "workflow", "asset"]), st.integers(NOON - 9, NOON + 9)))
def test_it_holds_exactly_as_long_as_any_pause_does(ends: dict[str, int]) -> None:
    held = pauses(**ends)
    last = max(ends.values(), default=0)
    for now_ms in range(NOON - 10, NOON + 10):
        found = held.paused_until("x", "w", now_ms)
        assert (found is not None) is (now_ms < last)
        assert held.without_ended(now_ms).paused_until("x", "w", now_ms) == found
        assert found is None or found.until_ms == last


def test_the_next_end_is_that_of_the_first_that_ends_by_itself() -> None:
    assert pauses(everything=None).next_end_ms() is None
    assert pauses(everything=None, workflow=NOON + 5, asset=NOON + 3).next_end_ms() == NOON + 3


def test_what_differs_is_told_by_scope() -> None:
    before, after = pauses(everything=None, workflow=1 + NOON, asset=None), pauses(workflow=2 + NOON, asset=None)
    assert before.scopes_changed(after) == after.scopes_changed(before) == {"all", "workflow:w"}
    assert before.scopes_changed(before) == frozenset()


# -- the ladder --------------------------------------------------------------------------------------------------------


def test_L9_a_pause_holds_back_what_is_needed_and_nothing_else() -> None:
    assert decide(SPEC, STALE, DEFAULTS, NOON, PAUSE) == Wait(NOON + 10, Reason.PAUSED)
    assert decide(SPEC, STALE, DEFAULTS, NOON, Pause("all", NOON)) == Wait(None, Reason.PAUSED)
    assert decide(SPEC, FRESH, DEFAULTS, NOON, PAUSE) == Skip(Reason.FRESH)
    assert decide(None, STALE, DEFAULTS, NOON, PAUSE) == Skip(Reason.NO_PRODUCER)


def test_L9_it_acts_at_the_very_end_of_the_pause() -> None:
    assert decide(SPEC, STALE, DEFAULTS, NOON + 9, PAUSE) == Wait(NOON + 10, Reason.PAUSED)
    assert decide(SPEC, STALE, DEFAULTS, NOON + 10, PAUSE) == Materialize(Reason.UPSTREAM_UPDATED)


def test_a_run_in_flight_is_told_before_a_pause_and_a_pause_before_all_else() -> None:
    quiet = QuietHours((QuietWindow(frozenset(), 11 * 60, 13 * 60),))
    held = replace(SPEC, auto=replace(SPEC.auto or AutoMaterialize(), quiet_hours=(quiet,), debounce_ms=60_000))
    failed = replace(STALE, failure=FailureRecord(9, NOON, "run-1"), changed_at_ms=NOON, stale_since_ms=NOON)
    assert decide(held, failed, DEFAULTS, NOON, PAUSE) == Wait(NOON + 10, Reason.PAUSED)
    assert decide(held, replace(failed, run_id="run-2"), DEFAULTS, NOON, PAUSE) == Wait(None, Reason.IN_FLIGHT)


def test_those_below_need_not_wait_for_a_paused_partition() -> None:
    assert is_settled(decide(SPEC, STALE, DEFAULTS, NOON, PAUSE))


def test_it_is_described_as_paused_when_a_run_is_held_back() -> None:
    view = describe(SPEC, STALE, DEFAULTS, NOON, PAUSE)
    assert (view.state, view.reason) == ("paused", Reason.PAUSED)
    assert describe(SPEC, FRESH, DEFAULTS, NOON, PAUSE).state == "fresh"
    assert describe(SPEC, replace(STALE, run_id="run-2"), DEFAULTS, NOON, PAUSE).state == "inFlight"
