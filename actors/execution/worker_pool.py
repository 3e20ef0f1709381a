"""A `StepRunner` of worker processes, on pebble's pool.

The pool is given a task only when a worker is free for it. So a step that waits can be canceled without a trace, and
its timeout does not run. What pebble does not tell is watched for here: a worker that exits with status 0 in the midst
of a job, one that dies just as it takes a task, and a pool that gave up because an idle worker was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from actors.execution.cancel import CancelToken
from actors.execution.job_process import run_in_worker, signal_name
from actors.execution.jobs import Job
from actors.execution.slots import Slots
from actors.execution.step_output import StepOutput
from actors.execution.step_runner import FailureKind, JobContext, JobOutcome
from actors.execution.worker_process import set_up_worker

__all__ = ["WorkerPool"]

_START_POLL_SECONDS: Final = 0.05
_LIFE_POLL_SECONDS: Final = 0.5
_POOL_NOTICES_SECONDS: Final = 2.0
_DEATH_SECONDS: Final = 10.0
_COLLECT_SECONDS: Final = 1.0
_MAX_POOL_LOSSES: Final = 3
_log: Final = structlog.get_logger(__name__)


class _PoolLost(Exception):  # noqa: N818 - an event, caught here
    """The pool gave up before the job began."""


class WorkerPool:
    """Runs jobs in at most `processes` worker processes, each of which is replaced after `max_tasks` jobs."""

    def __init__(self, *, processes: int, max_tasks: int, work_dir: Path | None = None) -> None:
        self._processes = processes
        self._max_tasks = max_tasks
        self._work_dir = work_dir
        self._slots = Slots(processes)
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._retiring: list[threading.Thread] = []

    def start(self) -> None:
        """Start the workers."""
        with self._lock:
            self._folder = tempfile.TemporaryDirectory(
                prefix="headwater-", dir=self._work_dir, ignore_cleanup_errors=True
            )
            self._pool = self._new_pool()

    def run(self, job: Job, context: JobContext, timeout_ms: int | None, cancel: CancelToken) -> JobOutcome:
        """See `StepRunner.run`."""
        with self._slots.taken(cancel) as taken:
            if not taken:
                return JobOutcome.failed(FailureKind.CANCELED, "canceled before it began")
            for _ in range(_MAX_POOL_LOSSES):
                with suppress(_PoolLost):
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
        output, future = self._schedule(job, context)
        try:
            outcome, output = _Watch(future, output, timeout_ms, cancel).outcome()
            stdout, stderr = output.tails()
            return replace(outcome, stdout_tail=stdout, stderr_tail=stderr)
        finally:
            _remove(output)

    def _schedule(self, job: Job, context: JobContext) -> tuple[StepOutput, ProcessFuture[JobOutcome]]:
        with self._lock:
            if self._pool is None or self._folder is None:
                raise RuntimeError("the worker pool is not started, or stopped already")
            output = StepOutput(Path(tempfile.mkdtemp(dir=self._folder.name)))
            arguments = (job, context, str(output.folder))
            try:
                return output, self._pool.schedule(run_in_worker, args=arguments)
            except RuntimeError:
                # An idle worker was killed, by hand or for memory, and pebble gave the whole pool up.
                _log.warning("workers.replaced", reason="the pool of worker processes broke")
                former, self._pool = self._pool, self._new_pool()
                former.stop()  # type: ignore[no-untyped-call]
                self._retire(former)
                return output, self._pool.schedule(run_in_worker, args=arguments)

    def _new_pool(self) -> ProcessPool:
        # Workers are forked from a server process that has imported what they need, and has no threads and no
        # connections of ours. Importing `__main__` there keeps each worker from doing it again.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", run_in_worker.__module__])
        pool = ProcessPool(self._processes, self._max_tasks, initializer=set_up_worker, context=context)
        # Asking for its state is what starts the workers.
        if not pool.active:
            raise RuntimeError("the worker processes cannot be started")
        return pool

    def _retire(self, pool: ProcessPool) -> None:
        self._retiring = [thread for thread in self._retiring if thread.is_alive()]
        thread = threading.Thread(target=pool.join, name="workers-retire", daemon=True)
        thread.start()
        self._retiring.append(thread)


class _Watch:
    """Waits for one task to end, or ends it."""

    def __init__(
        self,
        future: ProcessFuture[JobOutcome],
        output: StepOutput,
        timeout_ms: int | None,
        cancel: CancelToken,
    ) -> None:
        self._future = future
        self._output = output
        self._timeout_ms = timeout_ms
        self._cancel = cancel
        self._awake = threading.Event()

    def outcome(self) -> tuple[JobOutcome, StepOutput]:
        """How the task ended, and where its output is now.

        Raises:
            _PoolLost: the job did not begin.
        """
        self._future.add_done_callback(lambda _: self._awake.set())
        with self._cancel.calling(self._awake.set):
            ended = self._wait()
        if ended is not None:
            self._end_task()
            return ended, self._output
        return self._result(), self._output

    def _wait(self) -> JobOutcome | None:
        """None when the task ended by itself; else why it must be ended."""
        began: float | None = None
        dead_since: float | None = None
        while True:
            now = time.monotonic()
            if self._future.done():
                return None
            if self._cancel.is_set:
                return JobOutcome.failed(FailureKind.CANCELED, "canceled")
            if began is None and self._future.running():
                began = now
            if began is None:
                self._awake.wait(_START_POLL_SECONDS)
                continue
            pid = self._output.begun_by()
            if pid is None or _is_alive(pid):
                dead_since = None
            elif dead_since is None:
                dead_since = now
            elif now - dead_since > _POOL_NOTICES_SECONDS:
                message = "the job's process ended before the job returned (os._exit?)"
                return JobOutcome.failed(FailureKind.KILLED, message, 0)
            pause = _LIFE_POLL_SECONDS
            if self._timeout_ms is not None:
                left = began + self._timeout_ms / 1_000 - now
                if left <= 0:
                    message = f"the job took longer than its timeout of {self._timeout_ms} ms and was killed"
                    return JobOutcome.failed(FailureKind.TIMEOUT, message)
                pause = min(pause, left)
            self._awake.wait(pause)

    def _end_task(self) -> None:
        """Make sure that the job neither begins nor goes on, and that nothing it started is left."""
        with suppress(FileNotFoundError):
            self._output = self._output.revoke()
        # pebble kills the worker of a canceled task, at a moment when that does not harm the pool.
        self._future.cancel()  # type: ignore[no-untyped-call]
        self._bury()

    def _result(self) -> JobOutcome:
        try:
            return self._future.result()
        except ProcessExpired as error:
            self._bury()
            return _expired(error.exitcode)
        except (BrokenProcessPool, CancelledError):
            self._output = self._output.revoke()
            if self._output.begun_by() is None:
                raise _PoolLost from None
            self._bury()
            return JobOutcome.failed(FailureKind.KILLED, "the pool of worker processes broke")

    def _bury(self) -> None:
        """Wait until the worker is dead, and kill what its job left behind."""
        pid = self._output.begun_by()
        if pid is None:
            return
        if not _until(lambda: not _is_alive(pid), _DEATH_SECONDS):
            _log.warning("worker.hangs", pid=pid, reason="it outlived its kill and is killed again")
        _kill_group(pid)
        # A dead child of a dead worker counts until init collects it, which not every container's init does.
        _until(lambda: not _kill_group(pid), _COLLECT_SECONDS)


def _expired(status: int) -> JobOutcome:
    if status >= 0:
        message = f"the job's process exited with status {status} before the job returned"
    else:
        hint = " (by hand, or by the system for lack of memory)" if status == -signal.SIGKILL else ""
        message = f"the job's process was killed by {signal_name(-status)}{hint}"
    return JobOutcome.failed(FailureKind.KILLED, message, status)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _kill_group(pid: int) -> bool:
    """Kill a worker's process group; False if there is none any more."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_START_POLL_SECONDS)
    return True


def _remove(output: StepOutput) -> None:
    for file in output.folder.glob("*"):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        output.folder.rmdir()
