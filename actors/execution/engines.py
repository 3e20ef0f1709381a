"""Which engine executes runs, by the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors.catalog.access import Catalog
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import RunLauncher, RunOrder
from actors.execution.local import LocalLauncher
from actors.runtime.clock import Clock
from actors.settings import Settings

__all__ = ["Engine", "make_engine"]

_MOST_RUNS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Engine:
    """A launcher and what the service must know of it besides.

    `is_waiting`: whether a launched run waits for room. `replace_jobs`: use these from now on. `dies_with_service`:
    whether its runs end with this process.
    """

    launcher: RunLauncher
    is_waiting: Callable[[RunOrder], bool]
    replace_jobs: Callable[[JobRegistry], None]
    dies_with_service: bool


def make_engine(settings: Settings, catalog: Catalog, clock: Clock, jobs: JobRegistry) -> Engine:
    """The engine of the settings, not started yet."""
    launcher = LocalLauncher(
        catalog.store,
        jobs,
        # The catalog keeps the limit, which may be raised later; an idle place here costs nothing.
        max_runs=_MOST_RUNS,
        processes=settings.workers.processes,
        max_tasks_per_process=settings.workers.max_tasks_per_process,
        lease_ms=int(settings.runs.lease_seconds * 1_000),
        clock=clock,
    )
    return Engine(launcher, lambda order: launcher.owns(order.run_id), launcher.replace_jobs, dies_with_service=True)
