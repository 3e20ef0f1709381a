"""What must hold after every fault."""

from __future__ import annotations

from actors.catalog.store import RunStatus
from tests.integration.faults.conftest import Guarded
from tests.integration.service.driver import eventually
from tests.integration.service.test_crash import assert_never_two_at_once
from tests.integration.service.workflows import workflow

__all__ = ["CHAIN", "assert_laws", "begin", "begin_held"]

CHAIN = (workflow("mid", consumes=["raw"]), workflow("end", consumes=["mid"]))
"""`raw` comes from outside; `mid` follows it, and `end` follows `mid`."""


def begin(service: Guarded) -> None:
    """Start it with the chain, and let one update go through."""
    service.write(*CHAIN)
    service.start()
    service.emit("raw")
    service.wait_runs("end", RunStatus.SUCCEEDED)
    service.wait_idle()


def begin_held(service: Guarded) -> str:
    """And a second, whose first run is held; its id."""
    begin(service)
    service.hold("mid")
    service.emit("raw")
    return service.wait_begun("mid", 2)[-1].run_id


def assert_laws(service: Guarded, *, is_work_lost: bool = False) -> None:
    """The newest of `raw` went through (L1), no run was executed twice or beside another (L2), each recorded once.

    Unless work may be lost every run succeeded that was begun.
    """
    eventually(service.catalog.control.is_service_running, "it shows that it lives", 15)
    service.wait_idle()
    for asset_id, upstream_id in (("mid", "raw"), ("end", "mid")):
        made = service.latest(asset_id).materialization
        newest = service.latest(upstream_id).materialization
        assert made.inputs == {upstream_id: newest.version}, f"{asset_id} misses an update"
    assert_never_two_at_once(service.calls)
    for slug in ("mid", "end"):
        begun = sorted(call.run_id for call in service.begun(slug))
        assert len(begun) == len(set(begun)), "a run was executed twice"
        succeeded = [run.run_id for run in service.runs(slug, RunStatus.SUCCEEDED)]
        by = [entry.materialization.run_id for entry in service.store.history(slug)]
        assert sorted(map(str, by)) == sorted(succeeded), "each run that succeeded has recorded once"
        if not is_work_lost:
            assert begun == sorted(succeeded) == sorted(run.run_id for run in service.runs(slug))
    assert service.store.active_runs() == []
    for defect in ("stream.failed", "catalog question failed", "leadership.failed", "reaper.failed", "leases.broken"):
        assert not service.logged(defect)
