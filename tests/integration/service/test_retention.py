"""The running service drops what is too old, and what it still knows of it does no harm."""

from __future__ import annotations

from actors.catalog.store import Limits, NewRun, RunStatus
from actors.core.wallclock import DAY_MS, HOUR_MS
from tests.integration.service.driver import Service, eventually, now_ms
from tests.integration.service.workflows import produce, workflow

DYNAMIC = {"type": "dynamic", "retentionDays": 1}


def fail(service: Service, run_id: str, slug: str, partition_key: str, at_ms: int) -> None:
    """A run of long ago that failed to make the partition."""
    run = NewRun(run_id, slug, partition_key, {}, {"type": "manual"}, at_ms, Limits(max_runs=8))
    service.store.submit([run])
    service.store.finish_run(run_id, RunStatus.FAILED, now_ms=at_ms, expected=[(slug, partition_key)])


def test_old_runs_and_partitions_go_while_the_service_runs(service: Service) -> None:
    service.configure(retention={"runs_days": 1, "interval_seconds": 1})
    service.put(workflow("names", produce("names", {}, partitioning=DYNAMIC, freshness={"ttlMs": HOUR_MS})))
    long_ago_ms = now_ms() - 3 * DAY_MS
    service.emit("names", "old", produced_at_ms=long_ago_ms)
    service.emit("names", "young")
    # As many failures as the budget has: it is expired, and suspended.
    for number in range(3):
        fail(service, f"run-{number}", "names", "old", long_ago_ms)
    service.start()
    eventually(lambda: not service.runs("names"), "the old runs are dropped")
    eventually(
        lambda: service.store.read_assets(["names"])["names"].latest.keys() == {"young"}, "the old partition is dropped"
    )
    assert service.begun("names") == []
    assert eventually(lambda: service.logged("retention.swept"), "it is logged")[0]["partitions"] == 1

    # The actor knows the partition still, expired as it is: told to go on with it, it makes it once.
    service.store.resume("names", "old")
    (run,) = service.wait_runs("names", RunStatus.SUCCEEDED)
    service.wait_idle()
    assert len(service.runs("names")) == 1
    assert (run.partition_key, service.latest("names", "old").materialization.version) == ("old", 3)
