"""Reading the stream without leading: everything is heard, nothing is written; and going on as the leader."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from actors.catalog import stream
from actors.catalog.redis_root import keys_of
from actors.catalog.redis_store import RedisStore
from actors.catalog.scripts import Scripts
from actors.catalog.stream import StreamReader
from tests.integration.catalog.builders import eventually, made
from tests.integration.catalog.test_stream import OUTSIDE, STREAMS, Listening, dead_letters, unread

pytestmark = pytest.mark.integration


@pytest.fixture
def heard() -> Listening:
    return Listening()


@contextmanager
def following(client: Redis, store: RedisStore, prefix: str, heard: Listening, **told: Any) -> Iterator[StreamReader]:
    """A reader that follows from the present on."""
    listener = replace(heard.listener(), **told)
    reader = StreamReader(client, store, listener, prefix=prefix, streams=STREAMS, block_ms=50)
    reader.start(after=store.position())
    try:
        yield reader
    finally:
        assert reader.stop(10)


def outside(client: Redis, prefix: str) -> None:
    client.xadd(f"{prefix}:events", {"type": "asset.produced", "data": OUTSIDE})


def test_who_follows_hears_what_comes_and_writes_nothing(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    store.record(made("a"))
    client.xgroup_create(f"{prefix}:events", STREAMS.group, id="0")
    with following(client, store, prefix, heard):
        client.xadd(f"{prefix}:events", {"type": "rubbish", "data": "{"})
        outside(client, prefix)
        for _ in range(25):
            store.record(made("a"))
        eventually(lambda: heard.versions()[-1:] == [26], what="the last event")
    assert heard.versions() == list(range(2, 27)), "from its start on, and of the outsider's event nothing"
    assert unread(client, prefix) == 28, "the cursor is where it was"
    assert dead_letters(client, prefix) == []


def test_who_takes_the_lead_goes_back_to_where_the_last_leader_was(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    leads = threading.Event()
    at_lead: list[int] = []

    def on_leading() -> None:
        at_lead.extend(heard.versions()[-1:])  # type: ignore[arg-type]
        leads.set()

    store.record(made("a"))
    client.xgroup_create(f"{prefix}:events", STREAMS.group, id="$")
    with following(client, store, prefix, heard, on_leading=on_leading) as reader:
        client.xadd(f"{prefix}:events", {"type": "rubbish", "data": "{"})
        outside(client, prefix)
        for _ in range(15):
            store.record(made("a"))
        eventually(lambda: len(heard.entries) == 15, what="all events")
        assert not leads.is_set()
        reader.lead()
        assert leads.wait(20)
        eventually(lambda: unread(client, prefix) == 0, what="the acknowledgements")
        eventually(lambda: heard.versions()[-1:] == [17], what="what the outsider told")
    assert at_lead[0] >= 16, "told after everything that was there then"
    assert heard.versions()[15:30] == list(range(2, 17)), "what the last leader had not acknowledged comes again"
    assert len(dead_letters(client, prefix)) == 1
    assert store.read_assets(["a"])["a"].counter == 17


def test_who_lags_behind_the_last_leader_misses_nothing_when_it_leads(
    store: RedisStore, client: Redis, prefix: str, heard: Listening
) -> None:
    keys = keys_of(prefix, STREAMS)
    store.record(made("a"))
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert leave.wait(30)

    heard.before = hold
    with following(client, store, prefix, heard) as reader:
        store.record(made("a"))
        assert entered.wait(20)
        for _ in range(5):
            store.record(made("a"))
        newest: Any = client.xrevrange(keys.events, count=1)
        Scripts(client, keys).call("acknowledge", group=STREAMS.group, entryId=newest[0][0])
        reader.lead()
        leave.set()
        eventually(lambda: heard.versions()[-1:] == [7], what="the last event")
    assert heard.versions() == list(range(2, 8))


def test_events_that_were_trimmed_before_they_were_read_are_reported(
    store: RedisStore, client: Redis, prefix: str, heard: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_SILENCE_SECONDS", 0.0)
    missed = threading.Event()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert leave.wait(30)

    heard.before = hold
    store.record(made("a"))
    with following(client, store, prefix, heard, on_missed=missed.set):
        store.record(made("a"))
        assert entered.wait(20)
        for _ in range(5):
            store.record(made("a"))
        client.xtrim(f"{prefix}:events", maxlen=2, approximate=False)
        assert not missed.is_set()
        leave.set()
        assert missed.wait(20)
