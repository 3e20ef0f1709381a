"""What an asset does about its partitions: decide, keep timers, want runs, tell of expiries and of waves dealt with.

The asset actor hears the news and keeps the states; this acts on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from actors.core import waiting
from actors.core.catching_up import passed_over
from actors.core.decide import Decision, Materialize, Reason, Skip, Wait, decide, expiry_of, is_settled
from actors.core.describe import describe
from actors.core.freshness import Expiry
from actors.core.graph import AssetSpec
from actors.core.known_partitions import KnownPartitions
from actors.core.partitions import is_key
from actors.core.pauses import Pause
from actors.core.state import PartitionState
from actors.messages import (
    DecisionEntry,
    Look,
    PartitionDump,
    Reported,
    Settled,
    WantRun,
    WillBeMade,
    WithdrawRun,
)
from actors.runtime import TimerHandle
from actors.surroundings import Surroundings

__all__ = ["Acting"]

DECISIONS_KEPT = 20


class Track:
    """What was done for one partition; the facts are in `PartitionState`."""

    __slots__ = ("checked_spec", "decisions", "expiring_version", "is_declared", "is_stale", "timer", "wanted_of")

    def __init__(self) -> None:
        self.timer: TimerHandle | None = None
        self.wanted_of: str | None = None  # the workflow of which a run is wanted
        self.is_stale = False
        self.expiring_version = 0
        self.checked_spec: AssetSpec | None = None
        self.is_declared = False
        self.decisions: tuple[DecisionEntry, ...] = ()  # a deque would take 700 bytes for the usual one or two


class Acting:
    """Acts for one asset. `spec` is its declaration now; `arm` tells the actor a message at a time."""

    __slots__ = ("_arm_timer", "_around", "_asset_id", "_tracks", "spec")

    def __init__(
        self,
        asset_id: str,
        spec: AssetSpec | None,
        around: Surroundings,
        arm: Callable[[int, object], TimerHandle],
    ) -> None:
        self.spec = spec
        self._asset_id = asset_id
        self._around = around
        self._arm_timer = arm
        self._tracks: dict[str | None, Track] = {}

    def look(
        self, state: PartitionState, cause: str, *, was_made: bool = False, event_at_ms: int | None = None
    ) -> None:
        """Decide for one partition, act on it, and see to the next look."""
        now_ms = self._around.clock.now_ms()
        spec, track = self._spec_of(state), self._track(state)
        decision = self._decide(state, now_ms)
        expiry = expiry_of(spec, state, now_ms) if spec else None
        self._publish_expiry(state, track, expiry, now_ms)
        next_look_ms = _next_look(decision, expiry, now_ms)
        # The registry ends a pause, for all that it holds back in one go: else D might run before its upstreams say
        # what they are about to re-make.
        is_paused = decision.reason is Reason.PAUSED
        self._arm(state, track, _next_look(None, expiry, now_ms) if is_paused else next_look_ms)
        self._record(state, track, decision, cause, next_look_ms, now_ms)
        if isinstance(decision, Materialize) and spec is not None:
            self._want(spec, state, track, decision, expiry, event_at_ms)
        else:
            self._withdraw(state.partition_key, track)
        self.report_wave(state, decision, was_made=was_made)

    def report_wave(self, state: PartitionState, decision: Decision | None = None, *, was_made: bool = False) -> None:
        """Tell those below up to which wave this partition has dealt with all, if it is further than was told."""
        now_ms = self._around.clock.now_ms()
        if decision is None:
            decision = self._decide(state, now_ms)
        report = waiting.wave_to_report(state, decision, now_ms, was_made=was_made)
        if report is not None:
            self._around.to_registry(Settled(self._asset_id, state.partition_key, *report))

    def report(self, states: Iterable[PartitionState], wave: int) -> None:
        """Tell those below what is about to be re-made here: they have not heard of the waves that led to it. And what
        is not, though it was announced up to `wave`: an earlier actor of this asset may have known of it."""
        now_ms = self._around.clock.now_ms()
        keys: set[str | None] = set()
        for state in states:
            decision = self._decide(state, now_ms)
            if state.pending or decision.reason is Reason.QUIET_HOURS or not is_settled(decision):
                keys.add(state.partition_key)
                self._around.to_registry(WillBeMade(self._asset_id, state.partition_key))
        self._around.to_registry(Reported(self._asset_id, wave, frozenset(keys)))

    def pass_over(self, states: KnownPartitions, held_ms: int) -> None:
        """After a long pause or outage, leave stale time windows as they are that the policy does not catch up on."""
        if self.spec is None or not held_ms:
            return
        now_ms = self._around.clock.now_ms()
        dismissals = passed_over(self.spec, states, self._around.defaults, held_ms, now_ms)
        for key, dismissal in dismissals.items():
            states.state(key).dismissed = dismissal
        if dismissals:
            self._around.catalog.pass_over(self._asset_id, dismissals)

    def run_began(self, state: PartitionState) -> None:
        """What was wanted is under way, be it by another's wish."""
        self._track(state).wanted_of = None

    def cancel_timers(self) -> None:
        for track in self._tracks.values():
            if track.timer is not None:
                track.timer.cancel()
            if track.is_stale:
                track.is_stale = False
                self._around.observer.stale_changed(-1)

    def pause(self) -> Pause | None:
        """What holds the asset back now, if anything does."""
        return self._pause(self._around.clock.now_ms())

    def dump(self, state: PartitionState) -> PartitionDump:
        now_ms = self._around.clock.now_ms()
        view = describe(self._spec_of(state), state, self._around.defaults, now_ms, self._pause(now_ms))
        track = self._track(state)
        return PartitionDump.of(state, view, is_wanted=track.wanted_of is not None, decisions=track.decisions)

    def _want(
        self,
        spec: AssetSpec,
        state: PartitionState,
        track: Track,
        decision: Materialize,
        expiry: Expiry | None,
        event_at_ms: int | None,
    ) -> None:
        if track.wanted_of not in (None, spec.workflow_slug):
            self._withdraw(state.partition_key, track)
        waiting.asked_for_run(state, self._around.clock.now_ms())
        track.wanted_of = spec.workflow_slug
        self._around.to_enqueuer(
            WantRun(
                workflow_slug=spec.workflow_slug,
                partition_key=state.partition_key,
                asset_id=self._asset_id,
                priority=spec.auto.priority if spec.auto else 0,
                reason=decision.reason,
                causes=state.causes,
                version=state.version,
                failures=state.failures,
                expiry=expiry if decision.reason is Reason.EXPIRED else None,
                event_at_ms=event_at_ms,
            )
        )

    def _withdraw(self, key: str | None, track: Track) -> None:
        slug, track.wanted_of = track.wanted_of, None
        if slug is not None:
            self._around.to_enqueuer(WithdrawRun(slug, key, self._asset_id))

    def _publish_expiry(self, state: PartitionState, track: Track, expiry: Expiry | None, now_ms: int) -> None:
        made = state.made
        if made is None or expiry is None or expiry.at_ms > now_ms:
            return
        if made.expired_version < made.version and track.expiring_version < made.version:
            track.expiring_version = made.version
            self._around.catalog.expire(self._asset_id, state.partition_key, made.version, expiry)

    def _arm(self, state: PartitionState, track: Track, at_ms: int | None) -> None:
        if track.timer is not None:
            if track.timer.armed and track.timer.at_ms == at_ms:
                return
            track.timer.cancel()
            track.timer = None
        if at_ms is not None:
            track.timer = self._arm_timer(at_ms, Look(state.partition_key))

    def _record(
        self,
        state: PartitionState,
        track: Track,
        decision: Decision,
        cause: str,
        next_look_ms: int | None,
        now_ms: int,
    ) -> None:
        last = track.decisions[-1] if track.decisions else None
        is_news = last is None or last.decision != decision
        if is_news or cause != "timer":
            entry = DecisionEntry(now_ms, decision, cause, next_look_ms)
            track.decisions = (*track.decisions[1 - DECISIONS_KEPT :], entry)
        observer = self._around.observer
        observer.decided(
            asset_id=self._asset_id,
            workflow_slug=self.spec.workflow_slug if self.spec else None,
            partition_key=state.partition_key,
            decision=decision,
            cause=cause,
            run_id=state.run_id,
            failures=state.failures,
            next_look_ms=next_look_ms,
            is_news=is_news,
        )
        if is_news and isinstance(decision, Wait) and decision.reason in (Reason.BACKOFF, Reason.SUSPENDED):
            observer.failed(
                asset_id=self._asset_id,
                partition_key=state.partition_key,
                failures=state.failures,
                reason=decision.reason,
            )
        is_stale = not isinstance(decision, Skip)  # what needs no run is skipped, and nothing else is
        if is_stale != track.is_stale:
            track.is_stale = is_stale
            observer.stale_changed(1 if is_stale else -1)

    def _decide(self, state: PartitionState, now_ms: int) -> Decision:
        return decide(self._spec_of(state), state, self._around.defaults, now_ms, self._pause(now_ms))

    def _pause(self, now_ms: int) -> Pause | None:
        """What holds the asset back now, if anything does."""
        slug = self.spec.workflow_slug if self.spec is not None else None
        return self._around.pauses.paused_until(self._asset_id, slug, now_ms)

    def _spec_of(self, state: PartitionState) -> AssetSpec | None:
        """The declaration, for a partition that it has. An outsider or an earlier declaration may have made others."""
        spec, track = self.spec, self._track(state)
        if spec is not None and track.checked_spec is not spec:
            track.checked_spec = spec
            track.is_declared = is_key(spec.partitioning, state.partition_key)
        return spec if track.is_declared else None

    def _track(self, state: PartitionState) -> Track:
        track = self._tracks.get(state.partition_key)
        if track is None:
            track = self._tracks[state.partition_key] = Track()
        return track


def _next_look(decision: Decision | None, expiry: Expiry | None, now_ms: int) -> int | None:
    """The earliest time at which the decision could change by itself, or an expiry must be told of."""
    times = [expiry.at_ms] if expiry is not None and expiry.at_ms > now_ms else []
    match decision:
        case Wait(until_ms=int(until_ms)):
            times.append(until_ms)
        case Skip(next_look_ms=int(next_look_ms)):
            times.append(next_look_ms)
        case _:
            pass
    return min(times, default=None)
