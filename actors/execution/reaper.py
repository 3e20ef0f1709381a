"""What the service does about runs that nobody works on: a worker that died, a submission that reached nobody.

A run whose lease has ended is ended as `lost`: a failure, retried by policy. A run that nobody has started in time is
launched once more, which is harmless however late the first launch arrives, because one start wins; if nobody starts it
then either, it is lost too. What counts is the time that was watched (see `watched_time.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from actors.catalog.store import CatalogUnavailable, Deposed, OverdueRun, RunStatus, Store
from actors.catalog.timestamps import format_iso
from actors.execution.launcher import LaunchFailed, RunLauncher, RunOrder
from actors.execution.watched_time import WatchedTime
from actors.observer import Observer
from actors.runtime.clock import Clock

__all__ = ["Reaper"]

_LOOKS_PER_LEASE: Final = 10
_SHORTEST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 3.0
_MOST_PAUSES: Final = 2
"""What lies between two looks counts up to so many pauses: less than the time between two renewals."""

_MOST_LAUNCHES: Final = 2
_STOP_SECONDS: Final = 10.0
_log: Final = structlog.get_logger(__name__)


class Reaper:
    """One thread that looks every few seconds; a look costs what is overdue.

    No lease is ended before its worker could have been heard for a whole lease and was not: an outage of the server, or
    a pause of this process, costs at most two looks of that, a fifth of the lease.

    Args:
        is_waiting: whether a run that was launched waits for room, so that nobody could have started it yet.
        lease_ms, start_timeout_ms: how long to wait for a sign of a worker, and for the start of a launched run.
        takes_over: whether what was launched before this reaper started can only be started by a launch of ours.
        owns: of which workflows this service launches the runs; those of others are only ended here, once lost.
    """

    def __init__(
        self,
        store: Store,
        launcher: RunLauncher,
        clock: Clock,
        observer: Observer,
        *,
        is_waiting: Callable[[RunOrder], bool],
        lease_ms: int,
        start_timeout_ms: int,
        takes_over: bool = False,
        owns: Callable[[str], bool] = lambda _slug: True,
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._clock = clock
        self._observer = observer
        self._is_waiting = is_waiting
        self._lease_ms = lease_ms
        self._start_timeout_ms = start_timeout_ms
        pause = lease_ms / 1_000 / _LOOKS_PER_LEASE
        self._pause_seconds = min(max(pause, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        most_ms = int(_MOST_PAUSES * self._pause_seconds * 1_000)
        self._leases = WatchedTime(lease_ms, most_ms=most_ms)
        self._starts = WatchedTime(start_timeout_ms, most_ms=most_ms)
        self._takes_over = takes_over
        self._owns = owns
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="headwater-reaper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def look(self) -> None:
        """Deal with what is overdue.

        Raises:
            CatalogUnavailable: the server did not answer; what is left is found by the next look.
            Deposed: this service does not lead (any more).
        """
        overdue = self._store.overdue_runs(start_timeout_ms=0 if self._takes_over else self._start_timeout_ms)
        silent_since_ms = self._leases.look(overdue.server_ms)
        waited_since_ms = self._starts.look(overdue.server_ms)
        for run in overdue.runs:
            if run.kind == "start":
                if self._owns(run.workflow_slug):
                    self._start_late(run, waited_since_ms)
            elif silent_since_ms is not None and run.seen_at_ms <= silent_since_ms:
                self._end_lease(run)
        self._takes_over = False

    def _end_lease(self, run: OverdueRun) -> None:
        if run.is_cancel_asked:
            self._end(run, RunStatus.CANCELED, f"canceled by a user; its worker {run.worker} did not answer any more")
            return
        seen = format_iso(run.seen_at_ms)
        self._lose(run, f"its worker {run.worker} was last heard of at {seen} and has not renewed its lease")

    def _start_late(self, run: OverdueRun, waited_since_ms: int | None) -> None:
        order = RunOrder(run.run_id, run.workflow_slug, run.partition_key)
        if self._is_waiting(order):
            self._store.await_start(run.run_id, is_launched=False)
        elif self._takes_over or run.launches < _MOST_LAUNCHES:
            self._launch_again(order)
        elif waited_since_ms is not None and run.since_ms <= waited_since_ms:
            self._lose(run, f"it was launched {run.launches} times and nobody has started it; see that workers run")

    def _launch_again(self, order: RunOrder) -> None:
        try:
            self._launcher.launch(order)
        except LaunchFailed as error:
            # It counts as launched, so that it is not tried for ever.
            _log.warning("run.not_launched", run_id=order.run_id, reason=str(error))
        # Counted when it is done: if this fails it is launched once too often, of which one start counts. Counted
        # before, a launch that never was would count, and the run be lost without one.
        if self._store.await_start(order.run_id, is_launched=True):
            self._observer.run_relaunched(
                run_id=order.run_id, workflow_slug=order.workflow_slug, partition_key=order.partition_key
            )

    def _lose(self, run: OverdueRun, error: str) -> None:
        if self._end(run, RunStatus.LOST, error):
            self._observer.run_lost(
                run_id=run.run_id, workflow_slug=run.workflow_slug, partition_key=run.partition_key, error=error
            )

    def _end(self, run: OverdueRun, status: RunStatus, error: str) -> bool:
        definition = self._store.workflow(run.workflow_slug)
        return self._store.end_overdue(
            run,
            status,
            now_ms=self._clock.now_ms(),
            error=error,
            expected=definition.to_spec().expected(run.partition_key) if definition else (),
        )

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except (CatalogUnavailable, Deposed):
                # The stream's reader reports it, and whoever leads looks.
                pass
            except Exception:
                _log.exception("reaper.failed")
            self._stopping.wait(self._pause_seconds)
