"""What one look of `top` costs on 10,000 assets: time, commands and bytes of the catalog, CPU of the service.

Every asset has a timer, 1,000 runs are in flight, and the catalog is as large as such a graph makes it. The same for a
hundredth of the assets and runs says what grows.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from tests.benchmarks.common import Options, Result
from tests.benchmarks.graphs import GraphShape, append_events, fill_catalog
from tests.benchmarks.wired import Wired, wait_until, wired

NAME = "glance"

ASSETS = 10_000
RUNS = 1_000
LOOKS = 30
ROWS = 40


def run(options: Options) -> Result:
    """Both sizes."""
    small, large = options.scaled(ASSETS // 100), options.scaled(ASSETS)
    return {"assets": large, **_look_at(small, "_hundredth"), **_look_at(large, "")}


def _look_at(assets: int, suffix: str) -> Result:
    # Not before: it draws the command line in.
    from actors.interfaces.look import Looker
    from actors.interfaces.session import Session

    shape = GraphShape(assets)
    with wired(log={"level": "warning"}) as running:
        fill_catalog(running.client, running.settings.redis.prefix, shape, made_at_ms=time.time_ns() // 1_000_000)
        running.start()
        wait_until(running.catalog.control.is_service_running)
        runs = max(1, RUNS * assets // ASSETS)
        append_events(running.client, running.keys.events, 0, runs, assets)
        wait_until(lambda: running.active() >= runs)
        looker = Looker(Session(running.settings, running.catalog), limit=ROWS)
        told: Any = looker.look(with_progress=True)
        before, cpu, took = _traffic(running), time.process_time(), list[float]()
        for _ in range(LOOKS):
            began = time.perf_counter()
            told = looker.look(with_progress=True)
            took.append(1_000 * (time.perf_counter() - began))
        cpu_ms = 1_000 * (time.process_time() - cpu)
        commands, read_bytes = (after - earlier for after, earlier in zip(_traffic(running), before, strict=True))
    assert told["activeCount"] >= runs
    assert len(told["overview"]["next"]) == min(ROWS, assets)
    return {
        f"look_ms{suffix}": median(took),
        f"cpu_ms_both_sides{suffix}": cpu_ms / LOOKS,
        f"catalog_commands{suffix}": commands / LOOKS,
        f"catalog_bytes{suffix}": read_bytes / LOOKS,
    }


def _traffic(running: Wired) -> tuple[int, int]:
    """Commands that the server has carried out, and bytes that it has sent."""
    told: Any = running.client.info("stats")
    return int(told["total_commands_processed"]), int(told["total_net_output_bytes"])
