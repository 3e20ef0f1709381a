"""Asks an orchestrator to stop runs, as often as need be.

Some cannot stop a run that has just begun, and say so in a way of their own (Dagster by a 200). So while a run goes on
they are asked again after a while, whatever the answer was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import CatalogUnavailable, RunStatus, Store
from actors.execution.remote.asking import NotNow, asked, pause_seconds
from actors.execution.remote.calls import RemoteCalls
from actors.execution.remote.delayed import DelayedWork
from actors.execution.remote.target import TargetInvalid, target_of
from actors.execution.templates import TemplateError
from actors.execution_settings import HttpExecutionSettings, origin_of

__all__ = ["Stops"]

_FIRST_AGAIN_SECONDS: Final = 5.0
_MOST_DOUBLINGS: Final = 4
_log: Final = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Stop:
    """A run that is to be stopped: how often that was asked for and answered, and how often it failed in a row."""

    run_id: str
    give_up_at: float
    asked: int = 0
    failures: int = 0


class Stops:
    """Thread-safe. What comes of it is told by the run's orchestrator; without a word the run ends with its lease."""

    def __init__(self, store: Store, calls: RemoteCalls, http: HttpExecutionSettings, work: DelayedWork) -> None:
        self._store = store
        self._calls = calls
        self._http = http
        self._work = work

    def can_stop(self, definition: WorkflowDefinition | None) -> bool:
        """Whether it is known how runs of a workflow are stopped."""
        try:
            return definition is not None and target_of(self._http, definition).cancel is not None
        except TargetInvalid:
            return False

    def put(self, run_id: str) -> None:
        """Have a run stopped, where it is known how."""
        self._work.put(partial(self._ask, _Stop(run_id, time.monotonic() + self._http.retry_seconds)))

    def _ask(self, stop: _Stop) -> None:
        try:
            is_over = self._try(stop)
        except (NotNow, CatalogUnavailable) as error:
            stop.failures += 1
            at_least = error.after_seconds if isinstance(error, NotNow) else 0.0
            pause = pause_seconds(stop.run_id, stop.failures, at_least)
            reason = str(error)
        except (TargetInvalid, TemplateError) as error:
            _log.warning("run.not_stopped", run_id=stop.run_id, reason=str(error))
            return
        else:
            if is_over:
                return
            stop.failures = 0
            pause = _FIRST_AGAIN_SECONDS * 2 ** min(stop.asked - 1, _MOST_DOUBLINGS)
            reason = ""
        if time.monotonic() + pause < stop.give_up_at:
            self._work.put(partial(self._ask, stop), after_seconds=pause)
        elif reason:
            _log.warning("run.not_stopped", run_id=stop.run_id, reason=reason)

    def _try(self, stop: _Stop) -> bool:
        """Ask once more, and at least once; whether there is nothing to ask for any more."""
        record = self._store.run(stop.run_id)
        definition = self._store.workflow(record.workflow_slug) if record is not None else None
        if record is None or definition is None or (stop.asked and record.status is not RunStatus.RUNNING):
            return True
        target = target_of(self._http, definition)
        call = target.cancel
        if call is None:
            return True
        answer, told = asked(lambda: self._calls.cancel(target, call, definition, record))
        stop.asked += 1
        if answer.is_ok:
            _log.info("run.asked_to_stop", run_id=stop.run_id, workflow=record.workflow_slug, answer=told)
        else:
            reason = f"{origin_of(call.url)} refused to stop it with {told}"
            _log.warning("run.not_stopped", run_id=stop.run_id, workflow=record.workflow_slug, reason=reason)
        return record.status is not RunStatus.RUNNING
