"""A `StepRunner` of worker processes, on pebble's pool.

The pool is given a task only when a worker is free for it. So a step that waits can be canceled without a trace, and
its timeout does not run.
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

import structlog
from pebble import ProcessPool

from actors.execution.cancel import CancelToken
from actors.execution.forked import start_forking
from actors.execution.job_process import run_in_worker
from actors.execution.jobs import Job
from actors.execution.slots import Slots
from actors.execution.step_output import FOLDERS, StepOutput
from actors.execution.step_runner import FailureKind, JobContext, JobOutcome
from actors.execution.task_watch import BEGIN_SECONDS, PoolLost, PoolStuck, TaskWatch
from actors.execution.worker_process import set_up_worker

__all__ = ["WorkerPool"]

_MAX_POOL_LOSSES: Final = 3
_log: Final = structlog.get_logger(__name__)


class WorkerPool:
    """Runs jobs in at most `processes` worker processes, each of which is replaced after `max_tasks` jobs.

    A pool in which a task does not begin within `begin_seconds`, though a process is free for it, is replaced.
    """

    def __init__(
        self, *, processes: int, max_tasks: int, work_dir: Path | None = None, begin_seconds: float = BEGIN_SECONDS
    ) -> None:
        self._begin_seconds = begin_seconds
        self._processes = processes
        self._max_tasks = max_tasks
        self._work_dir = work_dir
        self._slots = Slots(processes)
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._retiring: list[threading.Thread] = []

    def warm(self) -> None:
        """Begin to load what workers are forked from, in a process of its own, for a quick `start`. Returns at once."""
        _context()

    def start(self) -> None:
        """Start the workers."""
        with self._lock:
            self._folder = tempfile.TemporaryDirectory(prefix=FOLDERS, dir=self._work_dir, ignore_cleanup_errors=True)
            self._pool = self._new_pool()

    def run(self, job: Job, context: JobContext, timeout_ms: int | None, cancel: CancelToken) -> JobOutcome:
        """See `StepRunner.run`."""
        with self._slots.taken(cancel) as taken:
            if not taken:
                return JobOutcome.failed(FailureKind.CANCELED, "canceled before it began")
            for _ in range(_MAX_POOL_LOSSES):
                with suppress(PoolLost):
                    return self._attempt(job, context, timeout_ms, cancel)
            message = f"the worker processes died {_MAX_POOL_LOSSES} times before the job could begin"
            return JobOutcome.failed(FailureKind.KILLED, message)

    def recycle(self) -> None:
        """Let later jobs run in new processes, which import everything anew; those that run now end as they are."""
        with self._lock:
            if self._pool is not None:
                former, self._pool = self._pool, self._new_pool()
                former.close()  # type: ignore[no-untyped-call]
                self._retire(former)

    def stop(self) -> None:
        """Stop every worker. Whoever still runs a job here gets a killed outcome; end them first."""
        with self._lock:
            pool, self._pool = self._pool, None
            folder, self._folder = self._folder, None
            retiring, self._retiring = self._retiring, []
        if pool is not None:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()
        for thread in retiring:
            thread.join()
        if folder is not None:
            folder.cleanup()

    def _attempt(self, job: Job, context: JobContext, timeout_ms: int | None, cancel: CancelToken) -> JobOutcome:
        watch = self._schedule(job, context)
        try:
            outcome = watch.outcome(timeout_ms, cancel)
            stdout, stderr = watch.output.tails()
            return replace(outcome, stdout_tail=stdout, stderr_tail=stderr)
        except PoolStuck:
            with self._lock:
                self._replace(watch.pool, f"no process took a job for {self._begin_seconds:g} s")
            raise
        finally:
            watch.output.remove()

    def _replace(self, former: ProcessPool, reason: str) -> None:
        """Under the lock: put another pool in the place of one that is of no use. What runs there is killed."""
        if self._pool is former:
            _log.warning("workers.replaced", reason=reason)
            self._pool = self._new_pool()
            former.stop()  # type: ignore[no-untyped-call]
            self._retire(former)

    def _schedule(self, job: Job, context: JobContext) -> TaskWatch:
        with self._lock:
            if self._pool is None or self._folder is None:
                raise RuntimeError("the worker pool is not started, or stopped already")
            if not self._pool.active:
                # An idle worker was killed, by hand or for lack of memory, and pebble gave the whole pool up.
                self._replace(self._pool, "the pool of worker processes broke")
            output = StepOutput.create(Path(self._folder.name), run_id=context.run_id, step_id=context.step_id)
            try:
                future = self._pool.schedule(run_in_worker, args=(job, context, str(output.folder)))
            except RuntimeError:
                output.remove()
                raise PoolLost from None
            return TaskWatch(self._pool, future, output, self._begin_seconds)

    def _new_pool(self) -> ProcessPool:
        path = os.environ.get("PYTHONPATH")
        pool = ProcessPool(
            self._processes, self._max_tasks, initializer=set_up_worker, initargs=(path,), context=_context()
        )
        # Asking for its state is what starts the workers.
        if not pool.active:
            raise RuntimeError("the worker processes cannot be started")
        return pool

    def _retire(self, pool: ProcessPool) -> None:
        self._retiring = [thread for thread in self._retiring if thread.is_alive()]
        thread = threading.Thread(target=pool.join, name="workers-retire", daemon=True)
        thread.start()
        self._retiring.append(thread)


def _context() -> ForkServerContext:
    return start_forking(ProcessPool.__module__, set_up_worker.__module__, run_in_worker.__module__)
