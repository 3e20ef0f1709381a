"""Limits and order, seen from the jobs' own log."""

from __future__ import annotations

from actors.catalog.store import RunStatus
from tests.integration.service.driver import Service, eventually, most_at_once
from tests.integration.service.workflows import produce, workflow

KEYS = {"type": "static", "keys": ["a", "b", "c", "d"]}


def test_L8_the_limits_are_never_exceeded(service: Service) -> None:
    service.configure(
        workers={"processes": 4}, concurrency={"max_runs": 4, "workflows": {"narrow": 1}, "pools": {"gpu": 2}}
    )
    slugs = ("narrow", "wide", "pool-1", "pool-2")
    raw = {"assetId": "raw", "partitioning": KEYS}
    gpu = {"onUpstreamUpdate": True, "pool": "gpu"}
    service.write(
        workflow("narrow", produce("narrow", partitioning=KEYS), consumes=[raw]),
        workflow("wide", produce("wide", partitioning=KEYS), consumes=[raw]),
        workflow("pool-1", produce("pool-1", gpu, partitioning=KEYS), consumes=[raw]),
        workflow("pool-2", produce("pool-2", gpu, partitioning=KEYS), consumes=[raw]),
    )
    service.start()
    for slug in slugs:
        service.hold(slug)
    for _ in range(3):
        for key in KEYS["keys"]:
            service.emit("raw", key)
    eventually(lambda: most_at_once(service.calls) == 4, "as many run as may")
    for slug in slugs:
        service.release(slug)
    service.wait_idle()
    for slug in slugs:
        assert {call.partition for call in service.begun(slug)} == set(KEYS["keys"])
    calls = service.calls
    assert most_at_once(calls) <= 4
    assert most_at_once(call for call in calls if call.workflow == "narrow") == 1
    assert most_at_once(call for call in calls if call.workflow.startswith("pool-")) <= 2


def test_L8_a_freed_slot_goes_to_the_best_priority_first_come_first_served_among_equals(service: Service) -> None:
    service.configure(concurrency={"max_runs": 1})
    service.write(workflow("first", consumes=["raw.first"]))
    ranks = {"low": 200, "mid-1": 100, "mid-2": 100, "mid-3": 100, "high": 1}
    for slug, priority in ranks.items():
        service.write(
            workflow(slug, produce(slug, {"onUpstreamUpdate": True, "priority": priority}), consumes=[f"raw.{slug}"])
        )
    service.start()
    service.hold("first")
    service.emit("raw.first")
    service.wait_begun("first")
    for slug in ("low", "mid-2", "mid-1", "mid-3", "high"):
        service.emit(f"raw.{slug}")
    service.trigger("first")
    run_id = service.trigger("low")
    eventually(lambda: service.waiting() == 7, "all of them wait")
    service.release("first")
    service.wait_runs("mid-3", RunStatus.SUCCEEDED)
    service.wait_idle()
    begun = [call.workflow for call in service.calls if call.what == "begun"]
    # What is asked for by hand goes first; having read the update, it leaves nothing to be done by itself.
    assert begun == ["first", "first", "low", "high", "mid-2", "mid-1", "mid-3"]
    assert service.begun("low")[0].run_id == run_id


def test_L8_runs_asked_for_by_hand_wait_for_the_claim_and_none_is_lost(running: Service) -> None:
    running.put(workflow("hand"))
    running.hold("hand")
    run_ids = [running.trigger("hand", n=n) for n in range(4)]
    running.wait_begun("hand")
    running.release("hand")
    running.wait_runs("hand", RunStatus.SUCCEEDED, 4)
    assert [call.run_id for call in running.begun("hand")] == run_ids
    assert most_at_once(call for call in running.calls if call.workflow == "hand") == 1
