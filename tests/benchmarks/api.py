"""How long the HTTP API takes to answer while 1,000 events per second flow through the service: 5,000 assets.

One process appends events at an even pace, another has eight clients that call eight routes in turn, 80 calls per
second in all; the service is in this process. The events are productions of 500 sources, each of which one workflow
follows: as many as may run at once run, and go on; the others wait in the queue, and what comes for them is remembered.
So every event is read, routed and decided on. The calls are timed before the events and during them.

On a machine on which others work, most of a high percentile is waiting for a processor: the probe `/healthz`, which
asks nobody, is timed among the routes. The processor time per call is measured one call after the other, at rest.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import httpx

from actors.catalog.connection import server_of
from tests.benchmarks.common import Options, Result
from tests.benchmarks.graphs import GraphShape, fill_catalog
from tests.benchmarks.latency import percentile
from tests.benchmarks.wired import Wired, wait_until, wired

NAME = "api"

SHAPE = GraphShape(500, 10)
EVENTS_PER_SECOND = 1_000
CALLS_PER_SECOND = 80
CLIENTS = 8
MAX_RUNS = 64
SECONDS = 20
API = "/api/v1"
ROUTES = {
    "healthz": "/healthz",
    "assets": f"{API}/assets",
    "asset": f"{API}/assets/a{{n}}.0",
    "history": f"{API}/assets/a{{n}}.0/history",
    "explain": f"{API}/assets/a{{n}}.0/explain",
    "workflow": f"{API}/workflows/w{{n}}",
    "auto": f"{API}/workflows/w{{n}}/auto-materialize",
    "runs": f"{API}/runs",
}


def targets(shape: GraphShape) -> dict[str, list[str]]:
    """Paths by route; where they name something, of many in turn."""
    numbers = range(0, shape.workflows, max(1, shape.workflows // 50))
    return {
        name: [path.format(n=number) for number in numbers] if "{n}" in path else [path]
        for name, path in ROUTES.items()
    }


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def calls_ms(url: str, seconds: float, paths: dict[str, list[str]]) -> dict[str, list[float]]:
    """The sorted times of the calls, by route."""
    command = [sys.executable, "-m", "tests.benchmarks.api_callers", url]
    given = [seconds, CLIENTS, CALLS_PER_SECOND, json.dumps(paths)]
    done = subprocess.run([*command, *map(str, given)], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return {name: sorted(times) for name, times in found.items()}


def cpu_ms(url: str, paths: dict[str, list[str]], times: int) -> Result:
    """Processor time of this process, which is both the service and the one caller, per call of each route."""
    result: Result = {}
    with httpx.Client(base_url=url, timeout=60.0) as http:
        for name, each in paths.items():
            http.get(each[0]).raise_for_status()
            began = time.process_time()
            for number in range(times):
                http.get(each[number % len(each)])
            result[f"cpu_ms_{name}"] = 1e3 * (time.process_time() - began) / times
    return result


def feed(running: Wired, events: int, shape: GraphShape) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.feeder", server_of(running.client), running.keys.events]
    given = [0, events, shape.workflows, EVENTS_PER_SECOND, 1]
    return subprocess.Popen([*command, *map(str, given)], stdout=subprocess.PIPE, text=True)


def percentiles(times: dict[str, list[float]], suffix: str = "") -> Result:
    result: Result = {}
    for name, each in times.items():
        result |= {f"p50_ms_{name}{suffix}": percentile(each, 0.5), f"p99_ms_{name}{suffix}": percentile(each, 0.99)}
    ours = sorted(ms for name, each in times.items() if name != "healthz" for ms in each)
    return result | {f"p50_ms{suffix}": percentile(ours, 0.5), f"p99_ms{suffix}": percentile(ours, 0.99)}


def run(options: Options) -> Result:
    """Percentiles of all routes but the probe together, then of each; at rest (`_at_rest`), and during the events."""
    shape = GraphShape(options.scaled(SHAPE.workflows), SHAPE.assets_each)
    seconds, port = max(0.5, SECONDS * options.scale), unused_port()
    result: Result = {"load_before": os.getloadavg()[0], "assets": shape.assets}
    url, paths = f"http://127.0.0.1:{port}", targets(shape)
    groups = {"http": {"port": port, "requests_per_second": 0}, "concurrency": {"max_runs": MAX_RUNS}}
    with wired(log={"level": "warning"}, **groups) as running:
        fill_catalog(running.client, running.settings.redis.prefix, shape, made_at_ms=time.time_ns() // 1_000_000)
        running.start()
        result |= cpu_ms(url, paths, options.scaled(100))
        result |= percentiles(calls_ms(url, seconds, paths), "_at_rest")
        events = round(EVENTS_PER_SECOND * (seconds + 2))
        feeding = feed(running, events, shape)
        wait_until(lambda: running.active() >= min(MAX_RUNS, shape.workflows))
        times = calls_ms(url, seconds, paths)
        assert feeding.poll() is None or options.scale < 1, "the events ended before the calls"
        feeding.communicate()
        position = running.client.xinfo_stream(running.keys.events)["length"]
        result |= {"calls": sum(map(len, times.values())), "events": position} | percentiles(times)
    return result
