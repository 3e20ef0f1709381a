"""The actors of a service, and what they need: dispatcher, timers, gateway, the reader of the stream.

It follows the catalog from its start, and acts from when it is told to lead. One that does not lead any more is stopped
and thrown away: a new one reads everything anew.
"""

from __future__ import annotations

import gc
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from pykka import ActorDeadError, ActorRef
from pykka import Timeout as PykkaTimeout

from actors.asset import AssetActor
from actors.catalog.access import Catalog
from actors.catalog.events import AssetExpired
from actors.catalog.gateway import CatalogGateway
from actors.catalog.lanes import ThreadLane
from actors.catalog.news import news_of
from actors.catalog.redis_shards import RedisShards
from actors.catalog.scripts import Fence
from actors.catalog.shard_channel import ShardChannel
from actors.catalog.store import JsonObject
from actors.catalog.stream import Entry, StreamListener, StreamReader
from actors.core.graph import AssetSpec
from actors.core.run_queue import Capacity
from actors.core.shards import WHOLE, Shard
from actors.enqueuer import EnqueuerActor
from actors.execution.launcher import RunLauncher
from actors.interfaces.operations import Operations
from actors.messages import (
    CountLoaded,
    FromShard,
    IsLoaded,
    ListAssets,
    OpenQueue,
    ReloadAsset,
    SetCapacity,
    StartChildren,
    StopChildren,
    TellShards,
)
from actors.observer import Observer
from actors.registry import GraphRegistryActor
from actors.runtime import Clock, Dispatcher, Mailbox, TimerThread
from actors.settings import Settings
from actors.shard_port import Undivided
from actors.supervisor import ChildSpec, Intensity, SupervisorActor
from actors.surroundings import Surroundings

__all__ = ["ActorSystem", "Outside"]

_log = structlog.stdlib.get_logger("headwater")

_START_TIMEOUT_SECONDS: Final = 120.0
_PROGRESS_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 10.0
_SCRAPE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Outside:
    """What outlives the actors, and how they call for their end: `give_up` when they fail too often, `on_missed` when
    news was missed, so that they must begin anew. `fence` stands before all that they write. `heard` is told how many
    events were handed over; `overview` answers how things stand, with lists of at most so many entries."""

    catalog: Catalog
    fence: Fence
    launcher: RunLauncher
    clock: Clock
    observer: Observer
    give_up: Callable[[str], None]
    on_missed: Callable[[], None]
    heard: Callable[[int], None] = lambda _events: None
    overview: Callable[[int], JsonObject] = lambda _limit: {}


class ActorSystem:
    """It can be started once. `lead` is called before that when the service leads already, else at any time after."""

    def __init__(self, settings: Settings, outside: Outside) -> None:
        self._settings = settings
        self._outside = outside
        self._shard = outside.fence.shard
        self._epoch = 0
        self._store = outside.catalog.store.fenced_by(outside.fence)
        self._has_started = False
        self._is_leading = False
        self._dispatcher = Dispatcher(settings.dispatcher.threads, settings.dispatcher.batch)
        self._timers = TimerThread(outside.clock)
        self._gateway = CatalogGateway(
            self._store,
            outside.launcher,
            outside.clock,
            self._make_lane,
            is_leading=False,
            shard=self._shard,
        )
        self._shards = self._new_channel()
        self._around = Surroundings(
            clock=outside.clock,
            timers=self._timers,
            catalog=self._gateway,
            observer=outside.observer,
            defaults=settings.defaults(),
            new_run_id=lambda: f"run-{uuid.uuid4().hex}",
            shards=self._shards or Undivided(),
            outage_ms=outside.catalog.control.silent_ms(self._shard),
        )
        self.operations = Operations(
            self._around,
            outside.launcher,
            self._store,
            timeout_seconds=settings.control.timeout_seconds,
            overview=outside.overview,
        )
        self._reader = self._new_reader(
            StreamListener(
                on_events=self._on_events,
                on_dead_letter=lambda reason: outside.observer.dead_letter(reason=reason),
                upstreams_of=self.operations.upstreams_of,
                on_unavailable=lambda error: outside.observer.catalog_unavailable(error=error),
                on_available=outside.observer.catalog_available,
                check_key=self.operations.check_key,
                on_leading=self._open,
                on_missed=outside.on_missed,
            ),
            self._shard,
        )
        self._intake = self._new_intake()
        self._stops = ExitStack()

    def start(self, *, until_loaded: bool) -> None:
        """Start in order; when something cannot be started, what was is stopped and the error goes on.

        With `until_loaded` it returns when the actors have read their state, or after two minutes.
        """
        self._has_started = True
        with ExitStack() as undo:
            # What is told from here on is news to actors that read their state later.
            position = self._reader.newest()
            self._epoch = self._read_epoch()
            self._dispatcher.start()
            undo.callback(self._dispatcher.stop)
            self._timers.start()
            undo.callback(self._timers.stop)
            self._gateway.start()
            undo.callback(self._gateway.stop)
            if self._shards is not None:
                self._shards.start()
                undo.callback(self._shards.stop)
            self._start_actors(undo, until_loaded=until_loaded)
            self._reader.start(after=position)
            undo.callback(self._reader.stop, _STOP_SECONDS)
            if self._intake is not None:
                self._intake.start()
                undo.callback(self._intake.stop, _STOP_SECONDS)
            self._stops = undo.pop_all()

    def lead(self) -> None:
        """Act: go on where the last leader was, and then submit and publish what was held back."""
        if not self._has_started:
            # What the actors are going to read is the present, and nothing is held back.
            self._open()
        self._reader.lead()
        if self._intake is not None:
            self._intake.lead()

    def has_heard_all(self) -> bool:
        """False if the catalog was divided anew since the actors began: then they have missed what was not for them.

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        return not self._has_started or self._epoch == self._read_epoch()

    def stop(self) -> None:
        self._stops.close()
        # The next actors may be started in this process: these are to be collected.
        gc.unfreeze()

    def reload(self, settings: Settings) -> None:
        """Take over new limits and policies."""
        self._settings = settings
        before, self._around.defaults = self._around.defaults, settings.defaults()
        registry = self._around.links.registry
        if self._around.defaults != before and registry is not None:
            # What waits by the former policies decides again; what is being restarted knows the new ones.
            with suppress(ActorDeadError):
                asset_ids = registry.ask(ListAssets(), timeout=_START_TIMEOUT_SECONDS)
                for asset_id in cast("tuple[str, ...]", asset_ids):
                    self._around.to_registry(ReloadAsset(asset_id))
        self._around.to_enqueuer(SetCapacity(_capacity(settings)))

    def answer_seconds(self) -> float:
        """What a message to the registry waits for, measured by one; at most the scrape's patience."""
        registry = self._around.links.registry
        began = time.monotonic()
        if registry is not None:
            with suppress(ActorDeadError, PykkaTimeout):
                registry.ask(IsLoaded(), timeout=_SCRAPE_SECONDS)
        return time.monotonic() - began

    def depth(self) -> int:
        """Mail of the two actors through which everything goes."""
        links = self._around.links
        inboxes = [ref.actor_inbox for ref in (links.registry, links.enqueuer) if ref is not None]
        return sum(len(inbox) for inbox in inboxes if isinstance(inbox, Mailbox))

    # -- on the reader's thread --------------------------------------------------------------------------------------

    def _on_events(self, entries: Sequence[Entry]) -> None:
        self._outside.heard(len(entries))
        for entry in entries:
            if isinstance(entry.event, FromShard):
                self._around.to_registry(entry.event)
                continue
            if isinstance(entry.event, AssetExpired):
                self._gateway.expired(entry.event.asset_id, entry.event.partition_key)
            news = news_of(entry.event, entry.position)
            if news is not None:
                self._around.to_registry(news)

    def _open(self) -> None:
        if self._is_leading:
            return
        self._is_leading = True
        self._gateway.lead()
        if self._shards is not None:
            self._shards.lead()
            self._around.to_registry(TellShards())
        self._around.to_enqueuer(OpenQueue())

    # -- shards ------------------------------------------------------------------------------------------------------

    def _new_channel(self) -> ShardChannel | None:
        if self._shard.is_whole:
            return None
        settings = self._settings
        shards = RedisShards(self._outside.catalog.client, prefix=settings.redis.prefix, streams=settings.streams)
        fenced = shards.fenced_by(self._outside.fence)
        return ShardChannel(shards, fenced, self._shard, self._gateway.reads, self._make_lane)

    def _new_reader(self, listener: StreamListener, shard: Shard) -> StreamReader:
        return StreamReader(
            self._outside.catalog.client,
            self._store,
            listener,
            prefix=self._settings.redis.prefix,
            streams=self._settings.streams,
            fence=self._outside.fence,
            shard=shard,
        )

    def _new_intake(self) -> StreamReader | None:
        """Where shards read streams of their own, the first one also records what outsiders append to that of all."""
        if self._shard.is_whole or not self._shard.is_first:
            return None
        observer = self._outside.observer
        return self._new_reader(
            StreamListener(
                on_events=lambda _entries: None,
                on_dead_letter=lambda reason: observer.dead_letter(reason=reason),
                upstreams_of=self.operations.upstreams_of,
                on_unavailable=lambda error: observer.catalog_unavailable(error=error),
                on_available=observer.catalog_available,
                check_key=self.operations.check_key,
            ),
            WHOLE,
        )

    def _read_epoch(self) -> int:
        settings = self._settings
        return RedisShards(self._outside.catalog.client, prefix=settings.redis.prefix).epoch()

    def _make_lane(self, name: str) -> ThreadLane:
        return ThreadLane(name, self._outside.observer)

    # -- actors ------------------------------------------------------------------------------------------------------

    def _start_actors(self, undo: ExitStack, *, until_loaded: bool) -> None:
        supervision = self._settings.supervision
        supervisor = self._dispatcher.spawn_pinned(
            SupervisorActor,
            self._around,
            (
                ChildSpec("enqueuer", self._start_enqueuer, self._stop_enqueuer),
                ChildSpec("registry", self._start_registry, self._stop_registry),
            ),
            Intensity(supervision.max_restarts, int(supervision.period_seconds * 1000)),
            self._outside.give_up,
        )
        self._around.links.supervisor = supervisor
        supervisor.ask(StartChildren(), timeout=_START_TIMEOUT_SECONDS)
        undo.callback(lambda: supervisor.ask(StopChildren(), timeout=2 * _STOP_SECONDS))
        if until_loaded:
            with _collector_at_rest():
                self._wait_until_loaded()

    def _wait_until_loaded(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        next_line = time.monotonic() + _PROGRESS_SECONDS
        while time.monotonic() < deadline:
            registry = self._around.links.registry
            if registry is not None and registry.ask(IsLoaded(), timeout=_START_TIMEOUT_SECONDS):
                return
            if registry is not None and time.monotonic() >= next_line:
                next_line += _PROGRESS_SECONDS
                read, to_read = registry.ask(CountLoaded(), timeout=_START_TIMEOUT_SECONDS)
                what = f"assets {read:,} of {to_read:,}" if to_read else "workflows"
                _log.info("service.reading", read=read, of=to_read, text=f"reading {what}")
            time.sleep(0.01)
        _log.warning("service.loading_slowly", text="the assets are still being read; the service goes on meanwhile")

    def _start_enqueuer(self) -> None:
        settings = self._settings
        self._around.links.enqueuer = self._dispatcher.spawn(
            EnqueuerActor,
            self._around,
            _capacity(settings),
            settings.concurrency.aging_ms,
            is_open=self._is_leading,
        )

    def _stop_enqueuer(self) -> None:
        ref, self._around.links.enqueuer = self._around.links.enqueuer, None
        if ref is not None and ref.is_alive():
            ref.stop(timeout=_STOP_SECONDS)

    def _start_registry(self) -> None:
        settings = self._settings

        class BoundedRegistry(GraphRegistryActor):
            """Its mailbox holds the stream reader back when the actors cannot keep up."""

            mailbox_capacity = settings.dispatcher.mailbox_capacity

        self._around.links.registry = self._dispatcher.spawn(
            BoundedRegistry,
            self._around,
            self._spawn_asset,
            refresh_ms=int(settings.refresh.interval_seconds * 1000),
        )

    def _stop_registry(self) -> None:
        ref, self._around.links.registry = self._around.links.registry, None
        if ref is not None and ref.is_alive():
            ref.stop(timeout=_STOP_SECONDS)

    def _spawn_asset(self, asset_id: str, spec: AssetSpec | None) -> ActorRef[Any]:
        return self._dispatcher.spawn(AssetActor, asset_id, spec, self._around)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """While a large graph is read, millions of objects are made and next to none is garbage; to look through them
    all again and again would take most of the time. What is there in the end stays, and is not looked through any more.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _capacity(settings: Settings) -> Capacity:
    concurrency = settings.concurrency
    return Capacity(concurrency.max_runs, dict(concurrency.workflows), dict(concurrency.pools))
