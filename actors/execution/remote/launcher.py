"""A `RunLauncher` that asks an orchestrator elsewhere to execute runs, by HTTP.

A run may be offered more than once: its id is the idempotency key. Once it is taken it is marked as started; from then
on it lives by callbacks and polls (see `runs.py`), and this launcher has no part in it but to have it stopped.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import RunRecord, RunStatus, Store
from actors.execution.launcher import LaunchFailed, RunOrder
from actors.execution.remote.calls import RemoteCalls
from actors.execution.remote.delayed import DelayedWork
from actors.execution.remote.offers import NOBODY, Offers
from actors.execution.remote.runs import RemoteRuns
from actors.execution.remote.signing import start_token
from actors.execution.remote.stops import Stops
from actors.execution_settings import HttpExecutionSettings
from actors.runtime.clock import Clock, SystemClock

__all__ = ["HttpLauncher"]

_FORGET_ABOVE: Final = 1_000
_POLL_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 5.0


class HttpLauncher:
    """Thread-safe. Its threads are `[execution.http] connections`; runs that wait for another try take none of them."""

    def __init__(
        self, store: Store, calls: RemoteCalls, http: HttpExecutionSettings, *, clock: Clock | None = None
    ) -> None:
        clock = clock or SystemClock()
        self._store = store
        self._clock = clock
        self._runs_outlive = http.runs_outlive_service
        self._timeout_seconds = http.timeout_seconds
        self._work = DelayedWork(http.connections, name="http-launcher")
        self._stops = Stops(store, calls, http, self._work)
        runs = RemoteRuns.of(store, clock, http)
        self._offers = Offers(store, calls, runs, http, self._work, clock, stop_there=self._stops.put)
        self._lock = threading.Lock()
        self._launched: set[str] = set()
        self._accepting = False

    def start(self) -> None:
        """See `RunLauncher.start`."""
        self._work.start()
        with self._lock:
            self._accepting = True

    def launch(self, order: RunOrder) -> None:
        """See `RunLauncher.launch`. A run that is being offered is not offered a second time."""
        with self._lock:
            if not self._accepting:
                raise LaunchFailed(f"run {order.run_id} cannot be launched: the launcher is not started, or it stops")
            is_full = len(self._launched) >= _FORGET_ABOVE
            self._launched.add(order.run_id)
        if is_full:
            active = {run.run_id for run in self._store.active_runs()}
            with self._lock:
                self._launched &= active
        self._offers.put(order)

    def is_waiting(self, order: RunOrder) -> bool:
        """Whether the run is being offered, so that nobody could have begun it."""
        return order.run_id in self._offers

    def cancel(self, run_id: str) -> bool:
        """See `RunLauncher.cancel`. A run that goes on elsewhere is stopped there where it is known how, and ends by
        its orchestrator's word or with its lease; else it ends here at once, and what is still said of it is refused.
        """
        record = self._store.run(run_id)
        if record is None or not record.status.is_active:
            return False
        definition = self._store.workflow(record.workflow_slug)
        if self._end(record, definition, RunStatus.CANCELED, "canceled by a user", token=NOBODY):
            return True
        if not self._stops.can_stop(definition):
            token = start_token(run_id)
            return self._end(record, definition, RunStatus.CANCELED, "canceled by a user", token=token)
        if not self._store.ask_run(run_id, "cancel"):
            return False
        self._stops.put(run_id)
        return True

    def owns(self, run_id: str) -> bool:
        """See `RunLauncher.owns`."""
        with self._lock:
            if run_id not in self._launched:
                return False
        record = self._store.run(run_id)
        return record is not None and record.status.is_active

    def stop(self, grace_seconds: float) -> None:
        """See `RunLauncher.stop`; with `runs_outlive_service` they go on, and whoever leads next follows them."""
        with self._lock:
            self._accepting = False
        if not self._runs_outlive:
            self._end_all(grace_seconds)
        self._work.stop(self._timeout_seconds)

    def _end_all(self, grace_seconds: float) -> None:
        self._wait_for_ends(grace_seconds)
        for run_id in self._active():
            record = self._store.run(run_id)
            definition = self._store.workflow(record.workflow_slug) if record is not None else None
            if record is None or self._end(record, definition, RunStatus.LOST, "the service stopped", token=NOBODY):
                continue
            if self._store.ask_run(run_id, "stop") and self._stops.can_stop(definition):
                self._stops.put(run_id)
        self._wait_for_ends(_STOP_SECONDS)
        for run_id in self._active():
            record = self._store.run(run_id)
            if record is not None:
                definition = self._store.workflow(record.workflow_slug)
                self._end(record, definition, RunStatus.LOST, "the service stopped", token=start_token(run_id))

    def _end(
        self, record: RunRecord, definition: WorkflowDefinition | None, status: RunStatus, error: str, *, token: str
    ) -> bool:
        return self._store.finish_run(
            record.run_id,
            status,
            now_ms=self._clock.now_ms(),
            error=error,
            expected=definition.to_spec().expected(record.partition_key) if definition is not None else (),
            token=token,
        )

    def _active(self) -> set[str]:
        """The runs launched here that are not over."""
        active = {run.run_id for run in self._store.active_runs()}
        with self._lock:
            return self._launched & active

    def _wait_for_ends(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._active() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
