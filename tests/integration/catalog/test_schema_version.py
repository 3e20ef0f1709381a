"""The version of a catalog: written, brought forward once, and refused when it is newer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from redis import Redis

from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.schema_version import SCHEMA_VERSION, Migration, SchemaRefused, ensure_schema
from tests.integration.catalog.builders import made, on_every_server, together

pytestmark = on_every_server


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix)


def adding(field: str, *, also: Callable[[], object] = lambda: None) -> Migration:
    """Counts in `counters` how often it was carried out to its end."""

    def apply(client: Redis, keys: Keys) -> None:
        also()
        client.hincrby(keys.counters, field, 1)

    return Migration(f"count {field}", apply)


def test_an_empty_catalog_is_given_the_present_version_and_not_migrated(client: Redis, keys: Keys) -> None:
    ensure_schema(client, keys, migrations=[adding("one"), adding("two")])
    assert client.get(keys.schema_version) == "3"
    assert client.exists(keys.counters, keys.schema_lock) == 0


def test_what_exists_without_a_version_is_of_version_1(client: Redis, keys: Keys, store: RedisStore) -> None:
    store.record(made("a"))
    ensure_schema(client, keys, migrations=[adding("one"), adding("two")])
    assert client.get(keys.schema_version) == "3"
    assert client.hgetall(keys.counters) == {"a": "1", "one": "1", "two": "1"}
    ensure_schema(client, keys, migrations=[adding("one"), adding("two"), adding("three")])
    assert client.get(keys.schema_version) == "4"
    assert client.hgetall(keys.counters) == {"a": "1", "one": "1", "two": "1", "three": "1"}


def test_the_present_version_needs_no_migration(client: Redis, keys: Keys, store: RedisStore) -> None:
    store.record(made("a"))
    ensure_schema(client, keys)
    assert client.get(keys.schema_version) == str(SCHEMA_VERSION)


def test_one_that_is_cut_off_is_run_again_and_those_before_it_are_not(
    client: Redis, keys: Keys, store: RedisStore
) -> None:
    store.record(made("a"))

    def crash() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_schema(client, keys, migrations=[adding("one"), adding("two", also=crash)])
    assert client.get(keys.schema_version) == "2"
    assert client.exists(keys.schema_lock) == 0, "the next one need not wait for it"
    ensure_schema(client, keys, migrations=[adding("one"), adding("two")])
    assert client.hgetall(keys.counters) == {"a": "1", "one": "1", "two": "1"}


def test_of_many_that_open_at_once_one_migrates(client: Redis, keys: Keys, store: RedisStore) -> None:
    store.record(made("a"))
    steps = [adding("one"), adding("two")]
    together(8, lambda _: ensure_schema(client, keys, migrations=steps))
    assert client.hgetall(keys.counters) == {"a": "1", "one": "1", "two": "1"}
    assert client.get(keys.schema_version) == "3"


def test_who_waits_too_long_for_another_is_told(client: Redis, keys: Keys, store: RedisStore) -> None:
    store.record(made("a"))
    is_under_way, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        is_under_way.set()
        assert may_end.wait(30)

    steps = [adding("one", also=hold)]
    first = threading.Thread(target=lambda: ensure_schema(client, keys, migrations=steps))
    first.start()
    try:
        assert is_under_way.wait(30)
        with pytest.raises(SchemaRefused, match="another process is migrating"):
            ensure_schema(client, keys, migrations=[adding("one")], wait_seconds=0.1)
    finally:
        may_end.set()
        first.join(30)
    assert client.hget(keys.counters, "one") == "1"


def test_a_lost_lock_ends_the_migration(client: Redis, keys: Keys, store: RedisStore) -> None:
    store.record(made("a"))
    steps = [adding("one", also=lambda: client.set(keys.schema_lock, "another")), adding("two")]
    with pytest.raises(SchemaRefused, match="taken over"):
        ensure_schema(client, keys, migrations=steps)
    assert client.get(keys.schema_lock) == "another"
    assert client.hexists(keys.counters, "two") == 0


def test_a_living_service_keeps_the_older_version(client: Redis, keys: Keys, store: RedisStore) -> None:
    store.record(made("a"))
    client.sadd(keys.services, "one")
    client.set(keys.service("one"), "{}")
    with pytest.raises(SchemaRefused, match="stop that service first"):
        ensure_schema(client, keys, migrations=[adding("one")], heartbeat_seconds=0.1)
    assert client.hexists(keys.counters, "one") == 0
    client.delete(keys.service("one"))
    ensure_schema(client, keys, migrations=[adding("one")])
    assert client.hget(keys.counters, "one") == "1"


@pytest.mark.parametrize("version", ["2", "99", "x", ""])
def test_a_version_that_is_not_known_is_refused(client: Redis, keys: Keys, version: str) -> None:
    client.set(keys.schema_version, version)
    with pytest.raises(SchemaRefused, match=r"this program knows versions up to 1|is no number"):
        ensure_schema(client, keys, migrations=[])
    assert client.get(keys.schema_version) == version


def test_a_restore_that_was_cut_off_is_refused(client: Redis, keys: Keys) -> None:
    client.set(keys.restoring, "since then")
    with pytest.raises(SchemaRefused, match="--replace"):
        ensure_schema(client, keys)
