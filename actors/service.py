"""The composition root: wires actors, catalog, launcher and interfaces into a service that leads or stands by."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from prometheus_client import CollectorRegistry

from actors.actor_system import ActorSystem, Outside
from actors.catalog.access import Catalog
from actors.catalog.control import ControlFailed, ControlServer, ControlTimeout, ServiceNotRunning
from actors.catalog.directory import DirectoryUnreadable
from actors.catalog.leadership import Leadership, RedisLease
from actors.catalog.recovery import end_orphans
from actors.catalog.retention import Retention, RetentionThread
from actors.catalog.store import CatalogUnavailable, Deposed, Json, JsonObject
from actors.catalog.sync import DefinitionSync, FolderWatch
from actors.execution.engines import make_engine
from actors.execution.jobs import JobRegistry
from actors.execution.reaper import Reaper
from actors.interfaces.health import CatalogWatch, Role
from actors.interfaces.http.decisions import DecisionFeed
from actors.interfaces.log_observer import LogObserver
from actors.interfaces.metrics import MetricsObserver, start_metrics_server
from actors.interfaces.observers import FanOut
from actors.interfaces.outgoing.wiring import make_outgoing
from actors.interfaces.standing import Standing
from actors.observer import Observer
from actors.runtime import SystemClock
from actors.settings import Settings

if TYPE_CHECKING:
    from actors.interfaces.http.server import HttpServer

__all__ = ["Service"]

_log = structlog.stdlib.get_logger("headwater")

STOP_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0


class Duty(Protocol):
    """Something that only a leader does, on threads of its own. It writes through a fenced store, and starts once."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Service:
    """Everything that runs, started in order and stopped in reverse.

    On a server of its own it may be one of several: one leads, the others stand by. `on_role` is called, from any
    thread, when `take_role` has something to do.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        *,
        give_up: Callable[[str], None],
        on_role: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._clock = SystemClock()
        self._give_up = give_up
        self._on_role = on_role
        self._service_id = uuid.uuid4().hex
        self._started_ms = self._clock.now_ms()
        is_sole = settings.redis.is_embedded  # its folder is locked
        lease_seconds = settings.leadership.lease_seconds
        self._shard = settings.shard.to_shard()
        self._lease = RedisLease(
            catalog.client,
            prefix=settings.redis.prefix,
            service_id=self._service_id,
            lease_seconds=lease_seconds,
            sole=is_sole,
            shard=self._shard,
        )
        self._leadership = Leadership(
            self._lease, self._clock, lease_seconds=lease_seconds, on_change=on_role, sole=is_sole, shard=self._shard
        )
        self._leader_store = catalog.store.fenced_by(self._leadership)
        self._metrics = CollectorRegistry()
        self._decisions = DecisionFeed(leads=self._leadership.leads, now_ms=self._clock.now_ms)
        self._standing = Standing(self._clock.now_ms)
        self._catalog_watch = CatalogWatch(self._clock.now_ms)
        self._observer: Observer = FanOut(
            [
                self._catalog_watch,
                self._standing,
                *([self._decisions] if settings.http.port else []),
                LogObserver(leads=self._leadership.leads),
                MetricsObserver(
                    self._metrics,
                    leads=self._leadership.leads,
                    mailbox_depth=self._depth,
                    mailbox_seconds=self._answer_seconds,
                ),
            ]
        )
        self._outgoing = make_outgoing(settings, catalog, self._leadership, self._metrics, leads=self._tells_others)
        self._engine = make_engine(settings, catalog, self._clock, self._load_jobs(settings))
        self._launcher = self._engine.launcher
        self._has_launcher_started = False
        self._duties: list[Duty] = []
        self._has_started = False
        self._acting_term: int | None = None
        self._is_to_begin_anew = False
        self._actors = self._new_actors()
        self._sync = DefinitionSync(self._leader_store, settings.workflows_dir)
        self._syncing = threading.Lock()
        self._watch = FolderWatch(settings.workflows_dir, settings.refresh.watch_seconds, self._sync_definitions)
        self._stops = ExitStack()

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start in order; when something cannot be started, what was is stopped and the error goes on."""
        with ExitStack() as undo:
            self._start(undo)
            self._stops = undo.pop_all()

    def stop(self) -> None:
        # First, so that another leads at once: what is still on its way from here is refused.
        self._leadership.stop()
        self._stops.close()
        _log.info("service.stopped", text="stopped")

    def reload(self, settings: Settings) -> None:
        """Take over new limits, policies, jobs and definitions; the rest of the settings needs a restart."""
        self._settings = settings
        self._actors.reload(settings)
        self._engine.replace_jobs(self._load_jobs(settings))
        self._sync = DefinitionSync(self._leader_store, settings.workflows_dir)
        self._watch.look_at(settings.workflows_dir)
        self._sync_definitions()
        _log.info("service.reloaded", text="settings, jobs and definitions were read again")

    def take_role(self) -> None:
        """Lead, or stand by, as the leadership has it now. Actors that led and do not any more are replaced: what they
        believe may be wrong, and new ones follow whoever leads."""
        term = self._leadership.term()
        if self._is_to_begin_anew or self._acting_term not in (None, term):
            self._begin_anew()
        elif term is not None and self._acting_term is None:
            self._take_over(term)
        elif term is None:
            self._leadership.stand()

    def _begin_anew(self) -> None:
        self._is_to_begin_anew, self._acting_term = True, None
        self._leadership.step_down("its actors begin anew")
        self._stop_acting()
        try:
            self._actors = self._new_actors()
            self._actors.start(until_loaded=False)
        except CatalogUnavailable as error:
            self._observer.catalog_unavailable(error=str(error))
            timer = threading.Timer(RETRY_SECONDS, self._on_role)
            timer.daemon = True
            timer.start()
            return
        self._is_to_begin_anew = False
        _log.info("service.standing_by", text="this service stands by")
        self._leadership.stand()

    def _start(self, undo: ExitStack) -> None:
        settings = self._settings
        # Who stands by can lead at any moment, and its first runs must not wait for modules to be loaded.
        self._engine.warm()
        if settings.metrics.port:
            host, port, trouble = settings.metrics.host, settings.metrics.port, self._catalog_watch.trouble
            metrics = start_metrics_server(host, port, self._metrics, self._role, trouble)
            undo.callback(metrics.stop)
        if settings.http.port:
            undo.callback(self._start_http().stop)
        # Before the first reading, so that what changes during the start is seen later.
        self._watch.look_at(settings.workflows_dir)
        undo.callback(self._stop_launcher)
        undo.callback(self._lease.close)
        undo.callback(self._leadership.stop)
        undo.callback(self._stop_acting)
        if self._leadership.start():
            self._lead_from_the_start()
        self._actors.start(until_loaded=True)
        control = ControlServer(
            self._catalog.client,
            prefix=settings.redis.prefix,
            handler=self._answer,
            service_id=self._service_id,
            about=self._about(),
            leads=self._leadership.leads,
            shard=self._shard,
        )
        control.start()
        undo.callback(control.stop, STOP_SECONDS)
        self._watch.start()
        undo.callback(self._watch.stop)
        retention = self._new_retention()
        retention.start()
        undo.callback(retention.stop)
        self._outgoing.start()
        undo.callback(self._outgoing.stop)
        self._has_started = True
        role = "stands by" if self._acting_term is None else "leads"
        _log.info("service.started", role=role, text=f"started, and {role}; stop it with Ctrl-C")
        self._on_role()

    def _lead_from_the_start(self) -> None:
        """Files first: the actors then read what is in them. `take_role` deals with a lead that is lost meanwhile."""
        term = self._leadership.term()
        if term is None:
            return
        with suppress(Deposed):
            self._sync_definitions()
            self._prepare_to_lead()
            self._acting_term = term
            self._actors.lead()

    def _take_over(self, term: int) -> None:
        try:
            if not self._actors.has_heard_all():
                self._begin_anew()
                return
            self._prepare_to_lead()
        except (CatalogUnavailable, Deposed) as error:
            self._stop_duties()
            self._leadership.step_down(f"it cannot take over: {error}", stands=True)
            return
        self._acting_term = term
        self._actors.lead()
        try:
            # Not before: the actors know the definitions of the catalog, and what differs is news to them.
            self._sync_definitions()
        except (DirectoryUnreadable, CatalogUnavailable) as error:
            self._watch.look_again()
            _log.error("definitions.not_read", reason=str(error), text=f"the definitions stay as they are: {error}")

    def _prepare_to_lead(self) -> None:
        """What a leader does before it acts."""
        if self._leadership.shard.is_first:
            self._outgoing.prepare()
        if self._engine.dies_with_service and self._settings.redis.is_embedded:
            # The lock on the folder proves that no other service lives, and so none of its runs.
            for lost in end_orphans(self._leader_store, self._launcher, now_ms=self._clock.now_ms()):
                self._observer.run_lost(
                    run_id=lost.run_id,
                    workflow_slug=lost.workflow_slug,
                    partition_key=lost.partition_key,
                    error="it was left by a service that died",
                )
        if not self._has_launcher_started:
            # Who stands by needs no worker processes yet; who led once keeps them, with the runs that go on there.
            self._launcher.start()
            self._has_launcher_started = True
        for duty in self._new_duties():
            duty.start()
            self._duties.append(duty)

    def _new_duties(self) -> list[Duty]:
        """What a leader does besides its actors, for one term; stopped in reverse."""
        engine = self._engine
        return [
            Reaper(
                self._leader_store,
                self._launcher,
                self._clock,
                self._observer,
                is_waiting=engine.is_waiting,
                lease_ms=engine.lease_ms,
                start_timeout_ms=int(self._settings.runs.start_timeout_seconds * 1_000),
                # What an earlier leader had claimed and not begun: nobody else would begin it.
                takes_over=engine.takes_over,
                owns=self._shard.owns,
            ),
            *engine.new_duties(self._leader_store),
        ]

    def _stop_acting(self) -> None:
        self._stop_duties()
        self._actors.stop()

    def _stop_duties(self) -> None:
        while self._duties:
            self._duties.pop().stop()

    def _stop_launcher(self) -> None:
        if self._has_launcher_started:
            self._launcher.stop(self._settings.shutdown.grace_seconds)

    def _new_retention(self) -> RetentionThread:
        settings = self._settings
        retention = Retention(
            self._catalog.client,
            self._leader_store,
            prefix=settings.redis.prefix,
            streams=settings.streams,
            history=settings.history,
            retention=settings.retention,
        )
        return RetentionThread(
            retention.fenced_by(self._leadership),
            settings.retention.interval_seconds,
            lambda: self._leadership.leads() and self._shard.is_first,
        )

    def _about(self) -> JsonObject:
        """What commands are told of this service."""
        about: JsonObject = {"host": socket.gethostname(), "pid": os.getpid(), "startedAtMs": self._started_ms}
        return about if self._shard.is_whole else {**about, "shard": str(self._shard)}

    def _new_actors(self) -> ActorSystem:
        self._standing.begin_anew()
        outside = Outside(
            self._catalog,
            self._leadership,
            self._launcher,
            self._clock,
            self._observer,
            give_up=self._give_up,
            on_missed=self._on_missed,
            heard=self._standing.heard,
            overview=self._overview,
        )
        return ActorSystem(self._settings, outside)

    # -- callbacks ---------------------------------------------------------------------------------------------------

    def _on_missed(self) -> None:
        _log.warning("stream.missed", text="events were missed, or the server is another than before; all is read anew")
        self._is_to_begin_anew = True
        self._on_role()

    def _tells_others(self) -> bool:
        """Whether this is the one service that tells receivers outside what happens; it does so for all shards."""
        return self._leadership.leads() and self._leadership.shard.is_first

    def _role(self) -> Role:
        if not self._has_started or self._is_to_begin_anew:
            return "starting"
        return "leader" if self._leadership.leads() else "standby"

    def _overview(self, limit: int) -> JsonObject:
        """That of `Standing`, and what there is room for."""
        settings = self._settings
        return {
            **self._standing.overview(limit),
            "mailboxDepth": self._depth(),
            "slots": {
                "launcher": settings.execution.launcher,
                "processes": settings.workers.processes if self._engine.dies_with_service else None,
                "maxRuns": settings.concurrency.max_runs,
                "workflows": dict(settings.concurrency.workflows),
                "pools": dict(settings.concurrency.pools),
            },
        }

    def _depth(self) -> int:
        return self._actors.depth()

    def _answer_seconds(self) -> float:
        return self._actors.answer_seconds()

    def _answer(self, op: str, args: JsonObject) -> Json:
        return self._actors.operations.handle(op, args)

    def _ask_shards(self, op: str, args: JsonObject) -> Json:
        timeout_seconds = self._settings.control.timeout_seconds
        try:
            return self._catalog.control.ask(op, args, timeout_seconds=timeout_seconds)
        except (ControlFailed, ControlTimeout, ServiceNotRunning) as error:
            raise LookupError(str(error)) from None

    def _start_http(self) -> HttpServer:
        # Whoever does not serve it need not load it.
        from actors.interfaces.http.server import start_http_server

        return start_http_server(
            self._catalog,
            settings=lambda: self._settings,
            ask=self._answer if self._shard.is_whole else self._ask_shards,
            role=self._role,
            metrics=self._metrics,
            decisions=self._decisions,
            trouble=self._catalog_watch.trouble,
        )

    def _sync_definitions(self) -> None:
        if not (self._leadership.leads() and self._shard.is_first):
            return  # files are the first leader's to read; whoever leads next looks at all of them
        try:
            with self._syncing:
                report = self._sync.sync()
        except Deposed:
            return  # as above
        for where, reason in report.problems:
            _log.error("definition.refused", where=where, reason=reason, text=f"definition refused: {reason}")
        for slug, warning in report.warnings:
            _log.warning("definition.warning", workflow=slug, reason=warning, text=f"{slug}: {warning}")

    def _load_jobs(self, settings: Settings) -> JobRegistry:
        jobs = JobRegistry.load(settings.jobs_dir)
        for problem in jobs.problems:
            _log.error("job.refused", reason=str(problem), text=f"job refused: {problem}")
        return jobs
