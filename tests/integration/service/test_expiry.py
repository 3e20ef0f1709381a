"""Expiry re-makes without being asked."""

from __future__ import annotations

from actors.catalog.events import AssetExpired
from actors.catalog.store import RunStatus
from tests.integration.service.driver import Service, eventually, now_ms
from tests.integration.service.workflows import produce, workflow


def expired(service: Service, asset_id: str) -> list[AssetExpired]:
    return [
        event
        for event in service.events("asset.expired")
        if isinstance(event, AssetExpired) and event.asset_id == asset_id
    ]


def test_L6_what_expired_is_made_again_and_told_of_once(service: Service) -> None:
    service.write(workflow("tick", produce("tick", {}, freshness={"ttlMs": 300})))
    service.start()
    service.trigger("tick")
    runs = service.wait_runs("tick", RunStatus.SUCCEEDED, 4)
    assert [run.trigger["type"] for run in runs[:4]] == ["manual"] + ["auto-materialize"] * 3
    assert [run.trigger["reason"] for run in runs[1:4]] == ["expired"] * 3
    # No more of them, so that what was counted is all there is.
    service.put(workflow("tick", produce("tick", None, freshness={"ttlMs": 3_600_000})))
    service.wait_idle()
    versions = [event.version or 0 for event in expired(service, "tick")]
    # Each at most once. On a busy machine one may be made again before its expiry was told, which then is none.
    assert versions == sorted(set(versions))
    assert {2, 3} & set(versions)
    by_version = {entry.materialization.version: entry for entry in service.store.history("tick")}
    for event in expired(service, "tick"):
        assert event.version is not None
        assert event.expires_at_ms - by_version[event.version].materialization.produced_at_ms == 300
        assert event.reason == "ttl"


def test_L6_what_expired_while_the_service_was_down_is_made_again_at_its_start(service: Service) -> None:
    service.write(workflow("down", produce("down", {}, freshness={"ttlMs": 1_500})))
    service.start()
    service.trigger("down")
    service.wait_runs("down", RunStatus.SUCCEEDED)
    service.kill()
    made = service.latest("down").materialization
    eventually(lambda: _has_passed(made.produced_at_ms + 1_500), "it has expired")
    service.start()
    (_, again) = service.wait_runs("down", RunStatus.SUCCEEDED, 2)[:2]
    assert again.trigger["reason"] == "expired"
    assert [event.version for event in expired(service, "down")].count(made.version) == 1


def test_L6_something_newer_cancels_the_expiry(running: Service) -> None:
    running.put(workflow("kept", produce("kept", {}, freshness={"ttlMs": 60_000})))
    running.wait_idle()
    made_at_ms = now_ms() - 57_000
    running.emit("kept", produced_at_ms=made_at_ms)
    running.emit("kept")
    eventually(lambda: _has_passed(made_at_ms + 60_000), "the first would have expired")
    running.wait_idle()
    assert expired(running, "kept") == []
    assert running.runs("kept") == []


def test_L6_an_asset_that_did_not_opt_in_expires_and_nothing_runs(running: Service) -> None:
    running.put(workflow("quiet", produce("quiet", None, freshness={"ttlMs": 100})))
    running.emit("quiet")
    eventually(lambda: expired(running, "quiet"), "quiet has expired")
    running.wait_idle()
    assert len(expired(running, "quiet")) == 1
    assert running.runs("quiet") == []


def test_L6_a_policy_that_came_with_the_result_goes_before_the_declared_one(running: Service) -> None:
    answer = {"assets": [{"assetId": "own", "freshness": {"ttlMs": 200}}]}
    running.put(
        workflow("own", produce("own", {}, freshness={"ttlMs": 3_600_000}), job="answer", defaults={"answer": answer})
    )
    running.trigger("own")
    running.wait_runs("own", RunStatus.SUCCEEDED, 2)
    assert running.runs("own")[1].trigger["reason"] == "expired"
    running.put(workflow("own", produce("own", None)))


def _has_passed(at_ms: int) -> bool:
    return now_ms() > at_ms
