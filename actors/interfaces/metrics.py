"""Prometheus metrics made from what actors report, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from actors.core.decide import Decision, Reason
from actors.interfaces.dump import decision_kind
from actors.interfaces.health import Role, with_health

__all__ = ["MetricsObserver", "MetricsServer", "MetricsServerFailed", "start_metrics_server"]

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_DURATION_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)


class MetricsObserver:
    """Counts what actors report. No label takes an asset id or a partition key, whose number has no bound.

    When given, these are called at each scrape: `leads`, whether this service is the one that acts; `mailbox_depth`,
    how many messages wait for the actors in the middle; `mailbox_seconds`, how long a question to the registry waits
    for its answer.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        leads: Callable[[], bool] | None = None,
        mailbox_depth: Callable[[], int] | None = None,
        mailbox_seconds: Callable[[], float] | None = None,
    ) -> None:
        self._auto_runs = Counter(
            "headwater_auto_runs_total",
            "Automatic runs that ended",
            ("workflow", "reason", "outcome"),
            registry=registry,
        )
        self._submitted = Counter(
            "headwater_runs_submitted_total",
            "Runs that were claimed and handed to the launcher",
            ("workflow", "trigger"),
            registry=registry,
        )
        self._decisions = Counter(
            "headwater_decisions_total",
            "Decisions that assets took",
            ("decision", "reason"),
            registry=registry,
        )
        # To look up a labelled counter in the library takes longer than to decide.
        self._counters: dict[tuple[type[Decision], Reason], Counter] = {}
        self._deduplicated = Counter(
            "headwater_deduplicated_total",
            "Wanted runs that an active or a newer one made needless",
            registry=registry,
        )
        self._delayed = Counter(
            "headwater_delayed_total",
            "Times a wanted run had to wait for a slot",
            ("limit",),
            registry=registry,
        )
        self._lost = Counter(
            "headwater_runs_lost_total",
            "Runs that were given up because nobody worked on them",
            ("workflow",),
            registry=registry,
        )
        self._relaunched = Counter(
            "headwater_runs_relaunched_total",
            "Runs that nobody had started in time and that were launched again",
            ("workflow",),
            registry=registry,
        )
        self._backoffs = Counter(
            "headwater_backoffs_total", "Waits before a retry that began after a failure", registry=registry
        )
        self._suspensions = Counter(
            "headwater_suspensions_total", "Asset partitions whose failure budget ran out", registry=registry
        )
        self._dead_letters = Counter(
            "headwater_dead_letters_total",
            "Events that could not be read and were put aside",
            registry=registry,
        )
        self._undelivered = Counter(
            "headwater_undelivered_total", "Messages to an actor that had stopped", registry=registry
        )
        self._restarts = Counter("headwater_restarts_total", "Actors restarted after an exception", registry=registry)
        self._in_flight = Gauge("headwater_in_flight", "Active runs", registry=registry)
        self._queued = Gauge("headwater_queued", "Runs that are wanted and not started yet", registry=registry)
        self._stale = Gauge("headwater_stale_assets", "Asset partitions that need a run", registry=registry)
        self._catalog_up = Gauge("headwater_catalog_up", "1 while the catalog can be reached", registry=registry)
        self._catalog_up.set(1)
        self._leader = Gauge("headwater_leader", "1 while this service leads, 0 while it stands by", registry=registry)
        if leads is not None:
            self._leader.set_function(lambda: float(leads()))
        self._mailbox_depth = Gauge(
            "headwater_mailbox_depth", "Messages waiting for the registry and the enqueuer", registry=registry
        )
        if mailbox_depth is not None:
            self._mailbox_depth.set_function(mailbox_depth)
        self._mailbox_seconds = Gauge(
            "headwater_mailbox_seconds", "How long a question to the registry waits for its answer", registry=registry
        )
        if mailbox_seconds is not None:
            self._mailbox_seconds.set_function(mailbox_seconds)
        self._to_enqueue = Histogram(
            "headwater_event_to_enqueue_seconds",
            "From the event that called for a run to its submission",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._duration = Histogram(
            "headwater_run_duration_seconds",
            "From the start of a run to its end",
            ("workflow",),
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )

    def decided(
        self,
        *,
        asset_id: str,
        workflow_slug: str | None,
        partition_key: str | None,
        decision: Decision,
        cause: str,
        run_id: str | None,
        failures: int,
        next_look_ms: int | None,
        is_news: bool,
    ) -> None:
        key = (type(decision), decision.reason)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._decisions.labels(decision_kind(decision), decision.reason.value)
        counter.inc()

    def run_submitted(
        self,
        *,
        run_id: str,
        workflow_slug: str,
        partition_key: str | None,
        trigger: str,
        reason: str,
        cause: str,
        waited_ms: int | None,
    ) -> None:
        self._submitted.labels(workflow_slug, trigger).inc()
        if waited_ms is not None:
            self._to_enqueue.observe(waited_ms / 1_000)

    def run_deduplicated(self, *, workflow_slug: str, partition_key: str | None, asset_id: str, because: str) -> None:
        self._deduplicated.inc()

    def run_delayed(self, *, workflow_slug: str, partition_key: str | None, limit: str) -> None:
        self._delayed.labels(limit).inc()

    def run_ended(
        self,
        *,
        run_id: str,
        workflow_slug: str,
        partition_key: str | None,
        trigger: str,
        reason: str,
        outcome: str,
        error: str | None,
        duration_ms: int | None,
    ) -> None:
        if trigger == "auto-materialize":
            self._auto_runs.labels(workflow_slug, reason, outcome).inc()
        if duration_ms is not None:
            self._duration.labels(workflow_slug).observe(duration_ms / 1_000)

    def run_lost(self, *, run_id: str, workflow_slug: str, partition_key: str | None, error: str) -> None:
        self._lost.labels(workflow_slug).inc()

    def run_relaunched(self, *, run_id: str, workflow_slug: str, partition_key: str | None) -> None:
        self._relaunched.labels(workflow_slug).inc()

    def failed(self, *, asset_id: str, partition_key: str | None, failures: int, reason: Reason) -> None:
        (self._suspensions if reason is Reason.SUSPENDED else self._backoffs).inc()

    def stale_changed(self, delta: int) -> None:
        self._stale.inc(delta)

    def queue_changed(self, *, active: int, queued: int) -> None:
        self._in_flight.set(active)
        self._queued.set(queued)

    def dead_letter(self, *, reason: str) -> None:
        self._dead_letters.inc()

    def undelivered(self, *, message: str, receiver: str) -> None:
        self._undelivered.inc()

    def child_restarted(self, *, name: str, error: str, restarts: int) -> None:
        self._restarts.inc()

    def workflow_changed(self, *, slug: str, change: str) -> None:
        """Nothing to count: the log tells of definitions."""

    def catalog_unavailable(self, *, error: str) -> None:
        self._catalog_up.set(0)

    def catalog_available(self) -> None:
        self._catalog_up.set(1)


class MetricsServerFailed(RuntimeError):  # noqa: N818 - as `CatalogUnavailable`
    """The address cannot be listened on; the message names it and says what to change."""


class MetricsServer:
    """A running endpoint that serves `/metrics`."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread

    @property
    def port(self) -> int:
        """The port that is listened on; the one the system chose when 0 was asked for."""
        return self._server.server_port

    def stop(self) -> None:
        """Stop listening and let the thread end; harmless a second time."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def start_metrics_server(
    host: str,
    port: int,
    registry: CollectorRegistry,
    role: Callable[[], Role] | None = None,
    trouble: Callable[[], str | None] = lambda: None,
) -> MetricsServer:
    """Serve the registry at `http://host:port/metrics` on a thread of its own; with a `role`, `health` too.

    Raises:
        MetricsServerFailed: the address is taken or not ours.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise MetricsServerFailed(
            f"metrics cannot be served at {host}:{port} ({error.strerror or error}); "
            "choose another port or switch the metrics off in the settings"
        ) from error
    application = server.get_app()
    if role is not None and application is not None:
        server.set_app(with_health(application, role, trouble))
    return MetricsServer(server, thread)
