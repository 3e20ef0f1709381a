"""Prometheus metrics of what is sent to others."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["OutgoingMetrics"]


class OutgoingMetrics:
    """Counts events by receiver: `openlineage` and `cloudevents`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "headwater_outgoing_events_total",
            "Events for a receiver that it has taken, or that were given up because it refused them",
            ("receiver", "result"),
            registry=registry,
        )
        self._retries = Counter(
            "headwater_outgoing_retries_total",
            "Requests to a receiver that failed and were sent again",
            ("receiver",),
            registry=registry,
        )
        self._gaps = Counter(
            "headwater_outgoing_gaps_total",
            "Times the stream was trimmed beyond what a receiver had been sent",
            ("receiver",),
            registry=registry,
        )
        self._lag = Gauge(
            "headwater_outgoing_lag_seconds",
            "Age of the oldest event that a receiver has not been sent yet",
            ("receiver",),
            registry=registry,
        )

    def watch(self, receiver: str, lag_seconds: Callable[[], float]) -> None:
        """Begin all series of a receiver at 0, so that a first increase is seen; ask for its lag at each scrape."""
        for result in ("delivered", "dropped"):
            self._events.labels(receiver, result)
        self._retries.labels(receiver)
        self._gaps.labels(receiver)
        self._lag.labels(receiver).set_function(lag_seconds)

    def delivered(self, receiver: str, count: int) -> None:
        self._events.labels(receiver, "delivered").inc(count)

    def dropped(self, receiver: str, count: int) -> None:
        self._events.labels(receiver, "dropped").inc(count)

    def retried(self, receiver: str) -> None:
        self._retries.labels(receiver).inc()

    def gap(self, receiver: str) -> None:
        self._gaps.labels(receiver).inc()
