"""Asks orchestrators how runs are, for as long as this service leads.

Which runs go on is read from the catalog, so whoever leads next, or starts again, goes on where another left off. A
poll that is answered renews the run's lease. That of a run that was asked to end does not: it ends with its lease if
its orchestrator does not end it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import (
    CatalogUnavailable,
    Deposed,
    Json,
    JsonObject,
    Renewal,
    RunFenced,
    RunRecord,
    RunStatus,
    Store,
)
from actors.core.backoff import unit_interval
from actors.execution.remote.asking import Never, NotNow, asked
from actors.execution.remote.calls import RemoteCalls
from actors.execution.remote.delayed import DelayedWork
from actors.execution.remote.runs import RemoteRuns, RunUnknown, Word
from actors.execution.remote.target import Poll, TargetInvalid, look_up, target_of
from actors.execution.templates import TemplateError
from actors.execution_settings import HttpExecutionSettings, origin_of
from actors.runtime.clock import Clock

__all__ = ["Poller"]

_LONGEST_PAUSE_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 10.0
_log: Final = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Followed:
    """A run that goes on. `definition` is the last that was there; `silence` is why its last poll told nothing."""

    run_id: str
    definition: WorkflowDefinition
    is_to_end: bool = False
    silence: str = ""


class Poller:
    """One thread that looks for runs that go on, and `[execution.http] connections` that poll.

    Args:
        owns: of which workflows the runs are polled here, by their slugs.
    """

    def __init__(
        self,
        store: Store,
        calls: RemoteCalls,
        http: HttpExecutionSettings,
        clock: Clock,
        *,
        owns: Callable[[str], bool] = lambda _slug: True,
    ) -> None:
        self._store = store
        self._calls = calls
        self._http = http
        self._owns = owns
        self._runs = RemoteRuns.of(store, clock, http)
        self._work = DelayedWork(http.connections, name="http-poller")
        self._pause_seconds = min(_LONGEST_PAUSE_SECONDS, http.poll.interval_seconds)
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="http-poller", daemon=True)

    def start(self) -> None:
        self._work.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._work.stop(self._http.timeout_seconds)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
            except (CatalogUnavailable, Deposed):
                # The stream's reader reports it, and whoever leads looks.
                pass
            except Exception:
                _log.exception("poller.failed")
            self._stopping.wait(self._pause_seconds)

    def _look(self) -> None:
        running = [run for run in self._store.active_runs() if run.status is RunStatus.RUNNING]
        going = {run.run_id: run for run in running if self._owns(run.workflow_slug)}
        with self._lock:
            self._known &= going.keys()
            new = going.keys() - self._known
            self._known |= new
        for run_id in new:
            definition = self._store.workflow(going[run_id].workflow_slug)
            poll = self._poll_of(run_id, definition)
            if definition is not None and poll is not None:
                # Spread, because after a start all of them are new.
                after = poll.interval_seconds * unit_interval(run_id)
                self._work.put(partial(self._ask, _Followed(run_id, definition)), after_seconds=after)

    def _poll_of(self, run_id: str, definition: WorkflowDefinition | None) -> Poll | None:
        try:
            return target_of(self._http, definition).poll
        except TargetInvalid as error:
            _log.warning("run.not_polled", run_id=run_id, reason=str(error))
            return None

    def _ask(self, run: _Followed) -> None:
        """Poll once, and have it done again unless that was the end."""
        with self._lock:
            if run.run_id not in self._known:
                return
        interval = self._http.poll.interval_seconds
        try:
            record = self._store.run(run.run_id)
            if record is None or record.status is not RunStatus.RUNNING:
                return
            run.definition = self._store.workflow(record.workflow_slug) or run.definition
            target = target_of(self._http, run.definition)
            poll = target.poll
            if poll is None:
                return
            interval = poll.interval_seconds
            answer, told = asked(lambda: self._calls.poll(target, poll, run.definition, record))
            if not answer.is_ok:
                raise Never(f"{origin_of(poll.call.url)} answered with {told}")
            self._hear(run, record, poll, answer.document())
            run.silence = ""
        except RunFenced:
            return
        except (CatalogUnavailable, Deposed):
            # As above.
            pass
        except RunUnknown:
            return
        except (NotNow, Never, TargetInvalid, TemplateError, ValueError) as error:
            if str(error) != run.silence:
                run.silence = str(error)
                _log.warning("run.not_polled", run_id=run.run_id, reason=run.silence)
        self._work.put(partial(self._ask, run), after_seconds=interval)

    def _hear(self, run: _Followed, record: RunRecord, poll: Poll, document: Json) -> None:
        state = look_up(document, poll.status)
        if state is None:
            raise Never(f"{origin_of(poll.call.url)} answered without {poll.status}")
        said = _said(poll, state if isinstance(state, str) else json.dumps(state))
        if said is RunStatus.RUNNING:
            if run.is_to_end:
                return
            renewal = self._runs.renew(run.run_id)
            if renewal is Renewal.FENCED:
                raise RunFenced(f"run {run.run_id} is over")
            run.is_to_end = renewal is not Renewal.HELD
            return
        reason = look_up(document, poll.error) if poll.error else None
        error = None
        if said is not RunStatus.SUCCEEDED:
            error = f"{origin_of(poll.call.url)} says {state!r}" + (f": {reason}" if reason else "")
        word = Word(said, error, _declared(record, run.definition, poll, said))
        self._runs.hear(run.run_id, word, otherwise=run.definition)


def _said(poll: Poll, state: str) -> RunStatus:
    if state in poll.succeeded:
        return RunStatus.SUCCEEDED
    if state in poll.failed:
        return RunStatus.FAILED
    return RunStatus.CANCELED if state in poll.canceled else RunStatus.RUNNING


def _declared(record: RunRecord, definition: WorkflowDefinition, poll: Poll, said: RunStatus) -> JsonObject | None:
    """All that the definition says the run makes, where nothing was reported of it."""
    if said is not RunStatus.SUCCEEDED or record.produced or not poll.records_declared:
        return None
    made = definition.to_spec().expected(record.partition_key)
    return {"assets": [{"assetId": asset_id, "partitionKey": key} for asset_id, key in made]}
