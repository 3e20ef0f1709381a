"""AssetActor: one for each asset. It keeps what is known of its partitions, and decides when its producer must run.

It is told news by the registry alone, compares levels (`core.decide`), and answers in one of three ways: it wants a run
(told to the enqueuer), it waits for a time (a timer) or for news, or it is content. It can be stopped and started again
at any moment: `Load` brings everything back from the catalog.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import assert_never

from actors.core import transitions
from actors.core.decide import Decision, Materialize, Reason, Skip, Wait, decide, expiry_of, is_settled
from actors.core.describe import describe
from actors.core.freshness import Expiry
from actors.core.graph import AssetSpec
from actors.core.loading import expected_keys, load_partitions
from actors.core.partitions import ALL_KNOWN, PartitionKeyError, TimeWindowPartitioning, validate_key
from actors.core.pauses import Pause
from actors.core.state import PartitionState
from actors.core.time_windows import key_at, window_of
from actors.messages import (
    AssetDump,
    AssetExpired,
    AssetProduced,
    AssetResumed,
    ChildFailed,
    Configure,
    DecisionEntry,
    DumpAsset,
    Load,
    Look,
    LookAgain,
    LookAtWindow,
    PartitionDump,
    ReportAgain,
    Reported,
    RunEnded,
    RunEnqueued,
    RunRefused,
    Settled,
    UpstreamChanged,
    UpstreamPending,
    UpstreamReported,
    UpstreamSettled,
    WantRun,
    WaveBegan,
    WillBeMade,
    WithdrawRun,
    at_ms_of,
)
from actors.runtime import PooledActor, TimerHandle
from actors.surroundings import Surroundings

__all__ = ["AssetActor", "AssetMessage"]

DECISIONS_KEPT = 20

AssetMessage = (
    Configure
    | Load
    | AssetProduced
    | AssetExpired
    | AssetResumed
    | UpstreamChanged
    | UpstreamPending
    | UpstreamSettled
    | RunEnqueued
    | RunEnded
    | RunRefused
    | UpstreamReported
    | WaveBegan
    | ReportAgain
    | Look
    | LookAgain
    | LookAtWindow
    | DumpAsset
)


class Track:
    """What the actor remembers of its own doings for one partition; the facts are in `PartitionState`."""

    __slots__ = ("checked_spec", "decisions", "expiring_version", "is_declared", "is_stale", "is_wanted", "timer")

    def __init__(self) -> None:
        self.timer: TimerHandle | None = None
        self.is_wanted = False
        self.is_stale = False
        self.expiring_version = 0
        self.checked_spec: AssetSpec | None = None
        self.is_declared = False
        self.decisions: tuple[DecisionEntry, ...] = ()  # a deque would take 700 bytes for the usual one or two


class AssetActor(PooledActor):
    """Holds one asset: freshness, expiry timer, backoff and in-flight flag of each of its partitions."""

    def __init__(self, asset_id: str, spec: AssetSpec | None, around: Surroundings) -> None:
        super().__init__()
        self._asset_id = asset_id
        self._spec = spec
        self._around = around
        self._is_loaded = False
        self._awaited: frozenset[str] = frozenset()
        self._awaited_for = ""
        self._states: dict[str | None, PartitionState] = {}
        self._tracks: dict[str | None, Track] = {}
        self._held_back: dict[str | None, None] = {}
        self._window_timer: TimerHandle | None = None

    def on_receive(self, message: AssetMessage) -> AssetDump | None:
        match message:
            case UpstreamChanged():
                self._on_upstream_changed(message)
            case AssetProduced():
                self._on_produced(message)
            case UpstreamPending():
                self._on_upstream_pending(message)
            case UpstreamSettled():
                self._on_upstream_settled(message)
            case RunEnqueued():
                self._on_run_enqueued(message)
            case RunEnded():
                self._on_run_ended(message)
            case RunRefused():
                self._on_run_refused(message)
            case AssetExpired():
                state = self._states.get(message.partition_key)
                if state is not None and transitions.asset_expired(state, message.version, message.reason):
                    self._look(state, f"asset.expired {message.reason}")
            case AssetResumed():
                self._on_resumed(message)
            case Look():
                state = self._states.get(message.partition_key)
                if state is not None:
                    self._look(state, "timer")
            case LookAgain():
                if self._is_loaded:
                    self._await(self._awaited | message.awaits, message.cause)
            case LookAtWindow():
                self._look_at_expected("time window began")
            case Load():
                self._on_load(message)
            case UpstreamReported():
                self._on_upstream_reported(message.asset_id)
            case WaveBegan():
                state = self._state(message.partition_key)
                transitions.announce(state, message.wave)
                self._report_wave(state)
            case ReportAgain():
                if self._is_ready:
                    self._report()
            case Configure():
                self._spec = message.spec
                for state in list(self._states.values()):
                    self._look(state, "workflow.updated")
            case DumpAsset():
                return self._dump()
            case _:
                assert_never(message)
        return None

    def on_stop(self) -> None:
        self._cancel_timers()
        for key, track in self._tracks.items():
            if track.is_wanted and self._spec is not None:
                self._around.to_enqueuer(WithdrawRun(self._spec.workflow_slug, key, self._asset_id))

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel_timers()
        self._around.to_supervisor(
            ChildFailed("asset", f"{type(exception_value).__name__}: {exception_value}", self._asset_id)
        )

    # -- news -------------------------------------------------------------------------------------------------------

    def _on_produced(self, news: AssetProduced) -> None:
        state = self._state(news.partition_key)
        if transitions.asset_produced(state, news.made, news.pos):
            self._look(state, f"asset.produced v{news.made.version}", was_made=True)

    def _on_upstream_changed(self, news: UpstreamChanged) -> None:
        now_ms = self._around.clock.now_ms()
        cause = news.cause
        text = f"asset.produced {_name(cause.asset_id, cause.partition_key)} v{cause.version}"
        for key in self._keys(news.keys):
            state = self._state(key)
            if transitions.upstream_changed(state, cause, news.wave, now_ms):
                self._look(state, text, event_at_ms=at_ms_of(news.pos) if news.pos else None)
            else:
                self._report_wave(state)

    def _on_upstream_pending(self, news: UpstreamPending) -> None:
        now_ms = self._around.clock.now_ms()
        for key, marks in news.pending.items():
            transitions.upstream_pending(self._state(key), marks, news.wave, now_ms)
            self._held_back[key] = None

    def _on_upstream_settled(self, news: UpstreamSettled) -> None:
        for key in tuple(self._held_back):
            state = self._states[key]
            if transitions.upstream_settled(
                state, news.asset_id, news.partition_key, news.wave, every_key=news.every_key
            ):
                if not state.pending:
                    del self._held_back[key]
                self._look(state, f"settled {_name(news.asset_id, news.partition_key)}")

    def _on_run_enqueued(self, news: RunEnqueued) -> None:
        state = self._state(self._own_key(news.partition_key))
        if transitions.run_enqueued(state, news.run_id, news.pos):
            self._track(state).is_wanted = False
            self._look(state, f"workflow.run.enqueued {news.run_id}")

    def _on_run_ended(self, news: RunEnded) -> None:
        key = self._own_key(news.partition_key)
        state = self._state(key)
        mine = next((u for u in news.unmade if (u.asset_id, u.partition_key) == (self._asset_id, key)), None)
        if transitions.run_ended(
            state, news.run_id, mine.failure if mine else None, mine.dismissed if mine else None, news.pos
        ):
            self._look(state, f"workflow.run.{news.outcome} {news.run_id}")

    def _on_run_refused(self, news: RunRefused) -> None:
        state = self._state(news.partition_key)
        state.run_id = news.active_run_id
        self._track(state).is_wanted = False
        self._look(state, f"run {news.active_run_id} holds the claim")

    def _on_resumed(self, news: AssetResumed) -> None:
        states = (
            list(self._states.values())
            if news.partition_key is None
            else [s for k, s in self._states.items() if k == news.partition_key]
        )
        for state in states:
            if transitions.asset_resumed(state, news.pos):
                self._look(state, "asset.resumed")

    def _on_load(self, snapshot: Load) -> None:
        self._is_loaded = True
        if self._spec is None:
            return
        loaded = load_partitions(
            self._spec,
            latest=snapshot.record.latest,
            failures=snapshot.record.failures,
            dismissals=snapshot.record.dismissals,
            upstreams=snapshot.upstreams,
            active=snapshot.active,
            now_ms=self._around.clock.now_ms(),
        )
        for key, state in self._states.items():
            if key not in loaded:
                loaded[key] = PartitionState(key)
            transitions.merge_loaded(state, loaded[key], snapshot.pos)
        self._states = loaded
        for state in loaded.values():
            state.pos = max(state.pos, snapshot.pos)
            state.owed_wave = max(state.owed_wave, snapshot.wave)
        self._await(snapshot.awaits, "state read from the catalog")

    def _await(self, upstream_ids: frozenset[str], cause: str) -> None:
        """Decide about everything, for this cause, when each of these upstreams has reported; at once if there are
        none."""
        self._awaited, self._awaited_for = upstream_ids, cause
        if not upstream_ids:
            self._begin()

    def _on_upstream_reported(self, asset_id: str) -> None:
        if asset_id in self._awaited:
            self._awaited -= {asset_id}
            if not self._awaited:
                self._begin()

    def _begin(self) -> None:
        """Everything that decisions need is known now."""
        for state in list(self._states.values()):
            transitions.begin(state)
            self._look(state, self._awaited_for)
        self._look_at_expected(self._awaited_for)
        self._report()

    def _report(self) -> None:
        """Tell those below what is about to be re-made here: they have not heard of the waves that led to it."""
        now_ms = self._around.clock.now_ms()
        for state in self._states.values():
            if state.pending or not is_settled(self._decide(state, now_ms)):
                self._around.to_registry(WillBeMade(self._asset_id, state.partition_key))
        self._around.to_registry(Reported(self._asset_id))

    @property
    def _is_ready(self) -> bool:
        return self._is_loaded and not self._awaited

    # -- looking and acting -----------------------------------------------------------------------------------------

    def _look(
        self, state: PartitionState, cause: str, *, was_made: bool = False, event_at_ms: int | None = None
    ) -> None:
        """Decide for one partition, act on it, and see to the next look."""
        if not self._is_ready:
            return
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
        if isinstance(decision, Materialize) and spec is not None and spec.auto is not None:
            transitions.asked_for_run(state)
            track.is_wanted = True
            self._around.to_enqueuer(
                WantRun(
                    workflow_slug=spec.workflow_slug,
                    partition_key=state.partition_key,
                    asset_id=self._asset_id,
                    priority=spec.auto.priority,
                    reason=decision.reason,
                    causes=state.causes,
                    version=state.version,
                    failures=state.failures,
                    expiry=expiry if decision.reason is Reason.EXPIRED else None,
                    event_at_ms=event_at_ms,
                )
            )
        elif track.is_wanted and self._spec is not None:
            track.is_wanted = False
            self._around.to_enqueuer(WithdrawRun(self._spec.workflow_slug, state.partition_key, self._asset_id))
        self._report_wave(state, decision, was_made=was_made)

    def _report_wave(self, state: PartitionState, decision: Decision | None = None, *, was_made: bool = False) -> None:
        if not self._is_ready:
            return
        if decision is None:
            decision = self._decide(state, self._around.clock.now_ms())
        wave = transitions.wave_to_report(state, decision, was_made=was_made)
        if wave is not None:
            self._around.to_registry(Settled(self._asset_id, state.partition_key, wave))

    def _look_at_expected(self, cause: str) -> None:
        """With `onMissing`, partitions count before anything happened to them; a time window when it begins."""
        spec = self._spec
        if spec is None or spec.auto is None or not spec.auto.on_missing:
            return
        now_ms = self._around.clock.now_ms()
        for key in expected_keys(spec, now_ms):
            self._look(self._state(key), cause)
        if isinstance(spec.partitioning, TimeWindowPartitioning):
            if self._window_timer is not None:
                self._window_timer.cancel()
            end_ms = window_of(spec.partitioning, key_at(spec.partitioning, now_ms)).end_ms
            self._window_timer = self._around.timers.tell_at(end_ms, self.actor_ref, LookAtWindow())

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
            track.timer = self._around.timers.tell_at(at_ms, self.actor_ref, Look(state.partition_key))

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
            workflow_slug=self._spec.workflow_slug if self._spec else None,
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

    # -- small things -----------------------------------------------------------------------------------------------

    def _decide(self, state: PartitionState, now_ms: int) -> Decision:
        return decide(self._spec_of(state), state, self._around.defaults, now_ms, self._pause(now_ms))

    def _pause(self, now_ms: int) -> Pause | None:
        """What holds the asset back now, if anything does."""
        slug = self._spec.workflow_slug if self._spec is not None else None
        return self._around.pauses.paused_until(self._asset_id, slug, now_ms)

    def _state(self, key: str | None) -> PartitionState:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = PartitionState(key)
        return state

    def _spec_of(self, state: PartitionState) -> AssetSpec | None:
        """The declaration, for a partition that it has. An outsider or an earlier declaration may have made others."""
        spec, track = self._spec, self._track(state)
        if spec is not None and track.checked_spec is not spec:
            track.checked_spec = spec
            try:
                validate_key(spec.partitioning, state.partition_key, asset_id=self._asset_id)
                track.is_declared = True
            except PartitionKeyError:
                track.is_declared = False
        return spec if track.is_declared else None

    def _track(self, state: PartitionState) -> Track:
        track = self._tracks.get(state.partition_key)
        if track is None:
            track = self._tracks[state.partition_key] = Track()
        return track

    def _keys(self, keys: object) -> Iterable[str | None]:
        if keys is ALL_KNOWN:
            return list(self._states)
        return keys if isinstance(keys, tuple) else ()

    def _own_key(self, run_key: str | None) -> str | None:
        """Which partition of this asset a run's partition key stands for."""
        return run_key if self._spec is not None and self._spec.partitioning is not None else None

    def _cancel_timers(self) -> None:
        for track in self._tracks.values():
            if track.timer is not None:
                track.timer.cancel()
            if track.is_stale:
                track.is_stale = False
                self._around.observer.stale_changed(-1)
        if self._window_timer is not None:
            self._window_timer.cancel()

    def _dump(self) -> AssetDump:
        now_ms = self._around.clock.now_ms()
        return AssetDump(
            asset_id=self._asset_id,
            spec=self._spec,
            mailbox_depth=self.mailbox_depth,
            is_loaded=self._is_loaded,
            partitions=tuple(self._dump_partition(state, now_ms) for state in self._states.values()),
            pause=self._pause(now_ms),
        )

    def _dump_partition(self, state: PartitionState, now_ms: int) -> PartitionDump:
        view = describe(self._spec_of(state), state, self._around.defaults, now_ms, self._pause(now_ms))
        track = self._track(state)
        return PartitionDump(
            partition_key=state.partition_key,
            state=view.state,
            reason=view.reason,
            made=state.made,
            expires=view.expires,
            latest=dict(state.latest),
            causes=state.causes,
            pending=tuple(state.pending),
            in_flight_run_id=state.run_id,
            failures=state.failures,
            budget_left=view.budget_left,
            next_eligible_ms=view.next_eligible_ms,
            is_wanted=track.is_wanted,
            decisions=track.decisions,
        )


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


def _name(asset_id: str, partition_key: str | None) -> str:
    return asset_id if partition_key is None else f"{asset_id}@{partition_key}"
