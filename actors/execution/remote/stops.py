"""Asks an orchestrator to stop runs, as often as need be."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

import structlog

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import CatalogUnavailable, Store
from actors.execution.remote.asking import Never, NotNow, asked, pause_seconds
from actors.execution.remote.calls import RemoteCalls
from actors.execution.remote.delayed import DelayedWork
from actors.execution.remote.target import TargetInvalid, target_of
from actors.execution.templates import TemplateError
from actors.execution_settings import HttpExecutionSettings, origin_of

__all__ = ["Stops"]

_log: Final = structlog.get_logger(__name__)


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
        self._work.put(partial(self._ask, run_id, 0, time.monotonic() + self._http.retry_seconds))

    def _ask(self, run_id: str, failures: int, give_up_at: float) -> None:
        try:
            self._try(run_id)
        except (NotNow, CatalogUnavailable) as error:
            if time.monotonic() >= give_up_at:
                _log.warning("run.not_stopped", run_id=run_id, reason=str(error))
                return
            at_least = error.after_seconds if isinstance(error, NotNow) else 0.0
            again = partial(self._ask, run_id, failures + 1, give_up_at)
            self._work.put(again, after_seconds=pause_seconds(run_id, failures + 1, at_least))
        except (Never, TargetInvalid, TemplateError) as error:
            _log.warning("run.not_stopped", run_id=run_id, reason=str(error))

    def _try(self, run_id: str) -> None:
        record = self._store.run(run_id)
        definition = self._store.workflow(record.workflow_slug) if record is not None else None
        if record is None or definition is None:
            return
        target = target_of(self._http, definition)
        call = target.cancel
        if call is None:
            return
        answer, told = asked(lambda: self._calls.cancel(target, call, definition, record))
        if not answer.is_ok:
            raise Never(f"{origin_of(call.url)} refused to stop it with {told}")
        _log.info("run.asked_to_stop", run_id=run_id, workflow=record.workflow_slug)
