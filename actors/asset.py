"""AssetActor: one for each asset. It keeps what is known of its partitions, and decides when its producer must run.

It is told news by the registry alone, compares levels (`core.decide`), and answers in one of three ways: it wants a run
(told to the enqueuer), it waits for a time (a timer) or for news, or it is content. It can be stopped and started again
at any moment: `Load` brings everything back from the catalog.
"""

from __future__ import annotations

from types import TracebackType
from typing import assert_never

from actors.acting import Acting
from actors.core import transitions, waiting
from actors.core.graph import AssetSpec
from actors.core.known_partitions import KnownPartitions
from actors.core.loading import expected_keys
from actors.core.partitions import TimeWindowPartitioning
from actors.core.state import PartitionState, cause_text, partition_name
from actors.core.time_windows import key_at, window_of
from actors.messages import (
    AssetDump,
    AssetExpired,
    AssetPassedOver,
    AssetProduced,
    AssetResumed,
    ChildFailed,
    Configure,
    DumpAsset,
    Load,
    Look,
    LookAgain,
    LookAtWindow,
    ReportAgain,
    RunEnded,
    RunEnqueued,
    RunRefused,
    UpstreamChanged,
    UpstreamPending,
    UpstreamReported,
    UpstreamSettled,
    WaveBegan,
    at_ms_of,
)
from actors.runtime import PooledActor, TimerHandle
from actors.surroundings import Surroundings

__all__ = ["AssetActor", "AssetMessage"]

AssetMessage = (
    Configure
    | Load
    | AssetProduced
    | AssetExpired
    | AssetResumed
    | AssetPassedOver
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


class AssetActor(PooledActor):
    """Holds one asset: freshness, expiry timer, backoff and in-flight flag of each of its partitions."""

    def __init__(self, asset_id: str, spec: AssetSpec | None, around: Surroundings) -> None:
        super().__init__()
        self._asset_id = asset_id
        self._around = around
        self._is_loaded = False
        self._awaited: frozenset[str] = frozenset()
        self._awaited_for = ""
        self._held_ms = 0
        self._wave = 0
        self._partitions = KnownPartitions(spec)
        self._acting = Acting(asset_id, spec, around, self._arm)
        self._early_resumptions: list[AssetResumed] = []
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
                self._on_expired(message)
            case AssetResumed():
                self._on_resumed(message)
            case AssetPassedOver():
                self._on_passed_over(message)
            case Look():
                state = self._partitions.find(message.partition_key)
                if state is not None:
                    self._look(state, "timer")
            case LookAgain():
                if self._is_loaded:
                    self._await(self._awaited | message.awaits, message.cause, message.held_ms)
            case LookAtWindow():
                self._on_window_began()
            case Load():
                self._on_load(message)
            case UpstreamReported():
                self._on_upstream_reported(message)
            case WaveBegan():
                state = self._partitions.state(message.partition_key)
                waiting.announce(state, message.wave)
                self._report_wave(state)
            case ReportAgain():
                self._wave = max(self._wave, message.wave)
                if self._is_ready:
                    self._acting.report(self._partitions, self._wave)
            case Configure():
                self._on_configured(message.spec)
            case DumpAsset():
                return self._dump()
            case _:
                assert_never(message)
        return None

    def on_stop(self) -> None:
        self._cancel_timers()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel_timers()
        self._around.to_supervisor(ChildFailed.by(exception_value, "asset", self._asset_id))

    # -- news -------------------------------------------------------------------------------------------------------

    def _on_produced(self, news: AssetProduced) -> None:
        state = self._partitions.state(news.partition_key)
        if transitions.asset_produced(state, news.made, news.pos):
            self._look(state, f"asset.produced v{news.made.version}", was_made=True)

    def _on_expired(self, news: AssetExpired) -> None:
        state = self._partitions.state(news.partition_key)
        if transitions.asset_expired(state, news.version, news.reason):
            self._look(state, f"asset.expired {news.reason}")

    def _on_upstream_changed(self, news: UpstreamChanged) -> None:
        now_ms = self._around.clock.now_ms()
        cause = news.cause
        text = f"asset.produced {cause_text(cause)}"
        is_superseded = self._partitions.is_superseded(cause)
        waited = {state.partition_key: state for state in self._partitions.upstream_made(cause)}
        for state in self._partitions.select(news.keys):
            if is_superseded:
                waiting.announce(state, news.wave)
                self._report_wave(state)
            elif transitions.upstream_changed(state, cause, news.wave, now_ms) or state.partition_key in waited:
                waited.pop(state.partition_key, None)
                self._look(state, text, event_at_ms=at_ms_of(news.pos) if news.pos else None)
            else:
                self._report_wave(state)
        for state in waited.values():
            self._look(state, text)

    def _on_upstream_pending(self, news: UpstreamPending) -> None:
        self._partitions.upstreams_pending(news.pending, news.wave, self._around.clock.now_ms())

    def _on_upstream_settled(self, news: UpstreamSettled) -> None:
        text = f"settled {partition_name(news.asset_id, news.partition_key)}"
        for state in self._partitions.upstream_settled(
            news.asset_id, news.partition_key, news.wave, news.until_ms, every_key=news.every_key
        ):
            self._look(state, text)

    def _on_run_enqueued(self, news: RunEnqueued) -> None:
        state = self._partitions.state(self._own_key(news.partition_key))
        if transitions.run_enqueued(state, news.run_id, news.pos):
            self._acting.run_began(state)
            self._look(state, f"workflow.run.enqueued {news.run_id}")

    def _on_run_ended(self, news: RunEnded) -> None:
        key = self._own_key(news.partition_key)
        state = self._partitions.state(key)
        mine = next((u for u in news.unmade if (u.asset_id, u.partition_key) == (self._asset_id, key)), None)
        transitions.run_ended(
            state, news.run_id, mine.failure if mine else None, mine.dismissed if mine else None, news.pos
        )
        # Also if a snapshot has told of it already: what was wanted before the enqueuer heard of it was not taken.
        self._look(state, f"workflow.run.{news.outcome} {news.run_id}")

    def _on_run_refused(self, news: RunRefused) -> None:
        state = self._partitions.state(news.partition_key)
        state.run_id = news.active_run_id
        self._acting.run_began(state)
        self._look(state, f"run {news.active_run_id} holds the claim")

    def _on_resumed(self, news: AssetResumed) -> None:
        if not self._is_loaded:
            # What is read from the catalog may be older, and tell of failures that this forgets.
            self._early_resumptions.append(news)
            return
        for state in self._partitions:
            is_meant = news.partition_key is None or state.partition_key == news.partition_key
            if is_meant and transitions.asset_resumed(state, news.pos):
                self._look(state, "asset.resumed")

    def _on_passed_over(self, news: AssetPassedOver) -> None:
        state = self._partitions.state(news.partition_key)
        if transitions.asset_passed_over(state, news.dismissal, news.pos):
            self._look(state, "asset.passedOver")

    def _on_configured(self, spec: AssetSpec | None) -> None:
        self._acting.spec = self._partitions.spec = spec
        self._partitions.follow(spec.considered if spec is not None else ())
        for state in self._partitions:
            self._look(state, "workflow.updated")

    def _on_load(self, snapshot: Load) -> None:
        self._is_loaded = True
        if self._spec is None:
            return
        self._partitions.take(
            self._spec,
            latest=snapshot.record.latest,
            failures=snapshot.record.failures,
            dismissals=snapshot.record.dismissals,
            upstreams=snapshot.upstreams,
            active=snapshot.active,
            pos=snapshot.pos,
            wave=snapshot.wave,
            now_ms=self._around.clock.now_ms(),
        )
        self._wave = snapshot.wave
        for news in self._early_resumptions:
            self._on_resumed(news)
        self._early_resumptions.clear()
        self._await(snapshot.awaits, "state read from the catalog", snapshot.held_ms)

    def _await(self, upstream_ids: frozenset[str], cause: str, held_ms: int) -> None:
        """Decide about everything, for this cause, when each of these upstreams has reported; at once if there are
        none."""
        self._awaited, self._awaited_for = upstream_ids, cause
        self._held_ms = max(self._held_ms, held_ms)
        if not upstream_ids:
            self._begin()

    def _on_upstream_reported(self, news: UpstreamReported) -> None:
        for state in self._partitions.upstream_reported(news.asset_id, news.wave, news.keys):
            self._look(state, f"reported {news.asset_id}")
        if news.asset_id in self._awaited:
            self._awaited -= {news.asset_id}
            if not self._awaited:
                self._begin()

    def _begin(self) -> None:
        """Everything that decisions need is known now."""
        for key in self._expected_keys():
            self._partitions.state(key)
        held_ms, self._held_ms = self._held_ms, 0
        self._acting.pass_over(self._partitions, held_ms)
        for state in self._partitions:
            waiting.begin(state)
            self._look(state, self._awaited_for)
        self._arm_next_window()
        self._acting.report(self._partitions, self._wave)

    @property
    def _spec(self) -> AssetSpec | None:
        return self._acting.spec

    @property
    def _is_ready(self) -> bool:
        return self._is_loaded and not self._awaited

    def _look(
        self, state: PartitionState, cause: str, *, was_made: bool = False, event_at_ms: int | None = None
    ) -> None:
        if self._is_ready:
            self._acting.look(state, cause, was_made=was_made, event_at_ms=event_at_ms)

    def _report_wave(self, state: PartitionState) -> None:
        if self._is_ready:
            self._acting.report_wave(state)

    # -- with `onMissing`, partitions count before anything happened to them ----------------------------------------

    def _expected_keys(self) -> tuple[str | None, ...]:
        spec = self._spec
        if spec is None or spec.auto is None or not spec.auto.on_missing:
            return ()
        return expected_keys(spec, self._around.clock.now_ms())

    def _on_window_began(self) -> None:
        for key in self._expected_keys():
            self._look(self._partitions.state(key), "time window began")
        self._arm_next_window()

    def _arm_next_window(self) -> None:
        spec = self._spec
        if not self._expected_keys() or spec is None or not isinstance(spec.partitioning, TimeWindowPartitioning):
            return
        if self._window_timer is not None:
            self._window_timer.cancel()
        current = key_at(spec.partitioning, self._around.clock.now_ms())
        self._window_timer = self._arm(window_of(spec.partitioning, current).end_ms, LookAtWindow())

    # -- small things -----------------------------------------------------------------------------------------------

    def _own_key(self, run_key: str | None) -> str | None:
        """Which partition of this asset a run's partition key stands for."""
        return run_key if self._spec is not None and self._spec.partitioning is not None else None

    def _cancel_timers(self) -> None:
        self._acting.cancel_timers()
        if self._window_timer is not None:
            self._window_timer.cancel()

    def _arm(self, at_ms: int, message: object) -> TimerHandle:
        return self._around.timers.tell_at(at_ms, self.actor_ref, message)

    def _dump(self) -> AssetDump:
        return AssetDump(
            asset_id=self._asset_id,
            spec=self._spec,
            mailbox_depth=self.mailbox_depth,
            is_loaded=self._is_loaded,
            partitions=tuple(self._acting.dump(state) for state in self._partitions),
            pause=self._acting.pause(),
        )
