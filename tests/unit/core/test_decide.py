"""The ladder: what holds a needed run back, in which order, and that looking again at the time given gets on."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.decide import (
    Decision,
    Defaults,
    Materialize,
    Reason,
    Skip,
    Wait,
    decide,
    expiry_of,
    is_settled,
    newer_upstreams,
)
from actors.core.freshness import Expiry, ExpiryReason, FreshnessPolicy
from actors.core.graph import AssetSpec, AutoMaterialize, When
from actors.core.partitions import Granularity
from actors.core.quiet_hours import QuietHours, QuietWindow
from actors.core.state import Dismissal, FailureRecord, Mark, Materialization, PartitionState
from actors.core.time_windows import TimeWindowPartitioning

SECOND, MINUTE, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
NOON = 1_772_366_400_000
"""2026-03-01T12:00:00Z"""

DAY = TimeWindowPartitioning(Granularity.DAY)
DEFAULTS = Defaults(
    BackoffPolicy(base_ms=10 * SECOND, max_ms=HOUR_MS, jitter=False),
    FailureBudget(failures=3),
    pending_limit_ms=HOUR_MS,
)
QUIET = QuietHours((QuietWindow(frozenset(), 11 * 60, 13 * 60),))
FOLLOWS = AutoMaterialize(on_upstream_update=True)


def asset(
    auto: AutoMaterialize | None = FOLLOWS, *, ttl_ms: int | None = None, windows: TimeWindowPartitioning | None = None
) -> AssetSpec:
    return AssetSpec("x", "w", "s", ("a", "b"), FreshnessPolicy(ttl_ms=ttl_ms), windows, auto)


def made(produced_at_ms: int = NOON - HOUR_MS, **others: object) -> Materialization:
    known = Materialization(version=5, changed_version=5, produced_at_ms=produced_at_ms, inputs={"a": 1, "b": 1})
    return replace(known, **others)  # type: ignore[arg-type]


def stale(**others: object) -> PartitionState:
    """Made from versions 1, while `a` has version 2."""
    state = PartitionState(None, made=made(), latest={"a": 2, "b": 1}, since_wave=1, owed_wave=1)
    return replace(state, **others)  # type: ignore[arg-type]


def failed(times: int, at_ms: int = NOON) -> FailureRecord:
    return FailureRecord(times, at_ms, "run-1")


# -- each rung --------------------------------------------------------------------------------------------------------

RUNGS: dict[str, tuple[AutoMaterialize, dict[str, object], Decision]] = {
    "in flight": (FOLLOWS, {"run_id": "run-9"}, Wait(None, Reason.IN_FLIGHT)),
    "suspended": (FOLLOWS, {"failure": failed(3)}, Wait(None, Reason.SUSPENDED)),
    "backoff": (FOLLOWS, {"failure": failed(2)}, Wait(NOON + 20 * SECOND, Reason.BACKOFF)),
    "quiet": (replace(FOLLOWS, quiet_hours=(QUIET,)), {}, Wait(NOON + HOUR_MS, Reason.QUIET_HOURS)),
    "pending": (
        FOLLOWS,
        {"pending": {("b", None): Mark(1, 1)}, "pending_since_ms": NOON - MINUTE},
        Wait(NOON - MINUTE + HOUR_MS, Reason.UPSTREAM_PENDING),
    ),
    "debounce": (
        replace(FOLLOWS, debounce_ms=30 * SECOND),
        {"changed_at_ms": NOON - SECOND, "stale_since_ms": NOON - SECOND},
        Wait(NOON + 29 * SECOND, Reason.DEBOUNCE),
    ),
    "nothing": (FOLLOWS, {}, Materialize(Reason.UPSTREAM_UPDATED)),
}


PAIRS = [(first, second) for first, second in combinations_with_replacement(RUNGS, 2) if second != "backoff"]
"""The number of failures says both `suspended` and `backoff`, so that pair is none."""


@pytest.mark.parametrize(("first", "second"), [*PAIRS, ("in flight", "backoff"), ("backoff", "backoff")])
def test_the_first_rung_that_holds_gives_the_answer(first: str, second: str) -> None:
    auto_1, state_1, answer = RUNGS[first]
    auto_2, state_2, _ = RUNGS[second]
    auto = replace(
        FOLLOWS,
        quiet_hours=auto_1.quiet_hours or auto_2.quiet_hours,
        debounce_ms=auto_1.debounce_ms or auto_2.debounce_ms,
    )
    assert decide(asset(auto), stale(**(state_2 | state_1)), DEFAULTS, NOON) == answer


@pytest.mark.parametrize("rung", [r for r in RUNGS if r != "nothing"])
def test_what_needs_no_run_waits_for_nothing(rung: str) -> None:
    auto, held, _ = RUNGS[rung]
    state = replace(stale(**held), latest={"a": 1, "b": 1})
    assert decide(asset(auto), state, DEFAULTS, NOON) == Skip(Reason.FRESH)


NEEDED: dict[str, tuple[AssetSpec | None, PartitionState, Decision]] = {
    "nobody makes it": (None, stale(), Skip(Reason.NO_PRODUCER)),
    "did not opt in": (asset(None, ttl_ms=HOUR_MS), stale(), Skip(Reason.NOT_OPTED_IN)),
    "does not follow updates": (asset(AutoMaterialize()), stale(), Skip(Reason.FRESH)),
    "update ignored": (asset(replace(FOLLOWS, ignore=frozenset("a"))), stale(), Skip(Reason.FRESH)),
    "first update of what was never made": (asset(), stale(made=None), Materialize(Reason.UPSTREAM_UPDATED)),
    "never made": (asset(), PartitionState(None), Skip(Reason.NEVER_MADE)),
    "missing": (asset(AutoMaterialize(on_missing=True)), PartitionState(None), Materialize(Reason.MISSING)),
    "expired now": (asset(ttl_ms=HOUR_MS), PartitionState(None, made=made()), Materialize(Reason.EXPIRED)),
    "expires in a moment": (
        asset(ttl_ms=HOUR_MS + 1),
        PartitionState(None, made=made()),
        Skip(Reason.FRESH, NOON + 1),
    ),
    "updated and expired": (asset(ttl_ms=1), stale(), Materialize(Reason.UPSTREAM_UPDATED)),
    "own policy is shorter": (
        asset(ttl_ms=DAY_MS),
        PartitionState(None, made=made(freshness=FreshnessPolicy(ttl_ms=HOUR_MS))),
        Materialize(Reason.EXPIRED),
    ),
    "own policy is longer": (
        asset(ttl_ms=HOUR_MS),
        PartitionState(None, made=made(freshness=FreshnessPolicy(ttl_ms=DAY_MS))),
        Skip(Reason.FRESH, NOON - HOUR_MS + DAY_MS),
    ),
    "declared expired": (asset(), PartitionState(None, made=made(expired_version=5)), Materialize(Reason.EXPIRED)),
    "an older version was declared expired": (
        asset(),
        PartitionState(None, made=made(expired_version=4)),
        Skip(Reason.FRESH),
    ),
    "one of all": (asset(replace(FOLLOWS, when=When.ALL)), stale(), Skip(Reason.FRESH)),
    "all of all": (
        asset(replace(FOLLOWS, when=When.ALL)),
        stale(latest={"a": 2, "b": 3}),
        Materialize(Reason.UPSTREAM_UPDATED),
    ),
    "all that count": (
        asset(replace(FOLLOWS, when=When.ALL, only=frozenset("a"))),
        stale(),
        Materialize(Reason.UPSTREAM_UPDATED),
    ),
    "one of all, and expired": (
        asset(replace(FOLLOWS, when=When.ALL), ttl_ms=1),
        stale(),
        Materialize(Reason.EXPIRED),
    ),
    "a run for these versions was canceled": (
        asset(),
        stale(dismissed=Dismissal(5, {"a": 2, "b": 1})),
        Skip(Reason.RUN_CANCELED),
    ),
    "canceled, then something newer": (
        asset(),
        stale(dismissed=Dismissal(5, {"a": 2, "b": 1}), latest={"a": 2, "b": 2}),
        Materialize(Reason.UPSTREAM_UPDATED),
    ),
    "canceled, and expired meanwhile": (
        asset(ttl_ms=1),
        PartitionState(None, made=made(), dismissed=Dismissal(5, {})),
        Skip(Reason.RUN_CANCELED),
    ),
    "canceled, made by hand, and expired": (
        asset(ttl_ms=1),
        PartitionState(None, made=made(), dismissed=Dismissal(4, {})),
        Materialize(Reason.EXPIRED),
    ),
    "missing, but canceled": (
        asset(AutoMaterialize(on_missing=True)),
        PartitionState(None, dismissed=Dismissal(0, {})),
        Skip(Reason.RUN_CANCELED),
    ),
}


@pytest.mark.parametrize("case", NEEDED)
def test_whether_a_run_is_needed(case: str) -> None:
    spec, state, answer = NEEDED[case]
    assert decide(spec, state, DEFAULTS, NOON) == answer


# -- time windows ------------------------------------------------------------------------------------------------------

KEYS = {"2026-02-26": 3, "2026-02-27": 2, "2026-02-28": 1, "2026-03-01": 0, "2026-03-02": -1}
"""At noon of the 1st of March, so many windows ago."""


@pytest.mark.parametrize("lookback", [None, 0, 1, 2])
@pytest.mark.parametrize("key", KEYS)
def test_windows_older_than_the_lookback_are_left_alone(key: str, lookback: int | None) -> None:
    ago = KEYS[key]
    windows = replace(DAY, lookback_windows=lookback)
    auto = replace(FOLLOWS, on_missing=True)
    updated = replace(stale(), partition_key=key)
    is_too_old = lookback is not None and ago > lookback
    assert decide(asset(auto, windows=windows), updated, DEFAULTS, NOON) == (
        Skip(Reason.OUT_OF_LOOKBACK) if is_too_old else Materialize(Reason.UPSTREAM_UPDATED)
    )
    counts = 0 <= ago <= (lookback or 0)
    assert decide(asset(auto, windows=windows), PartitionState(key), DEFAULTS, NOON) == (
        Materialize(Reason.MISSING) if counts else Skip(Reason.OUT_OF_LOOKBACK)
    )
    expired = decide(asset(windows=windows, ttl_ms=1), PartitionState(key, made=made()), DEFAULTS, NOON)
    if ago < 0:
        assert expired == Skip(Reason.FRESH, NOON + DAY_MS // 2)
    else:
        assert expired == (Materialize(Reason.EXPIRED) if counts else Skip(Reason.FRESH))


def test_what_was_made_before_its_window_began_expires_in_it() -> None:
    spec = asset(windows=DAY, ttl_ms=HOUR_MS)
    ahead = PartitionState("2026-03-02", made=made())
    midnight = NOON + DAY_MS // 2
    assert expiry_of(spec, ahead, NOON) == Expiry(midnight, ExpiryReason.TTL)
    assert decide(spec, ahead, DEFAULTS, midnight - 1) == Skip(Reason.FRESH, midnight)
    assert decide(spec, ahead, DEFAULTS, midnight) == Materialize(Reason.EXPIRED)
    lasting = replace(spec, freshness=FreshnessPolicy(ttl_ms=20 * HOUR_MS))
    assert expiry_of(lasting, ahead, NOON) == Expiry(NOON + 19 * HOUR_MS, ExpiryReason.TTL)


def test_a_key_that_is_no_window_is_never_expired_nor_missing() -> None:
    spec = asset(AutoMaterialize(on_missing=True), windows=DAY, ttl_ms=1)
    assert decide(spec, PartitionState("eu", made=made()), DEFAULTS, NOON) == Skip(Reason.FRESH)
    assert decide(spec, PartitionState("eu"), DEFAULTS, NOON) == Skip(Reason.OUT_OF_LOOKBACK)


# -- guardrails in time ------------------------------------------------------------------------------------------------


def test_a_burst_of_updates_is_awaited_but_not_for_ever() -> None:
    auto = replace(FOLLOWS, debounce_ms=MINUTE, max_delay_ms=90 * SECOND)
    first = stale(stale_since_ms=NOON, changed_at_ms=NOON)
    assert decide(asset(auto), first, DEFAULTS, NOON) == Wait(NOON + MINUTE, Reason.DEBOUNCE)
    again = replace(first, changed_at_ms=NOON + 50 * SECOND)
    assert decide(asset(auto), again, DEFAULTS, NOON + MINUTE) == Wait(NOON + 90 * SECOND, Reason.DEBOUNCE)
    assert decide(asset(auto), again, DEFAULTS, NOON + 90 * SECOND) == Materialize(Reason.UPSTREAM_UPDATED)
    patient = replace(auto, max_delay_ms=None)
    assert decide(asset(patient), again, DEFAULTS, NOON + 90 * SECOND) == Wait(NOON + 110 * SECOND, Reason.DEBOUNCE)


def test_expiry_is_not_debounced() -> None:
    spec = asset(replace(FOLLOWS, debounce_ms=HOUR_MS), ttl_ms=1)
    state = PartitionState(None, made=made(), changed_at_ms=NOON, stale_since_ms=NOON)
    assert decide(spec, state, DEFAULTS, NOON) == Materialize(Reason.EXPIRED)


def test_a_suspension_with_a_cool_off_ends_by_itself() -> None:
    auto = replace(FOLLOWS, failure_budget=FailureBudget(failures=2, cool_off_ms=HOUR_MS))
    state = stale(failure=failed(2))
    assert decide(asset(auto), state, DEFAULTS, NOON) == Wait(NOON + HOUR_MS, Reason.SUSPENDED)
    assert decide(asset(auto), state, DEFAULTS, NOON + HOUR_MS) == Materialize(Reason.UPSTREAM_UPDATED)


def test_the_assets_own_backoff_goes_before_the_services() -> None:
    own = replace(FOLLOWS, backoff=BackoffPolicy(base_ms=3 * SECOND, max_ms=MINUTE, jitter=False))
    assert decide(asset(own), stale(failure=failed(1)), DEFAULTS, NOON) == Wait(NOON + 3 * SECOND, Reason.BACKOFF)


@pytest.mark.parametrize(
    ("pending", "since", "is_held"),
    [
        ({("a", None): Mark(1, 1)}, 1, True),
        ({("a", None): Mark(1, 5)}, 3, True),
        ({("a", None): Mark(4, 5)}, 3, False),
        ({("a", None): Mark(4, 5), ("b", None): Mark(3, 3)}, 3, True),
        ({("a", None): Mark(1, 5)}, None, False),
        ({}, 3, False),
    ],
)
def test_only_upstreams_of_the_wave_at_hand_or_older_hold_it_back(
    pending: dict[tuple[str, str | None], Mark], since: int | None, is_held: bool
) -> None:
    state = stale(pending=pending, since_wave=since, pending_since_ms=NOON)
    held = Wait(NOON + HOUR_MS, Reason.UPSTREAM_PENDING)
    free = Materialize(Reason.UPSTREAM_UPDATED)
    assert decide(asset(), state, DEFAULTS, NOON) == (held if is_held else free)
    assert decide(asset(), state, DEFAULTS, NOON + HOUR_MS - 1) == (held if is_held else free)
    assert decide(asset(), state, DEFAULTS, NOON + HOUR_MS) == free


def test_an_upstream_that_it_follows_no_more_does_not_hold_it_back() -> None:
    """The workflow was changed meanwhile: nobody will ever report to it that this upstream has settled."""
    state = stale(pending={("b", None): (1, 1)}, pending_since_ms=NOON)
    spec = asset(replace(FOLLOWS, ignore=frozenset("b")))
    assert decide(spec, state, DEFAULTS, NOON) == Materialize(Reason.UPSTREAM_UPDATED)


# -- for anything that can be known ------------------------------------------------------------------------------------

SMALL = st.integers(0, 4)
TIMES = st.integers(NOON - 2 * DAY_MS, NOON)
WINDOWS = st.none() | st.builds(
    TimeWindowPartitioning, st.just(Granularity.DAY), lookback_windows=st.none() | st.integers(0, 2)
)
AUTOS = st.builds(
    AutoMaterialize,
    on_upstream_update=st.booleans(),
    when=st.sampled_from(When),
    on_missing=st.booleans(),
    debounce_ms=st.none() | st.integers(1, HOUR_MS),
    max_delay_ms=st.none() | st.integers(1, HOUR_MS),
    quiet_hours=st.sampled_from([(), (), (QUIET,)]),
    backoff=st.none() | st.builds(BackoffPolicy, st.just(10 * SECOND), st.just(HOUR_MS)),
    failure_budget=st.none() | st.builds(FailureBudget, st.integers(1, 4), st.none() | st.integers(1, DAY_MS)),
)
MADE = st.builds(
    Materialization,
    version=st.integers(1, 5),
    changed_version=st.just(1),
    produced_at_ms=TIMES,
    inputs=st.dictionaries(st.sampled_from("ab"), SMALL),
    freshness=st.none() | st.builds(FreshnessPolicy, ttl_ms=st.integers(1, DAY_MS)),
    expired_version=SMALL,
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[AssetSpec, PartitionState]:
    windows = draw(WINDOWS)
    spec = asset(draw(AUTOS), ttl_ms=draw(st.none() | st.integers(1, 2 * DAY_MS)), windows=windows)
    state = PartitionState(
        draw(st.sampled_from(sorted(KEYS))) if windows else None,
        made=draw(st.none() | MADE),
        latest=draw(st.dictionaries(st.sampled_from("ab"), SMALL)),
        run_id=draw(st.sampled_from([None, None, "run-9"])),
        failure=draw(st.none() | st.builds(FailureRecord, st.integers(1, 4), TIMES, st.just("run-1"))),
        dismissed=draw(st.none() | st.builds(Dismissal, SMALL, st.dictionaries(st.sampled_from("ab"), SMALL))),
        stale_since_ms=draw(st.none() | TIMES),
        changed_at_ms=draw(st.none() | TIMES),
        pending=draw(
            st.dictionaries(
                st.tuples(st.sampled_from("ab"), st.none()),
                st.builds(Mark, st.integers(1, 3), st.integers(3, 4)),
                max_size=1,
            )
        ),
        pending_since_ms=draw(st.integers(NOON - 2 * HOUR_MS, NOON)),
        since_wave=draw(st.none() | st.integers(1, 4)),
    )
    return spec, state


@given(situations())
@settings(max_examples=200)
def test_looking_again_at_the_time_given_gets_on(situation: tuple[AssetSpec, PartitionState]) -> None:
    """No look is due in the past, and when it is due something else is decided or a later look: nobody spins."""
    spec, state = situation
    now_ms = NOON
    for _ in range(50):
        decision = decide(spec, state, DEFAULTS, now_ms)
        at_ms = decision.until_ms if isinstance(decision, Wait) else None
        at_ms = decision.next_look_ms if isinstance(decision, Skip) else at_ms
        if at_ms is None:
            return
        assert at_ms > now_ms
        again = decide(spec, state, DEFAULTS, at_ms)
        assert again != decision
        if isinstance(decision, Wait) and decision.reason is not Reason.QUIET_HOURS:
            assert again.reason is not decision.reason
        now_ms = at_ms
    pytest.fail(f"still looking after 50 looks: {decision}")


@given(situations(), st.integers(1, 2 * DAY_MS))
@settings(max_examples=200)
def test_nothing_becomes_due_before_the_next_look(situation: tuple[AssetSpec, PartitionState], later_ms: int) -> None:
    """No news, no look: so a run that time alone calls for must not be called for earlier than the look says."""
    spec, state = situation
    decision = decide(spec, state, DEFAULTS, NOON)
    at_ms = decision.until_ms if isinstance(decision, Wait) else None
    at_ms = decision.next_look_ms if isinstance(decision, Skip) else at_ms
    assume(not isinstance(decision, Materialize))
    # Windows that begin are looked at by a timer of their own.
    assume(spec.auto is None or not spec.auto.on_missing or spec.partitioning is None)
    if at_ms is None or NOON + later_ms < at_ms:
        assert not isinstance(decide(spec, state, DEFAULTS, NOON + later_ms), Materialize)


@given(situations())
@settings(max_examples=200)
def test_a_run_starts_only_when_nothing_holds_it_back_and_then_it_does(
    situation: tuple[AssetSpec, PartitionState],
) -> None:
    spec, state = situation
    auto = spec.auto
    assert auto is not None
    decision = decide(spec, state, DEFAULTS, NOON)
    free = replace(state, run_id=None, failure=None, pending={}, stale_since_ms=None, changed_at_ms=None)
    unhindered = decide(replace(spec, auto=replace(auto, quiet_hours=())), free, DEFAULTS, NOON)
    if isinstance(decision, Materialize):
        assert state.run_id is None
        assert not auto.quiet_hours
        assert state.failures < (auto.failure_budget or DEFAULTS.budget).failures or (
            auto.failure_budget is not None and auto.failure_budget.cool_off_ms is not None
        )
        assert decision == unhindered
    elif isinstance(decision, Wait):
        assert isinstance(unhindered, Materialize)
    else:
        assert unhindered == decision
    is_newer = any(state.latest.get(u, 0) > state.inputs.get(u, 0) for u in spec.considered)
    is_simple = auto.when is When.ANY and spec.partitioning is None and state.dismissed is None
    if is_simple and is_newer:
        assert unhindered == Materialize(Reason.UPSTREAM_UPDATED)
    assert bool(newer_upstreams(spec, state)) == is_newer


def test_what_those_below_need_not_wait_for() -> None:
    answers = [Skip(Reason.FRESH), *(rung[2] for rung in RUNGS.values())]
    assert [a.reason for a in answers if is_settled(a)] == [
        Reason.FRESH,
        Reason.SUSPENDED,
        Reason.BACKOFF,
        Reason.QUIET_HOURS,
    ]
