"""News, snapshots and waves: whatever comes twice, late or together with a snapshot ends in what the catalog says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core import transitions, waiting
from actors.core.decide import Decision, Defaults, Materialize, Reason, Skip, Wait, decide
from actors.core.freshness import ExpiryReason
from actors.core.graph import AssetSpec, AutoMaterialize
from actors.core.loading import MAX_CAUSES, load_partitions
from actors.core.state import Cause, Dismissal, FailureRecord, Mark, Materialization, PartitionState, UpstreamSnapshot

NOW = 1_772_366_400_000
SPEC = AssetSpec("x", "w", "s", ("a", "b"), auto=AutoMaterialize(on_upstream_update=True))
DEFAULTS = Defaults()
FRESH = Skip(Reason.FRESH)

News = Callable[[PartitionState], object]


# -- a history, as the catalog keeps it and as its stream tells it -----------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What the catalog knows after so many events."""

    made: Materialization | None = None
    upstreams: tuple[tuple[str, int], ...] = ()
    run_id: str | None = None
    started_from: tuple[tuple[str, int], ...] = ()
    failure: FailureRecord | None = None
    dismissed: Dismissal | None = None

    def load(self) -> PartitionState:
        return load_partitions(
            SPEC,
            latest={None: self.made} if self.made else {},
            failures={None: self.failure} if self.failure else {},
            dismissals={None: self.dismissed} if self.dismissed else {},
            upstreams={u: UpstreamSnapshot(None, {None: (v, NOW)}) for u, v in self.upstreams},
            active={None: self.run_id} if self.run_id else {},
            now_ms=NOW,
        )[None]


def after(kept: Kept, kind: str, pos: int) -> tuple[Kept, News]:
    """One more event at `pos`: what is kept then, and what it tells an asset actor."""
    versions = dict(kept.upstreams)
    match kind:
        case "a" | "b":
            version = versions.get(kind, 0) + 1
            cause = Cause(kind, None, version)
            news: News = lambda s: transitions.upstream_changed(s, cause, pos, NOW + pos)  # noqa: E731
            return replace(kept, upstreams=tuple(sorted({**versions, kind: version}.items()))), news
        case "made" | "made by hand":
            inputs = dict(kept.started_from) if kind == "made" and kept.run_id else versions
            number = (kept.made.version if kept.made else 0) + 1
            made = Materialization(number, number, NOW + pos, inputs=inputs)
            return (
                replace(kept, made=made, failure=None, dismissed=None),
                lambda s: transitions.asset_produced(s, made, pos),
            )
        case "expired" if kept.made is not None and not kept.made.expired_version:
            number = kept.made.version
            gone = replace(kept.made, expired_version=number, expired_reason=ExpiryReason.TTL)
            return replace(kept, made=gone), lambda s: transitions.asset_expired(s, number, ExpiryReason.TTL)
        case "enqueued" if kept.run_id is None:
            run_id = f"run-{pos}"
            return (
                replace(kept, run_id=run_id, started_from=kept.upstreams),
                lambda s: transitions.run_enqueued(s, run_id, pos),
            )
        case "failed" if kept.run_id is not None:
            run_id = kept.run_id
            count = (kept.failure.failures if kept.failure else 0) + 1
            failure = FailureRecord(count, NOW - 10**9, run_id)
            return (
                replace(kept, run_id=None, failure=failure),
                lambda s: transitions.run_ended(s, run_id, failure, None, pos),
            )
        case "canceled" if kept.run_id is not None:
            run_id = kept.run_id
            dismissed = Dismissal(kept.made.version if kept.made else 0, versions)
            return (
                replace(kept, run_id=None, dismissed=dismissed),
                lambda s: transitions.run_ended(s, run_id, None, dismissed, pos),
            )
        case "succeeded" if kept.run_id is not None:
            run_id = kept.run_id
            return replace(kept, run_id=None), lambda s: transitions.run_ended(s, run_id, None, None, pos)
        case "resumed":
            return replace(kept, failure=None, dismissed=None), lambda s: transitions.asset_resumed(s, pos)
        case _:
            return kept, lambda s: None


KINDS = st.sampled_from(
    ["a", "b", "made", "made by hand", "expired", "enqueued", "enqueued", "failed", "canceled", "succeeded", "resumed"]
)
HISTORIES = st.lists(KINDS, min_size=1, max_size=14)


def told(kinds: list[str]) -> tuple[list[Kept], list[News]]:
    """The catalog after 0, 1, ... events, and the news of each."""
    kept, news = [Kept()], []
    for pos, kind in enumerate(kinds, 1):
        state, item = after(kept[-1], kind, pos)
        kept.append(state)
        news.append(item)
    return kept, news


def facts(state: PartitionState) -> tuple[object, ...]:
    """What the catalog could say as well."""
    latest = {u: v for u, v in state.latest.items() if v}
    return (state.made, latest, state.run_id, state.failure, state.dismissed)


def assert_causes(state: PartitionState, loaded: PartitionState, kinds: list[str]) -> None:
    """Causes are for the trigger's text. One that was done with is not found again when a run that began earlier, and
    so read less, is recorded last."""
    assert set(state.causes) <= set(loaded.causes)
    if "made by hand" not in kinds:
        assert set(state.causes) == set(loaded.causes)


def everything(state: PartitionState) -> PartitionState:
    return replace(state, latest=dict(state.latest), pending=dict(state.pending))


@given(HISTORIES)
@settings(max_examples=300)
def test_news_alone_ends_in_what_the_catalog_says(kinds: list[str]) -> None:
    kept, news = told(kinds)
    state = PartitionState(None)
    for item in news:
        item(state)
    assert facts(state) == facts(kept[-1].load())
    assert_causes(state, kept[-1].load(), kinds)
    if not state.causes:
        assert (state.stale_since_ms, state.changed_at_ms) == (None, None)


@given(HISTORIES, st.data())
@settings(max_examples=500, deadline=None)
def test_a_snapshot_among_the_news_ends_in_what_the_catalog_says(kinds: list[str], data: st.DataObject) -> None:
    """An actor hears what comes after its start. The snapshot it asks for may be older or newer than what it has heard
    when the snapshot arrives; and it may hold more than its position says, as it is read after the position is."""
    kept, news = told(kinds)
    count = len(kinds)
    start = data.draw(st.integers(0, count), label="started after so many events")
    arrives = data.draw(st.integers(start, count), label="snapshot arrives after")
    labelled = data.draw(st.integers(start, count), label="snapshot's position")
    read = data.draw(st.integers(labelled, count), label="snapshot was read after")
    state = PartitionState(None)
    for item in news[start:arrives]:
        item(state)
    state = transitions.merge_loaded(state, kept[read].load(), labelled)
    for item in news[arrives:]:
        item(state)
    last = kept[-1].load()
    if "expired" in kinds[start:arrives] and state.made and last.made and state.made.version == last.made.version:
        # An expiry that is heard of before any version is known, and that the snapshot is too old to know, is missed.
        assert state.made.expired_version in (0, last.made.expired_version)
        state.made = last.made
    assert facts(state) == facts(last)
    assert_causes(state, kept[-1].load(), kinds)
    assert decide(SPEC, state, DEFAULTS, NOW) == decide(SPEC, kept[-1].load(), DEFAULTS, NOW)


@given(HISTORIES, st.lists(st.integers(0, 13), max_size=6))
@settings(max_examples=300)
def test_news_that_comes_again_changes_nothing(kinds: list[str], again: list[int]) -> None:
    """Law L11: at once, or much later and in any order."""
    _, news = told(kinds)
    once, twice = PartitionState(None), PartitionState(None)
    for item in news:
        item(once)
        item(twice)
        before = everything(twice)
        assert not item(twice)
        assert twice == before
    for index in again:
        assert not news[index % len(news)](twice)
    assert facts(twice) == facts(once)
    assert (twice.pos, twice.failure_pos, twice.dismissed_pos) == (once.pos, once.failure_pos, once.dismissed_pos)


def test_a_snapshot_too_old_to_know_of_an_expiry_does_not_undo_it() -> None:
    state = PartitionState(None, made=Materialization(1, 1, NOW))
    transitions.asset_expired(state, 1, ExpiryReason.TTL)
    merged = transitions.merge_loaded(state, PartitionState(None, made=Materialization(1, 1, NOW)), 5)
    assert merged.made == Materialization(1, 1, NOW, expired_version=1, expired_reason=ExpiryReason.TTL)


@given(st.permutations(range(1, 6)), st.sets(st.integers(1, 5)))
def test_versions_in_any_order_give_the_highest_expired_if_it_was(order: list[int], expired: set[int]) -> None:
    state = PartitionState(None)
    for version in order:
        transitions.asset_produced(state, Materialization(version, version, NOW - version), version)
        if version in expired:
            transitions.asset_expired(state, version, ExpiryReason.TTL)
    assert state.made is not None
    assert state.made.version == 5
    assert state.made.produced_at_ms == NOW - order[0]  # never earlier than that of a version before
    assert (state.made.expired_version >= 5) == (5 in expired)


@given(st.permutations([("a", 3), ("a", 5), ("b", 2), ("b", 1)]))
def test_upstream_versions_in_any_order_give_the_highest(order: list[tuple[str, int]]) -> None:
    state = PartitionState(None)
    for wave, (upstream_id, version) in enumerate(order, 1):
        transitions.upstream_changed(state, Cause(upstream_id, None, version), wave, NOW)
    assert state.latest == {"a": 5, "b": 2}
    assert set(state.causes) == {Cause("a", None, 5), Cause("b", None, 2)}
    assert (state.since_wave, state.owed_wave) == (1, 4)


def test_a_failure_says_nothing_of_an_earlier_dismissal_and_the_other_way_round() -> None:
    """Each was noted before the actor started, and it heard of the other one before its snapshot came."""
    failure, dismissed = FailureRecord(1, NOW, "run-1"), Dismissal(1, {"a": 2})
    state = PartitionState(None)
    transitions.run_ended(state, "run-1", failure, None, 9)
    merged = transitions.merge_loaded(state, PartitionState(None, dismissed=dismissed), 5)
    assert (merged.failure, merged.dismissed) == (failure, dismissed)
    state = PartitionState(None)
    transitions.run_ended(state, "run-1", None, dismissed, 9)
    merged = transitions.merge_loaded(state, PartitionState(None, failure=failure), 5)
    assert (merged.failure, merged.dismissed) == (failure, dismissed)


def test_expiry_that_is_told_before_its_version_is_not_forgotten() -> None:
    state = PartitionState(None)
    transitions.asset_produced(state, Materialization(1, 1, NOW), 1)
    transitions.asset_expired(state, 2, ExpiryReason.CRON)
    transitions.asset_produced(state, Materialization(2, 2, NOW + 1), 2)
    assert state.made == Materialization(2, 2, NOW + 1, expired_version=2, expired_reason=ExpiryReason.CRON)


def test_a_burst_is_dated_from_its_first_and_its_last_update() -> None:
    state = PartitionState(None)
    for version, at_ms in ((1, NOW), (1, NOW + 5), (2, NOW + 9)):
        transitions.upstream_changed(state, Cause("a", None, version), version, at_ms)
    assert (state.stale_since_ms, state.changed_at_ms) == (NOW, NOW + 9)
    transitions.asset_produced(state, Materialization(1, 1, NOW, inputs={"a": 1}), 1)
    assert state.stale_since_ms is not None
    transitions.asset_produced(state, Materialization(2, 2, NOW, inputs={"a": 2}), 2)
    assert (state.causes, state.changed_at_ms) == ((), None)


def test_a_snapshot_that_knows_of_the_success_ends_the_burst() -> None:
    """Else the next update would find its longest delay over before it began."""
    state = PartitionState(None)
    transitions.upstream_changed(state, Cause("a", None, 1), 1, NOW)
    loaded = PartitionState(None, made=Materialization(1, 1, NOW, inputs={"a": 1}), latest={"a": 1})
    merged = transitions.merge_loaded(state, loaded, 1)
    assert (merged.causes, merged.stale_since_ms, merged.changed_at_ms) == ((), None, None)


def test_merging_keeps_the_newest_cause_of_each_partition_and_not_too_many() -> None:
    old, loaded = PartitionState(None), PartitionState(None)
    for number in range(MAX_CAUSES):
        transitions.upstream_changed(old, Cause("a", f"old-{number}", number + 1), 1, NOW)
        transitions.upstream_changed(loaded, Cause("b", f"new-{number}", number + 1), 1, NOW)
    transitions.upstream_changed(old, Cause("c", None, 1), 1, NOW)
    transitions.upstream_changed(loaded, Cause("c", None, 2), 1, NOW)
    causes = transitions.merge_loaded(old, loaded, 1).causes
    assert len(causes) == MAX_CAUSES
    assert [c.version for c in causes if c.asset_id == "c"] in ([2], [])
    assert len({(c.asset_id, c.partition_key) for c in causes}) == MAX_CAUSES


def test_merging_drops_what_the_newer_version_was_made_from() -> None:
    old = PartitionState(None)
    transitions.upstream_changed(old, Cause("c", None, 1), 1, NOW)
    loaded = PartitionState(None, latest={"c": 2}, causes=(Cause("c", None, 2),))
    assert transitions.merge_loaded(old, loaded, 1).causes == (Cause("c", None, 2),)


# -- waves ------------------------------------------------------------------------------------------------------------

MARK = ("u", None)
DECISIONS: list[Decision] = [
    FRESH,
    Wait(None, Reason.SUSPENDED),
    Wait(NOW, Reason.UPSTREAM_PENDING),
    Wait(None, Reason.IN_FLIGHT),
    Materialize(Reason.UPSTREAM_UPDATED),
]


def pending(state: PartitionState, wave: int, *names: str) -> None:
    waiting.upstream_pending(state, [(n, None) for n in names], wave, NOW)


def settled(state: PartitionState, name: str, wave: int) -> bool:
    return waiting.upstream_settled(state, name, None, wave, every_key=False)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["announce", "ask", "mark", "settle", "enqueue"]), st.sampled_from(DECISIONS), st.booleans()
        ),
        max_size=20,
    )
)
def test_a_wave_is_reported_once_and_each_is_in_the_end(steps: list[tuple[str, Decision, bool]]) -> None:
    state = PartitionState(None)
    reported: list[int] = []
    wave = 0
    for what, decision, was_made in steps:
        wave += 1
        match what:
            case "announce":
                waiting.announce(state, wave)
            case "ask":
                waiting.asked_for_run(state, NOW)
            case "mark":
                pending(state, wave, "u")
            case "settle":
                settled(state, "u", wave)
            case _:
                transitions.run_enqueued(state, f"run-{wave}", wave)
        told = waiting.wave_to_report(state, decision, NOW, was_made=was_made)
        reported += [told[0]] if told is not None else []
        if isinstance(decision, Wait) and decision.reason is Reason.SUSPENDED:
            assert state.settled_wave == state.owed_wave
        if decision == FRESH and not state.pending:
            assert state.settled_wave == state.owed_wave
            assert state.since_wave is None
    settled(state, "u", wave)
    last = waiting.wave_to_report(state, FRESH, NOW, was_made=False)
    reported += [last[0]] if last is not None else []
    assert reported == sorted(set(reported))
    assert (reported[-1] if reported else 0) == state.owed_wave
    assert waiting.wave_to_report(state, FRESH, NOW, was_made=True) is None


@pytest.mark.parametrize(
    ("decision", "report"),
    [
        (FRESH, 3),
        (Skip(Reason.NEVER_MADE), 3),
        (Skip(Reason.RUN_CANCELED), 3),
        (Skip(Reason.OUT_OF_LOOKBACK), 5),
        (Skip(Reason.NOT_OPTED_IN), 5),
        (Skip(Reason.NO_PRODUCER), 5),
        (Wait(NOW, Reason.BACKOFF), 5),
        (Wait(NOW, Reason.QUIET_HOURS), 5),
        (Wait(NOW, Reason.DEBOUNCE), None),
        (Wait(NOW, Reason.UPSTREAM_PENDING), None),
        (Materialize(Reason.EXPIRED), None),
    ],
)
def test_what_an_upstream_may_still_change_is_not_reported(decision: Decision, report: int | None) -> None:
    state = PartitionState(None)
    waiting.announce(state, 3)
    pending(state, 4, "u")
    pending(state, 5, "v")
    until_ms = NOW if decision.reason is Reason.QUIET_HOURS else None
    expected = None if report is None else (report, until_ms)
    assert waiting.wave_to_report(state, decision, NOW, was_made=False) == expected


def test_a_run_deals_with_what_was_there_when_it_was_asked_for() -> None:
    state = PartitionState(None)
    waiting.announce(state, 3)
    pending(state, 5, "u")
    waiting.asked_for_run(state, NOW)
    waiting.announce(state, 6)
    transitions.run_enqueued(state, "run-1", 1)
    assert state.since_wave == 5
    assert waiting.wave_to_report(state, Wait(None, Reason.IN_FLIGHT), NOW, was_made=False) is None
    assert waiting.wave_to_report(state, Materialize(Reason.UPSTREAM_UPDATED), NOW, was_made=True) == (4, None)


def test_a_mark_moves_up_until_its_newest_wave_is_settled() -> None:
    state = PartitionState(None)
    for wave in (2, 4, 7):
        pending(state, wave, "u")
    assert state.pending == {MARK: Mark(2, 7)}
    assert not settled(state, "u", 1)
    assert not settled(state, "other", 9)
    assert settled(state, "u", 4)
    assert state.pending == {MARK: Mark(5, 7)}
    assert settled(state, "u", 8)
    assert (state.pending, state.pending_since_ms) == ({}, None)


@given(st.permutations([2, 4, 7]))
def test_marks_in_any_order_span_the_same_waves(waves: list[int]) -> None:
    state = PartitionState(None)
    for wave in [*waves, waves[0]]:
        pending(state, wave, "u")
    assert state.pending == {MARK: Mark(2, 7)}


def test_every_partition_of_an_upstream_can_settle_at_once() -> None:
    state = PartitionState(None)
    waiting.upstream_pending(state, [("u", "1"), ("u", "2"), ("v", "1")], 3, NOW)
    assert waiting.upstream_settled(state, "u", None, 3, every_key=True)
    assert state.pending == {("v", "1"): Mark(3, 3)}


def test_waiting_in_vain_switches_off_no_later_waiting() -> None:
    """One report is lost. The run comes when the limit has passed; in the next wave the asset waits as before."""
    spec = replace(SPEC, upstreams=("a", "u"))
    state = PartitionState(None)
    pending(state, 1, "u")
    transitions.upstream_changed(state, Cause("a", None, 1), 1, NOW)
    late = NOW + DEFAULTS.pending_limit_ms
    assert decide(spec, state, DEFAULTS, late - 1) == Wait(late, Reason.UPSTREAM_PENDING)
    assert decide(spec, state, DEFAULTS, late) == Materialize(Reason.UPSTREAM_UPDATED)
    waiting.asked_for_run(state, NOW)
    assert (state.pending, state.asked_wave) == ({}, 1)
    transitions.run_enqueued(state, "run-1", 1)
    transitions.asset_produced(state, Materialization(1, 1, late, inputs={"a": 1}), 2)
    transitions.run_ended(state, "run-1", None, None, 3)
    waiting.upstream_pending(state, [MARK], 2, late)
    transitions.upstream_changed(state, Cause("a", None, 2), 2, late)
    assert decide(spec, state, DEFAULTS, late) == Wait(late + DEFAULTS.pending_limit_ms, Reason.UPSTREAM_PENDING)


def test_marks_that_nobody_settled_for_long_are_forgotten_when_new_ones_come() -> None:
    state = PartitionState(None)
    pending(state, 1, "gone")
    waiting.upstream_pending(state, [MARK], 2, NOW + waiting.MARKS_LIVE_MS)
    assert state.pending == {MARK: Mark(2, 2)}
    assert state.pending_since_ms == NOW + waiting.MARKS_LIVE_MS


def test_a_snapshot_leaves_the_waves_alone() -> None:
    state = PartitionState(None)
    waiting.announce(state, 1)
    waiting.asked_for_run(state, NOW)
    pending(state, 2, "u")
    assert waiting.wave_to_report(state, FRESH, NOW, was_made=False) == (1, None)
    merged = transitions.merge_loaded(state, PartitionState(None), 9)
    waves = (merged.pending, merged.pending_since_ms, merged.since_wave, merged.owed_wave)
    assert waves == ({MARK: Mark(2, 2)}, NOW, 2, 2)
    assert (merged.asked_wave, merged.settled_wave, merged.pos) == (1, 1, 9)


# -- quiet hours: dealt with until a time ----------------------------------------------------------------------------

LATER = NOW + 3_600_000


def test_an_upstream_in_quiet_hours_holds_back_from_their_end_on() -> None:
    """It lets others go on until then; from then on it counts as about to be re-made, though nobody says so again."""
    spec = replace(SPEC, upstreams=("a", "u"))
    state = PartitionState(None)
    pending(state, 1, "u")
    assert waiting.upstream_settled(state, "u", None, 1, LATER, every_key=False)
    assert not waiting.upstream_settled(state, "u", None, 1, LATER, every_key=False)
    assert state.pending == {MARK: Mark(1, 1, LATER)}
    transitions.upstream_changed(state, Cause("a", None, 1), 2, NOW)
    assert decide(spec, state, DEFAULTS, LATER - 1) == Materialize(Reason.UPSTREAM_UPDATED)
    held = Wait(LATER + DEFAULTS.pending_limit_ms, Reason.UPSTREAM_PENDING)
    assert decide(spec, state, DEFAULTS, LATER) == held
    assert decide(spec, state, DEFAULTS, LATER + DEFAULTS.pending_limit_ms) == Materialize(Reason.UPSTREAM_UPDATED)
    assert waiting.upstream_settled(state, "u", None, 1, every_key=False)
    assert decide(spec, state, DEFAULTS, LATER) == Materialize(Reason.UPSTREAM_UPDATED)


def test_a_run_before_the_end_of_quiet_hours_forgets_no_upstream_that_is_made_after_it() -> None:
    state = PartitionState(None)
    pending(state, 1, "u", "v")
    waiting.upstream_settled(state, "u", None, 1, LATER, every_key=False)
    waiting.asked_for_run(state, NOW)
    assert state.pending == {MARK: Mark(1, 1, LATER)}
    assert (state.asked_wave, state.pending_since_ms) == (1, None)


def test_a_new_announcement_counts_at_once_whatever_was_told_of_quiet_hours() -> None:
    state = PartitionState(None)
    pending(state, 1, "u")
    waiting.upstream_settled(state, "u", None, 1, LATER, every_key=False)
    pending(state, 3, "u")
    assert state.pending == {MARK: Mark(1, 3)}
    assert state.pending_since_ms == NOW


def test_marks_of_quiet_hours_are_not_forgotten_with_those_that_nobody_settled() -> None:
    state = PartitionState(None)
    pending(state, 1, "gone", "u")
    waiting.upstream_settled(state, "u", None, 1, LATER, every_key=False)
    waiting.upstream_pending(state, [("v", None)], 2, NOW + waiting.MARKS_LIVE_MS)
    assert state.pending == {MARK: Mark(1, 1, LATER), ("v", None): Mark(2, 2)}


def test_the_end_of_quiet_hours_is_told_and_passed_on_and_taken_back() -> None:
    quiet = PartitionState(None)
    waiting.announce(quiet, 1)
    waits = Wait(LATER, Reason.QUIET_HOURS)
    assert waiting.wave_to_report(quiet, waits, NOW, was_made=False) == (1, LATER)
    assert waiting.wave_to_report(quiet, waits, NOW, was_made=False) is None
    below = PartitionState(None)
    pending(below, 1, "u")
    waiting.upstream_settled(below, "u", None, 1, LATER, every_key=False)
    assert waiting.wave_to_report(below, FRESH, NOW, was_made=False) == (1, LATER)
    assert waiting.wave_to_report(below, FRESH, LATER, was_made=False) is None, "the upstream is yet to be made"
    assert waiting.wave_to_report(quiet, FRESH, LATER, was_made=False) == (1, None)
    waiting.upstream_settled(below, "u", None, 1, every_key=False)
    assert waiting.wave_to_report(below, FRESH, LATER, was_made=False) == (1, None)


# -- partitions that are waited for, and those that are passed over --------------------------------------------------


def test_the_last_partition_that_was_missing_is_news_even_when_its_version_is_not() -> None:
    state = PartitionState(None, latest={"a": 9}, missing={"a": {"eu"}})
    assert transitions.upstream_changed(state, Cause("a", "eu", 8), 1, NOW)
    assert state.missing == {}


def test_the_longest_delay_counts_from_the_first_update_that_the_last_run_did_not_read() -> None:
    state = PartitionState(None)
    transitions.upstream_changed(state, Cause("a", None, 1), 1, NOW)
    transitions.run_enqueued(state, "run-1", 1)
    transitions.upstream_changed(state, Cause("a", None, 2), 2, NOW + 7)
    assert state.stale_since_ms == NOW
    transitions.asset_produced(state, Materialization(1, 1, NOW + 9, inputs={"a": 1}), 2)
    assert (state.stale_since_ms, state.changed_at_ms) == (NOW + 7, NOW + 7)
    transitions.run_ended(state, "run-1", None, None, 3)
    transitions.asset_produced(state, Materialization(2, 2, NOW + 9, inputs={"a": 2}), 4)
    assert {state.stale_since_ms, state.changed_at_ms, state.changed_since_run_ms} == {None}


def test_what_is_passed_over_can_be_resumed_and_is_forgotten_with_the_next_version() -> None:
    state = PartitionState(None, made=Materialization(3, 3, NOW), latest={"a": 1})
    left = Dismissal(3, {"a": 1}, is_passed_over=True)
    assert not transitions.asset_passed_over(state, replace(left, version=2), 5)
    assert transitions.asset_passed_over(state, left, 5)
    assert not transitions.asset_passed_over(state, left, 5)
    assert decide(SPEC, state, DEFAULTS, NOW) == Skip(Reason.PASSED_OVER)
    assert not transitions.asset_resumed(state, 4)
    assert transitions.asset_resumed(state, 6)
    assert decide(SPEC, state, DEFAULTS, NOW) == Materialize(Reason.UPSTREAM_UPDATED)
