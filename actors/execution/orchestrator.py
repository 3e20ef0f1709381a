"""One run, from the claim to its end: steps in the order of their dependencies, side by side where they have none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import structlog

from actors.catalog.definitions import Step, WorkflowDefinition
from actors.catalog.steps import steps_before
from actors.catalog.store import (
    CatalogUnavailable,
    JsonObject,
    RunFenced,
    RunStatus,
    StepRecord,
    StepStatus,
    Store,
)
from actors.execution.cancel import CancelReason, CancelToken
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import RunOrder
from actors.execution.leases import Hold, LeaseKeeper
from actors.execution.persistence import persist
from actors.execution.step_execution import RunInHand, StepExecutor
from actors.execution.step_runner import StepRunner
from actors.runtime.clock import Clock

__all__ = ["Orchestrator"]

_MAX_ERROR: Final = 4_000
_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One execution of a run: what is to be done, what may end it, and by what the catalog knows it."""

    order: RunOrder
    cancel: CancelToken
    hold: Hold


class Orchestrator:
    """Executes runs; blocking, and any number at a time.

    A failed step fails the run. Steps that need it are skipped; those that do not are still executed, because
    what they make is of use.
    """

    def __init__(
        self,
        store: Store,
        jobs: JobRegistry,
        run_step: StepRunner,
        clock: Clock,
        *,
        leases: LeaseKeeper | None = None,
        max_parallel_steps: int = 4,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._run_step = run_step
        self._clock = clock
        self._leases = leases
        self._max_parallel_steps = max_parallel_steps

    def run(self, order: RunOrder, cancel: CancelToken) -> RunStatus | None:
        """Execute a run that the catalog has claimed, and write its end there.

        Returns how it ended; None if the catalog has ended it, or could not be reached before the service
        stopped.
        Raises nothing: what goes wrong inside is the run's error.
        """
        turn = _Turn(order, cancel, self._leases.hold() if self._leases else Hold.new())
        return self._guarded(turn, lambda: self._run(turn))

    def end_unstarted(self, order: RunOrder, cancel: CancelToken) -> RunStatus | None:
        """End a run that nobody began to execute, by the reason of the token."""
        turn = _Turn(order, cancel, Hold.new())
        return self._guarded(turn, lambda: self._finish(turn, _status_of(cancel), _stopped(cancel)))

    def _guarded(self, turn: _Turn, work: Callable[[], RunStatus | None]) -> RunStatus | None:
        order = turn.order
        try:
            return work()
        except RunFenced as error:
            _log.warning("run.fenced", run_id=order.run_id, workflow=order.workflow_slug, reason=str(error))
            return None
        except CatalogUnavailable as error:
            _log.error("run.left_open", run_id=order.run_id, workflow=order.workflow_slug, reason=str(error))
            return None
        # A fault of ours must not leave the claim of the run behind.
        except Exception as error:
            _log.exception("run.broken", run_id=order.run_id, workflow=order.workflow_slug)
            text = f"internal error: {type(error).__name__}: {error}"
            try:
                return self._finish(turn, RunStatus.FAILED, text)
            except CatalogUnavailable:
                return None

    def _run(self, turn: _Turn) -> RunStatus | None:
        order, cancel = turn.order, turn.cancel
        run_id = order.run_id
        record = persist(lambda: self._store.run(run_id), cancel, run_id=run_id)
        if record is None:
            raise RunFenced(f"run {run_id} is not known to the catalog")
        if cancel.is_set:
            return self._finish(turn, _status_of(cancel), _stopped(cancel))
        definition = self._definition(order, cancel)
        if definition is None:
            text = f"workflow {order.workflow_slug!r} was removed before the run began"
            return self._finish(turn, RunStatus.FAILED, text)
        run = RunInHand(record, definition, definition.to_spec(), steps_before(definition.steps), turn.hold.token)
        self._start(run, turn)
        with self._leases.renewing(run_id, turn.hold, cancel) if self._leases else nullcontext():
            steps = self._execute(run, cancel)
            return self._finish(turn, *_verdict(steps, cancel), run=run)

    def _definition(self, order: RunOrder, cancel: CancelToken) -> WorkflowDefinition | None:
        return persist(lambda: self._store.workflow(order.workflow_slug), cancel, run_id=order.run_id)

    def _start(self, run: RunInHand, turn: _Turn) -> None:
        now_ms = self._clock.now_ms()
        hold = turn.hold
        persist(
            lambda: self._store.start_run(
                run.record.run_id,
                upstreams=run.spec.upstreams,
                now_ms=now_ms,
                token=hold.token,
                worker=hold.worker,
                lease_ms=hold.lease_ms,
            ),
            turn.cancel,
            run_id=run.record.run_id,
        )

    def _execute(self, run: RunInHand, cancel: CancelToken) -> list[StepRecord]:
        executor = StepExecutor(self._store, self._jobs, self._run_step, self._clock, run, cancel)
        ended: dict[str, StepRecord] = {}
        results: dict[str, JsonObject | None] = {}
        waiting = list(run.definition.steps)
        workers = min(self._max_parallel_steps, len(waiting))
        with ThreadPoolExecutor(workers, thread_name_prefix=f"run-{run.record.run_id}") as threads:
            going: dict[Future[StepRecord], Step] = {}
            try:
                while True:
                    for step in _skipped(waiting, ended):
                        lacking = [d for d in step.depends_on if not _made(ended[d])]
                        text = f"skipped: step {lacking[0]!r} it depends on did not succeed"
                        ended[step.id] = executor.close(step, StepStatus.SKIPPED, text)
                    for step in [s for s in waiting if all(_made(ended.get(d)) for d in s.depends_on)]:
                        waiting.remove(step)
                        going[threads.submit(executor.execute, step, dict(results))] = step
                    if not going:
                        return list(ended.values())
                    for done in wait(going, return_when=FIRST_COMPLETED).done:
                        step = going.pop(done)
                        ended[step.id] = done.result()
                        result = ended[step.id].result
                        results[step.id] = result if isinstance(result, dict) else None
            except RunFenced:
                cancel.cancel(CancelReason.FENCED)
                raise

    def _finish(
        self,
        turn: _Turn,
        status: RunStatus,
        error: str | None,
        *,
        run: RunInHand | None = None,
    ) -> RunStatus | None:
        order, cancel = turn.order, turn.cancel
        definition = run.definition if run else self._definition(order, cancel)
        expected = definition.to_spec().expected(order.partition_key) if definition else ()
        now_ms = self._clock.now_ms()
        ended = persist(
            lambda: self._store.finish_run(
                order.run_id,
                status,
                now_ms=now_ms,
                error=error and error[:_MAX_ERROR],
                expected=expected,
                token=turn.hold.token,
            ),
            cancel,
            run_id=order.run_id,
        )
        _log.debug(
            "run.ended",
            run_id=order.run_id,
            workflow=order.workflow_slug,
            partition_key=order.partition_key,
            status=status.value,
            error=error,
            duration_ms=now_ms - run.record.created_at_ms if run else None,
            by_us=ended,
        )
        return status if ended else None


def _made(record: StepRecord | None) -> bool:
    return record is not None and record.status is StepStatus.SUCCEEDED


def _skipped(waiting: list[Step], ended: dict[str, StepRecord]) -> Iterable[Step]:
    """Take every step out of `waiting` that can never run, one at a time: each makes others so."""
    while True:
        found = next((s for s in waiting if any(d in ended and not _made(ended[d]) for d in s.depends_on)), None)
        if found is None:
            return
        waiting.remove(found)
        yield found


def _verdict(steps: list[StepRecord], cancel: CancelToken) -> tuple[RunStatus, str | None]:
    if all(step.status is StepStatus.SUCCEEDED for step in steps):
        return RunStatus.SUCCEEDED, None
    failed = [f"step {step.step_id!r}: {step.error}" for step in steps if step.status is StepStatus.FAILED]
    if cancel.is_set:
        return _status_of(cancel), "; ".join([_stopped(cancel), *failed])
    return RunStatus.FAILED, "; ".join(failed)


def _status_of(cancel: CancelToken) -> RunStatus:
    return RunStatus.LOST if cancel.reason is CancelReason.LOST else RunStatus.CANCELED


def _stopped(cancel: CancelToken) -> str:
    return "the service stopped" if cancel.reason is CancelReason.LOST else "canceled by a user"
