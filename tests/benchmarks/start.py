"""Seconds until a service knows 100,000 assets in 10,000 workflows, and until it has stopped; what it does in between.

The catalog is on an embedded server and holds every definition and a fresh materialization of every asset, so each of
them gets an actor, a decision and a timer. Started is when everything is read and every asset is decided. Then an asset
is dumped through the control channel as `debug` does it, one event is appended and leads to a run, and the service
stops.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.common import Options, Result, resident_bytes
from tests.benchmarks.graphs import GraphShape, append_events, fill_catalog
from tests.benchmarks.wired import wait_until, wired

NAME = "start"

ASSETS_EACH = 10


def os_threads() -> int:
    """The threads of this process, as the kernel counts them (`ps -o nlwp`)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def run(options: Options) -> Result:
    """Start, dump, one event, stop."""
    shape = GraphShape(options.scaled(10_000), ASSETS_EACH)
    with wired(log={"level": "warning"}) as running:
        fill_catalog(running.client, running.settings.redis.prefix, shape, made_at_ms=time.time_ns() // 1_000_000)
        gc.collect()
        cpu = time.process_time()
        running.start()
        cpu_seconds = time.process_time() - cpu
        threads_after_start = os_threads()
        wait_until(running.catalog.control.is_service_running)
        began = time.perf_counter()
        dump: Any = running.catalog.control.ask("debug", {"assetId": "a0.0"}, timeout_seconds=30)
        dump_ms = 1_000 * (time.perf_counter() - began)
        appended_ns = time.monotonic_ns()
        append_events(running.client, running.keys.events, 0, 1, shape.workflows)
        wait_until(lambda: running.active() >= 1)
        threads_after_event = os_threads()
        resident = resident_bytes()
        running.stop()
        (launched_ns,) = running.launcher.launched_ns.values()
    assert dump["assets"][0]["partitions"][0]["state"] == "fresh"
    return {
        "assets": shape.assets,
        "workflows": shape.workflows,
        "start_seconds": running.start_seconds,
        "start_cpu_seconds": cpu_seconds,
        "stop_seconds": running.stop_seconds,
        "dump_ms": dump_ms,
        "event_to_run_ms": (launched_ns - appended_ns) / 1e6,
        "threads_after_start": threads_after_start,
        "threads_after_event": threads_after_event,
        "resident_mib": resident / 2**20,
    }
