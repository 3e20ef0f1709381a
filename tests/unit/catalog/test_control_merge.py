"""The answers of several shards, put together as that of one service."""

from __future__ import annotations

from actors.catalog.control_merge import merged
from actors.catalog.store import JsonObject


def test_one_answer_is_the_answer() -> None:
    assert merged([{"active": [], "activeCount": 0}]) == {"active": [], "activeCount": 0}


def test_lists_follow_each_other_and_counts_are_added() -> None:
    one: JsonObject = {
        "startedAtMs": 20,
        "activeCount": 1,
        "active": [{"runId": "a"}],
        "overview": {"waiting": {"backoff": 1}},
    }
    other: JsonObject = {
        "startedAtMs": 10,
        "activeCount": 2,
        "active": [{"runId": "b"}],
        "overview": {"waiting": {"paused": 4}},
    }
    assert merged([one, other]) == {
        "startedAtMs": 10,
        "activeCount": 3,
        "active": [{"runId": "a"}, {"runId": "b"}],
        "overview": {"waiting": {"backoff": 1, "paused": 4}},
    }


def test_limits_hold_for_all_shards_together_and_are_not_added() -> None:
    slots: JsonObject = {"maxRuns": 8, "workflows": {"w": 1}, "pools": {"gpu": 2}, "launcher": "local", "processes": 2}
    assert merged([{"slots": slots}] * 3) == {"slots": {**slots, "processes": 6}}


def test_rates_are_added_over_the_same_time() -> None:
    rates: JsonObject = {"seconds": 10, "eventsPerSecond": 2.5}
    assert merged([{"rates": rates}, {"rates": rates}]) == {"rates": {"seconds": 10, "eventsPerSecond": 5.0}}


def test_what_only_one_can_say_is_said_by_it() -> None:
    assert merged([{"assets": [{"assetId": "a"}]}]) == {"assets": [{"assetId": "a"}]}
    assert merged([None, None]) is None
    assert merged([True, True]) is True
