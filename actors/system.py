"""The composition root: the only place that wires actors, catalog, launcher and interfaces into a service."""

from __future__ import annotations

import gc
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any, cast

import structlog
from prometheus_client import CollectorRegistry
from pykka import ActorDeadError, ActorRef
from pykka import Timeout as PykkaTimeout

from actors.asset import AssetActor
from actors.catalog.access import Catalog, open_catalog
from actors.catalog.control import ControlServer
from actors.catalog.directory import DirectoryUnreadable
from actors.catalog.gateway import CatalogGateway, ThreadLane
from actors.catalog.news import news_of
from actors.catalog.recovery import end_orphans
from actors.catalog.store import CatalogUnavailable
from actors.catalog.stream import Entry, StreamListener, StreamReader
from actors.catalog.sync import DefinitionSync, FolderWatch
from actors.core.decide import Defaults
from actors.core.graph import AssetSpec
from actors.core.run_queue import Capacity
from actors.enqueuer import EnqueuerActor
from actors.execution.jobs import JobRegistry
from actors.execution.local import LocalLauncher
from actors.interfaces.log_observer import LogObserver
from actors.interfaces.logs import configure_logging
from actors.interfaces.metrics import MetricsObserver, start_metrics_server
from actors.interfaces.observers import FanOut
from actors.interfaces.operations import Operations
from actors.messages import CountLoaded, IsLoaded, ListAssets, ReloadAsset, SetCapacity, StartChildren, StopChildren
from actors.observer import Observer
from actors.registry import GraphRegistryActor
from actors.runtime import Dispatcher, Mailbox, SystemClock, TimerThread
from actors.settings import Settings, SettingsError, load_settings
from actors.supervisor import ChildSpec, Intensity, SupervisorActor
from actors.surroundings import Surroundings

__all__ = ["Service", "serve"]

_log = structlog.stdlib.get_logger("headwater")

START_TIMEOUT_SECONDS = 120.0
PROGRESS_SECONDS = 2.0
CHILD_STOP_SECONDS = 10.0
HEARTBEAT_SECONDS = 7.0
SCRAPE_SECONDS = 5.0
MOST_RUNS = 100_000


def serve(settings: Settings, config_files: Sequence[Path] = ()) -> int:
    """Run the service until a signal stops it. SIGHUP reads settings, jobs and definitions again.

    Returns:
        0 after a clean stop, 1 if the service gave up

    Raises:
        CatalogUnavailable, EmbeddedServerFailed, MetricsServerFailed, DirectoryUnreadable: it could not start.
    """
    logging = configure_logging(settings.log.format, settings.log.level)
    orders: SimpleQueue[str] = SimpleQueue()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        orders.put(signal.Signals(number).name)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with open_catalog(settings, service=True) as catalog:
            if not settings.redis.is_embedded:
                _wait_until_alone(settings, catalog)
            service = Service(settings, catalog, give_up=lambda reason: orders.put(f"give up: {reason}"))
            service.start()
            try:
                return _until_stopped(service, orders, config_files)
            finally:
                service.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        logging.stop()


def _wait_until_alone(settings: Settings, catalog: Catalog) -> None:
    """Services on a server of its own know of each other by a heartbeat; one that died is heard of a while longer.

    The folder of an embedded server is locked instead.

    Raises:
        CatalogUnavailable: another service goes on living.
    """
    deadline = time.monotonic() + HEARTBEAT_SECONDS
    while catalog.control.is_service_running():
        if time.monotonic() > deadline:
            raise CatalogUnavailable(
                f"another service is running on {settings.redis.safe_url} under the prefix {settings.redis.prefix!r}; "
                "stop that one, or give this one a redis.prefix of its own"
            )
        time.sleep(0.1)


def _until_stopped(service: Service, orders: SimpleQueue[str], config_files: Sequence[Path]) -> int:
    while True:
        match orders.get():
            case "SIGHUP":
                try:
                    service.reload(load_settings(config_files))
                except (SettingsError, DirectoryUnreadable, CatalogUnavailable) as error:
                    _log.error("settings.refused", error=str(error), text=f"not everything was read again: {error}")
            case order if order.startswith("give up"):
                _log.error("service.gave_up", reason=order, text=f"stopping: {order}")
                return 1
            case order:
                _log.info("service.stopping", signal=order, text=f"stopping: {order}")
                return 0


class Service:
    """Everything that runs, started in order and stopped in reverse."""

    def __init__(self, settings: Settings, catalog: Catalog, *, give_up: Callable[[str], None]) -> None:
        self._settings = settings
        self._catalog = catalog
        self._store = catalog.store
        self._dispatcher = Dispatcher(settings.dispatcher.threads, settings.dispatcher.batch)
        self._clock = SystemClock()
        self._timers = TimerThread(self._clock)
        self._metrics = CollectorRegistry()
        self._observer: Observer = FanOut(
            [
                LogObserver(),
                MetricsObserver(self._metrics, mailbox_depth=self._depth, mailbox_seconds=self._answer_seconds),
            ]
        )
        self._launcher = LocalLauncher(
            self._store,
            self._load_jobs(settings),
            # The catalog keeps the limit, which may be raised later; an idle place here costs nothing.
            max_runs=MOST_RUNS,
            processes=settings.workers.processes,
            max_tasks_per_process=settings.workers.max_tasks_per_process,
            clock=self._clock,
        )
        self._gateway = CatalogGateway(
            self._store, self._launcher, self._clock, lambda name: ThreadLane(name, self._observer)
        )
        self._around = Surroundings(
            clock=self._clock,
            timers=self._timers,
            catalog=self._gateway,
            observer=self._observer,
            defaults=_defaults(settings),
            new_run_id=lambda: f"run-{uuid.uuid4().hex}",
        )
        self._give_up = give_up
        self._sync = DefinitionSync(self._store, settings.workflows_dir)
        self._syncing = threading.Lock()
        self._watch = FolderWatch(settings.workflows_dir, settings.refresh.watch_seconds, self._sync_definitions)
        self._operations = Operations(
            self._around, self._launcher, self._store, timeout_seconds=settings.control.timeout_seconds
        )
        self._stops = ExitStack()

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start in order; when something cannot be started, what was is stopped and the error goes on."""
        with ExitStack() as undo:
            self._start(undo)
            self._stops = undo.pop_all()

    def stop(self) -> None:
        self._stops.close()
        _log.info("service.stopped", text="stopped")

    def reload(self, settings: Settings) -> None:
        """Take over new limits, policies, jobs and definitions; the rest of the settings needs a restart."""
        self._settings = settings
        before, self._around.defaults = self._around.defaults, _defaults(settings)
        registry = self._around.links.registry
        if self._around.defaults != before and registry is not None:
            # What waits by the former policies decides again; what is being restarted knows the new ones.
            with suppress(ActorDeadError):
                asset_ids = registry.ask(ListAssets(), timeout=START_TIMEOUT_SECONDS)
                for asset_id in cast("tuple[str, ...]", asset_ids):
                    self._around.to_registry(ReloadAsset(asset_id))
        self._around.to_enqueuer(SetCapacity(_capacity(settings)))
        self._launcher.replace_jobs(self._load_jobs(settings))
        self._sync = DefinitionSync(self._store, settings.workflows_dir)
        self._watch.look_at(settings.workflows_dir)
        self._sync_definitions()
        _log.info("service.reloaded", text="settings, jobs and definitions were read again")

    def _start(self, undo: ExitStack) -> None:
        settings = self._settings
        if settings.metrics.port:
            metrics = start_metrics_server(settings.metrics.host, settings.metrics.port, self._metrics)
            undo.callback(metrics.stop)
        # Before the first reading, so that what changes during the start is seen later.
        self._watch.look_at(settings.workflows_dir)
        self._sync_definitions()
        for lost in end_orphans(self._store, self._launcher, now_ms=self._clock.now_ms()):
            _log.warning(
                "run.lost",
                run_id=lost.run_id,
                workflow=lost.workflow_slug,
                partition_key=lost.partition_key,
                text=f"{lost.workflow_slug} {lost.run_id} was left by a dead service; it is lost and retried by policy",
            )
        self._dispatcher.start()
        undo.callback(self._dispatcher.stop)
        self._timers.start()
        undo.callback(self._timers.stop)
        self._gateway.start()
        undo.callback(self._gateway.stop)
        self._launcher.start()
        undo.callback(self._launcher.stop, settings.shutdown.grace_seconds)
        self._start_actors(undo)
        reader = StreamReader(
            self._catalog.client,
            self._store,
            StreamListener(
                on_events=self._on_events,
                on_dead_letter=lambda reason: self._observer.dead_letter(reason=reason),
                upstreams_of=self._operations.upstreams_of,
                on_unavailable=lambda error: self._observer.catalog_unavailable(error=error),
                on_available=self._observer.catalog_available,
                check_key=self._operations.check_key,
            ),
            prefix=settings.redis.prefix,
            streams=settings.streams,
        )
        reader.start()
        undo.callback(reader.stop, CHILD_STOP_SECONDS)
        control = ControlServer(self._catalog.client, prefix=settings.redis.prefix, handler=self._operations.handle)
        control.start()
        undo.callback(control.stop, CHILD_STOP_SECONDS)
        self._watch.start()
        undo.callback(self._watch.stop)
        _log.info("service.started", text="started; stop it with Ctrl-C")

    def _start_actors(self, undo: ExitStack) -> None:
        supervision = self._settings.supervision
        supervisor = self._dispatcher.spawn_pinned(
            SupervisorActor,
            self._around,
            (
                ChildSpec("enqueuer", self._start_enqueuer, self._stop_enqueuer),
                ChildSpec("registry", self._start_registry, self._stop_registry),
            ),
            Intensity(supervision.max_restarts, int(supervision.period_seconds * 1000)),
            self._give_up,
        )
        self._around.links.supervisor = supervisor
        with _collector_at_rest():
            supervisor.ask(StartChildren(), timeout=START_TIMEOUT_SECONDS)
            undo.callback(lambda: supervisor.ask(StopChildren(), timeout=2 * CHILD_STOP_SECONDS))
            self._wait_until_loaded()

    def _wait_until_loaded(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        next_line = time.monotonic() + PROGRESS_SECONDS
        while time.monotonic() < deadline:
            registry = self._around.links.registry
            if registry is not None and registry.ask(IsLoaded(), timeout=START_TIMEOUT_SECONDS):
                return
            if registry is not None and time.monotonic() >= next_line:
                next_line += PROGRESS_SECONDS
                read, to_read = registry.ask(CountLoaded(), timeout=START_TIMEOUT_SECONDS)
                what = f"assets {read:,} of {to_read:,}" if to_read else "workflows"
                _log.info("service.reading", read=read, of=to_read, text=f"reading {what}")
            time.sleep(0.01)
        _log.warning("service.loading_slowly", text="the assets are still being read; the service goes on meanwhile")

    # -- children ----------------------------------------------------------------------------------------------------

    def _start_enqueuer(self) -> None:
        settings = self._settings
        self._around.links.enqueuer = self._dispatcher.spawn(
            EnqueuerActor, self._around, _capacity(settings), settings.concurrency.aging_ms
        )

    def _stop_enqueuer(self) -> None:
        ref, self._around.links.enqueuer = self._around.links.enqueuer, None
        if ref is not None and ref.is_alive():
            ref.stop(timeout=CHILD_STOP_SECONDS)

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
            ref.stop(timeout=CHILD_STOP_SECONDS)

    def _spawn_asset(self, asset_id: str, spec: AssetSpec | None) -> ActorRef[Any]:
        return self._dispatcher.spawn(AssetActor, asset_id, spec, self._around)

    # -- callbacks ---------------------------------------------------------------------------------------------------

    def _on_events(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            news = news_of(entry.event, entry.position)
            if news is not None:
                self._around.to_registry(news)

    def _sync_definitions(self) -> None:
        with self._syncing:
            report = self._sync.sync()
        for where, reason in report.problems:
            _log.error("definition.refused", where=where, reason=reason, text=f"definition refused: {reason}")
        for slug, warning in report.warnings:
            _log.warning("definition.warning", workflow=slug, reason=warning, text=f"{slug}: {warning}")

    def _load_jobs(self, settings: Settings) -> JobRegistry:
        jobs = JobRegistry.load(settings.jobs_dir)
        for problem in jobs.problems:
            _log.error("job.refused", reason=str(problem), text=f"job refused: {problem}")
        return jobs

    def _answer_seconds(self) -> float:
        """What a message to the registry waits for, measured by one; at most the scrape's patience."""
        registry = self._around.links.registry
        began = time.monotonic()
        if registry is not None:
            with suppress(ActorDeadError, PykkaTimeout):
                registry.ask(IsLoaded(), timeout=SCRAPE_SECONDS)
        return time.monotonic() - began

    def _depth(self) -> int:
        """Mail of the two actors through which everything goes."""
        links = self._around.links
        inboxes = [ref.actor_inbox for ref in (links.registry, links.enqueuer) if ref is not None]
        return sum(len(inbox) for inbox in inboxes if isinstance(inbox, Mailbox))


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


def _defaults(settings: Settings) -> Defaults:
    return Defaults(backoff=settings.backoff_policy(), budget=settings.budget_policy())


def _capacity(settings: Settings) -> Capacity:
    concurrency = settings.concurrency
    return Capacity(concurrency.max_runs, dict(concurrency.workflows), dict(concurrency.pools))
