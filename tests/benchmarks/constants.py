"""What the model `scaling` is made of: a script's CPU on the server with 1 to 64 shards, and bytes of what is kept.

CPU of the server is what it used while a client called a script again and again over a Unix socket, reading and
answering included, divided by the calls; with its log on disk (`everysec`). With several shards each event is copied
to one of them, as where shards are well divided; what each further copy costs is measured by copying to all.

Graph nodes are those of assets that other shards keep: definitions were read, kept as the store keeps them, and put
into the graph, and there is no actor. That is measured in a process of its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from redis import Redis

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.redis_shards import RedisShards
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Limits, NewMaterialization, NewRun, RunStatus
from actors.core.graph import Graph
from actors.core.shards import Shard
from actors.setting_groups import HistorySettings, StreamSettings
from tests.benchmarks.common import Options, Result, resident_bytes
from tests.benchmarks.graphs import GraphShape
from tests.benchmarks.memory import apart
from tests.benchmarks.shards import server, server_cpu_seconds

NAME = "constants"

COUNTS = (1, 2, 8, 64)
CALLS = 2_000
ASSETS = 10_000
NODES = 100_000
LEARNING = 1_000
KEPT = 1_000_000


def scripts(client: Redis, count: int, calls: int, *, hearers: int = 1) -> Result:
    """CPU of the server for each script, in microseconds, with this many shards of which so many hear of everything."""
    prefix = f"{count}-{hearers}"
    streams, history = StreamSettings(events_max_length=KEPT), HistorySettings(materializations=1, runs=KEPT)
    store = RedisStore(client, prefix=prefix, streams=streams, history=history)
    client.hset(f"{prefix}:layout", "count", count)
    names = [f"asset:a{n}" for n in range(calls)] + [f"workflow:w{n}" for n in range(calls)]
    for index in range(hearers if count > 1 else 0):
        RedisShards(client, prefix=prefix).hear_of(Shard(index, count), names, anew=True)
    now_ms = time.time_ns() // 1_000_000

    def submit(number: int) -> None:
        run = NewRun(
            run_id=f"run-{number}",
            workflow_slug=f"w{number}",
            partition_key=None,
            parameters={"partitionKey": "2026-11-23"},
            trigger={"type": "auto-materialize", "reason": "upstream-updated"},
            created_at_ms=now_ms,
            limits=Limits(max_runs=KEPT),
            upstreams=(f"s{number}",),
        )
        store.submit([run])

    def record(number: int) -> None:
        store.record(
            NewMaterialization(
                f"a{number}", "2026-11-23", now_ms, run_id=f"run-{number}", step_id="make", payload={"rows": 42}
            )
        )

    works: dict[str, Callable[[int], object]] = {
        "submit": submit,
        "start": lambda number: store.start_run(f"run-{number}", upstreams=(f"s{number}",), now_ms=now_ms),
        "record": record,
        "finish": lambda number: store.finish_run(f"run-{number}", RunStatus.SUCCEEDED, now_ms=now_ms),
    }
    return {f"{name}_us": _server_us(client, work, calls) for name, work in works.items()}


def _server_us(client: Redis, work: Callable[[int], object], calls: int) -> float:
    before = server_cpu_seconds(client)
    for number in range(calls):
        work(number)
    return 1e6 * (server_cpu_seconds(client) - before) / calls


def kept(client: Redis, assets: int) -> Result:
    """Bytes on the server: of an asset that was made once, of an entry of a stream, of a name that is heard of."""
    store = RedisStore(client, prefix="kept", streams=StreamSettings(events_max_length=KEPT))
    for number in range(assets):
        store.record(
            NewMaterialization(f"warehouse.asset.{number}", None, 1_764_000_000_000, payload={"rows": 42}, run_id="r")
        )
    names = [f"asset:warehouse.asset.{number}" for number in range(assets)]
    RedisShards(client, prefix="kept").hear_of(Shard(), names, anew=True)
    events, interests = (_bytes(client, name) for name in ("kept:events", "kept:shard:0:interests"))
    in_all = sum(_bytes(client, name) for name in client.scan_iter("kept:*", count=1_000))
    return {
        "server_bytes_per_asset": (in_all - events - interests) / assets,
        "server_bytes_per_event": events / assets,
        "server_bytes_per_interest": interests / assets,
    }


def _bytes(client: Redis, name: str) -> int:
    told: Any = client.memory_usage(name, samples=0)
    return int(told)


def nodes(assets: int) -> Result:
    """Of an asset without an actor, ten to a workflow: its definition as the store keeps it, its node in the graph, and
    the CPU time to read both."""
    _put(Graph(), _parsed(GraphShape(LEARNING // 10, 10)))
    graph, shape = Graph(), GraphShape(max(1, assets // 10), 10)
    before, cpu = resident_bytes(), time.process_time()
    parsed = _parsed(shape)
    after_parsing = resident_bytes()
    _put(graph, parsed)
    cpu = time.process_time() - cpu
    return {
        "parsed_bytes": (after_parsing - before) / shape.assets,
        "node_bytes": (resident_bytes() - after_parsing) / shape.assets,
        "node_cpu_us": 1e6 * cpu / shape.assets,
    }


def _parsed(shape: GraphShape) -> list[tuple[str, WorkflowDefinition]]:
    texts = (json.dumps(each, separators=(",", ":")) for each in shape.definitions())
    return [(text, parse_definition(text, source="benchmark")) for text in texts]


def _put(graph: Graph, parsed: list[tuple[str, WorkflowDefinition]]) -> None:
    for _, definition in parsed:
        graph.put(definition.to_spec())


def run(options: Options) -> Result:
    """Everything, with the load of the machine before it."""
    calls = options.scaled(CALLS)
    result: Result = {"load_before": os.getloadavg()[0]}
    with server() as url:
        client = Redis.from_url(url, decode_responses=True)
        for count in COUNTS:
            result |= {f"{name}_{count}_shards": value for name, value in scripts(client, count, calls).items()}
            client.flushall()
        few, many = scripts(client, 8, calls, hearers=1), scripts(client, 8, calls, hearers=8)
        result["copy_us"] = max(0.0, (float(many["record_us"]) - float(few["record_us"])) / 7)
        result |= kept(client, options.scaled(ASSETS))
        client.close()
    return result | apart(nodes, options.scaled(NODES))
