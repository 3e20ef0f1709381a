"""Asset graphs for the benchmarks: their definitions, what the catalog keeps of them, and events about them.

Every workflow `w<i>` makes `assets_each` assets `a<i>.<j>` that opted in. The first of them reads `s<i>`, which nobody
here makes, so a production of `s<i>` leads to one run of `w<i>`, whatever the size of the graph. All are partitioned
by keys that are not known in advance, so that each event can concern a partition of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis

from actors.catalog.keys import Keys

DAY_MS = 86_400_000
BATCH = 1_000

# An event a line, all appended at once by the server, so that appending takes no time from those who read.
_APPEND = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local source, key = 's' .. (number % tonumber(ARGV[3])), 'k' .. number
  redis.call('XADD', KEYS[1], '*', 'type', 'asset.produced', 'data', string.gsub(string.gsub(ARGV[4],
    '@source@', source), '@key@', key), 'version', tostring(number + 1), 'changedVersion', tostring(number + 1),
    'inputs', '{}')
end
"""


@dataclass(frozen=True, slots=True)
class GraphShape:
    """How many workflows, and how many assets each of them makes."""

    workflows: int
    assets_each: int = 1

    @property
    def assets(self) -> int:
        return self.workflows * self.assets_each

    def definitions(self) -> Iterator[dict[str, Any]]:
        for number in range(self.workflows):
            yield {
                "slug": f"w{number}",
                "name": f"Workflow {number}",
                "version": 1,
                "description": "Reads one source and makes assets from it.",
                "defaultParameters": {"region": "north"},
                "steps": [_step(number, place) for place in range(self.assets_each)],
                "triggers": [{"type": "manual"}],
            }


def _step(number: int, place: int) -> dict[str, Any]:
    source = {"assetId": f"s{number}", "partitioning": {"type": "dynamic"}}
    made = {
        "assetId": f"a{number}.{place}",
        "partitioning": {"type": "dynamic"},
        "freshness": {"ttlMs": DAY_MS},
        "autoMaterialize": {"onUpstreamUpdate": True, "priority": 10},
    }
    return {
        "id": f"step{place}",
        "name": f"Step {place}",
        "type": "job",
        "jobSlug": "make",
        "parameters": {"key": "{{ parameters.partitionKey }}"},
        "consumes": [source] if place == 0 else [],
        "produces": [made],
    }


def fill_catalog(client: Redis, prefix: str, shape: GraphShape, *, made_at_ms: int | None = None) -> None:
    """Write a graph as the catalog keeps it; with `made_at_ms` every asset has one partition that was made then."""
    keys = Keys(prefix)
    with client.pipeline(transaction=False) as pipe:
        for count, definition in enumerate(shape.definitions(), 1):
            slug = definition["slug"]
            pipe.hset(keys.workflows, slug, json.dumps(definition, sort_keys=True, separators=(",", ":")))
            pipe.hset(keys.workflow_sources, slug, json.dumps({"source": "command", "hash": f"hash of {slug}"}))
            if made_at_ms is not None:
                for step in definition["steps"]:
                    asset_id = step["produces"][0]["assetId"]
                    pipe.hset(keys.counters, asset_id, 1)
                    pipe.hset(keys.asset(asset_id), "made:2026-11-23", _made(made_at_ms))
            if count % BATCH == 0:
                pipe.execute()
        pipe.execute()


def _made(at_ms: int) -> str:
    return json.dumps(
        {"version": 1, "changedVersion": 1, "producedAtMs": at_ms, "inputs": {}, "given": {"runId": "run-0"}}
    )


def event_data(source: str, key: str) -> str:
    """What an `asset.produced` of the catalog's own script carries."""
    return json.dumps(
        {
            "schemaVersion": 1,
            "type": "asset.produced",
            "assetId": source,
            "partitionKey": key,
            "workflowSlug": "ingest",
            "runId": f"run-of-{key}",
            "stepId": "load",
            "producedAt": "2026-01-05T10:00:00.000Z",
            "freshnessSource": "declared",
            "payload": {"rows": 42, "file": "part-0001.parquet"},
        }
    )


def append_events(client: Redis, stream: str, first: int, count: int, sources: int) -> None:
    """Append `count` productions, over the sources in turn, each of a partition that had none."""
    client.eval(_APPEND, 1, stream, first, first + count - 1, sources, event_data("@source@", "@key@"))
