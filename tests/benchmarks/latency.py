"""From the append of `asset.produced` to the run on the queue, at 200 and at 1,000 events per second.

Another process appends at an even pace. A time begins before the append is sent and ends when the claimed run is handed
to the launcher, so it holds both ways to the server, reading, deciding and claiming. Every event leads to a run of its
own. A few seconds of the pace go before those that count.

On a machine on which others work, most of a high percentile is waiting for a processor. So a bare redis-py loop, which
reads an event, parses it, appends an entry and acknowledges, is timed in the same run at 200 events per second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from redis import Redis

from actors.catalog.connection import server_of
from tests.benchmarks.common import Options, Result
from tests.benchmarks.graphs import GraphShape, fill_catalog
from tests.benchmarks.route import run_of
from tests.benchmarks.wired import Wired, wait_until, wired

NAME = "latency"

RATES_PER_SECOND = (200, 1_000)
SECONDS = 15
WARM_UP_SECONDS = 2
WORKFLOWS = 1_000


def feeder(client: Redis, stream: str, first: int, events: int, per_second: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.feeder", server_of(client), stream]
    given = [first, events, WORKFLOWS, per_second]
    return subprocess.Popen([*command, *map(str, given)], stdout=subprocess.PIPE, text=True)


def latencies_ms(running: Wired, first: int, events: int, per_second: int) -> list[float]:
    """How long each event took, in the order of the events."""
    before = running.active()
    feeding = feeder(running.client, running.keys.events, first, events, per_second)
    appended_ns: list[int] = json.loads(feeding.communicate()[0])
    wait_until(lambda: running.active() >= before + events)
    launched_ns = running.launcher.launched_ns
    return [(launched_ns[f"k{first + n}"] - at_ns) / 1e6 for n, at_ns in enumerate(appended_ns)]


def bare_latencies_ms(client: Redis, events: int, per_second: int) -> list[float]:
    """How long each event took a loop that only reads, parses, appends and acknowledges."""
    stream, group = "bare:events", "bare"
    client.xgroup_create(stream, group, id="0", mkstream=True)
    feeding = feeder(client, stream, 0, events, per_second)
    done_ns: list[int] = []
    while len(done_ns) < events:
        answer: Any = client.xreadgroup(group, "one", {stream: ">"}, count=256, block=1_000)
        for entry_id, fields in answer[0][1] if answer else ():
            client.xadd("bare:answers", run_of(json.loads(fields["data"])))
            done_ns.append(time.monotonic_ns())
            client.xack(stream, group, entry_id)
    appended_ns: list[int] = json.loads(feeding.communicate()[0])
    return [(done - appended) / 1e6 for done, appended in zip(done_ns, appended_ns, strict=True)]


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run(options: Options) -> Result:
    """Percentiles at each pace; the load of the machine beforehand, as others may work on it."""
    result: Result = {"load_before": os.getloadavg()[0]}
    first = 0
    with wired(log={"level": "warning"}) as running:
        fill_catalog(running.client, running.settings.redis.prefix, GraphShape(WORKFLOWS))
        running.start()
        for rate in RATES_PER_SECOND:
            warm_up, events = options.scaled(rate * WARM_UP_SECONDS), options.scaled(rate * SECONDS)
            taken = latencies_ms(running, first, warm_up + events, rate)
            first += warm_up + events
            ordered = sorted(taken[warm_up:])
            result |= {
                f"events_{rate}": events,
                f"p50_ms_{rate}": percentile(ordered, 0.5),
                f"p99_ms_{rate}": percentile(ordered, 0.99),
                f"max_ms_{rate}": ordered[-1],
            }
            if rate == RATES_PER_SECOND[0]:
                bare = sorted(bare_latencies_ms(running.client, events, rate))
                result |= {
                    f"bare_p50_ms_{rate}": percentile(bare, 0.5),
                    f"bare_p99_ms_{rate}": percentile(bare, 0.99),
                    f"bare_max_ms_{rate}": bare[-1],
                }
    return result
