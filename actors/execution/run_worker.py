"""What a worker process needs to execute runs that it knows by their ids only, whatever engine hands them over."""

from __future__ import annotations

import threading
import time
from typing import Final

import structlog

from actors.catalog.store import CatalogUnavailable, RunStatus, Store
from actors.execution.cancel import CancelReason, CancelToken
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import RunOrder
from actors.execution.leases import LeaseKeeper
from actors.execution.orchestrator import Orchestrator
from actors.execution.persistence import persist
from actors.execution.worker_pool import WorkerPool
from actors.runtime.clock import Clock, SystemClock

__all__ = ["RunWorker"]

_POLL_SECONDS: Final = 0.05
_END_SECONDS: Final = 15.0
"""What a run that is told to end may take for it: its job is killed, and its end is told to the catalog."""
_log: Final = structlog.get_logger(__name__)


class RunWorker:
    """Executes runs, each in the thread that asks for it; their jobs run in worker processes. Thread-safe.

    Args:
        processes, max_tasks_per_process: see `WorkerPool`.
        lease_ms: after so long without a sign of this process its runs are lost.
    """

    def __init__(
        self,
        store: Store,
        jobs: JobRegistry,
        *,
        processes: int,
        max_tasks_per_process: int,
        lease_ms: int,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._leases = LeaseKeeper(store, lease_ms=lease_ms)
        self._workers = WorkerPool(processes=processes, max_tasks=max_tasks_per_process)
        self._orchestrator = Orchestrator(store, jobs, self._workers, clock or SystemClock(), leases=self._leases)
        self._lock = threading.Lock()
        self._going: set[CancelToken] = set()
        self._is_stopping = False

    def start(self) -> None:
        """Start the worker processes."""
        self._workers.start()
        self._leases.start()

    def execute(self, run_id: str) -> RunStatus | None:
        """Execute a run to its end, unless it has begun elsewhere, is over or unknown, or this worker stops.

        Returns how it ended; None if it was not executed here, or not to its end.
        """
        cancel = CancelToken()
        with self._lock:
            if self._is_stopping:
                return None
            self._going.add(cancel)
        try:
            return self._execute(run_id, cancel)
        finally:
            with self._lock:
                self._going.discard(cancel)

    def end_runs(self, grace_seconds: float) -> None:
        """Take no more runs, let those that go on finish for so long, and end the rest as lost. Blocks until then."""
        with self._lock:
            self._is_stopping = True
        self._wait_for_ends(grace_seconds)
        with self._lock:
            going = tuple(self._going)
        for cancel in going:
            cancel.cancel(CancelReason.LOST)
        self._wait_for_ends(_END_SECONDS)

    def stop(self) -> None:
        """Stop the worker processes; when every run has ended."""
        self._leases.stop()
        self._workers.stop()

    def _wait_for_ends(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._going and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _execute(self, run_id: str, cancel: CancelToken) -> RunStatus | None:
        try:
            record = persist(lambda: self._store.run(run_id), cancel, run_id=run_id)
        except CatalogUnavailable as error:
            _log.error("run.left_open", run_id=run_id, reason=str(error))
            return None
        if record is None or record.status is not RunStatus.ENQUEUED:
            # Delivered again, or too late; only a start that finds it enqueued would win anyway.
            _log.info("run.not_begun", run_id=run_id, status=record.status.value if record else "unknown")
            return None
        _log.info("run.taken", run_id=run_id, workflow=record.workflow_slug, partition_key=record.partition_key)
        return self._orchestrator.run(RunOrder(run_id, record.workflow_slug, record.partition_key), cancel)
