"""Pauses, in a service that runs and in one that is killed (law L9)."""

from __future__ import annotations

import pytest

from actors.catalog.store import RunStatus
from tests.integration.service.driver import Service, eventually, now_ms
from tests.integration.service.workflows import workflow


def held(service: Service, slug: str, scope: str) -> None:
    """A workflow that has run once, and then is paused."""
    service.put(workflow(slug, consumes=[f"{slug}.raw"]))
    service.emit(f"{slug}.raw")
    service.wait_runs(slug, RunStatus.SUCCEEDED)
    service.store.pause(scope, None, "test", now_ms())


@pytest.mark.parametrize("kind", ["asset", "workflow"])
def test_L9_ten_updates_during_a_pause_are_one_run_after_it(running: Service, kind: str) -> None:
    slug, scope = f"pause-{kind}", f"{kind}:pause-{kind}"
    held(running, slug, scope)
    for _ in range(10):
        last = running.emit(f"{slug}.raw").version
    running.wait_state(slug, "paused")
    running.wait_idle()
    assert len(running.begun(slug)) == 1
    assert running.store.unpause(scope, now_ms())
    running.wait_runs(slug, RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert len(running.begun(slug)) == 2
    assert running.latest(slug).materialization.inputs == {f"{slug}.raw": last}


def test_L9_a_run_by_hand_passes_through(running: Service) -> None:
    held(running, "by-hand", "asset:by-hand")
    last = running.emit("by-hand.raw").version
    running.wait_state("by-hand", "paused")
    running.trigger("by-hand")
    running.wait_runs("by-hand", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert running.latest("by-hand").materialization.inputs == {"by-hand.raw": last}
    # It was made meanwhile, so nothing is left to do.
    running.store.unpause("asset:by-hand", now_ms())
    running.wait_idle()
    assert len(running.begun("by-hand")) == 2


def test_L9_a_pause_ends_by_itself(running: Service) -> None:
    held(running, "timed", "asset:timed")
    running.store.pause("asset:timed", now_ms() + 1_500, None, now_ms())
    running.emit("timed.raw")
    running.wait_state("timed", "paused")
    assert len(running.begun("timed")) == 1
    end_ms = running.store.pauses(now_ms())["asset:timed"].until_ms
    run = running.wait_runs("timed", RunStatus.SUCCEEDED, 2)[1]
    assert end_ms is not None
    assert run.created_at_ms >= end_ms
    running.wait_idle()
    assert len(running.begun("timed")) == 2


def test_what_depends_on_a_paused_asset_does_not_wait_for_it(running: Service) -> None:
    running.put(workflow("mid", consumes=["mid.raw"]))
    running.put(workflow("end", consumes=["mid.raw", "mid"]))
    running.wait_idle()
    running.store.pause("asset:mid", None, None, now_ms())
    running.emit("mid.raw")
    running.wait_runs("end", RunStatus.SUCCEEDED)
    running.wait_idle()
    assert running.begun("mid") == []
    running.store.unpause("asset:mid", now_ms())
    running.wait_runs("end", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert (len(running.begun("mid")), len(running.begun("end"))) == (1, 2)


def test_L4_L9_after_a_pause_of_everything_the_last_of_a_diamond_runs_once(service: Service) -> None:
    service.write(workflow("b", consumes=["a"]), workflow("c", consumes=["a"]), workflow("d", consumes=["a", "b", "c"]))
    service.start()
    service.wait_idle()
    service.store.pause("all", None, None, now_ms())
    for _ in range(10):
        service.emit("a")
    for slug in ("b", "c", "d"):
        service.wait_state(slug, "paused")
    service.hold("c")
    service.store.unpause("all", now_ms())
    service.wait_runs("b", RunStatus.SUCCEEDED)
    service.wait_begun("c")
    eventually(lambda: service.partition("d").get("pendingUpstreams"), "d waits for c")
    assert service.begun("d") == []
    service.release("c")
    service.wait_runs("d", RunStatus.SUCCEEDED)
    service.wait_idle()
    assert [len(service.begun(slug)) for slug in ("b", "c", "d")] == [1, 1, 1]


def test_L9_a_pause_outlives_the_service(service: Service) -> None:
    service.write(workflow("kept", consumes=["raw"]))
    service.start()
    service.store.pause("all", None, "maintenance", now_ms())
    service.emit("raw")
    service.wait_state("kept", "paused")
    service.kill()
    for _ in range(9):
        last = service.emit("raw").version
    service.start()
    service.wait_state("kept", "paused")
    service.wait_idle()
    assert service.runs("kept") == []
    service.kill()
    # Ended while nobody listened.
    service.store.unpause("all", now_ms())
    service.start()
    service.wait_runs("kept", RunStatus.SUCCEEDED)
    service.wait_idle()
    assert len(service.runs("kept")) == 1
    assert service.latest("kept").materialization.inputs == {"raw": last}
