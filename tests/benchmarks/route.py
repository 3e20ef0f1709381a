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
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from redis import Redis

from tests.benchmarks.common import Options, Result, stopwatch
from tests.benchmarks.graphs import GraphShape, append_events, fill_catalog
from tests.benchmarks.wired import Wired, wait_until, wired

NAME = "route"

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Round:
    """What one round took, in all and of this process's CPU."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        return 1e6 * self.cpu_seconds / self.events


def service_round(running: Wired, first: int, events: int, sources: int) -> Round:
    before = running.active()
    with stopwatch() as watch:
        cpu = time.process_time()
        append_events(running.client, running.keys.events, first, events, sources)
        wait_until(lambda: running.active() >= before + events)
    return Round(events, watch.seconds, time.process_time() - cpu)


def bare_round(client: Redis, events: int, sources: int, batch: int, *, is_pipelined: bool) -> Round:
    stream, answers, group = "bare:events", "bare:answers", "bare"
    client.delete(stream, answers)
    client.xgroup_create(stream, group, id="0", mkstream=True)
    left = events
    with stopwatch() as watch:
        cpu = time.process_time()
        append_events(client, stream, 0, events, sources)
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
    return Round(events, watch.seconds, time.process_time() - cpu)


def run_of(event: dict[str, Any]) -> dict[Any, Any]:
    """An entry as large as the one that announces a run."""
    data = {"type": "workflow.run.enqueued", "runId": f"run-{event['partitionKey']}", "trigger": event}
    return {"type": "workflow.run.enqueued", "data": json.dumps(data)}


def run(options: Options) -> Result:
    """Medians of rounds in which service, bare loop and pipelined bare loop take turns."""
    shape = GraphShape(options.scaled(1_000))
    events = options.scaled(5_000)
    service: list[Round] = []
    bare: list[Round] = []
    pipelined: list[Round] = []
    with wired(log={"level": "warning"}) as running:
        fill_catalog(running.client, running.settings.redis.prefix, shape)
        running.start()
        batch = running.settings.streams.batch
        for number in range(ROUNDS):
            service.append(service_round(running, number * events, events, shape.workflows))
            bare.append(bare_round(running.client, events, shape.workflows, batch, is_pipelined=False))
            pipelined.append(bare_round(running.client, events, shape.workflows, batch, is_pipelined=True))
    rate, bare_rate, pipelined_rate = (median(r.per_second for r in rounds) for rounds in (service, bare, pipelined))
    return {
        "events_per_round": events,
        "service_per_second": rate,
        "service_cpu_us_per_event": median(r.cpu_us for r in service),
        "bare_per_second": bare_rate,
        "bare_cpu_us_per_event": median(r.cpu_us for r in bare),
        "bare_pipelined_per_second": pipelined_rate,
        "ratio": median(s.per_second / b.per_second for s, b in zip(service, bare, strict=True)),
        "ratio_pipelined": rate / pipelined_rate,
    }
