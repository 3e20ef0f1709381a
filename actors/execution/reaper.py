"""What the service does about runs that nobody works on: a worker that died, a submission that reached nobody.

A run whose lease has ended is ended as `lost`: a failure, retried by policy. A run that nobody has started in time is
launched once more, which is harmless however late the first launch arrives, because one start wins; if nobody starts it
then either, it is lost too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from actors.catalog.store import CatalogUnavailable, Deposed, OverdueRun, RunStatus, Store
from actors.catalog.timestamps import format_iso
from actors.execution.launcher import LaunchFailed, RunLauncher, RunOrder
from actors.observer import Observer
from actors.runtime.clock import Clock

__all__ = ["Reaper"]

_LOOKS_PER_LEASE: Final = 5
_SHORTEST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 3.0
_MOST_LAUNCHES: Final = 2
_STOP_SECONDS: Final = 10.0
_log: Final = structlog.get_logger(__name__)


class Reaper:
    """One thread that looks every few seconds; a look costs what is overdue.

    No lease is ended before the server was watched for a whole lease without a gap: after an outage, or after this
    process was stopped for a while, every worker gets the time to renew.

    Args:
        is_waiting: whether a run that was launched waits for room, so that nobody could have started it yet.
        lease_ms, start_timeout_ms: how long to wait for a sign of a worker, and for the start of a launched run.
        takes_over: whether what was launched before this reaper started can only be started by a launch of ours.
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
        self._longest_gap_ms = max(lease_ms // 2, int(3_000 * self._pause_seconds))
        self._takes_over = takes_over
        self._watched_since_ms: int | None = None
        self._last_look_ms = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="headwater-reaper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def look(self, *, start_timeout_ms: int | None = None) -> None:
        """Deal with what is overdue.

        Raises:
            CatalogUnavailable: the server did not answer; what is left is found by the next look.
            Deposed: this service does not lead (any more).
        """
        timeout_ms = self._start_timeout_ms if start_timeout_ms is None else start_timeout_ms
        overdue = self._store.overdue_runs(start_timeout_ms=timeout_ms)
        watched_ms = self._watched_ms(overdue.server_ms)
        for run in overdue.runs:
            if run.kind == "start":
                self._start_late(run)
            elif watched_ms >= self._lease_ms:
                self._end_lease(run)

    def _watched_ms(self, now_ms: int) -> int:
        """For how long the server has been watched without a gap; by its own clock, which goes on while we stand."""
        since_ms, last_ms = self._watched_since_ms, self._last_look_ms
        if since_ms is None or not 0 <= now_ms - last_ms <= self._longest_gap_ms:
            since_ms = self._watched_since_ms = now_ms
        self._last_look_ms = now_ms
        return now_ms - since_ms

    def _end_lease(self, run: OverdueRun) -> None:
        if run.is_cancel_asked:
            self._end(run, RunStatus.CANCELED, f"canceled by a user; its worker {run.worker} did not answer any more")
            return
        seen = format_iso(run.seen_at_ms)
        self._lose(run, f"its worker {run.worker} was last heard of at {seen} and has not renewed its lease")

    def _start_late(self, run: OverdueRun) -> None:
        order = RunOrder(run.run_id, run.workflow_slug, run.partition_key)
        if self._is_waiting(order):
            self._store.await_start(run.run_id, is_launched=False)
        elif run.launches >= _MOST_LAUNCHES:
            self._lose(run, f"it was launched {run.launches} times and nobody has started it; see that workers run")
        elif self._store.await_start(run.run_id, is_launched=True):
            self._observer.run_relaunched(
                run_id=run.run_id, workflow_slug=run.workflow_slug, partition_key=run.partition_key
            )
            try:
                self._launcher.launch(order)
            except LaunchFailed as error:
                # It counts as launched, so that it is not tried for ever.
                _log.warning("run.not_launched", run_id=run.run_id, reason=str(error))

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
                self.look(start_timeout_ms=0 if self._takes_over else None)
                self._takes_over = False
            except (CatalogUnavailable, Deposed):
                # The stream's reader reports it, and whoever leads looks.
                pass
            except Exception:
                _log.exception("reaper.failed")
            self._stopping.wait(self._pause_seconds)
