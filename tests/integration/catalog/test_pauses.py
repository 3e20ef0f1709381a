"""Pauses as they are kept, told of, and asked for by the script that submits runs."""

from __future__ import annotations

import pytest
from redis import Redis

from actors.catalog.events import PauseChanged
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Basis, Busy, Limits, Paused, Submitted
from actors.core.pauses import Pause
from actors.core.wallclock import DAY_MS
from tests.integration.catalog.builders import MANUAL, T0, event_types, events, on_every_server, start, wanted

pytestmark = on_every_server


def asks(asset_id: str) -> Basis:
    return Basis(asset_id, None, 0, 0)


def test_pauses_are_kept_by_scope_and_told_of(store: RedisStore, client: Redis, prefix: str) -> None:
    assert store.pauses(T0) == {}
    made = store.pause("workflow:orders", T0 + 60_000, "moving é", T0)
    assert made == Pause("workflow:orders", T0, T0 + 60_000, "moving é")
    store.pause("all", None, None, T0 + 1)
    assert store.pauses(T0 + 1) == {"all": Pause("all", T0 + 1), "workflow:orders": made}
    assert store.unpause("all", T0 + 2)
    assert store.pauses(T0 + 2) == {"workflow:orders": made}
    assert events(client, prefix) == [
        PauseChanged(scope="workflow:orders", paused=True, until_ms=T0 + 60_000, reason="moving é"),
        PauseChanged(scope="all", paused=True),
        PauseChanged(scope="all", paused=False),
    ]


def test_the_end_of_a_pause_far_in_the_future_can_be_read(store: RedisStore, client: Redis, prefix: str) -> None:
    store.pause("all", T0 + 3_000 * DAY_MS, None, T0)
    (event,) = events(client, prefix)
    assert isinstance(event, PauseChanged)
    assert event.until_ms == T0 + 3_000 * DAY_MS


def test_a_pause_takes_the_place_of_the_one_before(store: RedisStore) -> None:
    store.pause("asset:a", T0 + 10, "first", T0)
    store.pause("asset:a", None, None, T0 + 1)
    assert store.pauses(T0 + 1) == {"asset:a": Pause("asset:a", T0 + 1)}


def test_an_ended_pause_is_ignored_and_a_day_later_dropped(store: RedisStore, client: Redis, prefix: str) -> None:
    store.pause("asset:a", T0 + 10, None, T0)
    assert list(store.pauses(T0 + 9)) == ["asset:a"]
    assert store.pauses(T0 + 10) == {}
    store.pause("asset:b", None, None, T0 + 10 + DAY_MS - 1)
    assert client.hkeys(f"{prefix}:pauses") == ["asset:a", "asset:b"]
    store.pause("asset:c", None, None, T0 + 10 + DAY_MS)
    assert client.hkeys(f"{prefix}:pauses") == ["asset:b", "asset:c"]


def test_what_is_not_paused_cannot_be_unpaused(store: RedisStore, client: Redis, prefix: str) -> None:
    assert not store.unpause("all", T0)
    assert event_types(client, prefix) == []
    store.pause("all", T0 + 10, None, T0)
    assert not store.unpause("all", T0 + 10)
    # By another's clock it may go on: it is ended, and told of, in any case.
    assert store.pauses(T0) == {}
    assert event_types(client, prefix) == ["pause.changed", "pause.changed"]


@pytest.mark.parametrize(
    ("scope", "until_ms", "reason", "flaw"),
    [
        ("everything", None, None, "no scope of a pause"),
        ("all", T0, None, "end before it begins"),
        ("all", None, "r" * 201, "at most 200"),
    ],
)
def test_what_cannot_be_a_pause_changes_nothing(
    store: RedisStore, client: Redis, prefix: str, scope: str, until_ms: int | None, reason: str | None, flaw: str
) -> None:
    with pytest.raises(ValueError, match=flaw):
        store.pause(scope, until_ms, reason, T0)
    assert store.pauses(T0) == {}
    assert event_types(client, prefix) == []


# -- submitting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["all", "workflow:orders", "asset:a"])
def test_L9_no_run_is_claimed_for_an_asset_that_is_paused(
    store: RedisStore, client: Redis, prefix: str, scope: str
) -> None:
    store.pause(scope, T0 + 10, None, T0)
    told = event_types(client, prefix)
    assert store.submit([wanted("r1", basis=(asks("a"),), at_ms=T0 + 9)]) == [Paused(("a",))]
    assert (store.active_runs(), store.run("r1"), event_types(client, prefix)) == ([], None, told)
    assert store.submit([wanted("r2", basis=(asks("a"),), at_ms=T0 + 10)]) == [Submitted("r2")]


def test_those_that_are_paused_are_named(store: RedisStore) -> None:
    store.pause("asset:a", None, None, T0)
    store.pause("asset:c", None, None, T0)
    assert store.submit([wanted("r1", basis=(asks("a"), asks("b"), asks("c")))]) == [Paused(("a", "c"))]
    store.pause("workflow:orders", None, None, T0)
    assert store.submit([wanted("r1", basis=(asks("a"), asks("b")))]) == [Paused(("a", "b"))]


def test_others_are_not_held(store: RedisStore) -> None:
    store.pause("asset:b", None, None, T0)
    store.pause("workflow:a", None, None, T0)
    store.pause("asset:orders", None, None, T0)
    assert store.submit([wanted("r1", basis=(asks("a"),))]) == [Submitted("r1")]


def test_L9_a_run_by_hand_passes_through_a_pause(store: RedisStore, client: Redis, prefix: str) -> None:
    client.hset(f"{prefix}:workflows", "orders", "{}")
    for scope in ("all", "workflow:orders", "asset:a"):
        store.pause(scope, None, None, T0)
    store.queue_run(wanted("r1", trigger=MANUAL))
    assert store.submit([wanted("r1", trigger=MANUAL, queued=True)]) == [Submitted("r1")]


def test_a_pause_is_told_before_a_claim_and_a_limit(store: RedisStore) -> None:
    start(store, "r1")
    store.pause("asset:a", None, None, T0)
    full = Limits(max_runs=1)
    assert store.submit([wanted("r2", basis=(asks("a"),), limits=full)]) == [Paused(("a",))]
    assert store.submit([wanted("r2", basis=(asks("b"),), limits=full)]) == [Busy("r1")]
