"""A pool of worker processes in which nobody can fetch a task any more."""

from __future__ import annotations

import logging
from typing import Any

from actors.execution.cancel import CancelToken
from actors.execution.jobs import JobRegistry
from actors.execution.step_runner import JobContext
from actors.execution.worker_pool import WorkerPool


def test_a_pool_whose_lock_went_down_with_a_process_is_replaced(jobs: JobRegistry) -> None:
    """A process that is killed while it fetches a task holds the lock for ever; here the test holds it instead."""
    workers = WorkerPool(processes=2, max_tasks=10, begin_seconds=5.0)
    workers.start()
    former: Any = workers._pool
    lock = former._pool_manager.worker_manager.workers_channel.mutex.reader_mutex
    assert lock.acquire(timeout=10)
    try:
        context = JobContext({}, {"type": "manual"}, None, "run-1", "w", "s", logging.getLogger(__name__))
        outcome = workers.run(jobs.jobs["echo"], context, 60_000, CancelToken())
        assert outcome.failure is None, outcome
        assert workers._pool is not former
    finally:
        lock.release()
        workers.stop()
