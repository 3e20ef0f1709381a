"""What a service says of itself, kept from what its actors report."""

from __future__ import annotations

from typing import Any

import pytest

from actors.core.decide import Decision, Materialize, Reason, Skip, Wait
from actors.interfaces.rates import Rate
from actors.interfaces.standing import Standing

NOW = 1_700_000_000_000


@pytest.fixture
def clock() -> list[int]:
    return [NOW]


@pytest.fixture
def standing(clock: list[int]) -> Standing:
    return Standing(lambda: clock[0])


def decided(
    standing: Standing,
    asset_id: str,
    decision: Decision,
    *,
    key: str | None = None,
    look_ms: int | None = None,
    **more: int,
) -> None:
    standing.decided(
        asset_id=asset_id,
        workflow_slug="w",
        partition_key=key,
        decision=decision,
        cause="timer",
        run_id=None,
        failures=more.get("failures", 0),
        next_look_ms=look_ms,
        is_news=True,
    )


def test_only_the_last_word_of_a_partition_counts(standing: Standing, clock: list[int]) -> None:
    decided(standing, "a", Materialize(Reason.EXPIRED))
    decided(standing, "a", Wait(None, Reason.IN_FLIGHT))
    decided(standing, "b", Wait(NOW + 5_000, Reason.BACKOFF), look_ms=NOW + 5_000, failures=2)
    clock[0] += 1_000
    decided(standing, "b", Wait(NOW + 9_000, Reason.BACKOFF), look_ms=NOW + 9_000, failures=2)
    decided(standing, "c", Wait(None, Reason.SUSPENDED), failures=5)
    told: Any = standing.overview(10)
    assert told["waiting"] == {"backoff": 1, "in-flight": 1, "suspended": 1}
    assert [(each["assetId"], each["state"], each["failures"]) for each in told["failing"]] == [
        ("c", "suspended", 5),
        ("b", "backoff", 2),
    ]
    # It has been failing since the first of two decisions that said the same.
    assert told["failing"][1]["since"] == "2023-11-14T22:13:20.000Z"

    decided(standing, "a", Skip(Reason.FRESH, NOW + 60_000), look_ms=NOW + 60_000)
    decided(standing, "b", Skip(Reason.FRESH))
    told = standing.overview(10)
    assert told["waiting"] == {"suspended": 1}
    assert [each["assetId"] for each in told["failing"]] == ["c"]
    assert [(each["assetId"], each["what"]) for each in told["next"]] == [("a", "expires")]


def test_what_comes_next_is_bounded_in_order_and_asked_again_the_same(standing: Standing) -> None:
    for number in range(500):
        decided(standing, f"a{number}", Skip(Reason.FRESH, NOW), look_ms=NOW + 10_000 + number)
    decided(standing, "waits", Wait(NOW + 1, Reason.QUIET_HOURS), look_ms=NOW + 1)
    for _ in range(3):
        # Deciding anew neither doubles an entry nor keeps the former time.
        decided(standing, "a0", Skip(Reason.FRESH, NOW), look_ms=NOW + 20_000, key="k")
        decided(standing, "a1", Skip(Reason.FRESH, NOW), look_ms=NOW + 10_001)
    decided(standing, "a2", Skip(Reason.FRESH))
    for _ in range(2):
        told: Any = standing.overview(4)["next"]
        assert [(each["assetId"], each["what"]) for each in told] == [
            ("waits", "quiet-hours"),
            ("a0", "expires"),
            ("a1", "expires"),
            ("a3", "expires"),
        ]


def test_new_actors_begin_with_nothing(standing: Standing) -> None:
    decided(standing, "a", Wait(None, Reason.SUSPENDED), look_ms=NOW + 1)
    standing.stale_changed(1)
    standing.begin_anew()
    told: Any = standing.overview(10)
    assert (told["stale"], told["waiting"], told["failing"], told["next"]) == (0, {}, [], [])


def test_a_rate_is_that_of_whole_seconds_and_forgets() -> None:
    rate = Rate()
    for second in range(100):
        rate.add(second, second * 1_000)
    # The second that goes on, number 100, does not count yet.
    rate.add(1_000, 100_000)
    assert rate.per_second(10, 100_500) == sum(range(90, 100)) / 10
    assert rate.per_second(60, 100_500) == sum(range(40, 100)) / 60
    assert rate.per_second(10, 400_000) == 0
