"""Runs beside the service: a thread for each run, worker processes for the jobs."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from actors.catalog.store import RunStatus, Store
from actors.execution.cancel import CancelReason, CancelToken
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import LaunchFailed, RunOrder
from actors.execution.leases import LeaseKeeper
from actors.execution.orchestrator import Orchestrator
from actors.execution.worker_pool import WorkerPool
from actors.runtime.clock import Clock, SystemClock

__all__ = ["LocalLauncher"]

_DEFAULT_MAX_TASKS: Final = 100
_DEFAULT_LEASE_MS: Final = 10_000
_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Launched:
    order: RunOrder
    cancel: CancelToken
    future: Future[RunStatus | None]


class LocalLauncher:
    """A `RunLauncher` on this machine. Thread-safe.

    Args:
        max_runs: runs at once; more wait in the order in which they were launched.
        processes: jobs at once, over all runs; steps wait for a free process, during which no timeout runs.
        max_tasks_per_process: jobs after which a worker process is replaced, so that what jobs leak is bounded.
        max_parallel_steps: steps at once within one run.
        lease_ms: after so long without a sign of this process its runs are lost.
        work_dir: where the output of running jobs is kept; the system's folder for temporary files by default.
    """

    def __init__(
        self,
        store: Store,
        jobs: JobRegistry,
        *,
        max_runs: int = 16,
        processes: int | None = None,
        max_tasks_per_process: int = _DEFAULT_MAX_TASKS,
        max_parallel_steps: int = 4,
        lease_ms: int = _DEFAULT_LEASE_MS,
        work_dir: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock or SystemClock()
        self._max_parallel_steps = max_parallel_steps
        self._workers = WorkerPool(
            processes=processes or os.cpu_count() or 2, max_tasks=max_tasks_per_process, work_dir=work_dir
        )
        self._leases = LeaseKeeper(store, lease_ms=lease_ms)
        self._threads = ThreadPoolExecutor(max_runs, thread_name_prefix="run")
        # Ending a run that never began must not wait for a thread in which others run.
        self._enders = ThreadPoolExecutor(1, thread_name_prefix="run-ender")
        self._lock = threading.Lock()
        self._launched: dict[str, _Launched] = {}
        self._accepting = False

    def warm(self) -> None:
        """Get ready to start quickly, for what a standby can spare; returns at once."""
        self._workers.warm()

    def start(self) -> None:
        """See `RunLauncher.start`."""
        self._workers.start()
        self._leases.start()
        with self._lock:
            self._accepting = True

    def launch(self, order: RunOrder) -> None:
        """See `RunLauncher.launch`. A run that is here already is not launched again."""
        with self._lock:
            if not self._accepting:
                raise LaunchFailed(f"run {order.run_id} cannot be launched: the launcher is not started, or it stops")
            if order.run_id in self._launched:
                return
            orchestrator = self._orchestrator()
            cancel = CancelToken()
            future = self._threads.submit(self._run, orchestrator, order, cancel)
            self._launched[order.run_id] = _Launched(order, cancel, future)

    def cancel(self, run_id: str) -> bool:
        """See `RunLauncher.cancel`."""
        with self._lock:
            launched = self._launched.get(run_id)
        if launched is None:
            return False
        launched.cancel.cancel()
        self._end_unless_begun(launched)
        return True

    def owns(self, run_id: str) -> bool:
        """See `RunLauncher.owns`."""
        with self._lock:
            return run_id in self._launched

    def replace_jobs(self, jobs: JobRegistry) -> None:
        """Use other jobs for the runs that begin from now on, and new processes, so that changed modules are read."""
        with self._lock:
            self._jobs = jobs
        self._workers.recycle()

    def stop(self, grace_seconds: float) -> None:
        """See `RunLauncher.stop`. Runs that wait for a free place end at once. Blocks until everything has ended."""
        deadline = time.monotonic() + grace_seconds
        with self._lock:
            self._accepting = False
            launched = list(self._launched.values())
        running = [run for run in launched if not self._end_unless_begun(run, CancelReason.LOST)]
        wait([run.future for run in running], timeout=max(0.0, deadline - time.monotonic()))
        for run in running:
            if not run.future.done():
                _log.warning("run.stopped", run_id=run.order.run_id, workflow=run.order.workflow_slug)
                run.cancel.cancel(CancelReason.LOST)
        self._threads.shutdown()
        self._enders.shutdown()
        self._leases.stop()
        self._workers.stop()

    def _end_unless_begun(self, run: _Launched, reason: CancelReason = CancelReason.CANCELED) -> bool:
        """Whether the run had not begun; then it will not, and its end is on the way to the catalog."""
        with self._lock:
            if run.future.cancelled():
                return True
            if not run.future.cancel():
                return False
            run.cancel.cancel(reason)
            self._enders.submit(self._end, self._orchestrator(), run)
            return True

    def _run(self, orchestrator: Orchestrator, order: RunOrder, cancel: CancelToken) -> RunStatus | None:
        try:
            return orchestrator.run(order, cancel)
        finally:
            self._forget(order)

    def _end(self, orchestrator: Orchestrator, run: _Launched) -> None:
        try:
            orchestrator.end_unstarted(run.order, run.cancel)
        finally:
            self._forget(run.order)

    def _forget(self, order: RunOrder) -> None:
        with self._lock:
            self._launched.pop(order.run_id, None)

    def _orchestrator(self) -> Orchestrator:
        return Orchestrator(
            self._store,
            self._jobs,
            self._workers,
            self._clock,
            leases=self._leases,
            max_parallel_steps=self._max_parallel_steps,
        )
