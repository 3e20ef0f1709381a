"""Looks at the catalog that are bounded: how far the stream was read, and how far runs are."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from actors.catalog.access import Catalog
from actors.catalog.control import ControlClient
from actors.catalog.glance import MOST_BEHIND, CatalogGlance
from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Limits, NewRun, RunStatus, StepRecord, StepStatus
from actors.setting_groups import ShardSettings, StreamSettings
from tests.unit.interfaces.definitions import definition

pytestmark = pytest.mark.integration


@pytest.fixture
def glance(client: Redis, prefix: str, store: RedisStore) -> CatalogGlance:
    catalog = Catalog(store, ControlClient(client, prefix=prefix), client)
    return CatalogGlance(catalog, prefix=prefix, streams=StreamSettings(), shard=ShardSettings())


def test_the_stream_says_how_far_it_was_read(client: Redis, prefix: str, glance: CatalogGlance) -> None:
    stream = Keys(prefix).events
    assert (glance.stream().appended, glance.stream().behind) == (0, None)
    seconds, _ = client.time()
    ids: list[Any] = [client.xadd(stream, {"type": "x"}, id=f"{(seconds - 60) * 1_000 + n}-0") for n in range(5)]
    assert (glance.stream().appended, glance.stream().behind) == (5, None)
    client.xgroup_create(stream, StreamSettings().group, id=ids[1])
    seen = glance.stream()
    assert (seen.appended, seen.behind) == (5, 3)
    assert seen.lag_ms is not None
    assert 55_000 < seen.lag_ms < 90_000
    client.xgroup_setid(stream, StreamSettings().group, ids[-1])
    assert (glance.stream().behind, glance.stream().lag_ms) == (0, 0)
    with client.pipeline() as pipe:
        for _ in range(MOST_BEHIND + 10):
            pipe.xadd(stream, {"type": "x"})
        pipe.execute()
    assert (glance.stream().appended, glance.stream().behind) == (5 + MOST_BEHIND + 10, MOST_BEHIND)


def test_of_a_run_the_steps_that_go_on_are_read_and_those_that_are_over_counted(
    client: Redis, prefix: str, store: RedisStore, glance: CatalogGlance
) -> None:
    store.put_workflow(definition("w", "a"), source="command", content_hash="h")
    store.submit([NewRun("run-1", "w", None, {}, {"type": "manual"}, 1_000, Limits(10), pools=("gpu",))])
    assert glance.used(["w", "other"], ["gpu"]) == ({"w": 1, "other": 0}, {"gpu": 1})
    (waits,) = glance.progress([("run-1", "w"), ("run-none", "gone")]).values()
    assert (waits.created_at_ms, waits.started_at_ms, waits.over, waits.going_on) == (1_000, None, 0, ())
    store.start_run("run-1", upstreams=(), now_ms=2_000, token="t")
    store.put_step(
        "run-1", StepRecord("one", StepStatus.SUCCEEDED, 1, 2_000, 2_001, result={"big": "x" * 9}), token="t"
    )
    going_on = StepRecord("two", StepStatus.RUNNING, 2, 2_002)
    store.put_step("run-1", going_on, token="t")
    seen = glance.progress([("run-1", "w")])["run-1"]
    assert (seen.started_at_ms, seen.over, seen.going_on, seen.steps) == (2_000, 1, (going_on,), 1)
    # What is over is not read again: nobody would notice that it is gone.
    client.hset(Keys(prefix).steps("run-1"), "step:one", "no JSON")
    assert glance.progress([("run-1", "w")])["run-1"].over == 1
    store.put_step("run-1", StepRecord("two", StepStatus.FAILED, 2, 2_002, 2_003), token="t")
    store.finish_run("run-1", RunStatus.FAILED, now_ms=2_004, token="t")
    done = glance.progress([("run-1", "w")])["run-1"]
    assert (done.over, done.going_on) == (2, ())
