"""Pauses among the actors: who is told, who waits for whom, and that what was held back acts once (L4, L9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from actors.catalog.store import Paused
from actors.core.decide import Reason, Wait
from actors.messages import AssetDump, DumpAsset, LookAgain, ReportAgain
from tests.unit.doubles import NOON, Stage, only, stage
from tests.unit.test_registry import DIAMOND, Among, House, fresh, workflow

SHORTCUT = (workflow("b", "a"), workflow("c", "a"), workflow("d", "a", "b", "c"))


@pytest.fixture
def on_stage() -> Iterator[Stage]:
    with stage() as made:
        yield made


def pause(on: Stage, scope: str, until_ms: int | None = None) -> None:
    on.catalog.pause(scope, until_ms)
    on.settle()


def unpause(on: Stage, scope: str) -> None:
    on.catalog.unpause(scope)
    on.settle()


def dump(house: House, asset_id: str) -> AssetDump:
    found: AssetDump = house.on.ask(house.asset(asset_id), DumpAsset(asset_id))
    return found


def state(house: House, asset_id: str) -> str:
    (partition,) = dump(house, asset_id).partitions
    return partition.state


def looks(mail: dict[str, list[Any]]) -> dict[str, frozenset[str]]:
    """Who was told to look again, and after whose reports."""
    return {asset_id: found[0].awaits for asset_id, box in mail.items() if (found := only(box, LookAgain))}


@pytest.mark.parametrize(
    ("scope", "concerned"),
    [("all", {"b", "c", "d", "aside"}), ("workflow:make-b", {"b"}), ("asset:c", {"c"}), ("asset:nobody's", set())],
)
def test_a_pause_concerns_its_scope_alone(on_stage: Stage, scope: str, concerned: set[str]) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.pause(scope)
    assert set(among.tell()) == concerned
    on_stage.catalog.unpause(scope)
    assert set(looks(among.tell())) == concerned


def test_what_is_paused_looks_at_once_and_what_goes_on_after_its_upstreams(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.pause("all")
    assert looks(among.tell()) == dict.fromkeys(among.mail, frozenset())
    on_stage.catalog.unpause("all")
    mail = among.tell()
    nothing: frozenset[str] = frozenset()
    assert looks(mail) == {"b": nothing, "c": nothing, "d": frozenset("bc"), "aside": nothing}
    # Those that look again report by themselves.
    assert not [box for box in mail.values() if only(box, ReportAgain)]


def test_upstreams_that_were_not_paused_are_asked_to_report(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.pause("asset:d")
    among.tell()
    on_stage.catalog.unpause("asset:d")
    mail = among.tell()
    assert looks(mail) == {"d": frozenset("bc")}
    assert {asset_id for asset_id, box in mail.items() if only(box, ReportAgain)} == {"b", "c"}


def test_news_of_a_pause_that_changed_nothing_disturbs_nobody(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.pause("all")
    news = on_stage.catalog.stream[0]
    among.tell()
    assert among.tell(news, news) == {}


def test_an_end_takes_the_time_that_was_given_last(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.pause("asset:b", NOON + 1_000)
    among.tell()
    on_stage.catalog.pause("asset:b", NOON + 5_000)
    among.tell()
    before = len(among.mail["b"])
    on_stage.advance(4_999)
    assert len(among.mail["b"]) == before
    on_stage.advance(1)
    assert only(among.mail["b"][before:], LookAgain)
    assert on_stage.around.pauses.by_scope == {}
    assert on_stage.timers.next_at() == NOON + 600_000  # the refresh; no end is left


@pytest.mark.parametrize("for_ms", [None, 5_000])
@pytest.mark.parametrize("first", ["b", "c"])
def test_L4_L9_what_one_pause_held_back_runs_once_and_in_order(on_stage: Stage, for_ms: int | None, first: str) -> None:
    fresh(on_stage)
    house = House(on_stage, *SHORTCUT)
    pause(on_stage, "all", None if for_ms is None else NOON + for_ms)
    for _ in range(3):
        house.produce("a")
    assert house.active() == []
    assert [state(house, asset_id) for asset_id in "bcd"] == ["paused"] * 3
    if for_ms is None:
        unpause(on_stage, "all")
    else:
        on_stage.advance(for_ms)
        on_stage.settle()
    assert house.active() == ["b", "c"]
    house.make(first)
    (second,) = house.active()
    house.make(second)
    house.make("d")
    assert (house.active(), house.counts()) == ([], {"b": 1, "c": 1, "d": 1})


def test_those_below_do_not_wait_for_a_paused_asset(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, *SHORTCUT)
    pause(on_stage, "workflow:make-b")
    house.produce("a")
    assert house.active() == ["c"]
    house.make("c")
    assert house.active() == ["d"]


def test_a_wanted_run_is_withdrawn_when_the_pause_is_heard_of(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, *DIAMOND, max_runs=1)
    house.produce("a")
    (first,) = house.active()
    second = {"b": "c", "c": "b"}[first]
    pause(on_stage, f"asset:{second}")
    house.make(first)
    assert house.active() == ["d"]
    unpause(on_stage, f"asset:{second}")
    house.make("d")
    assert house.active() == [second]


def test_a_run_that_the_catalog_held_back_is_wanted_again_when_it_may_be(on_stage: Stage) -> None:
    """The pause was over before its news was heard, so nothing else makes the asset look again."""
    fresh(on_stage)
    house = House(on_stage, DIAMOND[0])
    on_stage.catalog.outcomes.append(Paused(("b",)))
    house.produce("a")
    assert house.active() == ["b"]
    assert house.counts() == {"b": 2}


def test_a_run_that_the_catalog_held_back_waits_though_the_news_is_late(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, DIAMOND[0])
    on_stage.catalog.pause("all")
    on_stage.catalog.stream.clear()
    on_stage.catalog.outcomes.append(Paused(("b",)))
    house.produce("a")
    assert (house.active(), state(house, "b")) == ([], "paused")
    on_stage.advance(60_000)
    assert house.counts() == {"b": 1}


def test_a_paused_asset_still_expires(on_stage: Stage) -> None:
    house = House(on_stage, workflow("b", ttl_ms=1_000))
    house.produce("b")
    pause(on_stage, "all")
    on_stage.advance(1_000)
    on_stage.settle()
    assert [version for _, _, version, _ in on_stage.catalog.expiries] == [1]
    assert (house.active(), state(house, "b")) == ([], "paused")
    unpause(on_stage, "all")
    assert house.active() == ["b"]


def test_one_that_is_held_back_already_still_expires_at_its_time(on_stage: Stage) -> None:
    house = House(on_stage, workflow("b", "a", ttl_ms=1_000))
    house.produce("b")
    pause(on_stage, "all", NOON + 9_000)
    house.produce("a")
    assert state(house, "b") == "paused"
    on_stage.advance(1_000)
    assert [version for _, _, version, _ in on_stage.catalog.expiries] == [1]


def test_a_lost_change_is_found_at_the_next_refresh(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, DIAMOND[0])
    pause(on_stage, "all")
    house.produce("a")
    on_stage.catalog.unpause("all")
    on_stage.catalog.stream.clear()
    on_stage.advance(600_000)
    on_stage.settle()
    assert house.active() == ["b"]


def test_it_tells_what_holds_it_and_why_it_looked(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, DIAMOND[0])
    pause(on_stage, "all", NOON + 5_000)
    house.produce("a")
    found = dump(house, "b")
    assert found.pause is not None
    assert (found.pause.scope, found.pause.until_ms) == ("all", NOON + 5_000)
    entry = found.partitions[0].decisions[-1]
    assert (entry.decision, entry.next_look_ms) == (Wait(NOON + 5_000, Reason.PAUSED), NOON + 5_000)
    on_stage.advance(5_000)
    on_stage.settle()
    assert dump(house, "b").pause is None
    assert "pause ended: all" in [entry.cause for entry in dump(house, "b").partitions[0].decisions]
