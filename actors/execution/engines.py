"""Which engine executes runs, by the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors.catalog.access import Catalog
from actors.execution.celery_launcher import CeleryLauncher
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import RunLauncher, RunOrder
from actors.execution.local import LocalLauncher
from actors.runtime.clock import Clock
from actors.settings import Settings, SettingsError

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
    """The engine of the settings, not started yet.

    Raises:
        SettingsError: it is Celery, which is not installed.
    """
    if settings.execution.launcher == "celery":
        return _celery(settings, catalog, clock)
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


def _celery(settings: Settings, catalog: Catalog, clock: Clock) -> Engine:
    try:
        from actors.execution.celery_app import CeleryQueues, broker_url_of, make_app
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"execution.launcher is 'celery', and {error.name!r} is not installed; pip install 'headwater[celery]'"
        ) from None
    app = make_app(settings, broker_url_of(settings, catalog))
    launcher = CeleryLauncher(
        catalog.store,
        CeleryQueues(app),
        queue=settings.celery.queue,
        queues=settings.celery.queues,
        lease_ms=int(settings.runs.lease_seconds * 1_000),
        runs_outlive=settings.celery.runs_outlive_service,
        clock=clock,
    )
    return Engine(launcher, launcher.is_waiting, _read_by_workers, dies_with_service=False)


def _read_by_workers(_: JobRegistry) -> None:
    """Workers read the job files themselves, when they start."""
