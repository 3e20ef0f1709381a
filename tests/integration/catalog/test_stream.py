"""Reading the event stream: in order, at least once, and what cannot be read is put aside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from actors.catalog import events as wire
from actors.catalog.connection import connect
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import RunStatus
from actors.catalog.stream import Entry, StreamListener, StreamReader
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.setting_groups import StreamSettings
from tests.integration.catalog.builders import T0, eventually, made, start
from tests.integration.conftest import running_server

pytestmark = pytest.mark.integration

STREAMS = StreamSettings(batch=10)
OUTSIDE = '{"assetId": "a", "producedAt": "2025-11-24T16:00:00Z", "freshness": {"ttlMs": 5}}'


class Listening:
    """What a reader told, and a way to refuse it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.batches: list[int] = []
        self.dead: list[str] = []
        self.availability: list[str] = []
        self.refuse: Callable[[Entry], bool] = lambda entry: False
        self.before: Callable[[], None] = lambda: None

    def on_events(self, entries: Sequence[Entry]) -> None:
        self.before()
        for entry in entries:
            if self.refuse(entry):
                raise RuntimeError(f"refused {type(entry.event).__name__}")
        self.entries += entries
        self.batches.append(len(entries))

    def listener(self) -> StreamListener:
        return StreamListener(
            on_events=self.on_events,
            on_dead_letter=self.dead.append,
            upstreams_of=lambda asset_id: ("up",) if asset_id == "a" else (),
            on_unavailable=lambda error: self.availability.append(f"lost: {error}"),
            on_available=lambda: self.availability.append("back"),
        )

    def versions(self, asset_id: str = "a") -> list[int | None]:
        return [
            e.event.version
            for e in self.entries
            if isinstance(e.event, wire.AssetProduced) and e.event.asset_id == asset_id
        ]


@pytest.fixture
def heard() -> Listening:
    return Listening()


@contextmanager
def reading(
    client: Redis, store: RedisStore, prefix: str, heard: Listening, streams: StreamSettings = STREAMS
) -> Iterator[StreamReader]:
    reader = StreamReader(client, store, heard.listener(), prefix=prefix, streams=streams, block_ms=50)
    reader.lead()
    reader.start()
    try:
        yield reader
    finally:
        assert reader.stop(10)


def unread(client: Redis, prefix: str) -> int:
    """How many entries the group's cursor has not passed."""
    groups: Any = client.xinfo_groups(f"{prefix}:events")
    (group,) = groups
    assert group["pending"] == 0, "nothing is delivered to consumers"
    entries: Any = client.xrange(f"{prefix}:events", min=f"({group['last-delivered-id']}")
    return len(entries)


def dead_letters(client: Redis, prefix: str) -> list[dict[str, str]]:
    entries: Any = client.xrange(f"{prefix}:dead-letters")
    return [fields for _, fields in entries]


def test_events_come_in_order_with_growing_positions(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    for _ in range(5):
        store.record(made("a"))
    with reading(client, store, prefix, heard):
        for _ in range(30):
            store.record(made("a"))
        eventually(lambda: len(heard.entries) == 35, what="all events")
        eventually(lambda: unread(client, prefix) == 0, what="the acknowledgements")
    assert heard.versions() == list(range(1, 36))
    positions = [entry.position for entry in heard.entries]
    assert positions == sorted(set(positions))
    assert positions[-1] == store.position()
    assert max(heard.batches) <= 10


def test_a_handed_over_event_is_not_read_again_after_a_restart(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    store.record(made("a"))
    with reading(client, store, prefix, heard):
        eventually(lambda: len(heard.entries) == 1, what="the first event")
    store.record(made("a"))
    with reading(client, store, prefix, heard):
        eventually(lambda: len(heard.entries) == 2, what="the second event")
    assert heard.versions() == [1, 2]


def test_what_was_read_and_not_acknowledged_is_read_first_after_a_restart(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    for _ in range(25):
        store.record(made("a"))
    # A service that died with two batches under way.
    client.xgroup_create(f"{prefix}:events", "headwater", id="0")
    client.xreadgroup("headwater", "service", {f"{prefix}:events": ">"}, count=20)
    with reading(client, store, prefix, heard):
        eventually(lambda: len(heard.entries) == 25, what="pending and new events")
        eventually(lambda: unread(client, prefix) == 0, what="the acknowledgements")
    assert heard.versions() == list(range(1, 26))


def test_a_pending_entry_that_was_trimmed_is_passed_over(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    store.record(made("a"))
    client.xgroup_create(f"{prefix}:events", "headwater", id="0")
    client.xreadgroup("headwater", "service", {f"{prefix}:events": ">"})
    client.xtrim(f"{prefix}:events", maxlen=0)
    store.record(made("a"))
    with reading(client, store, prefix, heard):
        eventually(lambda: len(heard.entries) == 1, what="the event after the trimmed one")
        eventually(lambda: unread(client, prefix) == 0, what="the acknowledgements")
    assert heard.versions() == [2]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "asset.produced"}, "no field 'data'"),
        ({"type": "asset.produced", "data": "{"}, "no JSON"),
        ({"type": "asset.invented", "data": "{}"}, "asset.invented"),
        ({"type": "asset.produced", "data": '{"assetId": "a"}'}, "producedAt"),
        ({"type": "asset.produced", "data": '{"assetId": "a", "producedAt": "yesterday"}'}, "producedAt"),
        ({b"\xff\xfe": b"\x00\xff", "data": "{}"}, "type"),
        ({"type": "asset.resumed", "data": '{"assetId": "' + "x" * 300_000 + '"}'}, "bytes"),
    ],
)
def test_what_cannot_be_read_is_put_aside_and_not_in_the_way(
    store: RedisStore,
    client: Redis,
    prefix: str,
    heard: Listening,
    fields: dict[Any, Any],
    reason: str,
) -> None:
    store.record(made("a"))
    entry_id: Any = client.xadd(f"{prefix}:events", fields)
    store.record(made("a"))
    with reading(client, store, prefix, heard):
        eventually(lambda: len(heard.entries) == 2, what="the events around it")
        eventually(lambda: unread(client, prefix) == 0, what="the acknowledgements")
    assert heard.versions() == [1, 2]
    (letter,) = dead_letters(client, prefix)
    assert reason in letter["reason"]
    assert letter["entryId"] == entry_id
    for name, value in fields.items():
        text_name, text = (x.decode(errors="surrogateescape") if isinstance(x, bytes) else x for x in (name, value))
        assert letter[f"entry.{text_name}"] == text[: 64 * 1024]
    (told,) = heard.dead
    assert told.startswith(f"{entry_id}: ")


def test_dead_letters_are_bounded(store: RedisStore, client: Redis, prefix: str, heard: Listening) -> None:
    streams = StreamSettings(batch=500, dead_letters_max_length=50)
    for index in range(400):
        client.xadd(f"{prefix}:events", {"type": "rubbish", "data": str(index)})
    with reading(client, store, prefix, heard, streams):
        eventually(lambda: len(heard.dead) == 400, what="all dead letters")
    assert client.xlen(f"{prefix}:dead-letters") < 250, "it is trimmed by whole nodes of 100"


def test_an_outsider_s_event_is_recorded_once(store: RedisStore, client: Redis, prefix: str, heard: Listening) -> None:
    store.record(made("up"))
    client.xadd(f"{prefix}:events", {"type": "asset.produced", "data": OUTSIDE})
    with reading(client, store, prefix, heard):
        eventually(lambda: heard.versions() == [1], what="the recorded event")
    made_of_it = store.read_assets(["a"])["a"].latest[None]
    assert made_of_it.produced_at_ms == T0
    assert made_of_it.inputs == {"up": 1}
    assert made_of_it.freshness == FreshnessPolicy(ttl_ms=5)


def test_an_outsider_s_event_that_is_read_twice_is_recorded_once(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    entry_id: Any = client.xadd(f"{prefix}:events", {"type": "asset.produced", "data": OUTSIDE})
    with reading(client, store, prefix, heard):
        eventually(lambda: heard.versions() == [1], what="the recorded event")
    # The acknowledgement was lost: the group begins anew.
    client.xgroup_setid(f"{prefix}:events", "headwater", "0")
    with reading(client, store, prefix, heard):
        eventually(lambda: heard.versions() == [1, 1], what="the second reading of the recorded event")
    assert store.read_assets(["a"])["a"].counter == 1, entry_id


def test_an_outsider_cannot_choose_the_version(store: RedisStore, client: Redis, prefix: str, heard: Listening) -> None:
    data = OUTSIDE.replace("}}", '}, "version": 99, "changedVersion": 99}')
    client.xadd(f"{prefix}:events", {"type": "asset.produced", "data": data})
    with reading(client, store, prefix, heard):
        eventually(lambda: heard.versions() == [1], what="the recorded event")


def test_an_outsider_s_report_for_an_ended_run_is_put_aside(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    store.submit([])
    start(store, "r")
    data = OUTSIDE.replace('"assetId"', '"runId": "r", "assetId"')
    with reading(client, store, prefix, heard):
        store.finish_run("r", RunStatus.LOST, now_ms=T0)
        client.xadd(f"{prefix}:events", {"type": "asset.produced", "data": data})
        eventually(lambda: len(heard.dead) == 1, what="the dead letter")
    assert "run r is lost" in heard.dead[0]


def test_an_outsider_s_expiry_is_recorded(store: RedisStore, client: Redis, prefix: str, heard: Listening) -> None:
    store.record(made("a"))
    data = '{"assetId": "a", "expiresAt": "2025-11-24T16:00:05Z", "reason": "manual"}'
    with reading(client, store, prefix, heard):
        for _ in range(2):
            client.xadd(f"{prefix}:events", {"type": "asset.expired", "data": data})
        eventually(lambda: len(heard.entries) == 2, what="the recorded expiry")
        eventually(lambda: unread(client, prefix) == 0, what="the acknowledgements")
    told = heard.entries[1].event
    assert isinstance(told, wire.AssetExpired)
    assert (told.version, told.reason) == (1, ExpiryReason.MANUAL)
    assert store.read_assets(["a"])["a"].latest[None].expired_version == 1


def test_an_event_that_is_refused_does_not_hold_up_the_others(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    for asset_id in ("a", "poison", "a"):
        store.record(made(asset_id))
    heard.refuse = lambda entry: getattr(entry.event, "asset_id", "") == "poison"
    with reading(client, store, prefix, heard):
        eventually(lambda: heard.versions() == [1, 2], what="the events around it")
        eventually(lambda: unread(client, prefix) == 0, what="the acknowledgements")
    (letter,) = dead_letters(client, prefix)
    assert "RuntimeError: refused AssetProduced" in letter["reason"]
    assert '"poison"' in letter["entry.data"]


def test_a_lost_group_is_made_again(store: RedisStore, client: Redis, prefix: str, heard: Listening) -> None:
    store.record(made("a"))
    with reading(client, store, prefix, heard):
        eventually(lambda: heard.versions() == [1], what="the first event")
        client.delete(f"{prefix}:events")
        store.record(made("a"))
        eventually(lambda: heard.versions() == [1, 2], what="the event in the new stream")
        client.xgroup_destroy(f"{prefix}:events", "headwater")
        store.record(made("a"))
        eventually(lambda: heard.versions()[-1:] == [3], what="the event in the new group")
    assert heard.availability == ["back"], "a lost group is nothing to report"


def test_a_lost_connection_loses_no_event(store: RedisStore, client: Redis, prefix: str, heard: Listening) -> None:
    with reading(client, store, prefix, heard):
        for number in range(1, 11):
            client.client_kill_filter(_type="normal", skipme=True)
            store.record(made("a"))
            eventually(lambda n=number: heard.versions()[-1:] == [n], what=f"event {number}")  # type: ignore[misc]
    assert sorted(set(heard.versions()), key=lambda v: v or 0) == list(range(1, 11))


def test_a_stop_waits_for_the_batch_under_way(store: RedisStore, client: Redis, prefix: str, heard: Listening) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert leave.wait(30)

    heard.before = hold
    store.record(made("a"))
    with reading(client, store, prefix, heard) as reader:
        assert entered.wait(20)
        assert not reader.stop(0.05)
        leave.set()
    assert heard.versions() == [1]
    assert unread(client, prefix) == 0


def test_an_outage_is_told_once_and_then_that_it_is_over(heard: Listening) -> None:
    with running_server("valkey") as url:
        client = connect(url)
        with reading(client, RedisStore(client, prefix="p"), "p", heard):
            eventually(lambda: heard.availability == ["back"], what="the first answer")
            client.config_set("requirepass", "x")
            client.client_kill_filter(_type="normal", skipme=False)
            eventually(lambda: len(heard.availability) == 2, what="the outage")
            other = connect(url, password="x")
            other.config_set("requirepass", "")
            RedisStore(other, prefix="p").record(made("a"))
            eventually(lambda: heard.versions() == [1], what="the event after it")
    _, lost, back = heard.availability
    assert lost.startswith("lost: unix://")
    assert back == "back"
