"""A catalog as a long life leaves it: random operations of the real store, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from redis import Redis

from actors.catalog.catalog_scan import CatalogScan
from actors.catalog.definitions import parse_definition
from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Limits, RunFenced, RunStatus, StepRecord, StepStatus, Submitted
from actors.core.freshness import ExpiryReason
from tests.integration.catalog.builders import AUTO, MANUAL, T0, made, wanted

__all__ = ["Life", "everything", "operations"]

ASSETS = ("plain", "by.day", "other")
KEYS = (None, "2026-11-23", "2026-11-24", "ü 2")
WORKFLOWS = ("orders", "more-orders")
ENDS = tuple(status for status in RunStatus if status.is_over)
DEFINITION = """{"slug": "orders", "name": "%s", "steps": [{"id": "s", "jobSlug": "j"}]}"""

operations = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("submit", "submit", "start", "start", "record", "record", "record", "step", "finish", "finish"),
                *("queue", "claim", "cancel", "expire", "resume", "pause", "unpause", "parameters", "workflow"),
            ]
        ),
        st.integers(0, 11),
    ),
    max_size=60,
)
"""What to do, and a number that says with what."""


@dataclass
class Life:
    """Carries operations out, at times that only go on; what is refused is a part of life."""

    store: RedisStore
    runs: list[str] = field(default_factory=list)
    now_ms: int = T0

    def live(self, todo: list[tuple[str, int]]) -> None:
        for operation, number in todo:
            self.now_ms += 1_000
            self._do(operation, number)

    def _do(self, operation: str, number: int) -> None:
        store, now_ms = self.store, self.now_ms
        run_id = self.runs[number % len(self.runs)] if self.runs else "none"
        asset_id, key = ASSETS[number % 3], KEYS[number % 4]
        match operation:
            case "submit" | "queue":
                run = wanted(
                    f"run-{len(self.runs)}",
                    WORKFLOWS[number % 2],
                    key,
                    limits=Limits(max_runs=5, max_workflow_runs=3, max_pool_runs={"gpu": 2}),
                    pools=("gpu", 'a"b')[: number % 3],
                    upstreams=(asset_id,),
                    trigger=AUTO if operation == "submit" else MANUAL,
                    parameters={"n": number, "text": "ü\\ \x00\n"},
                    at_ms=now_ms,
                )
                self.runs.append(run.run_id)
                if operation == "queue":
                    store.queue_run(run)
                else:
                    store.submit([run])
            case "claim":
                for queued in store.queued_runs()[:1]:
                    run = wanted(queued.run_id, queued.workflow_slug, queued.partition_key, queued=True, at_ms=now_ms)
                    if isinstance(store.submit([run])[0], Submitted):
                        self._start(queued.run_id)
            case "start":
                self._start(run_id)
            case "record":
                given = made(
                    asset_id,
                    key,
                    produced_at_ms=now_ms,
                    data_version=str(number % 2),
                    upstreams=("plain",),
                    payload={"rows": number, "nothing": None, "list": []},
                    run_id=run_id if number % 2 else None,
                    step_id="s" if number % 2 else None,
                    dedupe_key=f"key-{number}" if number % 4 == 2 else None,
                )
                try:
                    store.record(given)
                except RunFenced:
                    return
            case "step":
                store.put_step(run_id, StepRecord(f"s{number % 3}", StepStatus.RUNNING, 1, now_ms, stdout_tail="out\n"))
            case "finish":
                store.finish_run(
                    run_id, ENDS[number % 4], now_ms=now_ms, expected=[(asset_id, key)], error="it broke" * (number % 2)
                )
            case "cancel":
                store.cancel_queued(run_id, now_ms=now_ms)
            case "expire":
                reason = ExpiryReason.MANUAL
                store.expire(asset_id, key, version=None, expires_at_ms=now_ms, reason=reason, now_ms=now_ms)
            case "resume":
                store.resume(asset_id, key)
            case "pause":
                store.pause(f"asset:{ASSETS[number % 2]}", now_ms + 5_000 if number % 2 else None, "why not", now_ms)
            case "unpause":
                store.unpause(f"asset:{ASSETS[number % 2]}", now_ms)
            case "parameters":
                store.put_partition_parameters("orders", key or "all", {"n": number, "deep": {"list": [1, 2.5, None]}})
                self._put_workflow(number)
            case "workflow":
                self._put_workflow(number)
            case _:
                raise AssertionError(operation)

    def _start(self, run_id: str) -> None:
        try:
            self.store.start_run(run_id, upstreams=["plain"], now_ms=self.now_ms)
        except RunFenced:
            return

    def _put_workflow(self, number: int) -> None:
        definition = parse_definition(DEFINITION % number, source="test")
        self.store.put_workflow(definition, source="command", content_hash=definition.content_hash)


def everything(client: Redis, keys: Keys) -> dict[str, Any]:
    """What is kept, by name, as it is read; without what only lives for a while."""
    scan = CatalogScan(client, keys)
    readers: dict[str, Callable[[str], Any]] = {
        "hash": lambda key: dict(scan.fields(key)),
        "zset": lambda key: dict(scan.scores(key)),
        "set": lambda key: sorted(scan.members(key)),
        "list": lambda key: list(scan.texts(key)),
        "string": lambda key: scan.ask("GET", key),
        "stream": lambda key: list(scan.entries(key)),
    }
    return {name: readers[scan.ask("TYPE", f"{keys.prefix}:{name}")](f"{keys.prefix}:{name}") for name in scan.names()}
