"""`pause`, `unpause`, `pauses` and `mark-stale`, with and without a service."""

from __future__ import annotations

import pytest

from tests.integration.cli.conftest import Place

pytestmark = pytest.mark.integration


def test_pauses_are_made_listed_and_ended_without_a_service(filled: Place) -> None:
    assert filled.ok("pauses").out == "nothing is paused\n"
    assert filled.ok("pauses", "--json").json == []
    assert filled.ok("pause", "--all").out == "paused everything until it is unpaused\n"
    assert "paused workflow daily until 2099-01-01T00:00:00.000Z (in " in (
        filled.ok("pause", "--workflow", "daily", "--until", "2099-01-01T00:00:00Z", "--reason", "moving").out
    )
    made = filled.ok("pause", "--asset", "orders.daily", "--for", "2h", "--json").json
    assert (made["scope"], made["reason"]) == ("asset:orders.daily", None)
    listed = filled.ok("pauses", "--json").json
    assert [one["scope"] for one in listed] == ["all", "asset:orders.daily", "workflow:daily"]
    assert listed[1] == made
    assert (listed[2]["until"], listed[2]["reason"]) == ("2099-01-01T00:00:00.000Z", "moving")
    table = filled.ok("pauses").out.splitlines()
    assert table[0].split() == ["SCOPE", "SINCE", "UNTIL", "REASON"]
    assert "it is unpaused" in table[1]
    assert "in 1 h 59 min" in table[2] or "in 2 h" in table[2]

    answer = filled.ok("unpause", "--all")
    assert answer.out == "unpaused everything\n"
    assert answer.err == "note: still paused: asset:orders.daily, workflow:daily\n"
    again = filled.run("unpause", "--all", "--json")
    assert (again.code, again.json["unpaused"]) == (1, False)
    assert "everything is not paused; paused are asset:orders.daily, workflow:daily" in again.err


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        (("--workflow", "dayly"), "there is no workflow 'dayly'; did you mean 'daily'?"),
        (("--asset", "orders.dayly"), "there is no asset 'orders.dayly'; did you mean 'orders.daily' or 'orders.raw'?"),
    ],
)
def test_what_is_not_there_cannot_be_paused(filled: Place, scope: tuple[str, str], told: str) -> None:
    answer = filled.run("pause", *scope)
    assert answer.code == 1
    assert told in answer.err
    assert filled.ok("pauses", "--json").json == []


def test_a_pause_outlives_what_it_was_of_and_can_still_be_ended(filled: Place) -> None:
    filled.ok("pause", "--workflow", "daily")
    filled.ok("remove-workflow", "daily")
    assert filled.ok("unpause", "--workflow", "daily").out == "unpaused workflow daily\n"


def test_debug_without_a_service_knows_of_pauses(filled: Place) -> None:
    filled.ok("emit", "asset.produced", "--asset", "orders.raw")
    filled.ok("pause", "--workflow", "daily", "--reason", "moving")
    shown = filled.ok("debug", "orders.daily", "--json").json
    assert (shown["pause"]["scope"], shown["pause"]["reason"]) == ("workflow:daily", "moving")
    (partition,) = shown["partitions"]
    assert (partition["state"], partition["reason"]) == ("paused", "paused")
    text = filled.ok("debug", "orders.daily").out
    assert "paused by workflow:daily since " in text
    assert "until it is unpaused: moving" in text
    assert filled.ok("debug", "orders.store", "--json").json["pause"] is None


def test_the_service_follows_pauses_that_commands_make(place: Place) -> None:
    with place.service():
        place.ok("pause", "--all")
        place.ok("emit", "asset.produced", "--asset", "orders.raw")
        shown = place.until(
            lambda asset: [p["state"] for p in asset["partitions"]] == ["paused"], "debug", "orders.daily"
        )
        assert (shown["live"], shown["pause"]["scope"]) == (True, "all")
        place.ok("trigger", "daily", "--wait", "60")
        assert place.ok("runs", "--trigger", "auto-materialize", "--json").json == []
        place.ok("emit", "asset.produced", "--asset", "orders.raw")
        place.until(lambda asset: asset["partitions"][0]["state"] == "paused", "debug", "orders.daily")
        place.ok("unpause", "--all")
        place.until(lambda runs: [r["status"] for r in runs] == ["succeeded"], "runs", "--trigger", "auto-materialize")


def test_mark_stale_declares_the_latest_version_expired(filled: Place) -> None:
    answer = filled.run("mark-stale", "orders.daily")
    assert (answer.code, answer.out) == (1, "")
    assert "orders.daily was never produced, so it cannot expire; `trigger` its workflow" in answer.err
    filled.ok("emit", "asset.produced", "--asset", "orders.daily")
    marked = filled.ok("mark-stale", "orders.daily", "--json")
    assert marked.json == {"assetId": "orders.daily", "partitionKey": None, "version": 1, "expired": True}
    assert marked.err == ""
    assert filled.ok("mark-stale", "orders.daily").out == "orders.daily version 1 had expired already\n"
    (partition,) = filled.ok("debug", "orders.daily", "--json").json["partitions"]
    assert partition["state"] == "expired"


def test_mark_stale_is_of_one_partition_and_says_when_nothing_follows(filled: Place) -> None:
    filled.ok("emit", "asset.produced", "--asset", "orders.store", "--partition", "a")
    answer = filled.ok("mark-stale", "orders.store", "--partition", "a")
    assert answer.out == "orders.store@a version 1 expired\n"
    assert "nothing makes it again" in answer.err
    assert filled.run("mark-stale", "orders.store", "--partition", "b").code == 1
    assert filled.run("mark-stale", "orders.store", "--partition", "z").code == 2
    assert filled.run("mark-stale", "orders.store").code == 2
    assert "did you mean 'orders.store'" in filled.run("mark-stale", "orders.stor").err
