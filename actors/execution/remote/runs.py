"""What becomes of a run by the word of its orchestrator, whether it calls back or is polled.

Everything is written with the token of the run's one execution, so that a run which was given up takes nothing more.
The same word again changes nothing and is answered as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import structlog

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import (
    JsonObject,
    NewMaterialization,
    Renewal,
    RunFenced,
    RunRecord,
    RunStatus,
    StepRecord,
    StepStatus,
    Store,
)
from actors.core.graph import WorkflowSpec
from actors.execution.remote.calls import REMOTE_STEP
from actors.execution.remote.signing import start_token
from actors.execution.results import ResultError, materializations
from actors.execution_settings import HttpExecutionSettings, origin_of
from actors.runtime.clock import Clock

__all__ = ["Heard", "RemoteRuns", "RunUnknown", "Word", "outcome_of"]

_MAX_ERROR: Final = 4_000
_log: Final = structlog.get_logger(__name__)

_ENDS: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.SUCCEEDED: frozenset([RunStatus.SUCCEEDED, RunStatus.FAILED]),
    RunStatus.FAILED: frozenset([RunStatus.FAILED, RunStatus.CANCELED, RunStatus.LOST]),
    RunStatus.CANCELED: frozenset([RunStatus.CANCELED, RunStatus.LOST]),
}
"""How a run may have ended by a word: see `outcome_of`; what cannot be recorded turns success into failure."""


_STEP_ENDS: Final[Mapping[RunStatus, StepStatus]] = {
    RunStatus.SUCCEEDED: StepStatus.SUCCEEDED,
    RunStatus.FAILED: StepStatus.FAILED,
    RunStatus.CANCELED: StepStatus.CANCELED,
    RunStatus.LOST: StepStatus.CANCELED,
}


class RunUnknown(LookupError):  # noqa: N818 - as `JobUnknown`
    """The catalog knows no such run (any more)."""


@dataclass(frozen=True, slots=True)
class Word:
    """What an orchestrator says of a run: `running`, `succeeded`, `failed` or `canceled`. `result.assets` are what was
    made since it last said so, and are recorded whatever the status; `steps` are those whose state changed."""

    status: RunStatus
    error: str | None = None
    result: JsonObject | None = None
    steps: Sequence[StepRecord] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """How the run is now, and whether it is to end: `cancel` (a user's wish), `stop` (the service's) or None."""

    status: RunStatus
    asked: Renewal | None = None


def outcome_of(said: RunStatus, asked: Renewal | None) -> RunStatus:
    """How a run ends. What was asked to end and did not succeed ended for that reason, whatever it is called there."""
    if said is RunStatus.SUCCEEDED:
        return said
    if asked is Renewal.CANCEL:
        return RunStatus.CANCELED
    return RunStatus.LOST if asked is Renewal.STOP else said


class RemoteRuns:
    """Thread-safe. Every method may raise `CatalogUnavailable`, and may be called again then.

    Args:
        lease_ms: after so long without a word a run is overdue.
        where: what is told of who works on a run.
    """

    def __init__(self, store: Store, clock: Clock, *, lease_ms: int, where: str) -> None:
        self._store = store
        self._clock = clock
        self._lease_ms = lease_ms
        self._where = where

    @classmethod
    def of(cls, store: Store, clock: Clock, http: HttpExecutionSettings) -> Self:
        """As the settings have it."""
        return cls(store, clock, lease_ms=int(http.lease_seconds * 1_000), where=origin_of(http.url))

    def begin(self, run_id: str, spec: WorkflowSpec) -> None:
        """The orchestrator has taken the run: mark it started, with what its upstreams are now. Harmless a second time.

        Raises:
            RunFenced: it is not enqueued any more, and was not begun there.
        """
        self._store.start_run(
            run_id,
            upstreams=spec.upstreams,
            now_ms=self._clock.now_ms(),
            token=start_token(run_id),
            worker=self._where,
            lease_ms=self._lease_ms,
        )

    def renew(self, run_id: str) -> Renewal:
        """A sign of life of a run, and what the catalog says to it."""
        return self._store.renew_runs({run_id: start_token(run_id)}, lease_ms=self._lease_ms)[run_id]

    def hear(self, run_id: str, word: Word, *, otherwise: WorkflowDefinition | None = None) -> Heard:
        """Take down what the orchestrator says. `otherwise` is the definition that counts when there is none any more.

        Raises:
            RunUnknown: there is no such run.
            RunFenced: it was given up, canceled or ended otherwise; nothing is taken of it any more.
            ResultError: a step is not in the definition, or what a run that goes on says it made cannot be recorded;
                nothing was taken down. Of a run that succeeded the latter is no error of the caller's: the run has
                failed, with this as its reason.
        """
        record = self._store.run(run_id)
        if record is None:
            raise RunUnknown(f"there is no run {run_id!r}")
        try:
            return self._hear(record, word, self._store.workflow(record.workflow_slug) or otherwise)
        except RunFenced as error:
            _log.warning(
                "run.fenced", run_id=run_id, workflow=record.workflow_slug, said=word.status, reason=str(error)
            )
            raise

    def _hear(self, record: RunRecord, word: Word, definition: WorkflowDefinition | None) -> Heard:
        spec = definition.to_spec() if definition is not None else WorkflowSpec(record.workflow_slug)
        _check_steps(word, definition)
        if record.status.is_over:
            return self._again(record, spec, word)
        if record.status is RunStatus.ENQUEUED:
            # It was quicker than the answer by which it took the run.
            self.begin(record.run_id, spec)
        renewal = self.renew(record.run_id)
        if renewal is Renewal.FENCED:
            raise RunFenced(f"run {record.run_id} is not executed by an orchestrator (any more); do not work on it")
        asked = None if renewal is Renewal.HELD else renewal
        said, error = word.status, word.error
        try:
            made = self._made(record, spec, word)
        except ResultError as refusal:
            if not said.is_over:
                raise
            made = []
            said, error = RunStatus.FAILED if said is RunStatus.SUCCEEDED else said, str(refusal)
        for new in made:
            self._store.record(new)
        for step in word.steps:
            self._store.put_step(record.run_id, step, token=start_token(record.run_id))
        if not said.is_over:
            return Heard(RunStatus.RUNNING, asked)
        status = outcome_of(said, asked)
        self._close(record, status, error)
        self._end(record, spec, status, error)
        return Heard(status)

    def _again(self, record: RunRecord, spec: WorkflowSpec, word: Word) -> Heard:
        """What was said before is answered as before; anything new of a run that is over is refused."""
        try:
            for new in self._made(record, spec, word):
                self._store.record(new)
        except ResultError:
            pass
        if record.status in _ENDS.get(word.status, ()):
            self._end(record, spec, record.status, record.error)
            return Heard(record.status)
        raise RunFenced(f"run {record.run_id} is over: {record.status.value}; do not work on it")

    def _close(self, record: RunRecord, status: RunStatus, error: str | None) -> None:
        """Note the end also where the orchestrator's own id of the run is kept."""
        for step in record.steps:
            if step.step_id == REMOTE_STEP:
                now_ms = self._clock.now_ms()
                ended = replace(step, status=_STEP_ENDS[status], ended_at_ms=now_ms, error=error and error[:_MAX_ERROR])
                self._store.put_step(record.run_id, ended, token=start_token(record.run_id))

    def _end(self, record: RunRecord, spec: WorkflowSpec, status: RunStatus, error: str | None) -> None:
        ended = self._store.finish_run(
            record.run_id,
            status,
            now_ms=self._clock.now_ms(),
            error=error and error[:_MAX_ERROR],
            expected=spec.expected(record.partition_key),
            token=start_token(record.run_id),
        )
        if not ended:
            raise RunFenced(f"run {record.run_id} was ended by others; what is said of it comes too late")

    def _made(self, record: RunRecord, spec: WorkflowSpec, word: Word) -> list[NewMaterialization]:
        token = start_token(record.run_id)
        made = materializations(word.result, spec=spec, step_id=None, run=record, ended_at_ms=self._clock.now_ms())
        return [replace(new, start_token=token) for new in made]


def _check_steps(word: Word, definition: WorkflowDefinition | None) -> None:
    known = {step.id for step in definition.steps} if definition is not None else set()
    for step in word.steps:
        if step.step_id not in known:
            names = ", ".join(repr(name) for name in sorted(known)) or "no steps"
            raise ResultError(f"there is no step {step.step_id!r} in the definition; it has {names}")
