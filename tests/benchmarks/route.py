"""Events per second from the stream to a submitted run, against a bare loop over the same server.

The service is the real one with its default settings, an embedded server with its log on disk, all logging done (to
nowhere); only the launcher takes runs without executing them. Every event concerns a partition of its own, so each
leads to one run: claimed, created, audited and announced by one script, and that announcement is read again.

The bare loop is what anybody would write with redis-py: read a batch from a group, parse each event's JSON, append one
entry for it, acknowledge the batch. `bare_pipelined` appends the entries of a batch in one round trip. Service and
loop take turns in one run, and the ratio is that of medians.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from redis import Redis

from tests.benchmarks.common import Options, Result, stopwatch
from tests.benchmarks.graphs import GraphShape, append_events, fill_catalog
from tests.benchmarks.wired import Wired, wait_until, wired

NAME = "route"

ROUNDS = 5


def service_rate(running: Wired, first: int, events: int, sources: int) -> float:
    before = running.active()
    with stopwatch() as watch:
        append_events(running.client, running.keys.events, first, events, sources)
        wait_until(lambda: running.active() >= before + events)
    return events / watch.seconds


def bare_rate(client: Redis, events: int, sources: int, batch: int, *, is_pipelined: bool) -> float:
    stream, answers, group = "bare:events", "bare:answers", "bare"
    client.delete(stream, answers)
    client.xgroup_create(stream, group, id="0", mkstream=True)
    append_events(client, stream, 0, events, sources)
    left = events
    with stopwatch() as watch:
        while left:
            answer: Any = client.xreadgroup(group, "one", {stream: ">"}, count=batch)
            entries = answer[0][1]
            if is_pipelined:
                with client.pipeline(transaction=False) as pipe:
                    for _, fields in entries:
                        pipe.xadd(answers, run_of(json.loads(fields["data"])))
                    pipe.execute()
            else:
                for _, fields in entries:
                    client.xadd(answers, run_of(json.loads(fields["data"])))
            client.xack(stream, group, *(entry_id for entry_id, _ in entries))
            left -= len(entries)
    return events / watch.seconds


def run_of(event: dict[str, Any]) -> dict[str | bytes, str | bytes]:
    """An entry as large as the one that announces a run."""
    data = {"type": "workflow.run.enqueued", "runId": f"run-{event['partitionKey']}", "trigger": event}
    return {"type": "workflow.run.enqueued", "data": json.dumps(data)}


def run(options: Options) -> Result:
    """Medians of rounds in which service, bare loop and pipelined bare loop take turns."""
    shape = GraphShape(options.scaled(1_000))
    events = options.scaled(5_000)
    rates: list[float] = []
    bare: list[float] = []
    pipelined: list[float] = []
    with wired() as running:
        fill_catalog(running.client, running.settings.redis.prefix, shape)
        running.start()
        batch = running.settings.streams.batch
        for number in range(ROUNDS):
            rates.append(service_rate(running, number * events, events, shape.workflows))
            bare.append(bare_rate(running.client, events, shape.workflows, batch, is_pipelined=False))
            pipelined.append(bare_rate(running.client, events, shape.workflows, batch, is_pipelined=True))
    return {
        "events_per_round": events,
        "service_per_second": median(rates),
        "service_lowest_per_second": min(rates),
        "bare_per_second": median(bare),
        "bare_pipelined_per_second": median(pipelined),
        "ratio": median(rates) / median(bare),
        "ratio_pipelined": median(rates) / median(pipelined),
    }
