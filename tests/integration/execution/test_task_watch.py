"""What pebble does not tell of its tasks, with pools in the state in which it does not."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from pebble import ProcessFuture, ProcessPool

from actors.execution.cancel import CancelToken
from actors.execution.step_output import StepOutput
from actors.execution.step_runner import FailureKind, JobOutcome
from actors.execution.task_watch import PoolLost, TaskWatch
from tests.integration.execution.workflows import eventually, is_gone


@pytest.fixture
def output(tmp_path: Path) -> StepOutput:
    folder = tmp_path / "step"
    folder.mkdir()
    return StepOutput(folder)


@pytest.fixture
def stopped_pool() -> ProcessPool:
    pool = ProcessPool(1, context=multiprocessing.get_context("forkserver"))
    pool.stop()  # type: ignore[no-untyped-call]
    return pool


@pytest.fixture
def process() -> Iterator[multiprocessing.process.BaseProcess]:
    """A process that leads a group, as a worker does, and holds on for ever."""
    process = multiprocessing.get_context("forkserver").Process(target=_hold)
    process.start()
    eventually(lambda: process.pid is not None and os.getpgid(process.pid) == process.pid, "it leads a group")
    yield process
    process.kill()
    process.join(10)


def _hold() -> None:
    os.setsid()
    signal.pause()


def test_a_task_that_stays_in_the_queue_of_a_broken_pool(output: StepOutput, stopped_pool: ProcessPool) -> None:
    future: ProcessFuture[JobOutcome] = ProcessFuture()
    with pytest.raises(PoolLost):
        TaskWatch(stopped_pool, future, output).outcome(None, CancelToken())
    assert not output.begin(), "nobody may begin what will be scheduled again"


def test_a_task_that_a_broken_pool_gives_back(output: StepOutput, stopped_pool: ProcessPool) -> None:
    future: ProcessFuture[JobOutcome] = ProcessFuture()
    future.set_exception(BrokenProcessPool("all workers expired"))
    with pytest.raises(PoolLost):
        TaskWatch(stopped_pool, future, output).outcome(None, CancelToken())
    assert not output.begin()


def test_a_job_that_runs_while_its_pool_breaks_is_killed_and_not_begun_again(
    output: StepOutput, stopped_pool: ProcessPool, process: multiprocessing.process.BaseProcess
) -> None:
    (output.folder / f"pid-{process.pid}").touch()
    future: ProcessFuture[JobOutcome] = ProcessFuture()
    future.set_exception(BrokenProcessPool("all workers expired"))
    outcome = TaskWatch(stopped_pool, future, output).outcome(None, CancelToken())
    assert outcome.failure is FailureKind.KILLED
    assert process.pid is not None
    assert is_gone(process.pid)


def test_a_task_canceled_in_the_queue_cannot_begin_later(output: StepOutput, stopped_pool: ProcessPool) -> None:
    token = CancelToken()
    token.cancel()
    future: ProcessFuture[JobOutcome] = ProcessFuture()
    outcome = TaskWatch(stopped_pool, future, output).outcome(None, token)
    assert outcome.failure is FailureKind.CANCELED
    assert future.cancelled()
    assert not output.begin()
