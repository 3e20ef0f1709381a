"""A model, not a measurement: what 1, 10 and 100 million assets need, computed from what other benchmarks measured.

`MEASURED` holds the constants and says which benchmark each comes from. From them follow memory, CPU and the number of
shards by arithmetic; latency comes from a seeded simulation of queues: one server that carries out one script after the
other, and a process for each shard that handles one event after the other.

The load is steady: an event (a production) leads to one run, which is claimed, started, recorded (that is the next
event) and ended. Service times are drawn from exponential distributions with the measured means, arrivals from a
Poisson process; bursts, and the work of users beside it, are not in it. Who hears of what is counted in a graph drawn
at random, of the same shape and of at most 50,000 workflows. Workflows make ten assets each.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from actors.core.shards import MAX_SHARDS, Shard
from tests.benchmarks.common import Options, Result

NAME = "scaling"

SIZES = (1_000_000, 10_000_000, 100_000_000)
DAY_SECONDS: Final = 86_400
SEED: Final = 1
EVENTS: Final = 20_000
WARM_UP: Final = 2_000
SAMPLED_WORKFLOWS: Final = 50_000
CLUSTER: Final = 4
BUSY: Final = 0.7
"""How much of a core may be used: above it waiting grows fast."""
PROCESS_GIB: Final = 64.0
SERVER_GIB: Final = 256.0
"""What a machine is taken to have."""
GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Measured:
    """On two cores, CPython 3.11, Valkey on a Unix socket with its log on disk. See docs/explanation/scaling.md."""

    actor_bytes: float = 3_990
    """`start`: resident_mib for each asset, less the two below."""
    parsed_bytes: float = 5_375
    """`constants`: parsed_bytes, the definition as the store keeps it."""
    node_bytes: float = 1_302
    """`constants`: node_bytes."""
    process_bytes: float = 80 * 2**20
    """`shards --scale 0.1`: resident memory of a service with a small graph."""
    node_cpu_us: float = 85
    """`constants`: node_cpu_us."""
    actor_start_cpu_us: float = 54
    """`start`: start_cpu_seconds for each asset, less node_cpu_us."""
    run_cpu_us: float = 409
    """`shards`: clusters_1_cpu_us_per_event, the event and its run."""
    hear_cpu_us: float = 115
    """`shards`: CPU of two shards less that of one, for each copy beyond the first: what it costs who hears of it."""
    script_us: tuple[tuple[int, float], ...] = ((1, 590), (2, 554), (8, 664), (64, 929))
    """`constants`: submit, start, record and finish together, by the number of shards, with one copy."""
    copy_us: float = 12
    """`constants`: copy_us."""
    server_asset_bytes: float = 722
    """`constants`: server_bytes_per_asset."""
    definition_bytes: float = 306
    """Of an asset's part of its definition, as the graph of `start` has it."""
    event_bytes: float = 235
    """`constants`: server_bytes_per_event."""
    interest_bytes: float = 55
    """`constants`: server_bytes_per_interest."""
    stream_entries: int = 100_000
    """The setting `streams.events_max_length`, for the log and for the stream of each shard."""
    quiet_ms: float = 1.6
    """`latency`: the median at 200 a second, less the work in it: waking up, sockets, batches."""

    def scripts_us(self, shards: int) -> float:
        """Of the server, for one event and its run, between the counts that were measured."""
        counts = [count for count, _ in self.script_us]
        place = bisect_left(counts, shards)
        if counts[place] == shards:
            return self.script_us[place][1]
        (low, low_us), (high, high_us) = self.script_us[place - 1 : place + 1]
        return low_us + (high_us - low_us) * (shards - low) / (high - low)


MEASURED: Final = Measured()


@dataclass(frozen=True, slots=True)
class Heard:
    """Means over the workflows of a graph: how many shards hear of an event of each."""

    clusters: float
    random: float


@cache
def heard(workflows: int, shards: int) -> Heard:
    """Counted in chains of four, and where each workflow follows one of those before it."""
    count = min(workflows, SAMPLED_WORKFLOWS)
    chance = random.Random(SEED)
    chain = [number - 1 if number % CLUSTER else None for number in range(count)]
    tree = [chance.randrange(number) if number else None for number in range(count)]
    return Heard(_hearers(chain, shards), _hearers(tree, shards))


def _hearers(followed: Sequence[int | None], shards: int) -> float:
    if shards == 1:
        return 1.0
    whole = Shard(0, shards)
    masks = [1 << whole.index_of(f"workflow-{number}") for number in range(len(followed))]
    for number in range(len(followed) - 1, -1, -1):
        above = followed[number]
        if above is not None:
            masks[above] |= masks[number]
    return sum(mask.bit_count() for mask in masks) / len(masks)


@dataclass(frozen=True, slots=True)
class Need:
    """What a division takes; `busy` is a share of one core, in a graph of clusters. `graph_gib` is the part of
    `process_gib` that is the same however many shards there are."""

    shards: int
    copies: Heard
    graph_gib: float
    process_gib: float
    process_busy: float
    server_gib: float
    server_busy: float
    start_seconds: float

    @property
    def limits(self) -> dict[str, float]:
        """How near each limit is; 1 is reached."""
        return {
            "memory of a process": self.process_gib / PROCESS_GIB,
            "CPU of a process": self.process_busy / BUSY,
            "memory of the server": self.server_gib / SERVER_GIB,
            "CPU of the server": self.server_busy / BUSY,
        }


def need(assets: int, shards: int, per_second: float, of: Measured = MEASURED) -> Need:
    """What so many assets take in so many shards at so many events per second."""
    copies = heard(max(1, assets // 10), shards)
    kept = assets / shards
    graph = of.process_bytes + assets * (of.node_bytes + of.parsed_bytes)
    cpu_us = of.run_cpu_us + (copies.clusters - 1) * of.hear_cpu_us
    streams = (1 + (shards if shards > 1 else 0)) * of.stream_entries * of.event_bytes
    interests = assets * copies.random * of.interest_bytes if shards > 1 else 0
    return Need(
        shards=shards,
        copies=copies,
        graph_gib=graph / GIB,
        process_gib=(graph + kept * of.actor_bytes) / GIB,
        process_busy=per_second * cpu_us / shards / 1e6,
        server_gib=(assets * (of.server_asset_bytes + of.definition_bytes) + streams + interests) / GIB,
        server_busy=per_second * server_us(shards, copies.clusters, of) / 1e6,
        start_seconds=(assets * of.node_cpu_us + kept * of.actor_start_cpu_us) / 1e6,
    )


def server_us(shards: int, copies: float, of: Measured = MEASURED) -> float:
    """CPU of the server for one event and its run: four scripts, and a copy of the event for each further shard."""
    return of.scripts_us(shards) + (copies - 1) * of.copy_us


def needed(assets: int, per_second: float) -> Need:
    """The smallest division in which no process has too much to do, or to hold; the largest there is if none is."""
    for exponent in range(int(math.log2(MAX_SHARDS)) + 1):
        found = need(assets, 2**exponent, per_second)
        if found.limits["CPU of a process"] <= 1 and found.limits["memory of a process"] <= 1:
            return found
    return found


def latencies_ms(found: Need, per_second: float, of: Measured = MEASURED, *, events: int = EVENTS) -> list[float]:
    """From the recording of each event to the claim of its run, sorted; without the first, which come to empty queues.

    An event is recorded by the server, handled by a shard (one in turn for each copy, of which one leads to the run),
    and its run claimed by the server; that is started, and ended, by the server too.
    """
    chance = random.Random(SEED)
    scripts = server_us(found.shards, found.copies.clusters, of) / 4e3
    handling = (of.run_cpu_us + (found.copies.clusters - 1) * of.hear_cpu_us) / 1e3
    free = {"server": 0.0} | {str(index): 0.0 for index in range(found.shards)}
    queue: list[tuple[float, int, int, float]] = []
    at = 0.0
    for number in range(events + WARM_UP):
        at += chance.expovariate(per_second) * 1e3
        heapq.heappush(queue, (at, number, 0, at))
    taken: list[float] = []
    while queue:
        now, number, stage, began = heapq.heappop(queue)
        name = str(number % found.shards) if stage == 1 else "server"
        mean = handling if stage == 1 else scripts
        done = max(now, free[name]) + chance.expovariate(1 / mean)
        free[name] = done
        if stage == 2 and number >= WARM_UP:
            taken.append(done - began + of.quiet_ms)
        if stage < 4:
            heapq.heappush(queue, (done, number, stage + 1, began))
    return sorted(taken)


def told(assets: int, options: Options) -> Result:
    """One size, as the benchmark tells it."""
    per_second = options.events_per_second or assets / DAY_SECONDS
    found = need(assets, options.shards, per_second) if options.shards else needed(assets, per_second)
    first = max(found.limits, key=lambda name: found.limits[name])
    result: Result = {
        "events_per_second": per_second,
        "shards": found.shards,
        "process_gib": found.process_gib,
        "process_gib_of_the_whole_graph": found.graph_gib,
        "process_cpu_percent": 100 * found.process_busy,
        "server_gib": found.server_gib,
        "server_cpu_percent": 100 * found.server_busy,
        "server_scripts_per_second": 4 * per_second,
        "server_carries_events_per_second": BUSY * 1e6 / server_us(found.shards, found.copies.clusters),
        "start_cpu_seconds": found.start_seconds,
        "copies_per_event_clusters": found.copies.clusters,
        "copies_per_event_random": found.copies.random,
        "first_limit": first,
        "first_limit_used_percent": 100 * found.limits[first],
    }
    if max(found.process_busy, found.server_busy) >= 1:
        return result | {"p50_ms": "without end", "p99_ms": "without end"}
    taken = latencies_ms(found, per_second, events=options.scaled(EVENTS))
    return result | {"p50_ms": taken[len(taken) // 2], "p99_ms": taken[int(0.99 * len(taken))]}


def run(options: Options) -> Result:
    """Each size, or the one that is asked for."""
    sizes = (options.assets,) if options.assets else SIZES
    return {f"{_short(assets)}_{name}": value for assets in sizes for name, value in told(assets, options).items()}


def _short(assets: int) -> str:
    return f"{assets // 1_000_000}M" if assets % 1_000_000 == 0 else str(assets)
