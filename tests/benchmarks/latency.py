"""From the append of `asset.produced` to the run on the queue, at 200 and at 1,000 events per second.

Another process appends at an even pace. A time begins before the append is sent and ends when the claimed run is handed
to the launcher, so it holds both ways to the server, reading, deciding and claiming. Every event leads to a run of its
own. A few seconds of the pace go before those that count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from actors.catalog.connection import server_of
from tests.benchmarks.common import Options, Result
from tests.benchmarks.graphs import GraphShape, fill_catalog
from tests.benchmarks.wired import Wired, wait_until, wired

NAME = "latency"

RATES_PER_SECOND = (200, 1_000)
SECONDS = 15
WARM_UP_SECONDS = 2


def latencies_ms(running: Wired, first: int, events: int, sources: int, per_second: int) -> list[float]:
    """How long each event took, in the order of the events."""
    before = running.active()
    given = [first, events, sources, per_second]
    command = [sys.executable, "-m", "tests.benchmarks.feeder", server_of(running.client), running.keys.events]
    done = subprocess.run([*command, *map(str, given)], stdout=subprocess.PIPE, text=True, check=True)
    wait_until(lambda: running.active() >= before + events)
    appended_ns: list[int] = json.loads(done.stdout)
    launched_ns = running.launcher.launched_ns
    return [(launched_ns[f"k{first + n}"] - at_ns) / 1e6 for n, at_ns in enumerate(appended_ns)]


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run(options: Options) -> Result:
    """Percentiles at each pace; the load of the machine beforehand, as others may work on it."""
    shape = GraphShape(options.scaled(1_000))
    result: Result = {"load_before": os.getloadavg()[0]}
    first = 0
    with wired(log={"level": "warning"}) as running:
        fill_catalog(running.client, running.settings.redis.prefix, shape)
        running.start()
        for rate in RATES_PER_SECOND:
            warm_up, events = options.scaled(rate * WARM_UP_SECONDS), options.scaled(rate * SECONDS)
            taken = latencies_ms(running, first, warm_up + events, shape.workflows, rate)
            first += warm_up + events
            ordered = sorted(taken[warm_up:])
            result |= {
                f"events_{rate}": events,
                f"p50_ms_{rate}": percentile(ordered, 0.5),
                f"p99_ms_{rate}": percentile(ordered, 0.99),
                f"max_ms_{rate}": ordered[-1],
            }
    return result
