"""Definitions that did not change are the same objects, so that what was made of them can be kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.interfaces.known_graph import known_graph

pytestmark = pytest.mark.integration


def put(store: RedisStore, slug: str, *, version: int = 1, reads: str | None = None) -> None:
    consumes: list[dict[str, Any]] = [{"assetId": reads}] if reads else []
    steps = [{"id": "s", "jobSlug": "j", "produces": [{"assetId": f"{slug}.made"}], "consumes": consumes}]
    text = json.dumps({"slug": slug, "name": slug, "version": version, "steps": steps})
    definition = parse_definition(text, source="test")
    store.put_workflow(definition, source="command", content_hash=definition.content_hash)


def same(some: list[WorkflowDefinition], others: list[WorkflowDefinition]) -> bool:
    return [id(each) for each in some] == [id(each) for each in others]


@pytest.fixture
def other(client: Redis, prefix: str) -> RedisStore:
    """Another process's store."""
    return RedisStore(client, prefix=prefix)


def test_what_did_not_change_is_not_read_again(store: RedisStore) -> None:
    assert store.workflows() == []
    put(store, "a")
    put(store, "b", reads="a.made")
    first = store.workflows()
    assert [each.slug for each in first] == ["a", "b"]
    assert same(store.workflows(), first)
    assert known_graph(store) is known_graph(store)
    first.clear()
    assert len(store.workflows()) == 2


def test_what_others_change_is_seen_at_once(store: RedisStore, other: RedisStore, client: Redis, prefix: str) -> None:
    put(store, "a")
    kept = store.workflows()
    before = known_graph(store)
    put(other, "a", version=2)
    assert [each.version for each in store.workflows()] == [2]
    put(other, "b", reads="a.made")
    assert not same(store.workflows(), kept)
    assert known_graph(store) is not before
    assert known_graph(store).node("b.made") is not None
    # Back to what it was: no hash of a former time may bring back a text of another.
    put(other, "a")
    assert [(each.slug, each.version) for each in store.workflows()] == [("a", 1), ("b", 1)]
    other.remove_workflow("a")
    assert [each.slug for each in store.workflows()] == ["b"]
    # One without a source, of a program that knew of none, is seen too.
    keys = Keys(prefix)
    client.hset(keys.workflows, "c", client.hget(keys.workflows, "b") or "")
    assert len(store.workflows()) == 2


def test_two_catalogs_do_not_share_a_graph(store: RedisStore, client: Redis, prefix: str) -> None:
    put(store, "a")
    mine = known_graph(store)
    other = RedisStore(client, prefix=f"{prefix}:other")
    put(other, "z")
    assert known_graph(other).node("a.made") is None
    assert known_graph(store).node("a.made") is not None
    assert mine.node("z.made") is None
