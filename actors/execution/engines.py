"""Which engine executes runs, by the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from actors.catalog.access import Catalog
from actors.catalog.store import Store
from actors.execution.celery_launcher import CeleryLauncher
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import RunLauncher, RunOrder
from actors.execution.local import LocalLauncher
from actors.execution_settings import SecretUnreadable, read_headers, read_secrets
from actors.runtime.clock import Clock
from actors.settings import Settings, SettingsError

__all__ = ["Engine", "EngineDuty", "make_engine"]

_MOST_RUNS: Final = 100_000
_log: Final = structlog.stdlib.get_logger("headwater")


class EngineDuty(Protocol):
    """What an engine needs done by who leads, on threads of its own; it starts once."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """A launcher and what the service must know of it besides.

    `is_waiting`: whether a launched run waits for room. `replace_jobs`: use these from now on. `dies_with_service`:
    whether its runs end with this process. `takes_over`: whether what another service launched, and nobody began, can
    only be begun by a launch of ours. `lease_ms`: after so long without a sign of life a run is lost. `new_duties`:
    what else is to be done for one term, over the store of who leads. `warm`: prepare the launcher's start, also
    where it may never come to it; returns at once.
    """

    launcher: RunLauncher
    is_waiting: Callable[[RunOrder], bool]
    replace_jobs: Callable[[JobRegistry], None]
    dies_with_service: bool
    takes_over: bool
    lease_ms: int
    new_duties: Callable[[Store], Sequence[EngineDuty]] = lambda _: ()
    warm: Callable[[], None] = lambda: None


def make_engine(settings: Settings, catalog: Catalog, clock: Clock, jobs: JobRegistry) -> Engine:
    """The engine of the settings, not started yet.

    Raises:
        SettingsError: it is Celery, which is not installed; or an orchestrator, and a secret of it cannot be read.
    """
    if settings.execution.launcher == "celery":
        return _celery(settings, catalog, clock)
    if settings.execution.launcher == "http":
        return _http(settings, catalog, clock)
    lease_ms = int(settings.runs.lease_seconds * 1_000)
    launcher = LocalLauncher(
        catalog.store,
        jobs,
        # The catalog keeps the limit, which may be raised later; an idle place here costs nothing.
        max_runs=_MOST_RUNS,
        processes=settings.workers.processes,
        max_tasks_per_process=settings.workers.max_tasks_per_process,
        lease_ms=lease_ms,
        clock=clock,
    )
    return Engine(
        launcher,
        lambda order: launcher.owns(order.run_id),
        launcher.replace_jobs,
        dies_with_service=True,
        takes_over=True,
        lease_ms=lease_ms,
        warm=launcher.warm,
    )


def _celery(settings: Settings, catalog: Catalog, clock: Clock) -> Engine:
    try:
        from actors.execution.celery_app import CeleryQueues, broker_url_of, make_app
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"execution.launcher is 'celery', and {error.name!r} is not installed; pip install 'headwater[celery]'"
        ) from None
    app = make_app(settings, broker_url_of(settings, catalog))
    lease_ms = int(settings.runs.lease_seconds * 1_000)
    launcher = CeleryLauncher(
        catalog.store,
        CeleryQueues(app),
        queue=settings.celery.queue,
        queues=settings.celery.queues,
        lease_ms=lease_ms,
        runs_outlive=settings.celery.runs_outlive_service,
        clock=clock,
    )
    return Engine(
        launcher, launcher.is_waiting, _read_by_workers, dies_with_service=False, takes_over=False, lease_ms=lease_ms
    )


def _http(settings: Settings, catalog: Catalog, clock: Clock) -> Engine:
    # Whoever executes runs itself need not load it.
    from actors.execution.remote.calls import RemoteCalls
    from actors.execution.remote.client import HttpClient
    from actors.execution.remote.launcher import HttpLauncher
    from actors.execution.remote.poller import Poller
    from actors.execution.remote.target import TargetInvalid, target_of

    http = settings.execution.http
    try:
        target_of(http, None)
        read_secrets(http)
        read_headers(http)
        client = HttpClient(timeout_seconds=http.timeout_seconds, ca_file=http.ca_file)
    except (SecretUnreadable, TargetInvalid) as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"execution.http.ca_file: {http.ca_file} cannot be used: {error}") from None
    if http.callback_base_url and not settings.http.port:
        _log.warning(
            "callbacks.not_served",
            text="execution.http.callback_base_url is set, and this service does not serve the HTTP API ([http] port): "
            "callbacks have to reach another one",
        )
    calls = RemoteCalls(http, client, clock)
    launcher = HttpLauncher(catalog.store, calls, http, clock=clock)
    return Engine(
        launcher,
        launcher.is_waiting,
        _known_elsewhere,
        dies_with_service=False,
        takes_over=True,
        lease_ms=int(http.lease_seconds * 1_000),
        new_duties=lambda store: [Poller(store, calls, http, clock, owns=settings.shard.to_shard().owns)],
    )


def _read_by_workers(_: JobRegistry) -> None:
    """Workers read the job files themselves, when they start."""


def _known_elsewhere(_: JobRegistry) -> None:
    """The orchestrator has its own."""
