"""One asset of the state machine's service: it acts on what it hears as `actors.asset` and `actors.acting` do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, assert_never

from actors.core import transitions, waiting
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.decide import Decision, Defaults, Materialize, Reason, decide, expiry_of, is_settled
from actors.core.graph import AssetSpec
from actors.core.loading import expected_keys, load_partitions, note_present
from actors.core.state import Cause, PartitionState
from actors.core.upstreams import KnownUpstreams
from tests.unit.core.machine_catalog import (
    BACKOFF_MS,
    BUDGET,
    Event,
    Expired,
    Partition,
    Produced,
    Resumed,
    RunBegan,
    RunOver,
    Snapshot,
)

if TYPE_CHECKING:
    from tests.unit.core.machine_service import PlainService

__all__ = ["DEFAULTS", "News", "PlainAsset", "load"]

DEFAULTS = Defaults(
    backoff=BackoffPolicy(base_ms=BACKOFF_MS, max_ms=BACKOFF_MS * 100, jitter=False), budget=FailureBudget(BUDGET)
)


class News(NamedTuple):
    """What one message does to an asset. `event` is what it tells of, if nothing but the catalog's event is in it."""

    text: str
    act: Callable[[PlainAsset], None]
    event: Event | None = None
    is_repeatable: bool = True


def load(spec: AssetSpec, read: Snapshot, now_ms: int) -> dict[str | None, PartitionState]:
    return load_partitions(
        spec,
        latest=read.latest,
        failures=read.failures,
        dismissals=read.dismissals,
        upstreams=read.upstreams,
        active=read.active,
        now_ms=now_ms,
    )


class PlainAsset:
    """As `AssetActor` and `Acting`: the states of an asset's partitions, and what follows from them."""

    def __init__(self, spec: AssetSpec, service: PlainService) -> None:
        self.spec = spec
        self.asset_id = spec.asset_id
        self.mail: deque[News] = deque()
        self.states: dict[str | None, PartitionState] = {}
        self.heard: list[Event] = []
        self.upstreams = KnownUpstreams()
        self._service = service
        self._is_loaded = False
        self._awaited: frozenset[str] = frozenset()
        self._wave = 0
        self._early: list[Resumed] = []
        self._early_present: list[tuple[str | None, Cause]] = []

    @property
    def is_ready(self) -> bool:
        return self._is_loaded and not self._awaited

    def handle(self) -> News:
        news = self.mail.popleft()
        news.act(self)
        if news.event is not None:
            self.heard.append(news.event)
        return news

    def decide(self, state: PartitionState) -> Decision:
        now_ms = self._service.catalog.now_ms
        pause = self._service.pauses.paused_until(self.asset_id, self.spec.workflow_slug, now_ms)
        return decide(self.spec, state, DEFAULTS, now_ms, pause)

    def state(self, key: str | None) -> PartitionState:
        if key not in self.states:
            self.states[key] = self.upstreams.open(self.spec, key)
        return self.states[key]

    # -- news --------------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> bool:
        """Let the catalog's event change the state of its partition, and say whether it did."""
        match event:
            case Produced():
                return transitions.asset_produced(self.state(event.key), event.made, event.pos)
            case Expired():
                return transitions.asset_expired(self.state(event.key), event.version, event.reason)
            case Resumed():
                keys = self.states if event.key is None else [k for k in self.states if k == event.key]
                return sum(transitions.asset_resumed(self.states[k], event.pos) for k in keys) > 0
            case RunBegan():
                return transitions.run_enqueued(self.state(event.key), event.run_id, event.pos)
            case RunOver():
                state = self.state(event.key)
                return transitions.run_ended(state, event.run_id, event.failure, event.dismissed, event.pos)
            case _:
                assert_never(event)

    def hear(self, event: Event) -> None:
        if isinstance(event, Resumed) and not self._is_loaded:
            # What is read from the catalog may be older, and tell of failures of partitions that are not known yet.
            self._early.append(event)
        if self.apply(event):
            everyone = isinstance(event, Resumed) and event.key is None
            for state in list(self.states.values()) if everyone else [self.state(event.key)]:
                self.look(state, was_made=isinstance(event, Produced))

    def hear_changed(self, cause: Cause, keys: Iterable[str | None], wave: int) -> None:
        for key in keys:
            state = self.state(key)
            if not self._is_loaded:
                self._early_present.append((key, cause))
            if transitions.upstream_changed(state, cause, wave, self._service.catalog.now_ms):
                self.look(state)
            else:
                self.report_wave(state)

    def hear_pending(self, pending: dict[str | None, tuple[Partition, ...]], wave: int) -> None:
        for key, marks in pending.items():
            waiting.upstream_pending(self.state(key), marks, wave, self._service.catalog.now_ms)

    def hear_settled(self, asset_id: str, key: str | None, wave: int, until_ms: int | None) -> None:
        for state in list(self.states.values()):
            if waiting.upstream_settled(state, asset_id, key, wave, until_ms, every_key=False):
                self.look(state)

    def hear_refused(self, key: str | None, run_id: str) -> None:
        state = self.state(key)
        state.run_id = run_id
        self.look(state)

    def hear_wave_began(self, key: str | None, wave: int) -> None:
        state = self.state(key)
        waiting.announce(state, wave)
        self.report_wave(state)

    def hear_loaded(self, read: Snapshot, pos: int, wave: int, awaits: frozenset[str]) -> None:
        self.upstreams.take(self.spec, read.upstreams)
        loaded = load(self.spec, read, self._service.catalog.now_ms)
        for key, state in self.states.items():
            if key not in loaded:
                loaded[key] = self.upstreams.open(self.spec, key)
            transitions.merge_loaded(state, loaded[key], pos)
        self.states = loaded
        self._is_loaded = True
        self._wave = wave
        for state in loaded.values():
            state.pos = max(state.pos, pos)
            state.failure_pos = max(state.failure_pos, pos)
            state.dismissed_pos = max(state.dismissed_pos, pos)
            state.owed_wave = max(state.owed_wave, wave)
        for event in self._early:
            self.apply(event)
        for key, cause in self._early_present:
            note_present(self.states[key], cause)
        self._early.clear()
        self._early_present.clear()
        self.wait_for(awaits)

    def wait_for(self, upstream_ids: frozenset[str]) -> None:
        """Decide about everything when each of these has reported."""
        self._awaited = upstream_ids
        if not upstream_ids:
            self._begin()

    def look_again(self, awaits: frozenset[str]) -> None:
        if self._is_loaded:
            self.wait_for(self._awaited | awaits)

    def hear_reported(self, asset_id: str, wave: int, keys: frozenset[str | None]) -> None:
        for state in list(self.states.values()):
            if waiting.upstream_reported(state, asset_id, wave, keys):
                self.look(state)
        if asset_id in self._awaited:
            self.wait_for(self._awaited - {asset_id})

    def _begin(self) -> None:
        if self.spec.auto is not None and self.spec.auto.on_missing:
            for key in expected_keys(self.spec, self._service.catalog.now_ms):
                self.state(key)
        for state in list(self.states.values()):
            waiting.begin(state)
            self.look(state)
        self.report()

    # -- acting ------------------------------------------------------------------------------------------------------

    def look_at_all(self) -> None:
        for state in list(self.states.values()):
            self.look(state)

    def look(self, state: PartitionState, *, was_made: bool = False) -> None:
        if not self.is_ready:
            return
        catalog, partition = self._service.catalog, (self.asset_id, state.partition_key)
        decision = self.decide(state)
        expiry = expiry_of(self.spec, state, catalog.now_ms)
        if expiry is not None and expiry.at_ms <= catalog.now_ms:
            catalog.expire(*partition, state.version, expiry.at_ms, expiry.reason)
        if isinstance(decision, Materialize):
            waiting.asked_for_run(state, catalog.now_ms)
            self._service.wanted[partition] = (state.version, state.failures)
        else:
            self._service.wanted.pop(partition, None)
        self.report_wave(state, was_made=was_made)

    def report_wave(self, state: PartitionState, *, was_made: bool = False) -> None:
        if not self.is_ready:
            return
        report = waiting.wave_to_report(state, self.decide(state), self._service.catalog.now_ms, was_made=was_made)
        if report is not None:
            self._service.inbox.append(partial(self._service.settled, self.asset_id, state.partition_key, *report))

    def report(self) -> None:
        if not self.is_ready:
            return
        keys: set[str | None] = set()
        for state in self.states.values():
            decision = self.decide(state)
            if state.pending or decision.reason is Reason.QUIET_HOURS or not is_settled(decision):
                keys.add(state.partition_key)
                self._service.inbox.append(partial(self._service.will_be_made, self.asset_id, state.partition_key))
        self._service.inbox.append(partial(self._service.reported, self.asset_id, self._wave, frozenset(keys)))
