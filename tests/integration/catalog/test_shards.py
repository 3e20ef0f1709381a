"""Shards on a server: leases of a division, what each hears of, and that what one tells another keeps its order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis

from actors.catalog.definitions import parse_definition
from actors.catalog.keys import Keys
from actors.catalog.leadership import HeldByOther, RedisLease
from actors.catalog.redis_shards import RedisShards
from actors.catalog.redis_store import RedisStore
from actors.catalog.shard_channel import ShardChannel
from actors.catalog.store import CatalogUnavailable, Deposed
from actors.core.shards import WHOLE, Shard
from actors.messages import Reported, ReportWanted, Settled, Signal
from tests.integration.catalog.builders import made
from tests.integration.conftest import SERVER_KINDS
from tests.integration.service.workflows import workflow

pytestmark = [
    pytest.mark.integration,
    pytest.mark.parametrize("server_kind", SERVER_KINDS, indirect=True, scope="session"),
]

LONG_MS, SHORT_MS = 60_000, 60

Open = Callable[..., RedisLease]


class Led:
    """A `Fence` of whoever leads in this term."""

    def __init__(self, shard: Shard, term: int | None) -> None:
        self.shard = shard
        self._term = term

    def term(self) -> int | None:
        return self._term

    def refused(self, term: int) -> None:
        self._term = None


@pytest.fixture
def open_lease(client: Redis, prefix: str) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(shard: Shard, service_id: str = "one", lease_ms: int = LONG_MS) -> RedisLease:
            lease = RedisLease(
                client,
                prefix=prefix,
                service_id=service_id,
                lease_seconds=lease_ms / 1_000,
                sole=False,
                shard=shard,
            )
            stack.callback(lease.close)
            return lease

        yield open_one


def lead_all(open_lease: Open, count: int, lease_ms: int = LONG_MS) -> list[int]:
    """Lead every shard of a division; their terms."""
    terms = [open_lease(Shard(index, count), f"{index}of{count}", lease_ms).acquire() for index in range(count)]
    assert all(isinstance(term, int) for term in terms)
    return [term for term in terms if isinstance(term, int)]


def stream(client: Redis, prefix: str, index: int) -> list[dict[str, str]]:
    entries: Any = client.xrange(f"{prefix}:shard:{index}:events")
    return [fields for _, fields in entries]


def told(client: Redis, prefix: str, index: int) -> list[str]:
    return [fields.get("signal") or fields["type"] for fields in stream(client, prefix, index)]


# -- leases -----------------------------------------------------------------------------------------------------------


def test_every_shard_has_a_lease_of_its_own(open_lease: Open, client: Redis, prefix: str) -> None:
    assert lead_all(open_lease, 2) == [1, 1]
    held = open_lease(Shard(0, 2), "other").acquire()
    assert isinstance(held, HeldByOther)
    assert (held.service_id, held.shard_count) == ("0of2", None)
    assert RedisShards(client, prefix=prefix).epoch() == 1, "divided once, by the first of them"


def test_another_division_waits_until_every_lease_of_the_former_has_ended(
    open_lease: Open, client: Redis, prefix: str
) -> None:
    shards = RedisShards(client, prefix=prefix)
    first, second = open_lease(Shard(0, 2), "a"), open_lease(Shard(1, 2), "b")
    terms = first.acquire(), second.acquire()
    assert terms == (1, 1)
    waiting = open_lease(Shard(0, 3), "c")
    first.release(1)
    held = waiting.acquire()
    assert isinstance(held, HeldByOther)
    assert held.shard_count == 2
    assert 0 < held.left_ms <= LONG_MS
    assert shards.epoch() == 1
    second.release(1)
    assert waiting.acquire() == 1
    assert shards.epoch() == 2
    back = open_lease(Shard(0, 2), "a").acquire()
    assert isinstance(back, HeldByOther)
    assert back.shard_count == 3, "the former division waits in its turn"


def test_a_lease_that_ends_by_itself_makes_way_for_another_division(open_lease: Open) -> None:
    lead_all(open_lease, 2, SHORT_MS)
    waiting = open_lease(WHOLE, "whole")
    deadline = time.monotonic() + 10
    while isinstance(waiting.acquire(), HeldByOther):
        assert time.monotonic() < deadline
        time.sleep(SHORT_MS / 5_000)


def test_who_led_in_a_former_division_is_refused_even_by_its_own_lease(
    open_lease: Open, client: Redis, prefix: str, store: RedisStore
) -> None:
    (term, _) = lead_all(open_lease, 2, SHORT_MS)
    zombie = store.fenced_by(Led(Shard(0, 2), term))
    zombie.record(made("a"))
    time.sleep(2 * SHORT_MS / 1_000)
    lead_all(open_lease, 3)
    with pytest.raises(Deposed):
        zombie.record(made("a"))
    with pytest.raises(Deposed):
        RedisShards(client, prefix=prefix).fenced_by(Led(Shard(0, 2), term)).signal(1, ["{}"])
    assert not open_lease(Shard(0, 2), "0of2").renew(term)
    # The same division again: what its leader wrote before stays refused.
    assert [each.materialization.version for each in store.history("a", limit=9)] == [1]


def test_a_lost_answer_does_not_divide_again(open_lease: Open, client: Redis, prefix: str) -> None:
    lease = open_lease(Shard(1, 2))
    assert [lease.acquire(), lease.acquire()] == [1, 2]
    assert RedisShards(client, prefix=prefix).epoch() == 1


def test_dividing_anew_forgets_what_the_former_shards_wanted_and_were_told(
    open_lease: Open, client: Redis, prefix: str, store: RedisStore
) -> None:
    lead_all(open_lease, 2, SHORT_MS)
    shards = RedisShards(client, prefix=prefix)
    assert shards.hear_of(Shard(1, 2), ["asset:a"], anew=True)
    store.record(made("a"))
    assert told(client, prefix, 1) == ["asset.produced"]
    time.sleep(2 * SHORT_MS / 1_000)
    lead_all(open_lease, 3)
    assert told(client, prefix, 1) == []
    assert not shards.hear_of(Shard(1, 2), ["asset:a"], anew=False), "it is not divided so any more"
    store.record(made("a"))
    assert [told(client, prefix, index) for index in range(3)] == [[], [], []]


# -- what is heard of -------------------------------------------------------------------------------------------------


def test_an_event_is_copied_to_those_who_want_it_with_its_place_in_the_log(
    open_lease: Open, client: Redis, prefix: str, store: RedisStore
) -> None:
    lead_all(open_lease, 3)
    shards = RedisShards(client, prefix=prefix)
    shards.hear_of(Shard(0, 3), ["asset:a"], anew=True)
    shards.hear_of(Shard(2, 3), ["asset:a", "asset:b"], anew=True)
    for asset_id in ("a", "b", "c"):
        store.record(made(asset_id))
    entries: Any = client.xrange(Keys(prefix).events)
    log = [entry_id for entry_id, _ in entries]
    assert [[each["pos"] for each in stream(client, prefix, index)] for index in range(3)] == [log[:1], [], log[:2]]
    shards.hear_of(Shard(2, 3), ["asset:c"], anew=True)
    store.record(made("a"))
    store.record(made("c"))
    assert len(stream(client, prefix, 0)) == 2
    assert [each["type"] for each in stream(client, prefix, 2)] == ["asset.produced"] * 3


def test_a_definition_is_told_to_all(open_lease: Open, client: Redis, prefix: str, store: RedisStore) -> None:
    lead_all(open_lease, 2)
    parsed = parse_definition(json.dumps(workflow("w")), source="test")
    store.put_workflow(parsed, source="command", content_hash=parsed.content_hash)
    assert [told(client, prefix, index) for index in range(2)] == [["workflow.updated"]] * 2


# -- the channel ------------------------------------------------------------------------------------------------------


class FaultyShards(RedisShards):
    """Of each write in turn: `lost` never comes to the server, of `unheard` the answer does not come back."""

    faults: Sequence[str] = ()

    def _through(self, write: Callable[[], object]) -> None:
        fault, *left = self.faults or ("",)
        self.faults = tuple(left)
        if fault == "lost":
            raise CatalogUnavailable("it did not come to the server")
        write()
        if fault == "unheard":
            raise CatalogUnavailable("the answer did not come back")

    def announce(self, asset_id: str, partition_key: str | None) -> None:
        self._through(lambda: RedisShards.announce(self, asset_id, partition_key))

    def signal(self, index: int, signals: Sequence[str]) -> None:
        self._through(lambda: RedisShards.signal(self, index, signals))


class LaneByHand:
    """Work that waits until the test has it done; like the real one it repeats what found the catalog unavailable."""

    def __init__(self) -> None:
        self._work: list[Callable[[], None]] = []
        self.repeated = 0

    def put(self, work: Callable[[], None]) -> None:
        self._work.append(work)

    def start(self) -> None:
        return

    def stop(self) -> None:
        return

    def do_all(self) -> None:
        while self._work:
            try:
                self._work[0]()
            except CatalogUnavailable:
                self.repeated += 1
            else:
                del self._work[0]


class Channel:
    """The channel of shard 0 of 3, that hears of all that it announces; shards 1 and 2 hear of "a" as well."""

    def __init__(self, client: Redis, prefix: str, term: int) -> None:
        self.lane, self.reads = LaneByHand(), LaneByHand()
        plain = RedisShards(client, prefix=prefix)
        self.faulty = FaultyShards(client, prefix=prefix).fenced_by(Led(Shard(0, 3), term))
        self.channel = ShardChannel(plain, self.faulty, Shard(0, 3), self.reads, lambda _name: self.lane)
        for index in (1, 2):
            plain.hear_of(Shard(index, 3), ["asset:a"], anew=True)


@pytest.fixture
def told_by(open_lease: Open, client: Redis, prefix: str) -> Channel:
    (term, *_) = lead_all(open_lease, 3)
    return Channel(client, prefix, term)


def settled(number: int) -> Signal:
    return Settled("a", None, number)


def numbers(client: Redis, prefix: str, index: int) -> list[str]:
    """Announcements as `!`, signals by the wave that they tell."""
    found = []
    for fields in stream(client, prefix, index):
        found.append("!" if "type" in fields else fields["signal"].split(",")[2])
    return found


@pytest.mark.parametrize(
    ("faults", "most"),
    [((), 1), (("lost", "lost"), 1), (("unheard", "", "unheard"), 2), (("", "lost", "", "unheard", "lost"), 2)],
    ids=["none", "lost", "unheard", "both"],
)
def test_what_is_told_after_an_announcement_comes_after_it_and_a_fault_loses_nothing(
    told_by: Channel, client: Redis, prefix: str, faults: Sequence[str], most: int
) -> None:
    channel = told_by.channel
    channel.lead()
    channel.tell(1, settled(1))
    channel.tell(2, settled(2))
    channel.announce("a", None)
    channel.tell(1, settled(3))
    channel.tell(1, settled(4))
    channel.announce("a", None)
    channel.tell(2, settled(5))
    told_by.faulty.faults = faults
    told_by.lane.do_all()
    assert told_by.lane.repeated == sum(fault != "" for fault in faults)
    for index, told_once in ((1, ["1", "!", "3", "4", "!"]), (2, ["2", "!", "!", "5"])):
        found = numbers(client, prefix, index)
        assert _in_order(found, told_once), found
        assert len(found) <= len(told_once) * most


def _in_order(found: Sequence[str], told_once: Sequence[str]) -> bool:
    """Whether everything that was told is found, in order but for repetitions of what was found before."""
    left = list(told_once)
    for each in found:
        if left and each == left[0]:
            left.pop(0)
        elif each not in told_once[: len(told_once) - len(left)]:
            return False
    return not left


def test_who_stands_by_tells_nothing_but_may_ask(told_by: Channel, client: Redis, prefix: str) -> None:
    channel = told_by.channel
    channel.tell(1, settled(1))
    channel.announce("a", None)
    channel.tell(1, Reported("a"))
    channel.tell(1, ReportWanted(("a",), 0))
    told_by.lane.do_all()
    (asked,) = told(client, prefix, 1)
    assert "wanted" in asked
    assert told(client, prefix, 2) == []


def test_only_a_leader_forgets_what_it_wanted_to_hear(told_by: Channel, client: Redis, prefix: str) -> None:
    channel, interests = told_by.channel, f"{prefix}:shard:0:interests"
    client.sadd(interests, "asset:old")
    channel.hear_of(["a"], ["w"], anew=True)
    told_by.reads.do_all()
    assert client.smembers(interests) == {"asset:old", "asset:a", "workflow:w"}
    channel.lead()
    channel.hear_of(["b"], [], anew=True)
    told_by.reads.do_all()
    assert client.smembers(interests) == {"asset:b"}


def test_a_leader_of_a_former_term_tells_nothing(
    told_by: Channel, open_lease: Open, client: Redis, prefix: str
) -> None:
    open_lease(Shard(0, 3), "0of3").acquire()
    told_by.channel.lead()
    told_by.channel.tell(1, settled(1))
    with pytest.raises(Deposed):
        told_by.lane.do_all()
    assert told(client, prefix, 1) == []
