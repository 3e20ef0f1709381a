"""The catalog of a plan against the real one: the same operations in the same order get the same answers and news."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from actors.catalog.definitions import parse_definition
from actors.catalog.events import parse_entry
from actors.catalog.news import news_of
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Basis, Limits, NewMaterialization, NewRun, RunFenced, RunStatus
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.state import Dismissal
from actors.messages import PauseChanged, WorkflowUpdated
from actors.planning.memory import MemoryStore
from actors.runtime import VirtualClock
from tests.integration.catalog.builders import AUTO, MANUAL, T0, on_every_server

pytestmark = on_every_server

ASSETS = ("a", "b")
KEYS = (None, "x")
RUNS = ("r1", "r2", "r3", "r4", "r5", "r6")
SLUGS = ("w1", "w2", "gone")
SCOPES = ("all", "workflow:w1", "asset:a", "asset:b")
MAKE_B = {"id": "s", "jobSlug": "make", "consumes": [{"assetId": "a"}], "produces": [{"assetId": "b"}]}
KNOWN = {
    slug: parse_definition(json.dumps({"slug": slug, "name": slug, "steps": [MAKE_B]}), source=slug)
    for slug in ("w1", "w2")
}

Operation = tuple[str, dict[str, Any]]

asset_ids, keys, run_ids = st.sampled_from(ASSETS), st.sampled_from(KEYS), st.sampled_from(RUNS)
upstreams = st.sampled_from([(), ("a",), ("a", "b")])
partitions = st.tuples(asset_ids, keys)
times = st.integers(-5, 5).map(lambda n: T0 + n * 1_000)
statuses = st.sampled_from([s for s in RunStatus if s.is_over])
small, few = st.none() | st.integers(1, 3), st.integers(0, 1)


LEFT = st.builds(Dismissal, st.integers(0, 3), st.just({"a": 1}), st.just(True))
PASSED_OVER = st.dictionaries(st.just("x"), LEFT, max_size=1)


def operation(name: str, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.tuples(st.just(name), st.fixed_dictionaries(values))


OPERATIONS = st.one_of(
    operation(
        "record",
        asset_id=asset_ids,
        partition_key=keys,
        produced_at_ms=times,
        upstreams=upstreams,
        run_id=st.none() | run_ids | st.just("outside"),
        step_id=st.none() | st.sampled_from(["s", "t"]),
        data_version=st.sampled_from([None, "same", ""]),
        freshness=st.sampled_from([None, FreshnessPolicy(ttl_ms=5)]),
        dedupe_key=st.sampled_from([None, None, "k"]),
    ),
    operation(
        "expire",
        asset_id=asset_ids,
        partition_key=keys,
        version=small,
        expires_at_ms=times,
        reason=st.sampled_from(ExpiryReason),
    ),
    operation("resume", asset_id=asset_ids, partition_key=keys),
    operation("pass_over", asset_id=asset_ids, dismissals=PASSED_OVER),
    operation(
        "submit",
        run_id=run_ids,
        workflow_slug=st.sampled_from(SLUGS),
        partition_key=keys,
        trigger=st.sampled_from([AUTO, MANUAL]),
        queued=st.booleans(),
        pools=st.sampled_from([("p",), ("p", "q"), ()]),
        upstreams=upstreams,
        limits=st.builds(
            Limits,
            max_runs=st.sampled_from([9, 9, 2]),
            max_workflow_runs=st.sampled_from([None, None, 1, 2]),
            max_pool_runs=st.sampled_from([{}, {"p": 1}, {"p": 2, "q": 1}]),
        ),
        basis=st.sampled_from([(), ()]) | st.tuples(st.builds(Basis, asset_ids, keys, st.integers(0, 2), few)),
    ),
    operation("queue", run_id=run_ids, workflow_slug=st.sampled_from(SLUGS), partition_key=keys, created_at_ms=times),
    operation("start", run_id=run_ids, upstreams=upstreams),
    operation("finish", run_id=run_ids, status=statuses, expected=st.lists(partitions, max_size=3)),
    operation("cancel_queued", run_id=run_ids),
)
TOGETHER = operation(
    "run", run_id=run_ids, key=keys, status=statuses, is_started=st.booleans(), made=st.sets(asset_ids, max_size=2)
)
"""A whole run, so that lists of operations reach what only started, canceled or failed runs do."""


@given(
    operations=st.lists(OPERATIONS | TOGETHER, min_size=8, max_size=30),
    pauses=st.just({}) | st.dictionaries(st.sampled_from(SCOPES), st.none() | st.just(T0 + 9), max_size=1),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_both_catalogs_answer_alike(
    client: Redis, prefix: str, operations: list[Operation], pauses: dict[str, int | None]
) -> None:
    own = f"{prefix}:{uuid.uuid4().hex[:8]}"
    real = RedisStore(client, prefix=own)
    for definition in KNOWN.values():
        real.put_workflow(definition, source="command", content_hash="")
    for scope, until_ms in pauses.items():
        real.pause(scope, until_ms, None, T0)
    clock = VirtualClock(T0)
    memory = MemoryStore(clock, workflows=list(KNOWN.values()), pauses=real.pauses(T0))
    try:
        for now_ms, one in enumerate(_flat(operations), start=T0):
            expected, found = _do(real, one, now_ms), _do(memory, one, now_ms)
            assert found == expected, one
        assert memory.read_assets(ASSETS) == real.read_assets(ASSETS)
        assert memory.pauses(T0 + 9) == real.pauses(T0 + 9)
        for asset_id in ASSETS:
            assert memory.history(asset_id) == real.history(asset_id)
            assert memory.history(asset_id, partition_key="x", limit=2) == real.history(
                asset_id, partition_key="x", limit=2
            )
        assert memory.active_runs() == real.active_runs()
        assert memory.queued_runs() == real.queued_runs()
        for run_id in RUNS:
            assert memory.run(run_id) == real.run(run_id)
        assert [replace(news, pos=0) for news in memory.journal.news] == _news(client, own)
        positions = [news.pos for news in memory.journal.news]
        assert positions == sorted(set(positions))
    finally:
        for key in client.scan_iter(f"{own}:*", count=1000):
            client.delete(key)


def test_a_catalog_that_was_read_goes_on_as_the_real_one(store: RedisStore, client: Redis, prefix: str) -> None:
    for definition in KNOWN.values():
        store.put_workflow(definition, source="command", content_hash="")
    before: list[Operation] = [
        ("record", _made("a", "x", run_id=None)),
        ("record", _made("a", "x", run_id=None)),
        ("submit", _run("r1", "w1", "x")),
        ("start", {"run_id": "r1", "upstreams": ("a",)}),
        ("submit", _run("r2", "w2", None)),
        ("queue", {"run_id": "r3", "workflow_slug": "w1", "partition_key": "x", "created_at_ms": T0}),
    ]
    for one in before:
        _do(store, one, T0)
    told = len(_news(client, prefix))
    runs = [run for run_id in RUNS if (run := store.run(run_id)) is not None]
    memory = MemoryStore(
        VirtualClock(T0),
        workflows=store.workflows(),
        assets=store.read_assets(ASSETS),
        runs=runs,
        pos=store.position(),
    )
    after: list[Operation] = [
        ("submit", _run("r4", "w1", "x")),
        ("record", _made("a", "y", run_id=None)),
        ("record", _made("b", "x", run_id="r1", upstreams=("a", "b"))),
        ("finish", {"run_id": "r1", "status": RunStatus.SUCCEEDED, "expected": [("b", "x"), ("b", "y")]}),
        ("submit", _run("r3", "w1", "x", queued=True)),
        ("finish", {"run_id": "r2", "status": RunStatus.CANCELED, "expected": [("b", None)]}),
    ]
    for one in after:
        assert _do(memory, one, T0 + 1) == _do(store, one, T0 + 1), one
    assert memory.read_assets(ASSETS) == store.read_assets(ASSETS)
    assert [replace(news, pos=0) for news in memory.journal.news] == _news(client, prefix)[told:]


def _flat(operations: list[Operation]) -> list[Operation]:
    flat: list[Operation] = []
    for name, values in operations:
        if name != "run":
            flat.append((name, values))
            continue
        run_id, key = values["run_id"], values["key"]
        flat.append(("submit", _run(run_id, "w1", key)))
        if values["is_started"]:
            flat.append(("start", {"run_id": run_id, "upstreams": ("a",)}))
            flat += [("record", _made(a, key, run_id=run_id, upstreams=("a", "b"))) for a in sorted(values["made"])]
        flat.append(
            ("finish", {"run_id": run_id, "status": values["status"], "expected": [("a", key), ("b", key)]}),
        )
        flat.append(("record", _made("b", key, run_id=None, upstreams=("a",))))
    return flat


def _run(run_id: str, slug: str, key: str | None, *, queued: bool = False) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "workflow_slug": slug,
        "partition_key": key,
        "trigger": AUTO,
        "queued": queued,
        "pools": (),
        "upstreams": ("a",),
        "limits": Limits(10),
        "basis": (),
    }


def _made(asset_id: str, key: str | None, *, run_id: str | None, upstreams: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "asset_id": asset_id,
        "partition_key": key,
        "produced_at_ms": T0,
        "upstreams": upstreams,
        "run_id": run_id,
        "step_id": "s",
    }


def _do(store: RedisStore | MemoryStore, one: Operation, now_ms: int) -> object:
    name, values = one
    match name:
        case "record":
            try:
                return store.record(NewMaterialization(**values))
            except RunFenced:
                return "fenced"
        case "expire":
            return store.expire(**values, now_ms=now_ms)
        case "pass_over":
            return store.pass_over(**values)
        case "resume":
            return store.resume(**values)
        case "submit":
            return store.submit([NewRun(parameters={}, created_at_ms=now_ms, **values)])
        case "queue":
            store.queue_run(NewRun(parameters={}, trigger=MANUAL, limits=Limits(1), **values))
            return None
        case "start":
            try:
                return dict(store.start_run(**values, now_ms=now_ms))
            except RunFenced:
                return "fenced"
        case "finish":
            error = None if values["status"] is RunStatus.SUCCEEDED else "why"
            return store.finish_run(**values, now_ms=now_ms, error=error)
        case "cancel_queued":
            return store.cancel_queued(**values, now_ms=now_ms)
        case unknown:
            raise AssertionError(unknown)


def _news(client: Redis, prefix: str) -> list[object]:
    """What actors would be told, in order, without positions; nothing of what a plan never changes."""
    entries: Any = client.xrange(f"{prefix}:events")
    found = [news_of(parse_entry({k.encode(): v.encode() for k, v in fields.items()}), 0) for _, fields in entries]
    return [news for news in found if not isinstance(news, WorkflowUpdated | PauseChanged)]
