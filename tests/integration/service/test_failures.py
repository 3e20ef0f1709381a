"""What failures, cancellations and resumption do."""

from __future__ import annotations

from itertools import pairwise

from actors.catalog.store import RunStatus
from tests.integration.service.driver import Service
from tests.integration.service.workflows import produce, workflow


def test_L7_what_always_fails_backs_off_is_suspended_and_goes_on_when_resumed(running: Service) -> None:
    auto = {"onUpstreamUpdate": True, "backoff": {"baseMs": 100, "multiplier": 3, "maxMs": 10_000, "jitter": False}}
    running.put(workflow("broken", produce("broken", auto), consumes=["broken.raw"]))
    running.fail("broken")
    running.emit("broken.raw")
    failed = running.wait_runs("broken", RunStatus.FAILED, 3)
    running.wait_state("broken", "suspended")
    running.emit("broken.raw")
    running.wait_idle()
    assert len(running.runs("broken")) == 3
    waits = [second.created_at_ms - (first.ended_at_ms or 0) for first, second in pairwise(failed)]
    assert waits[0] >= 100
    assert waits[1] >= 300
    assert [run.trigger["attempt"] for run in failed] == [1, 2, 3]

    running.mend("broken")
    assert running.store.resume("broken") == 1
    running.wait_runs("broken", RunStatus.SUCCEEDED)
    running.wait_idle()
    assert running.latest("broken").materialization.inputs == {"broken.raw": 2}
    assert running.partition("broken")["failures"] == 0


def test_L7_a_run_that_fails_twice_is_retried_without_a_new_event(running: Service) -> None:
    running.put(workflow("twice", consumes=["twice.raw"]))
    running.fail("twice", times=2)
    running.emit("twice.raw")
    running.wait_runs("twice", RunStatus.SUCCEEDED)
    running.wait_idle()
    assert [run.status for run in running.runs("twice")] == [RunStatus.FAILED, RunStatus.FAILED, RunStatus.SUCCEEDED]
    assert running.partition("twice")["failures"] == 0


def test_L7_a_suspended_asset_goes_on_by_itself_after_its_cool_off(running: Service) -> None:
    auto = {"onUpstreamUpdate": True, "failureBudget": {"failures": 1, "coolOffMs": 300}}
    running.put(workflow("cool", produce("cool", auto), consumes=["cool.raw"]))
    running.fail("cool", times=1)
    running.emit("cool.raw")
    (failed,) = running.wait_runs("cool", RunStatus.FAILED)
    (succeeded,) = running.wait_runs("cool", RunStatus.SUCCEEDED)
    assert succeeded.created_at_ms - (failed.ended_at_ms or 0) >= 300


def test_L7_a_canceled_run_is_no_failure_and_comes_back_only_with_a_newer_upstream(running: Service) -> None:
    running.put(workflow("cancel", consumes=["cancel.raw"]))
    running.hold("cancel")
    running.emit("cancel.raw")
    (call,) = running.wait_begun("cancel")
    running.catalog.control.ask("cancel", {"runId": call.run_id}, timeout_seconds=5)
    running.wait_runs("cancel", RunStatus.CANCELED)
    running.release("cancel")
    running.wait_idle()
    partition = running.partition("cancel")
    assert (partition["failures"], partition["reason"]) == (0, "run-canceled")
    assert len(running.runs("cancel")) == 1

    running.emit("cancel.raw")
    running.wait_runs("cancel", RunStatus.SUCCEEDED)
    running.wait_idle()
    assert len(running.runs("cancel")) == 2


def test_L1_an_update_during_backoff_is_remembered(running: Service) -> None:
    auto = {"onUpstreamUpdate": True, "backoff": {"baseMs": 400, "maxMs": 400, "jitter": False}}
    running.put(workflow("late", produce("late", auto), consumes=["late.raw"]))
    running.fail("late", times=1)
    running.emit("late.raw")
    (failed,) = running.wait_runs("late", RunStatus.FAILED)
    running.emit("late.raw")
    (succeeded,) = running.wait_runs("late", RunStatus.SUCCEEDED)
    running.wait_idle()
    assert succeeded.created_at_ms - (failed.ended_at_ms or 0) >= 400
    assert succeeded.inputs == {"late.raw": 2}
    assert len(running.runs("late")) == 2


def test_a_run_that_succeeds_without_making_its_asset_counts_as_a_failure(running: Service) -> None:
    running.put(workflow("empty", consumes=["empty.raw"], job="answer", defaults={"answer": {"assets": []}}))
    running.emit("empty.raw")
    running.wait_state("empty", "suspended")
    assert [run.status for run in running.runs("empty")] == [RunStatus.SUCCEEDED] * 3
