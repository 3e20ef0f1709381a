from __future__ import annotations

import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from actors.core.decide import Reason
from actors.interfaces.metrics import MetricsObserver, MetricsServerFailed, start_metrics_server
from tests.unit.interfaces.reports import REPORTS


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_reports_are_counted_under_their_labels(registry: CollectorRegistry) -> None:
    observer = MetricsObserver(registry)
    observer.decided(**REPORTS["decided"])
    observer.run_submitted(**REPORTS["run_submitted"])
    observer.run_ended(**REPORTS["run_ended"])
    observer.run_delayed(**REPORTS["run_delayed"])
    value = registry.get_sample_value
    assert value("headwater_decisions_total", {"decision": "wait", "reason": "backoff"}) == 1
    assert value("headwater_runs_submitted_total", {"workflow": "orders", "trigger": "auto-materialize"}) == 1
    outcome = {"workflow": "orders", "reason": "upstream-updated", "outcome": "failed"}
    assert value("headwater_auto_runs_total", outcome) == 1
    assert value("headwater_delayed_total", {"limit": "pool:gpu"}) == 1
    assert value("headwater_run_duration_seconds_sum", {"workflow": "orders"}) == 1.5
    assert value("headwater_event_to_enqueue_seconds_sum") == 0.004
    assert value("headwater_event_to_enqueue_seconds_bucket", {"le": "0.0025"}) == 0
    assert value("headwater_event_to_enqueue_seconds_bucket", {"le": "0.005"}) == 1


def test_a_run_by_hand_is_no_automatic_run(registry: CollectorRegistry) -> None:
    MetricsObserver(registry).run_ended(**{**REPORTS["run_ended"], "trigger": "manual", "reason": "cli"})
    outcome = {"workflow": "orders", "reason": "cli", "outcome": "failed"}
    assert registry.get_sample_value("headwater_auto_runs_total", outcome) is None
    assert registry.get_sample_value("headwater_run_duration_seconds_count", {"workflow": "orders"}) == 1


def test_a_run_that_no_event_called_for_has_no_latency(registry: CollectorRegistry) -> None:
    MetricsObserver(registry).run_submitted(**{**REPORTS["run_submitted"], "waited_ms": None})
    assert registry.get_sample_value("headwater_event_to_enqueue_seconds_count") == 0


def test_backoffs_and_suspensions_are_told_apart(registry: CollectorRegistry) -> None:
    observer = MetricsObserver(registry)
    observer.failed(**REPORTS["failed"])
    observer.failed(**{**REPORTS["failed"], "reason": Reason.BACKOFF})
    observer.failed(**{**REPORTS["failed"], "reason": Reason.BACKOFF})
    assert registry.get_sample_value("headwater_suspensions_total") == 1
    assert registry.get_sample_value("headwater_backoffs_total") == 2


def test_gauges_follow(registry: CollectorRegistry) -> None:
    depth = 7
    observer = MetricsObserver(registry, mailbox_depth=lambda: depth, mailbox_seconds=lambda: depth / 2)
    value = registry.get_sample_value
    assert value("headwater_catalog_up") == 1
    observer.catalog_unavailable(error="gone")
    assert value("headwater_catalog_up") == 0
    observer.catalog_available()
    assert value("headwater_catalog_up") == 1
    observer.queue_changed(active=3, queued=2)
    assert (value("headwater_in_flight"), value("headwater_queued")) == (3, 2)
    observer.stale_changed(2)
    observer.stale_changed(-1)
    assert value("headwater_stale_assets") == 1
    assert (value("headwater_mailbox_depth"), value("headwater_mailbox_seconds")) == (7, 3.5)
    depth = 0
    assert value("headwater_mailbox_depth") == 0


def test_two_services_in_one_process_do_not_share_metrics() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    MetricsObserver(first).dead_letter(reason="x")
    MetricsObserver(second)
    assert first.get_sample_value("headwater_dead_letters_total") == 1
    assert second.get_sample_value("headwater_dead_letters_total") == 0


def test_metrics_are_served_until_stopped(registry: CollectorRegistry) -> None:
    MetricsObserver(registry).dead_letter(reason="x")
    server = start_metrics_server("127.0.0.1", 0, registry)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
            assert "headwater_dead_letters_total 1.0" in answer.read().decode().splitlines()
    finally:
        port = server.port
        server.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def test_a_taken_port_is_told_with_what_to_do(registry: CollectorRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MetricsServerFailed, match=rf"127\.0\.0\.1:{port}.*choose another port"):
            start_metrics_server("127.0.0.1", port, registry)
