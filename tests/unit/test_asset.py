"""One asset actor between inboxes: what it asks the enqueuer for, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pykka import ActorRef

from actors.asset import AssetActor
from actors.catalog.store import AssetRecord
from actors.core.decide import Materialize, Reason, Skip, Wait
from actors.core.freshness import Expiry, ExpiryReason, FreshnessPolicy
from actors.core.graph import AssetSpec, AutoMaterialize
from actors.core.partitions import Granularity, TimeWindowPartitioning
from actors.core.quiet_hours import QuietHours, QuietWindow
from actors.core.state import Cause, Dismissal, FailureRecord, Materialization, UpstreamSnapshot
from actors.messages import (
    AssetDump,
    AssetExpired,
    AssetProduced,
    AssetResumed,
    ChildFailed,
    Configure,
    DumpAsset,
    Load,
    Look,
    RunEnded,
    RunEnqueued,
    RunRefused,
    Settled,
    Unmade,
    UpstreamChanged,
    UpstreamPending,
    UpstreamReported,
    UpstreamSettled,
    WantRun,
    WithdrawRun,
)
from tests.unit.doubles import NOON, Stage, only, stage

FOLLOWS = AutoMaterialize(on_upstream_update=True, priority=7)
SPEC = AssetSpec("x", "w", "s", ("a", "b"), auto=FOLLOWS)
DAY = TimeWindowPartitioning(Granularity.DAY, lookback_windows=1)
DAY_MS = 86_400_000


@dataclass
class Scene:
    """An asset actor, and what it tells the three others."""

    stage: Stage
    ref: ActorRef[Any]
    enqueuer: list[Any]
    registry: list[Any]
    supervisor: list[Any]

    def tell(self, *messages: object) -> list[Any]:
        """What the enqueuer is told in answer."""
        before = len(self.enqueuer)
        self.stage.tell(self.ref, *messages)
        return self.enqueuer[before:]

    def advance(self, ms: int) -> list[Any]:
        before = len(self.enqueuer)
        self.stage.advance(ms)
        return self.enqueuer[before:]

    def dump(self) -> AssetDump:
        found: AssetDump = self.stage.ask(self.ref, DumpAsset("x"))
        return found

    def state(self, key: str | None = None) -> str:
        return next(p.state for p in self.dump().partitions if p.partition_key == key)


@pytest.fixture
def on_stage() -> Iterator[Stage]:
    with stage() as made:
        yield made


def scene(on: Stage, spec: AssetSpec | None = SPEC) -> Scene:
    mail = {name: on.inbox(name) for name in ("enqueuer", "registry", "supervisor")}
    return Scene(on, on.dispatcher.spawn(AssetActor, "x", spec, on.around), **mail)


def load(
    made: Mapping[str | None, Materialization] | None = None,
    upstreams: Mapping[str, int] | None = None,
    *,
    pos: int = 100,
    wave: int = 0,
    awaits: frozenset[str] = frozenset(),
    active: Mapping[str | None, str] | None = None,
    failures: Mapping[str | None, FailureRecord] | None = None,
) -> Load:
    changed = {u: UpstreamSnapshot(None, {None: (v, NOON)}) for u, v in (upstreams or {}).items()}
    return Load(AssetRecord(made or {}, failures or {}), changed, active or {}, pos, wave, awaits)


def made(version: int = 1, at_ms: int = NOON, **inputs: int) -> Materialization:
    return Materialization(version, version, at_ms, inputs=inputs)


FRESH = load({None: made(a=1, b=1)}, {"a": 1, "b": 1})


def changed(asset_id: str, version: int, wave: int = 1, pos: int = 200) -> UpstreamChanged:
    return UpstreamChanged(Cause(asset_id, None, version), (None,), pos, wave)


def enqueued(run_id: str = "run-1", pos: int = 201) -> RunEnqueued:
    return RunEnqueued(run_id, "w", None, pos)


def ended(run_id: str = "run-1", pos: int = 203, outcome: str = "succeeded", *unmade: Unmade) -> RunEnded:
    return RunEnded(run_id, "w", None, outcome, unmade, pos)


def failed(times: int, run_id: str = "run-1", pos: int = 203) -> RunEnded:
    return ended(run_id, pos, "failed", Unmade("x", None, FailureRecord(times, NOON, run_id)))


def want(**others: object) -> WantRun:
    wanted = WantRun("w", None, "x", 7, Reason.UPSTREAM_UPDATED, (Cause("a", None, 2),), 1, 0, event_at_ms=0)
    return replace(wanted, **others)  # type: ignore[arg-type]


# -- wanting a run -----------------------------------------------------------------------------------------------------


def test_nothing_is_decided_before_the_catalog_was_read(on_stage: Stage) -> None:
    x = scene(on_stage)
    assert x.tell(changed("a", 2), Look(None)) == []
    assert x.tell(FRESH) == [want(event_at_ms=None)]


def test_news_of_an_upstream_asks_for_one_run(on_stage: Stage) -> None:
    x = scene(on_stage)
    assert x.tell(FRESH) == []
    assert x.tell(changed("a", 2)) == [want()]


def test_news_that_comes_again_asks_for_nothing(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2))
    assert x.tell(changed("a", 2), changed("a", 1), AssetProduced("x", None, made(a=1, b=1), 50)) == []


def test_updates_during_a_run_ask_for_one_more(on_stage: Stage) -> None:
    """Law L2, and L3: the run read version 2 of `a`, whatever came while it ran."""
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2))
    assert x.tell(enqueued(), changed("a", 3), changed("b", 2), changed("a", 4)) == []
    assert x.tell(AssetProduced("x", None, made(2, a=2, b=1), 202)) == []
    causes = (Cause("b", None, 2), Cause("a", None, 4))
    assert x.tell(ended()) == [want(version=2, causes=causes, event_at_ms=None)]


def test_a_run_that_read_everything_asks_for_no_more(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2), enqueued(), changed("a", 3))
    assert x.tell(AssetProduced("x", None, made(2, a=3, b=1), 202), ended()) == []
    assert x.state() == "fresh"


def test_what_is_wanted_no_more_is_withdrawn(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2))
    assert x.tell(AssetProduced("x", None, made(2, a=2, b=1), 202)) == [WithdrawRun("w", None, "x")]
    assert x.tell(Look(None)) == []


def test_a_refused_run_is_awaited(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2))
    assert x.tell(RunRefused("x", None, "other"), changed("a", 3)) == []
    assert x.state() == "inFlight"
    assert x.tell(ended("other")) == [want(causes=(Cause("a", None, 3),), event_at_ms=None)]


def test_a_run_in_flight_at_the_start_is_awaited(on_stage: Stage) -> None:
    x = scene(on_stage)
    assert x.tell(load({None: made(a=1)}, {"a": 2}, active={None: "run-0"})) == []
    assert x.tell(ended("run-0")) == [want(event_at_ms=None)]


def test_a_snapshot_read_again_brings_what_was_missed(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH)
    assert x.tell(load({None: made(a=1, b=1)}, {"a": 2}, pos=300)) == [want(event_at_ms=None)]
    assert x.tell(load({None: made(2, a=2, b=1)}, {"a": 2}, pos=301)) == [WithdrawRun("w", None, "x")]


def test_an_older_snapshot_does_not_bring_back_what_is_over(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, enqueued(pos=201), ended(pos=203))
    assert x.tell(load({None: made(a=1, b=1)}, {"a": 1}, pos=202, active={None: "run-1"}), changed("a", 2)) == [want()]


def test_a_new_declaration_is_looked_at_at_once(on_stage: Stage) -> None:
    x = scene(on_stage, replace(SPEC, auto=AutoMaterialize()))
    x.tell(load({None: made(a=1)}, {}), changed("a", 2))
    assert x.enqueuer == []
    assert x.tell(Configure(SPEC)) == [want(event_at_ms=None)]
    assert x.tell(Configure(replace(SPEC, auto=None))) == [WithdrawRun("w", None, "x")]


# -- time --------------------------------------------------------------------------------------------------------------

EXPIRING = replace(SPEC, freshness=FreshnessPolicy(ttl_ms=60_000))


def test_what_expires_is_published_once_and_made_again(on_stage: Stage) -> None:
    x = scene(on_stage, EXPIRING)
    on_stage.catalog.latest["x", None] = made()
    x.tell(load({None: made()}))
    assert x.advance(59_999) == []
    assert on_stage.catalog.expiries == []
    expiry = Expiry(NOON + 60_000, ExpiryReason.TTL)
    assert x.advance(1) == [want(reason=Reason.EXPIRED, causes=(), expiry=expiry, event_at_ms=None)]
    x.tell(Look(None), Look(None), AssetExpired("x", None, 1, ExpiryReason.TTL, 201), Look(None))
    assert on_stage.catalog.expiries == [("x", None, 1, expiry)]


def test_a_newer_version_disarms_the_expiry_of_the_older(on_stage: Stage) -> None:
    """Law L6."""
    x = scene(on_stage, EXPIRING)
    x.tell(load({None: made()}))
    on_stage.advance(50_000)
    x.tell(AssetProduced("x", None, made(2, NOON + 50_000), 201))
    assert len(on_stage.timers) == 1
    assert on_stage.timers.next_at() == NOON + 110_000
    assert x.advance(59_999) == []
    assert on_stage.catalog.expiries == []
    x.advance(1)
    assert [(key, version) for _, key, version, _ in on_stage.catalog.expiries] == [(None, 2)]


def test_each_version_expires_once(on_stage: Stage) -> None:
    x = scene(on_stage, replace(EXPIRING, auto=None))
    x.tell(load({None: made()}))
    x.advance(60_000)
    x.tell(AssetProduced("x", None, made(2, NOON + 60_000), 201))
    x.advance(60_000)
    assert [version for _, _, version, _ in on_stage.catalog.expiries] == [1, 2]
    # It did not opt in: it is told of, and not made again.
    assert x.enqueuer == []
    assert x.state() == "expired"


def test_after_a_restart_what_was_declared_expired_is_not_published_again(on_stage: Stage) -> None:
    x = scene(on_stage, EXPIRING)
    on_stage.advance(70_000)
    gone = replace(made(), expired_version=1, expired_reason=ExpiryReason.TTL)
    assert [w.reason for w in x.tell(load({None: gone}))] == [Reason.EXPIRED]
    assert on_stage.catalog.expiries == []


def test_failures_are_waited_out_longer_each_time_and_then_suspend(on_stage: Stage) -> None:
    """Law L7."""
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2), enqueued())
    assert x.tell(failed(1)) == []
    assert x.state() == "backoff"
    assert x.advance(9_999) == []
    assert x.advance(1) == [want(failures=1, event_at_ms=None)]
    x.tell(
        enqueued("run-2", 204), ended("run-2", 205, "failed", Unmade("x", None, FailureRecord(2, NOON + 10_000, "r")))
    )
    assert x.advance(19_999) == []
    assert x.advance(1) == [want(failures=2, event_at_ms=None)]
    x.tell(enqueued("run-3", 206), ended("run-3", 207, "failed", Unmade("x", None, FailureRecord(3, NOON, "r"))))
    assert x.advance(DAY_MS) == []
    assert len(on_stage.timers) == 0
    assert x.state() == "suspended"
    assert [said["reason"] for said in on_stage.observer.of("failed")] == [
        Reason.BACKOFF,
        Reason.BACKOFF,
        Reason.SUSPENDED,
    ]
    assert x.tell(AssetResumed("x", None, 208)) == [want(event_at_ms=None)]


def test_an_update_during_backoff_does_not_cut_it_short_and_is_not_lost(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2), enqueued(), failed(1))
    assert x.tell(changed("b", 2)) == []
    assert [w.causes for w in x.advance(10_000)] == [(Cause("a", None, 2), Cause("b", None, 2))]


def test_a_success_clears_failures(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2), enqueued(), failed(2), AssetProduced("x", None, made(2, a=2, b=1), 204))
    assert x.dump().partitions[0].failures == 0
    assert len(on_stage.timers) == 0
    assert [w.failures for w in x.tell(changed("a", 3))] == [0]


def test_a_canceled_run_is_no_failure_and_is_not_repeated(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2), enqueued())
    assert x.tell(ended("run-1", 203, "canceled", Unmade("x", None, None, Dismissal(1, {"a": 2, "b": 1})))) == []
    assert x.dump().partitions[0].reason == Reason.RUN_CANCELED
    assert [w.failures for w in x.tell(changed("a", 3))] == [0]


def test_quiet_hours_delay_and_do_not_drop(on_stage: Stage) -> None:
    """Law L9."""
    quiet = QuietHours((QuietWindow(frozenset(), 11 * 60, 13 * 60),))
    x = scene(on_stage, replace(SPEC, auto=replace(FOLLOWS, quiet_hours=(quiet,))))
    x.tell(FRESH)
    assert x.tell(changed("a", 2)) == []
    assert x.state() == "paused"
    assert x.advance(3_599_999) == []
    assert x.advance(1) == [want(event_at_ms=None)]


def test_each_window_that_begins_is_missed_until_it_is_made(on_stage: Stage) -> None:
    spec = replace(SPEC, partitioning=DAY, auto=replace(FOLLOWS, on_missing=True))
    x = scene(on_stage, spec)
    assert {(w.partition_key, w.reason) for w in x.tell(load())} == {
        ("2026-03-01", Reason.MISSING),
        ("2026-02-28", Reason.MISSING),
    }
    x.tell(AssetProduced("x", "2026-03-01", made(), 201), AssetProduced("x", "2026-02-28", made(2), 202))
    assert x.advance(DAY_MS // 2 - 1) == []
    assert [w.partition_key for w in x.advance(1)] == ["2026-03-02"]
    x.tell(AssetProduced("x", "2026-03-02", made(3), 203))
    assert [w.partition_key for w in x.advance(DAY_MS)] == ["2026-03-03"]


# -- waves -------------------------------------------------------------------------------------------------------------

BOTH = UpstreamPending(1, {None: (("a", None), ("b", None))})


def test_it_waits_for_every_pending_upstream_and_reports_when_it_was_made(on_stage: Stage) -> None:
    """Law L4."""
    x = scene(on_stage)
    x.tell(FRESH, BOTH)
    assert x.tell(changed("a", 2, 2), UpstreamSettled("a", None, 2)) == []
    assert [w.causes for w in x.tell(changed("b", 2, 3), UpstreamSettled("b", None, 3))] == [
        (Cause("a", None, 2), Cause("b", None, 2))
    ]
    assert only(x.registry, Settled) == []
    x.tell(enqueued(), AssetProduced("x", None, made(2, a=2, b=2), 202))
    x.tell(ended())
    assert only(x.registry, Settled) == [Settled("x", None, 3)]


def test_it_reports_nothing_while_an_upstream_may_still_change(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, BOTH, UpstreamSettled("a", None, 1))
    assert only(x.registry, Settled) == []
    x.tell(UpstreamSettled("b", None, 1))
    assert only(x.registry, Settled) == [Settled("x", None, 1)]
    assert x.enqueuer == []


def test_news_that_asks_for_nothing_is_reported_at_once(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 1, 4), changed("a", 1, 4))
    assert only(x.registry, Settled) == [Settled("x", None, 4)]


def test_after_a_start_it_decides_when_its_upstreams_have_reported(on_stage: Stage) -> None:
    x = scene(on_stage)
    outdated = load({None: made(a=1, b=1)}, {"a": 2}, awaits=frozenset("ab"))
    assert x.tell(outdated, UpstreamReported("a"), UpstreamReported("a"), Look(None)) == []
    assert x.tell(UpstreamReported("b")) == [want(event_at_ms=None)]


# -- stopping and failing ----------------------------------------------------------------------------------------------


def test_a_stopped_asset_disarms_its_timers_and_withdraws_nothing(on_stage: Stage) -> None:
    x = scene(on_stage, EXPIRING)
    x.tell(load({None: made(a=1)}, {"a": 1}), changed("a", 2))
    assert len(on_stage.timers) == 1
    x.ref.stop(block=False)
    on_stage.run()
    # Another may have taken its place and asked by then; of what is retired the enqueuer hears from the registry.
    assert not any(isinstance(said, WithdrawRun) for said in x.enqueuer)
    assert len(on_stage.timers) == 0
    assert sum(int(str(said["delta"])) for said in on_stage.observer.of("stale_changed")) == 0


def test_one_that_fails_says_so_and_leaves_no_timer(on_stage: Stage) -> None:
    """Quiet hours without an end are refused where definitions are read; here they are what cannot be decided."""
    never = QuietHours((QuietWindow(frozenset(), 0, 1440),))
    x = scene(on_stage, replace(EXPIRING, auto=replace(FOLLOWS, quiet_hours=(never,))))
    x.tell(load({None: made(a=1)}, {"a": 1}))
    assert len(on_stage.timers) == 1
    x.tell(changed("a", 2))
    assert not x.ref.is_alive()
    assert len(on_stage.timers) == 0
    (said,) = x.supervisor
    assert isinstance(said, ChildFailed)
    assert (said.name, said.asset_id) == ("asset", "x")
    assert "quiet hours" in said.error


def test_it_tells_how_it_stands_and_what_it_decided(on_stage: Stage) -> None:
    x = scene(on_stage)
    x.tell(FRESH, changed("a", 2), enqueued())
    dump = x.dump()
    (partition,) = dump.partitions
    assert (dump.asset_id, dump.spec, dump.is_loaded) == ("x", SPEC, True)
    assert (partition.state, partition.in_flight_run_id, partition.latest) == ("inFlight", "run-1", {"a": 2, "b": 1})
    assert partition.causes == (Cause("a", None, 2),)
    assert [entry.decision for entry in partition.decisions] == [
        Skip(Reason.FRESH),
        Materialize(Reason.UPSTREAM_UPDATED),
        Wait(None, Reason.IN_FLIGHT),
    ]


def test_a_resumption_that_is_heard_before_the_state_is_read_is_not_lost(on_stage: Stage) -> None:
    x = scene(on_stage, SPEC)
    record = AssetRecord({None: made(a=1)}, {None: FailureRecord(5, NOON, "run-1")}, {}, 1)
    x.tell(AssetResumed("x", None, 9))
    x.tell(Load(record, {"a": UpstreamSnapshot(None, {None: (2, NOON)})}, {}, pos=5, wave=0))
    assert [(p.state, p.failures) for p in x.dump().partitions] == [("stale", 0)]
