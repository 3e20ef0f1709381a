"""The doctor: each kind of damage is found and mended, what is right is left alone, what happens meanwhile is none."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from redis import Redis

from actors.catalog.catalog_scan import CatalogScan
from actors.catalog.definitions import parse_definition
from actors.catalog.doctor import Doctor, Finding
from actors.catalog.keys import UNIT, Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import RunStatus, Submitted
from actors.setting_groups import StreamSettings
from tests.integration.catalog.builders import T0, end, event_types, events, made, on_every_server, start, wanted
from tests.integration.catalog.random_operations import Life, everything, operations

pytestmark = on_every_server

STREAMS = StreamSettings()
BY_DAY = {
    "slug": "days",
    "name": "days",
    "steps": [
        {
            "id": "s",
            "jobSlug": "j",
            "produces": [{"assetId": "daily", "partitioning": {"type": "timeWindow", "granularity": "day"}}],
        }
    ],
}


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix)


@pytest.fixture
def doctor(client: Redis, prefix: str) -> Doctor:
    return Doctor(client, prefix=prefix, streams=STREAMS)


@contextlib.contextmanager
def own_prefix(client: Redis) -> Iterator[str]:
    """For one example of a property."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield prefix
    for key in client.scan_iter(f"{prefix}:*", count=1000):
        client.delete(key)


def populate(store: RedisStore) -> None:
    """Some of everything, all of it right."""
    definition = parse_definition(json.dumps(BY_DAY), source="test")
    store.put_workflow(definition, source="command", content_hash="x")
    store.put_partition_parameters("days", "2026-11-23", {"full": True})
    store.record(made("up"))
    store.record(made("daily", "2026-11-23", upstreams=("up",)))
    start(store, "going", pools=("gpu",), upstreams=("up",))
    (outcome,) = store.submit([wanted("waiting", "other", "k", pools=("gpu",))])
    assert isinstance(outcome, Submitted)
    start(store, "over", workflow="days", partition_key="2026-11-24")
    store.record(made("daily", "2026-11-24", run_id="over", step_id="s"))
    end(store, "over", RunStatus.FAILED)
    store.queue_run(wanted("asked", "other"))


def found_by(doctor: Doctor, *, fix: bool = False) -> list[tuple[str, str]]:
    return [(finding.kind, finding.item) for finding in doctor.examine(fix=fix)]


Damage = Callable[[Redis, Keys], object]


def hset(name: str, field: str, text: str) -> Damage:
    return lambda client, keys: client.hset(f"{keys.prefix}:{name}", field, text)


def zadd(name: str, run_id: str) -> Damage:
    return lambda client, keys: client.zadd(f"{keys.prefix}:{name}", {run_id: T0})


def sadd(name: str, run_id: str) -> Damage:
    return lambda client, keys: client.sadd(f"{keys.prefix}:{name}", run_id)


def srem(name: str, run_id: str) -> Damage:
    return lambda client, keys: client.srem(f"{keys.prefix}:{name}", run_id)


def zrem(name: str, run_id: str) -> Damage:
    return lambda client, keys: client.zrem(f"{keys.prefix}:{name}", run_id)


DAMAGES: list[tuple[str, Damage, list[tuple[str, str]]]] = [
    ("a claim of nobody", hset("claims", f"w{UNIT}p", "none"), [("claim-without-run", "w@p")]),
    ("a claim of a run that is over", hset("claims", f"days{UNIT}", "over"), [("claim-without-run", "days")]),
    ("a claim of a run that is elsewhere", hset("claims", f"w{UNIT}", "going"), [("claim-without-run", "w")]),
    (
        "an active run without its claim",
        lambda client, keys: client.hdel(keys.claims, f"orders{UNIT}"),
        [("run-without-claim", "going")],
    ),
    ("a slot of nobody", sadd("active", "none"), [("slot-without-run", "none")]),
    ("a slot of a run that is over", sadd("active:workflow:days", "over"), [("slot-without-run", "over")]),
    ("a slot in another workflow", sadd("active:workflow:days", "going"), [("slot-without-run", "going")]),
    ("a slot in another pool", sadd("active:pool:cpu", "going"), [("slot-without-run", "going")]),
    ("an active run without a slot", srem("active", "going"), [("run-without-slot", "going")]),
    ("an active run without a slot of its pool", srem("active:pool:gpu", "going"), [("run-without-slot", "going")]),
    ("a queued entry of nobody", zadd("queued", "none"), [("entry-without-run", "none")]),
    ("a queued entry of a run that goes", zadd("queued", "going"), [("entry-without-run", "going")]),
    ("a queued run that is not in the queue", zrem("queued", "asked"), [("run-without-entry", "asked")]),
    ("an enqueued run whose start nobody waits for", zrem("unstarted", "waiting"), [("run-without-entry", "waiting")]),
    ("a lease of a run that is over", zadd("leases", "over"), [("entry-without-run", "over")]),
    ("a start that is waited for in vain", zadd("unstarted", "going"), [("entry-without-run", "going")]),
    ("an entry of a run that is gone", zadd("runs", "none"), [("entry-without-run", "none")]),
    ("an end of a run that is gone", zadd("ended", "none"), [("entry-without-run", "none")]),
    ("an end of a run that goes on", zadd("ended", "going"), [("entry-without-run", "going")]),
    ("a run that is not listed", zrem("runs", "going"), [("run-without-entry", "going")]),
    ("an end that is not listed", zrem("ended", "over"), [("run-without-entry", "over")]),
    ("steps of nobody", hset("steps:none", "step:s", "{}"), [("records-without-run", "none")]),
    ("productions of nobody", hset("produced:none", "x", "1:1"), [("records-without-run", "none")]),
    ("a run of another status", hset("run:over", "status", "bored"), [("run-unreadable", "over")]),
    ("a run whose trigger is no JSON", hset("run:going", "trigger", "{"), [("run-unreadable", "going")]),
    (
        "a run without a partition",
        lambda client, keys: client.hdel(keys.run("waiting"), "partition"),
        [("run-unreadable", "waiting"), ("claim-without-run", "other@k")],
    ),
    ("a field that is no JSON", hset("asset:up", "made:k", "{"), [("field-unreadable", "made:k")]),
    ("a field of no kind", hset("asset:up", "mad:", "{}"), [("field-unreadable", "mad:")]),
    ("a failure without a count", hset("asset:up", "failed:", "{}"), [("field-unreadable", "failed:")]),
    (
        "a dismissal that counts in words",
        hset("asset:up", "dismissed:", '{"version":"one","inputs":{}}'),
        [("field-unreadable", "dismissed:")],
    ),
    (
        "an expiry for no reason",
        hset("asset:up", "expired:", '{"version":1,"reason":"whim"}'),
        [("field-unreadable", "expired:")],
    ),
    (
        "a field that was never text",
        lambda client, keys: client.hset(keys.asset("up"), b"made:\xff", b"\xfe"),
        [("field-unreadable", "made:\udcff")],
    ),
    (
        "a history that is no JSON",
        lambda client, keys: client.rpush(keys.history("up"), "{"),
        [("history-unreadable", "entry 1")],
    ),
    (
        "a partition of another form",
        hset("asset:daily", "failed:2026-11", '{"failures":1,"lastFailureAtMs":1,"lastFailedRunId":"r"}'),
        [("partition-unreachable", "daily@2026-11")],
    ),
    ("a counter that lags behind", hset("counters", "daily", "1"), [("counter-behind", "daily")]),
    ("a counter that is gone", lambda client, keys: client.hdel(keys.counters, "up"), [("counter-behind", "up")]),
    ("a counter that is no number", hset("counters", "up", "many"), [("counter-behind", "up")]),
    (
        "parameters of no workflow",
        hset("parameters:gone", "2026-11-23", "{}"),
        [("parameters-without-workflow", "gone")],
    ),
]


@pytest.mark.parametrize(("damage", "expected"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_damage_is_found_then_mended_and_nothing_else_is_touched(
    client: Redis, keys: Keys, store: RedisStore, doctor: Doctor, damage: Damage, expected: list[tuple[str, str]]
) -> None:
    populate(store)
    assert found_by(doctor) == []
    before = everything(client, keys)
    damage(client, keys)
    damaged = everything(client, keys)
    found = found_by(doctor)
    assert everything(client, keys) == damaged, "telling mends nothing"
    if expected[0][0] == "run-unreadable":
        # It does not fit into the lists that it is in either; dropping it deals with all of that.
        assert found[0] == expected[0]
    else:
        assert found == expected
    assert found_by(doctor, fix=True) == expected
    assert found_by(doctor) == []
    if expected[0][0] != "run-unreadable":
        after = everything(client, keys)
        # The wait for a start begins anew when it was lost.
        assert after.pop("unstarted").keys() == before.pop("unstarted").keys()
        assert after == before


@pytest.mark.parametrize("run_id", ["going", "waiting", "over", "asked"])
def test_a_run_that_cannot_be_read_leaves_nothing_behind(
    client: Redis, keys: Keys, store: RedisStore, doctor: Doctor, run_id: str
) -> None:
    populate(store)
    client.hset(keys.run(run_id), "createdAtMs", "yesterday")
    assert found_by(doctor, fix=True) == [("run-unreadable", run_id)]
    kept = {name: what for name, what in everything(client, keys).items() if name not in ("events", "audit")}
    assert f'"{run_id}"' not in json.dumps(kept)
    assert len(store.runs()) == 3


def test_of_two_active_runs_of_one_partition_the_one_without_the_claim_is_ended(
    client: Redis, keys: Keys, store: RedisStore, doctor: Doctor, prefix: str
) -> None:
    populate(store)
    claim = client.hget(keys.claims, f"orders{UNIT}")
    client.hdel(keys.claims, f"orders{UNIT}")
    start(store, "second")
    assert found_by(doctor) == [("run-without-claim", "going")]
    assert found_by(doctor, fix=True) == [("run-without-claim", "going")]
    assert found_by(doctor) == []
    assert (claim, client.hget(keys.claims, f"orders{UNIT}")) == ("going", "second")
    run = store.run("going")
    assert run is not None
    assert (run.status, run.error) == (RunStatus.LOST, "another run holds the claim of its workflow and partition")
    assert event_types(client, prefix)[-1] == "workflow.run.failed"
    assert json.loads(json.dumps(events(client, prefix)[-1].model_dump(mode="json")))["lost"] is True
    assert store.read_assets(["up"])["up"].failures == {}


def test_a_partition_of_no_workflow_here_may_be_anything(store: RedisStore, doctor: Doctor) -> None:
    store.record(made("others", "x"))
    store.record(made("others"))
    assert found_by(doctor) == []


def test_while_a_definition_cannot_be_read_no_partition_is_called_unreachable(
    client: Redis, keys: Keys, store: RedisStore, doctor: Doctor
) -> None:
    populate(store)
    store.record(made("daily", "2026-11"))
    client.hset(keys.workflows, "strange", "{}")
    assert found_by(doctor) == []
    client.hdel(keys.workflows, "strange")
    assert found_by(doctor) == [("partition-unreachable", "daily@2026-11")]


def test_a_partition_that_a_run_is_at_work_on_is_left_alone(store: RedisStore, doctor: Doctor) -> None:
    populate(store)
    store.record(made("daily", "2026-11"))
    start(store, "late", workflow="days", partition_key="2026-11")
    assert found_by(doctor, fix=True) == []


def test_pending_entries_are_acknowledged_and_read_again(
    client: Redis, keys: Keys, store: RedisStore, doctor: Doctor
) -> None:
    populate(store)
    group = STREAMS.group
    client.xgroup_create(keys.events, group, id="0")
    entries: list[Any] = [entry_id for entry_id, _ in CatalogScan(client, keys).entries(keys.events)]
    client.xreadgroup(group, "somebody", {keys.events: ">"}, count=3)
    assert found_by(doctor) == [], "they were handed out just now"
    client.xclaim(keys.events, group, "somebody", 0, entries[:3], idle=120_000)
    client.xdel(keys.events, entries[0])
    assert found_by(doctor) == [("entry-pending", entry_id) for entry_id in entries[:3]]
    assert len(found_by(doctor, fix=True)) == 3
    assert found_by(doctor) == []
    (about,) = CatalogScan(client, keys).groups(keys.events)
    following = [entry_id for entry_id, _ in CatalogScan(client, keys).entries(keys.events, about["last-delivered-id"])]
    assert following == entries[1:], "the service reads on from the first that is still there"


def test_dead_letters_are_counted_and_no_finding(client: Redis, keys: Keys, doctor: Doctor) -> None:
    client.xadd(keys.dead_letters, {"reason": "x"})
    assert (doctor.dead_letters(), found_by(doctor)) == (1, [])


def test_another_catalog_whose_prefix_begins_with_this_one_is_left_alone(
    client: Redis, prefix: str, doctor: Doctor
) -> None:
    client.hset(f"{prefix}:other:claims", f"w{UNIT}", "none")
    client.hset(f"{prefix}2:claims", f"w{UNIT}", "none")
    try:
        assert found_by(doctor, fix=True) == []
    finally:
        client.delete(f"{prefix}2:claims")


def test_every_finding_says_what_and_where_and_what_to_do(
    client: Redis, keys: Keys, store: RedisStore, doctor: Doctor
) -> None:
    populate(store)
    client.sadd(f"{keys.active}:pool:gpu", "over")
    (finding,) = doctor.examine(fix=False)
    assert finding == Finding(
        "slot-without-run",
        f"{keys.active}:pool:gpu",
        "over",
        "counts this run as active, which is failed and belongs elsewhere",
        "gives its slot free",
    )


@given(todo=operations)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_catalog_that_lived_has_no_finding(client: Redis, todo: list[tuple[str, int]]) -> None:
    with own_prefix(client) as prefix:
        Life(RedisStore(client, prefix=prefix)).live(todo)
        assert list(Doctor(client, prefix=prefix, streams=STREAMS).examine(fix=False)) == []


def test_beside_runs_that_begin_and_end_nothing_is_found(
    client: Redis, keys: Keys, store: RedisStore, doctor: Doctor
) -> None:
    populate(store)
    is_over = threading.Event()

    def live() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            start(store, f"r{number}", workflow="busy", pools=("gpu",))
            store.record(made("busy", run_id=f"r{number}", step_id="s"))
            end(store, f"r{number}")

    living = threading.Thread(target=live)
    living.start()
    try:
        for _ in range(15):
            assert list(doctor.examine(fix=True)) == []
    finally:
        is_over.set()
        living.join(30)
