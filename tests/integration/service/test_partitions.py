"""Partitions: which of them an update concerns, and what their runs are told."""

from __future__ import annotations

from actors.catalog.store import RunStatus
from tests.integration.service.driver import Service
from tests.integration.service.workflows import produce, workflow

MINUTE = {"type": "timeWindow", "granularity": "minute"}
HOUR = {"type": "timeWindow", "granularity": "hour"}


def partitions(service: Service, slug: str) -> list[str | None]:
    return [call.partition for call in service.begun(slug)]


def test_minutes_update_the_hour_that_holds_them(running: Service) -> None:
    raw = {"assetId": "min.raw", "partitioning": MINUTE}
    running.put(workflow("min-clean", produce("min-clean", partitioning=MINUTE), consumes=[raw]))
    running.put(workflow("min-hour", produce("min-hour", partitioning=HOUR), consumes=["min-clean"]))
    running.emit("min.raw", "2026-11-23T10:07")
    running.wait_runs("min-hour", RunStatus.SUCCEEDED)
    running.emit("min.raw", "2026-11-23T11:59")
    running.wait_runs("min-hour", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert partitions(running, "min-clean") == ["2026-11-23T10:07", "2026-11-23T11:59"]
    assert partitions(running, "min-hour") == ["2026-11-23T10", "2026-11-23T11"]
    assert running.begun("min-hour")[0].parameters == {
        "partitionKey": "2026-11-23T10",
        "windowStart": "2026-11-23T10:00:00Z",
        "windowEnd": "2026-11-23T11:00:00Z",
    }
    assert running.begun("min-hour")[0].trigger["upstream"] == [
        {"assetId": "min-clean", "partitionKey": "2026-11-23T10:07", "version": 1}
    ]


def test_parameters_kept_for_a_partition_lie_between_the_policys_and_the_derived(running: Service) -> None:
    auto = {"onUpstreamUpdate": True, "parameterDefaults": {"b": "auto", "c": "auto"}}
    hourly = produce("lay", auto, partitioning=HOUR)
    defaults = {"a": "default", "b": "default", "c": "default"}
    running.put(workflow("lay", hourly, consumes=[{"assetId": "lay.raw", "partitioning": HOUR}], defaults=defaults))
    running.store.put_partition_parameters("lay", "2026-11-23T10", {"c": "kept", "partitionKey": "no"})
    running.emit("lay.raw", "2026-11-23T10")
    running.wait_runs("lay", RunStatus.SUCCEEDED)
    (call,) = running.begun("lay")
    assert {name: call.parameters[name] for name in ("a", "b", "c", "partitionKey")} == {
        "a": "default",
        "b": "auto",
        "c": "kept",
        "partitionKey": "2026-11-23T10",
    }


def test_a_manual_run_of_a_partition_makes_it_and_updates_what_lies_below(running: Service) -> None:
    running.put(workflow("man", produce("man", None, partitioning={"type": "static", "keys": ["eu", "us"]})))
    running.put(
        workflow(
            "man-below", produce("man-below", partitioning={"type": "static", "keys": ["eu", "us"]}), consumes=["man"]
        )
    )
    run_id = running.trigger("man", "eu", note="by hand")
    running.wait_runs("man-below", RunStatus.SUCCEEDED)
    running.wait_idle()
    (call,) = running.begun("man")
    assert (call.run_id, call.partition) == (run_id, "eu")
    assert call.parameters == {"note": "by hand", "partitionKey": "eu"}
    assert partitions(running, "man-below") == ["eu"]


def test_static_partitions_follow_the_same_key_only(running: Service) -> None:
    raw = {"assetId": "sta.raw", "partitioning": {"type": "static", "keys": ["eu", "us", "ap"]}}
    keys = {"type": "static", "keys": ["eu", "us"]}
    running.put(workflow("sta", produce("sta", partitioning=keys), consumes=[raw]))
    for key in ("ap", "us", "eu"):
        running.emit("sta.raw", key)
    running.wait_runs("sta", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert sorted(map(str, partitions(running, "sta"))) == ["eu", "us"]


def test_dynamic_partitions_come_into_being_with_their_upstreams(running: Service) -> None:
    dynamic = {"type": "dynamic"}
    raw = {"assetId": "dyn.raw", "partitioning": dynamic}
    running.put(workflow("dyn", produce("dyn", partitioning=dynamic), consumes=[raw]))
    running.put(workflow("dyn-all", consumes=["dyn"]))
    for key in ("a/1", "ß 2"):
        running.emit("dyn.raw", key)
    running.wait_runs("dyn", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert sorted(map(str, partitions(running, "dyn"))) == ["a/1", "ß 2"]
    assert running.latest("dyn-all").materialization.inputs == {"dyn": 2}


def test_partitions_of_one_workflow_run_at_once_and_each_only_once(running: Service) -> None:
    keys = {"type": "static", "keys": ["x", "y"]}
    raw = {"assetId": "par.raw", "partitioning": keys}
    running.put(workflow("par", produce("par", partitioning=keys), consumes=[raw]))
    running.hold("par")
    running.emit("par.raw", "x")
    running.emit("par.raw", "y")
    running.emit("par.raw", "x")
    running.wait_begun("par", 2)
    running.release("par")
    running.wait_idle()
    assert {"x", "y"} == set(partitions(running, "par"))
    assert len(partitions(running, "par")) <= 3
    assert partitions(running, "par").count("y") == 1


def test_a_roll_up_waits_until_all_is_there_and_follows_every_change_after_that(running: Service) -> None:
    month, day = {"type": "timeWindow", "granularity": "month"}, {"type": "timeWindow", "granularity": "day"}
    auto = {"onUpstreamUpdate": True, "partitionMapping": {"type": "window", "wait": "all"}}
    raw = {"assetId": "roll.raw", "partitioning": day}
    running.put(workflow("roll", produce("roll", auto, partitioning=month), consumes=[raw]))
    days = [f"2026-02-{number:02d}" for number in range(1, 29)]
    for key in days[:-1]:
        running.emit("roll.raw", key)
    running.wait_idle()
    partition = running.partition("roll", "2026-02")
    assert (partition["reason"], partition["missingCount"]) == ("upstream-missing", 1)
    assert partition["missingUpstreams"] == [{"assetId": "roll.raw", "partitionKey": days[-1]}]
    assert running.begun("roll") == []

    running.emit("roll.raw", days[-1])
    running.wait_runs("roll", RunStatus.SUCCEEDED)
    running.emit("roll.raw", days[4])
    running.wait_runs("roll", RunStatus.SUCCEEDED, 2)
    first, second = running.begun("roll")
    assert sorted(cause["partitionKey"] for cause in first.trigger["upstream"]) == days
    assert [cause["partitionKey"] for cause in second.trigger["upstream"]] == [days[4]]


def test_a_late_update_of_an_older_window_starts_nothing_where_the_latest_counts(running: Service) -> None:
    auto = {"onUpstreamUpdate": True, "partitionMapping": {"newest.raw": "latest"}}
    raw = {"assetId": "newest.raw", "partitioning": HOUR}
    running.put(workflow("newest", produce("newest", auto), consumes=[raw]))
    running.emit("newest.raw", "2026-11-23T10")
    running.wait_runs("newest", RunStatus.SUCCEEDED)
    running.emit("newest.raw", "2026-11-23T09")
    running.wait_idle()
    running.emit("newest.raw", "2026-11-23T11")
    running.wait_runs("newest", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert len(running.begun("newest")) == 2
