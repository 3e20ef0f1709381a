"""One step of a run, from its templates to its recorded assets."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, assert_never

import structlog

from actors.catalog.definitions import Step, WorkflowDefinition
from actors.catalog.store import Json, JsonObject, RunRecord, StepRecord, StepStatus, Store
from actors.core.backoff import unit_interval
from actors.core.graph import WorkflowSpec
from actors.execution.cancel import CancelToken
from actors.execution.jobs import Job, JobRegistry, JobUnknown
from actors.execution.persistence import persist
from actors.execution.results import ResultError, materializations
from actors.execution.retries import retry_delay_ms
from actors.execution.step_runner import FailureKind, JobContext, JobOutcome, StepRunner
from actors.execution.templates import TemplateError, render
from actors.runtime.clock import Clock

__all__ = ["RunInHand", "StepExecutor", "kept_result"]

_MAX_KEPT_RESULT_BYTES: Final = 256 * 1024
_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunInHand:
    """A started run and the definition that it started with, which is used to its end."""

    record: RunRecord
    definition: WorkflowDefinition
    spec: WorkflowSpec
    before: Mapping[str, frozenset[str]]
    """Of each step by id, all steps that are over before it starts."""
    token: str
    """That with which the run was started; the catalog takes nothing without it."""


@dataclass(frozen=True, slots=True)
class StepExecutor:
    """Executes the steps of one run. Thread-safe: steps that do not depend on each other run side by side."""

    store: Store
    jobs: JobRegistry
    run_step: StepRunner
    clock: Clock
    run: RunInHand
    cancel: CancelToken

    def execute(self, step: Step, results: Mapping[str, JsonObject | None]) -> StepRecord:
        """Try a step as often as its policy says, and record and publish what it made.

        `results` are those of the steps that are over. The record is stored before the return.

        Raises:
            RunFenced: the catalog has ended the run.
            CatalogUnavailable: the service stops while the server does not answer.
        """
        if self.cancel.is_set:
            return self.close(step, StepStatus.CANCELED, "the run was stopped before this step began")
        try:
            job = self._job(step)
            context = self._context(step, results)
        except (JobUnknown, TemplateError, _Unsupported) as error:
            return self.close(step, StepStatus.FAILED, str(error))
        attempt = 0
        while True:
            attempt += 1
            record, outcome = self._attempt(step, job, context, attempt)
            if outcome.ok or outcome.failure is FailureKind.CANCELED:
                return record
            delay_ms = self._delay_ms(step, attempt)
            if delay_ms is None:
                return self._kept(record)
            text = f"attempt {attempt} of {step.retry_policy.max_attempts} failed: {record.error}"
            self._kept(
                replace(record, status=StepStatus.RUNNING, error=f"{text}; the next one follows in {delay_ms} ms")
            )
            if self.cancel.wait(delay_ms / 1_000):
                return self._kept(replace(record, status=StepStatus.CANCELED, error=text))

    def close(self, step: Step, status: StepStatus, error: str) -> StepRecord:
        """Store the end of a step that did not begin."""
        now_ms = self.clock.now_ms()
        return self._kept(StepRecord(step.id, status, attempt=0, ended_at_ms=now_ms, error=error))

    def _attempt(self, step: Step, job: Job, context: JobContext, attempt: int) -> tuple[StepRecord, JobOutcome]:
        """Only a record that ends the step whatever the policy is stored here."""
        started_at_ms = self.clock.now_ms()
        record = StepRecord(step.id, StepStatus.RUNNING, attempt, started_at_ms)
        self._kept(record)
        outcome = self.run_step.run(job, context, step.timeout_ms or job.timeout_ms, self.cancel)
        record = replace(
            record,
            ended_at_ms=self.clock.now_ms(),
            stdout_tail=outcome.stdout_tail,
            stderr_tail=outcome.stderr_tail,
        )
        match outcome.failure:
            case None:
                return self._succeeded(record, outcome), outcome
            case FailureKind.CANCELED:
                return self._kept(replace(record, status=StepStatus.CANCELED, error=outcome.message)), outcome
            case FailureKind.ERROR | FailureKind.TIMEOUT | FailureKind.KILLED:
                return replace(record, status=StepStatus.FAILED, error=outcome.message), outcome
            case _:
                assert_never(outcome.failure)

    def _succeeded(self, record: StepRecord, outcome: JobOutcome) -> StepRecord:
        """A result that cannot be used fails the step for good: the job did its work, and would say the same again."""
        ended_at_ms = record.ended_at_ms or self.clock.now_ms()
        try:
            made = materializations(
                outcome.result,
                spec=self.run.spec,
                step_id=record.step_id,
                run=self.run.record,
                ended_at_ms=ended_at_ms,
            )
        except ResultError as error:
            return self._kept(replace(record, status=StepStatus.FAILED, error=str(error)))
        for entry in made:
            new = replace(entry, start_token=self.run.token)
            recorded = persist(lambda new=new: self.store.record(new), self.cancel, run_id=self._run_id)  # type: ignore[misc]
            _log.debug(
                "asset.recorded",
                run_id=self._run_id,
                step_id=record.step_id,
                asset_id=new.asset_id,
                partition_key=new.partition_key,
                version=recorded.version,
                changed=recorded.changed,
            )
        self._kept(replace(record, status=StepStatus.SUCCEEDED, result=kept_result(outcome.result)))
        # The steps after this one see the whole result, whatever was kept of it.
        return replace(record, status=StepStatus.SUCCEEDED, result=outcome.result)

    def _job(self, step: Step) -> Job:
        if step.type != "job" or step.job_slug is None:
            raise _Unsupported(f"a step of type {step.type!r} cannot be executed; use type 'job' and a jobSlug")
        return self.jobs.job(step.job_slug)

    def _context(self, step: Step, results: Mapping[str, JsonObject | None]) -> JobContext:
        record = self.run.record
        rendered = render(step.parameters, self._namespaces(step, results), step_id=step.id)
        return JobContext(
            parameters={**record.parameters, **rendered},
            trigger=record.trigger,
            partition_key=record.partition_key,
            run_id=record.run_id,
            workflow_slug=record.workflow_slug,
            step_id=step.id,
            logger=logging.getLogger(f"job.{record.workflow_slug}.{step.id}"),
        )

    def _namespaces(self, step: Step, results: Mapping[str, JsonObject | None]) -> JsonObject:
        """A step sees the results of the steps before it, and of no other: those may or may not be over yet."""
        before = [earlier for earlier in self.run.definition.steps if earlier.id in self.run.before[step.id]]
        record = self.run.record
        return {
            "parameters": record.parameters,
            "trigger": record.trigger,
            "steps": {earlier.id: {"result": results.get(earlier.id)} for earlier in before},
            "shared": {
                earlier.store_result_as: results.get(earlier.id)
                for earlier in before
                if earlier.store_result_as is not None
            },
            "run": {"id": record.run_id, "partitionKey": record.partition_key},
        }

    def _delay_ms(self, step: Step, attempt: int) -> int | None:
        return retry_delay_ms(step.retry_policy, attempt, unit_interval(f"{self._run_id}\n{step.id}\n{attempt}"))

    def _kept(self, record: StepRecord) -> StepRecord:
        persist(
            lambda: self.store.put_step(self._run_id, record, token=self.run.token), self.cancel, run_id=self._run_id
        )
        return record

    @property
    def _run_id(self) -> str:
        return self.run.record.run_id


class _Unsupported(Exception):  # noqa: N818 - a reason, not a fault of ours
    pass


def kept_result(result: JsonObject | None) -> Json:
    """A large result serves the steps after it, but is not kept: what lasts belongs into assets."""
    size = len(json.dumps(result, ensure_ascii=False).encode(errors="surrogatepass"))
    return result if size <= _MAX_KEPT_RESULT_BYTES else {"notKept": f"{size} bytes"}
