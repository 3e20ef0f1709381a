"""What an event costs in a graph of 1,000 assets and in one of 100,000, and what the large one costs at rest.

Both graphs have the same shape around the events: workflows that make ten assets each and follow one source each, so
every event reaches one asset and leads to one run. The cost is this process's CPU time per event, from the stream to
the submitted run. Both services run in this process and take turns, so that other work on the machine weighs on both
alike; the ratio is the median over the rounds. At rest is the CPU time of the large service, with all of its threads,
over a minute without events: that holds one comparison of the graph with the catalog, which is made once a minute.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median

from tests.benchmarks.common import Options, Result
from tests.benchmarks.graphs import GraphShape, append_events, fill_catalog
from tests.benchmarks.wired import Wired, wait_until, wired

NAME = "flat"

ASSETS_EACH = 10
ROUNDS = 9
IDLE_SECONDS = 60.0


def started(stack: ExitStack, shape: GraphShape) -> Wired:
    running = stack.enter_context(wired(log={"level": "warning"}))
    fill_catalog(running.client, running.settings.redis.prefix, shape, made_at_ms=time.time_ns() // 1_000_000)
    running.start()
    return running


def cpu_us_per_event(running: Wired, first: int, events: int, workflows: int) -> float:
    before = running.active()
    cpu = time.process_time()
    append_events(running.client, running.keys.events, first, events, workflows)
    wait_until(lambda: running.active() >= before + events, poll_seconds=0.02)
    return 1e6 * (time.process_time() - cpu) / events


def run(options: Options) -> Result:
    """Silence in the large graph; then rounds in which both take turns."""
    small, large = GraphShape(options.scaled(100), ASSETS_EACH), GraphShape(options.scaled(10_000), ASSETS_EACH)
    events = options.scaled(2_000)
    idle_seconds = IDLE_SECONDS * min(1.0, options.scale)
    costs: dict[GraphShape, list[float]] = {small: [], large: []}
    with ExitStack() as stack:
        services = {large: started(stack, large)}
        time.sleep(1.0)
        cpu = time.process_time()
        time.sleep(idle_seconds)
        idle = (time.process_time() - cpu) / idle_seconds
        services[small] = started(stack, small)
        for number in range(ROUNDS):
            for shape, running in services.items():
                costs[shape].append(cpu_us_per_event(running, number * events, events, shape.workflows))
    return {
        "small_assets": small.assets,
        "large_assets": large.assets,
        "small_cpu_us_per_event": median(costs[small]),
        "large_cpu_us_per_event": median(costs[large]),
        "ratio": median(b / a for a, b in zip(costs[small], costs[large], strict=True)),
        "idle_cpu_percent_of_a_core": 100 * idle,
    }
