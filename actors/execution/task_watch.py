"""One task in a pool of worker processes: waits for its end, or ends it.

What pebble does not tell is watched for here: a worker that exits with status 0 in the midst of a job, one that dies
just as it takes a task, and a pool that gave up with the task still in its queue.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from typing import Final

import structlog
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from actors.execution.cancel import CancelToken
from actors.execution.job_process import signal_name
from actors.execution.step_output import StepOutput
from actors.execution.step_runner import FailureKind, JobOutcome

__all__ = ["BEGIN_SECONDS", "PoolLost", "PoolStuck", "TaskWatch"]

BEGIN_SECONDS: Final = 30.0
"""How long a task may take to begin when a worker is free for it: far longer than new processes on a busy machine."""

_START_POLL_SECONDS: Final = 0.05
_LIFE_POLL_SECONDS: Final = 0.5
_POOL_NOTICES_SECONDS: Final = 2.0
_DEATH_SECONDS: Final = 10.0
_COLLECT_SECONDS: Final = 1.0
_log: Final = structlog.get_logger(__name__)


class PoolLost(Exception):  # noqa: N818 - an event, of which the pool makes another attempt
    """The worker, or the whole pool, was lost before the job began."""


class PoolStuck(PoolLost):
    """The job did not begin although a worker was free for it, and the pool says that it is well.

    Its workers share a lock by which they fetch tasks. One that is killed while it holds it never gives it back.
    """


class TaskWatch:
    """`output` is where the job's output is at the moment, `pool` where the task is."""

    def __init__(
        self,
        pool: ProcessPool,
        future: ProcessFuture[JobOutcome],
        output: StepOutput,
        begin_seconds: float = BEGIN_SECONDS,
    ) -> None:
        self.output = output
        self.pool = pool
        self._begin_seconds = begin_seconds
        self._future = future
        self._awake = threading.Event()

    def outcome(self, timeout_ms: int | None, cancel: CancelToken) -> JobOutcome:
        """Wait until the job has ended, or end it; afterwards a job that failed has left no process behind.

        Raises:
            PoolLost: the job did not begin.
        """
        self._future.add_done_callback(lambda _: self._awake.set())
        with cancel.calling(self._awake.set):
            ended = self._wait_to_begin(cancel) or self._wait_to_end(timeout_ms, cancel)
        if ended is None:
            return self._result()
        self._revoke()
        # pebble kills the worker of a canceled task, at a moment when that does not harm the pool.
        self._future.cancel()  # type: ignore[no-untyped-call]
        self._bury()
        return ended

    def _wait_to_begin(self, cancel: CancelToken) -> JobOutcome | None:
        """None when a worker has taken the task, or it is over already."""
        deadline = time.monotonic() + self._begin_seconds
        while not (self._future.running() or self._future.done()):
            if cancel.is_set:
                return _canceled()
            if not self.pool.active:
                self._give_up_unless_begun()
                return _broken()
            if time.monotonic() > deadline:
                self._give_up_unless_begun(PoolStuck)
                return _broken()
            self._awake.wait(_START_POLL_SECONDS)
        return None

    def _wait_to_end(self, timeout_ms: int | None, cancel: CancelToken) -> JobOutcome | None:
        """None when the task ended by itself; else why it must be ended."""
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1_000
        dead_since: float | None = None
        while not self._future.done():
            now = time.monotonic()
            if cancel.is_set:
                return _canceled()
            if deadline is not None and now >= deadline:
                text = f"the job took longer than its timeout of {timeout_ms} ms and was killed"
                return JobOutcome.failed(FailureKind.TIMEOUT, text)
            pid = self.output.begun_by()
            if pid is None or _is_alive(pid):
                dead_since = None
            elif dead_since is None:
                dead_since = now
            elif now - dead_since > _POOL_NOTICES_SECONDS:
                text = "the job's process ended before the job returned (os._exit?)"
                return JobOutcome.failed(FailureKind.KILLED, text, 0)
            left = _LIFE_POLL_SECONDS if deadline is None else min(_LIFE_POLL_SECONDS, deadline - now)
            self._awake.wait(left)
        return None

    def _result(self) -> JobOutcome:
        try:
            return self._future.result()
        except ProcessExpired as error:
            self._give_up_unless_begun()
            self._bury()
            return _expired(error.exitcode)
        except (BrokenProcessPool, CancelledError):
            self._give_up_unless_begun()
            self._bury(at_once=True)
            return _broken()

    def _give_up_unless_begun(self, reason: type[PoolLost] = PoolLost) -> None:
        self._revoke()
        if self.output.begun_by() is None:
            raise reason

    def _revoke(self) -> None:
        self.output = self.output.revoke()

    def _bury(self, *, at_once: bool = False) -> None:
        """Wait until the worker is dead, and kill what its job left behind.

        `at_once` the worker too, which is right only when its pool is of no use any more.
        """
        pid = self.output.begun_by()
        if pid is None:
            return
        if not (at_once or _until(lambda: not _is_alive(pid), _DEATH_SECONDS)):
            _log.warning("worker.hangs", pid=pid, reason="it outlived its kill and is killed again")
        _kill_group(pid)
        # A dead child of a dead worker counts until init collects it, which not every container's init does.
        _until(lambda: not _kill_group(pid), _COLLECT_SECONDS)


def _canceled() -> JobOutcome:
    return JobOutcome.failed(FailureKind.CANCELED, "canceled")


def _broken() -> JobOutcome:
    return JobOutcome.failed(FailureKind.KILLED, "the pool of worker processes broke while the job ran")


def _expired(status: int) -> JobOutcome:
    if status >= 0:
        text = f"the job's process exited with status {status} before the job returned"
    else:
        hint = " (by hand, or by the system for lack of memory)" if status == -signal.SIGKILL else ""
        text = f"the job's process was killed by {signal_name(-status)}{hint}"
    return JobOutcome.failed(FailureKind.KILLED, text, status)


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
