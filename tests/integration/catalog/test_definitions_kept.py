"""Keeping definitions, where they came from, and parameters of single partitions."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from actors.catalog import events as wire
from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.redis_store import RedisStore
from tests.integration.catalog.builders import events, on_every_server, together

pytestmark = on_every_server


def definition(slug: str, **more: object) -> WorkflowDefinition:
    steps = [{"id": "s", "name": "S", "type": "job", "jobSlug": "job"}]
    return parse_definition(json.dumps({"slug": slug, "name": slug, "steps": steps, **more}), source="test")


def test_a_definition_is_kept_with_the_keys_nobody_knows(store: RedisStore) -> None:
    kept = definition("orders", metadata={"owner": "käse", "empty": []}, somethingNew={"x": [1, None]})
    store.put_workflow(kept, source="file", content_hash="h1")
    assert store.workflow("orders") == kept
    found = store.workflow("orders")
    assert found is not None
    assert found.canonical_json() == kept.canonical_json()
    assert store.workflow("unknown") is None


def test_only_a_difference_is_published(store: RedisStore, client: Redis, prefix: str) -> None:
    assert store.put_workflow(definition("orders"), source="file", content_hash="h1") == "created"
    assert store.put_workflow(definition("orders"), source="file", content_hash="h1") == "unchanged"
    changed = definition("orders", version=2)
    assert store.put_workflow(changed, source="command", content_hash="h2") == "updated"
    assert store.remove_workflow("orders")
    assert not store.remove_workflow("orders")
    told = events(client, prefix)
    assert [(e.slug, e.removed) for e in told if isinstance(e, wire.WorkflowUpdated)] == [
        ("orders", False),
        ("orders", False),
        ("orders", True),
    ]
    assert store.workflows() == []
    assert store.workflow_sources() == {}


def test_where_it_came_from_follows_the_latest_load(store: RedisStore) -> None:
    store.put_workflow(definition("b"), source="file", content_hash="h1")
    store.put_workflow(definition("a"), source="file", content_hash="h1")
    assert store.put_workflow(definition("a"), source="command", content_hash="h9") == "unchanged"
    assert store.workflow_sources() == {"a": ("command", "h9"), "b": ("file", "h1")}
    assert [w.slug for w in store.workflows()] == ["a", "b"]


def test_one_unreadable_definition_does_not_hide_the_others(
    store: RedisStore,
    client: Redis,
    prefix: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.put_workflow(definition("good"), source="file", content_hash="h1")
    client.hset(f"{prefix}:workflows", "bad", '{"slug": "bad"}')
    assert [w.slug for w in store.workflows()] == ["good"]
    # Where it is told depends on whether a test before has configured logging.
    assert "workflow bad" in capsys.readouterr().out + caplog.text


def test_of_many_equal_puts_one_creates(store: RedisStore) -> None:
    outcomes = together(8, lambda _: store.put_workflow(definition("a"), source="file", content_hash="h"))
    assert sorted(outcomes) == ["created"] + ["unchanged"] * 7


def test_parameters_are_kept_for_one_partition(store: RedisStore) -> None:
    store.put_partition_parameters("orders", "x", {"days": [], "full": None})
    assert store.partition_parameters("orders", "x") == {"days": [], "full": None}
    assert store.partition_parameters("orders", "y") == {}
    assert store.partition_parameters("other", "x") == {}
