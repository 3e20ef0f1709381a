"""What a start finds of an earlier service that died: runs that nobody executes any more."""

from __future__ import annotations

from actors.catalog.store import ActiveRun, RunStatus, Store
from actors.execution.launcher import RunLauncher

__all__ = ["end_orphans"]


def end_orphans(store: Store, launcher: RunLauncher, *, now_ms: int) -> list[ActiveRun]:
    """End every active run that the launcher does not own as `lost`; return those. They are retried by policy."""
    orphans = [run for run in store.active_runs() if not launcher.owns(run.run_id)]
    specs = {d.slug: d.to_spec() for d in store.workflows()} if orphans else {}
    for run in orphans:
        spec = specs.get(run.workflow_slug)
        store.finish_run(
            run.run_id,
            RunStatus.LOST,
            now_ms=now_ms,
            error="the service that executed it ended before the run did",
            expected=spec.expected(run.partition_key) if spec else (),
        )
    return orphans
