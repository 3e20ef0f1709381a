"""The lease and the fence on a server: one leader at a time, and nothing is written in a term that is over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from redis import Redis

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.leadership import HeldByOther, Lease, RedisLease
from actors.catalog.redis_root import keys_of
from actors.catalog.redis_store import RedisStore
from actors.catalog.scripts import Scripts
from actors.catalog.store import Deposed, NewMaterialization, RunStatus
from actors.core.freshness import ExpiryReason
from actors.core.shards import WHOLE
from actors.runtime import VirtualClock
from actors.setting_groups import StreamSettings
from tests.integration.catalog.builders import T0, eventually, made, start, together, wanted
from tests.integration.conftest import SERVER_KINDS
from tests.unit.catalog.leases import MemoryLease, MemoryServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.parametrize("server_kind", SERVER_KINDS, indirect=True, scope="session"),
]


class Open(Protocol):
    def __call__(self, service_id: str, lease_ms: int = 60_000, *, sole: bool = False) -> Lease: ...


@pytest.fixture(params=["server", "memory"])
def leases(request: pytest.FixtureRequest, client: Redis, prefix: str) -> Iterator[Open]:
    memory = MemoryServer(VirtualClock(T0))
    with ExitStack() as stack:

        def open_lease(service_id: str, lease_ms: int = 60_000, *, sole: bool = False) -> Lease:
            if request.param == "memory":
                return MemoryLease(memory, service_id, lease_ms, sole=sole)
            lease = RedisLease(client, prefix=prefix, service_id=service_id, lease_seconds=lease_ms / 1_000, sole=sole)
            stack.callback(lease.close)
            return lease

        yield open_lease


def test_one_holds_the_lease_and_each_holder_has_a_term_of_its_own(leases: Open) -> None:
    first, second = leases("first"), leases("second")
    assert first.acquire() == 1
    held = second.acquire()
    assert isinstance(held, HeldByOther)
    assert held.service_id == "first"
    assert 0 < held.left_ms <= 60_000
    assert first.renew(1)
    assert not second.renew(1)
    first.release(1)
    assert second.acquire() == 2
    assert not first.renew(1)
    first.release(1)
    assert second.renew(2), "who was the leader before releases nothing any more"


def test_who_takes_the_lead_again_has_a_new_term(leases: Open) -> None:
    first = leases("first")
    assert [first.acquire(), first.acquire()] == [1, 2]
    assert not first.renew(1)
    first.release(1)
    assert first.renew(2)


def test_who_knows_that_it_is_alone_need_not_wait(leases: Open) -> None:
    assert leases("killed").acquire() == 1
    assert leases("alone", sole=True).acquire() == 2


def test_a_lease_ends_by_itself_unless_it_is_renewed(client: Redis, prefix: str) -> None:
    first = RedisLease(client, prefix=prefix, service_id="first", lease_seconds=0.3, sole=False)
    second = RedisLease(client, prefix=prefix, service_id="second", lease_seconds=0.3, sole=False)
    assert first.acquire() == 1
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        assert first.renew(1)
        assert isinstance(second.acquire(), HeldByOther)
    eventually(lambda: second.acquire() == 2, what="the end of the lease")
    assert not first.renew(1)
    first.close()
    second.close()


def test_of_many_that_try_at_once_one_leads(client: Redis, prefix: str) -> None:
    def attempt(number: int) -> object:
        lease = RedisLease(client, prefix=prefix, service_id=f"s{number}", lease_seconds=60, sole=False)
        try:
            return lease.acquire()
        finally:
            lease.close()

    answers = together(12, attempt)
    assert answers.count(1) == 1
    assert sum(isinstance(answer, HeldByOther) for answer in answers) == 11


# -- the fence ---------------------------------------------------------------------------------------------------------


class Term:
    """A fence whose term a test sets."""

    shard = WHOLE

    def __init__(self, term: int | None) -> None:
        self.now = term
        self.told: list[int] = []

    def term(self) -> int | None:
        return self.now

    def refused(self, term: int) -> None:
        self.told.append(term)


def definition(slug: str) -> WorkflowDefinition:
    step = {"id": "s", "name": "s", "type": "job", "jobSlug": "j"}
    return parse_definition(json.dumps({"slug": slug, "name": slug, "version": 1, "steps": [step]}), source="test")


LEADER_WRITES: dict[str, Callable[[RedisStore], object]] = {
    "submit": lambda store: store.submit([wanted("later", "other")]),
    "expire": lambda store: store.expire(
        "a", None, version=1, expires_at_ms=T0 + 1, reason=ExpiryReason.TTL, now_ms=T0 + 1
    ),
    "cancel_queued": lambda store: store.cancel_queued("queued", now_ms=T0),
    "finish_run": lambda store: store.finish_run("running", RunStatus.LOST, now_ms=T0),
    "record": lambda store: store.record(NewMaterialization("a", None, T0 + 1, dedupe_key="stream:1-1")),
    "put_workflow": lambda store: store.put_workflow(definition("new"), source="file", content_hash="h"),
    "remove_workflow": lambda store: store.remove_workflow("kept"),
}


def snapshot(client: Redis, prefix: str) -> dict[str, bytes | None]:
    """All that the catalog keeps, but for the lease."""
    keys = [key for key in client.scan_iter(f"{prefix}:*", count=1000) if key != f"{prefix}:leader"]
    dumps: Any = {key: client.execute_command("DUMP", key, NEVER_DECODE=True) for key in sorted(keys)}  # type: ignore[no-untyped-call]
    return dict(dumps)


@pytest.fixture
def filled(store: RedisStore) -> RedisStore:
    store.put_workflow(definition("kept"), source="file", content_hash="x")
    store.record(made("a"))
    start(store, "running")
    store.queue_run(wanted("queued", "hand"))
    return store


@pytest.mark.parametrize("write", LEADER_WRITES)
def test_a_write_in_a_term_that_is_over_changes_nothing(
    filled: RedisStore, client: Redis, prefix: str, write: str
) -> None:
    lease = RedisLease(client, prefix=prefix, service_id="first", lease_seconds=60, sole=True)
    assert [lease.acquire(), lease.acquire()] == [1, 2]
    before = snapshot(client, prefix)
    former = Term(1)
    with pytest.raises(Deposed, match="term 2"):
        LEADER_WRITES[write](filled.fenced_by(former))
    assert former.told == [2]
    with pytest.raises(Deposed, match="does not lead"):
        LEADER_WRITES[write](filled.fenced_by(Term(None)))
    assert snapshot(client, prefix) == before
    present = Term(2)
    LEADER_WRITES[write](filled.fenced_by(present))
    assert present.told == []
    assert snapshot(client, prefix) != before, "it does write, in the present term"
    lease.close()


def test_the_store_of_who_does_not_lead_reads_and_an_unfenced_one_writes(
    filled: RedisStore, client: Redis, prefix: str
) -> None:
    lease = RedisLease(client, prefix=prefix, service_id="first", lease_seconds=60, sole=True)
    lease.acquire()
    fenced = filled.fenced_by(Term(None))
    assert fenced.read_assets(["a"])["a"].latest[None].version == 1
    assert [run.run_id for run in fenced.active_runs()] == ["running"]
    assert filled.record(made("a")).version == 2, "what commands and workers write needs no term"
    lease.close()


def test_the_cursor_does_not_move_in_a_term_that_is_over(store: RedisStore, client: Redis, prefix: str) -> None:
    keys = keys_of(prefix, StreamSettings())
    lease = RedisLease(client, prefix=prefix, service_id="first", lease_seconds=60, sole=True)
    assert [lease.acquire(), lease.acquire()] == [1, 2]
    store.record(made("a"))
    client.xgroup_create(keys.events, "headwater", id="0")
    newest: Any = client.xrevrange(keys.events, count=1)
    with pytest.raises(Deposed):
        Scripts(client, keys, Term(1)).call("acknowledge", group="headwater", entryId=newest[0][0])
    (group,) = client.xinfo_groups(keys.events)
    assert group["last-delivered-id"] == "0-0"
    Scripts(client, keys, Term(2)).call("acknowledge", group="headwater", entryId=newest[0][0])
    (group,) = client.xinfo_groups(keys.events)
    assert group["last-delivered-id"] == newest[0][0]
    lease.close()


def test_a_batch_that_loses_the_lead_on_its_way_is_refused_from_there_on(
    store: RedisStore, client: Redis, prefix: str
) -> None:
    lease = RedisLease(client, prefix=prefix, service_id="first", lease_seconds=60, sole=True)
    lease.acquire()
    lease.acquire()
    with pytest.raises(Deposed):
        store.fenced_by(Term(1)).submit([wanted(f"r{n}", "orders", str(n)) for n in range(5)])
    assert store.active_runs() == []
    lease.close()
