"""What is made after a long pause, and after an outage: of the time windows that went stale the latest, or all."""

from __future__ import annotations

from typing import Any

import pytest

from actors.catalog.events import AssetPassedOver
from actors.catalog.store import RunStatus
from tests.integration.service.driver import Service, eventually, now_ms
from tests.integration.service.workflows import produce, workflow

HOUR = {"type": "timeWindow", "granularity": "hour"}
HOURS = ["2026-11-23T10", "2026-11-23T11", "2026-11-23T12"]
LONG = {"catch_up": {"after_seconds": 0.001}}


def hourly(slug: str, **auto: Any) -> dict[str, Any]:
    raw = {"assetId": f"{slug}.raw", "partitioning": HOUR}
    return workflow(slug, produce(slug, {"onUpstreamUpdate": True, **auto}, partitioning=HOUR), consumes=[raw])


def made(service: Service, slug: str) -> list[str | None]:
    return sorted((call.partition for call in service.begun(slug)), key=str)


@pytest.mark.parametrize(("policy", "expected"), [({}, HOURS[2:]), ({"catchUp": "all"}, HOURS)])
def test_after_a_long_pause(service: Service, policy: dict[str, Any], expected: list[str]) -> None:
    service.configure(**LONG)
    service.put(hourly("late", **policy))
    service.store.pause("all", None, "test", now_ms())
    service.start()
    for hour in HOURS:
        service.emit("late.raw", hour)
    eventually(lambda: service.partition("late", HOURS[2]).get("state") == "paused", "the update has arrived")
    assert service.store.unpause("all", now_ms())
    service.wait_runs("late", RunStatus.SUCCEEDED, len(expected))
    service.wait_idle()
    assert made(service, "late") == expected


def test_after_an_outage_and_what_was_passed_over_stays_so_until_it_is_resumed(service: Service) -> None:
    service.put(hourly("out"))
    service.start()
    service.terminate()
    service.configure(**LONG)
    for hour in HOURS:
        service.emit("out.raw", hour)
    service.start()
    service.wait_runs("out", RunStatus.SUCCEEDED)
    service.wait_idle()
    assert made(service, "out") == HOURS[2:]
    assert service.partition("out", HOURS[0])["reason"] == "passed-over"
    assert [e.partition_key for e in service.events("asset.passedOver") if isinstance(e, AssetPassedOver)] == HOURS[:2]

    service.terminate()
    service.start()
    service.wait_idle()
    assert made(service, "out") == HOURS[2:]

    assert service.store.resume("out", HOURS[0]) == 1
    service.wait_runs("out", RunStatus.SUCCEEDED, 2)
    service.emit("out.raw", HOURS[1])
    service.wait_runs("out", RunStatus.SUCCEEDED, 3)
    assert made(service, "out") == HOURS


def test_after_a_short_outage_all_are_made(service: Service) -> None:
    service.put(hourly("short"))
    service.start()
    service.kill()
    for hour in HOURS:
        service.emit("short.raw", hour)
    service.start()
    service.wait_runs("short", RunStatus.SUCCEEDED, 3)
    assert made(service, "short") == HOURS
