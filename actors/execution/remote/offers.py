"""Runs on their way to an orchestrator: offered until one is taken, is refused for good, or time has run out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from actors.catalog.store import CatalogUnavailable, RunFenced, RunRecord, RunStatus, StepRecord, StepStatus, Store
from actors.core.graph import WorkflowSpec
from actors.execution.launcher import RunOrder
from actors.execution.remote.asking import Never, NotNow, asked, pause_seconds
from actors.execution.remote.calls import REMOTE_STEP, RemoteCalls
from actors.execution.remote.client import Answer
from actors.execution.remote.delayed import DelayedWork
from actors.execution.remote.runs import RemoteRuns
from actors.execution.remote.signing import start_token
from actors.execution.remote.target import Target, TargetInvalid, look_up, target_of
from actors.execution.templates import TemplateError
from actors.execution_settings import HttpExecutionSettings, origin_of
from actors.runtime.clock import Clock

__all__ = ["NOBODY", "Offers"]

NOBODY: Final = "launcher"
"""No run's token, so a write with it is refused once a run has begun."""

_log: Final = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Offer:
    """`answer` is kept once the run is taken, and `refusal` once it will not be, until the catalog knows of it."""

    order: RunOrder
    give_up_at: float
    failures: int = 0
    answer: Answer | None = None
    refusal: str | None = None


class Offers:
    """Thread-safe.

    Args:
        work: the threads on which runs are offered.
        stop_there: called for a run that was taken when it was over already.
    """

    def __init__(
        self,
        store: Store,
        calls: RemoteCalls,
        runs: RemoteRuns,
        http: HttpExecutionSettings,
        work: DelayedWork,
        clock: Clock,
        *,
        stop_there: Callable[[str], None],
    ) -> None:
        self._store = store
        self._calls = calls
        self._runs = runs
        self._http = http
        self._work = work
        self._clock = clock
        self._stop_there = stop_there
        self._lock = threading.Lock()
        self._offered: set[str] = set()

    def __contains__(self, run_id: str) -> bool:
        """Whether a run is being offered."""
        with self._lock:
            return run_id in self._offered

    def put(self, order: RunOrder) -> None:
        """Offer a run, unless it is being offered."""
        with self._lock:
            if order.run_id in self._offered:
                return
            self._offered.add(order.run_id)
        self._work.put(partial(self._offer, _Offer(order, time.monotonic() + self._http.retry_seconds)))

    def _offer(self, offer: _Offer) -> None:
        goes_on = False
        try:
            if offer.refusal is None:
                offer.refusal = self._refusal_of(offer)
            if offer.refusal is not None:
                self._fail(offer.order, offer.refusal)
        except CatalogUnavailable as error:
            goes_on = True
            # What the orchestrator is given time for does not run out meanwhile.
            offer.give_up_at += self._again(offer, str(error))
        except NotNow as error:
            goes_on = True
            self._again(offer, str(error), at_least=error.after_seconds)
        finally:
            if not goes_on:
                with self._lock:
                    self._offered.discard(offer.order.run_id)

    def _refusal_of(self, offer: _Offer) -> str | None:
        """Offer it once; why it will never be taken, or None when that is settled.

        Raises:
            NotNow, CatalogUnavailable: it is not settled yet.
        """
        record = self._store.run(offer.order.run_id)
        if record is None or (record.status is not RunStatus.ENQUEUED and offer.answer is None):
            return None
        try:
            self._try(offer, record)
        except NotNow as error:
            if time.monotonic() < offer.give_up_at:
                raise
            return f"it was offered for {self._http.retry_seconds:g} s, and not taken: {error}"
        except (Never, TargetInvalid, TemplateError) as error:
            return str(error)
        return None

    def _try(self, offer: _Offer, record: RunRecord) -> None:
        definition = self._store.workflow(record.workflow_slug)
        if definition is None:
            raise Never(f"workflow {record.workflow_slug!r} was removed before the run began")
        target = target_of(self._http, definition)
        if offer.answer is None:
            answer, told = asked(lambda: self._calls.start(target, definition, record))
            if not answer.is_ok and answer.status not in self._http.accepted_again:
                raise Never(f"{origin_of(target.start.url)} refused the run with {told}")
            if target.remote_id and _remote_id(target, answer) is None:
                raise Never(f"{origin_of(target.start.url)} answered without {target.remote_id}: {told}")
            offer.answer = answer
        self._begin(record, definition.to_spec(), _remote_id(target, offer.answer))

    def _begin(self, record: RunRecord, spec: WorkflowSpec, remote_id: str | None) -> None:
        run_id, now_ms = record.run_id, self._clock.now_ms()
        try:
            self._runs.begin(run_id, spec)
            if remote_id is not None:
                step = StepRecord(REMOTE_STEP, StepStatus.RUNNING, 1, now_ms, result={"id": remote_id})
                self._store.put_step(run_id, step, token=start_token(run_id))
        except RunFenced as error:
            # Its end may have been told before the answer that it was taken came; that is as it should be.
            ended = self._store.run(run_id)
            if ended is None or ended.status in (RunStatus.CANCELED, RunStatus.LOST):
                _log.warning("run.fenced", run_id=run_id, workflow=record.workflow_slug, reason=str(error))
                self._stop_there(run_id)
            return
        _log.info("run.taken", run_id=run_id, workflow=record.workflow_slug, remote_id=remote_id)

    def _again(self, offer: _Offer, reason: str, *, at_least: float = 0.0) -> float:
        """Have it offered once more; in how many seconds."""
        offer.failures += 1
        seconds = pause_seconds(offer.order.run_id, offer.failures, at_least)
        _log.warning(
            "run.not_taken",
            run_id=offer.order.run_id,
            workflow=offer.order.workflow_slug,
            attempt=offer.failures,
            again_in_seconds=round(seconds, 1),
            reason=reason,
        )
        self._work.put(partial(self._offer, offer), after_seconds=seconds)
        return seconds

    def _fail(self, order: RunOrder, reason: str) -> None:
        definition = self._store.workflow(order.workflow_slug)
        ended = self._store.finish_run(
            order.run_id,
            RunStatus.FAILED,
            now_ms=self._clock.now_ms(),
            error=reason,
            expected=definition.to_spec().expected(order.partition_key) if definition is not None else (),
            token=NOBODY,
        )
        if ended:
            _log.warning("run.refused", run_id=order.run_id, workflow=order.workflow_slug, reason=reason)


def _remote_id(target: Target, answer: Answer) -> str | None:
    if not target.remote_id:
        return None
    try:
        found = look_up(answer.document(), target.remote_id)
    except ValueError:
        return None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) and found != "" else None
