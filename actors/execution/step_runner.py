"""What stands between the orchestrator and whatever executes a step: the call, the answer, the Protocol."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self

from actors.catalog.store import Json, JsonObject
from actors.execution.cancel import CancelToken
from actors.execution.jobs import Job

__all__ = ["FailureKind", "JobContext", "JobOutcome", "StepRunner"]


@dataclass(frozen=True, slots=True)
class JobContext:
    """The one argument of a Python job; a command reads the same, less the logger, as camelCase JSON on
    stdin.

    `parameters` are the run's, with those of the step on top. The logger writes to stderr.
    """

    parameters: JsonObject
    trigger: JsonObject
    partition_key: str | None
    run_id: str
    workflow_slug: str
    step_id: str
    logger: logging.Logger

    def to_json(self) -> dict[str, Json]:
        return {
            "parameters": self.parameters,
            "trigger": self.trigger,
            "partitionKey": self.partition_key,
            "runId": self.run_id,
            "workflowSlug": self.workflow_slug,
            "stepId": self.step_id,
        }


class FailureKind(StrEnum):
    """error: the job said so. timeout: it took too long. killed: its process died. canceled: it was told to."""

    ERROR = "error"
    TIMEOUT = "timeout"
    KILLED = "killed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How one attempt ended. `exit_status` is the process's, negative for a signal, None if it did not exit.

    The tails are the last 8 KiB of what the job wrote.
    """

    result: JsonObject | None = None
    failure: FailureKind | None = None
    message: str = ""
    exit_status: int | None = None
    stdout_tail: str = ""
    stderr_tail: str = ""

    @property
    def ok(self) -> bool:
        return self.failure is None

    @classmethod
    def failed(cls, kind: FailureKind, message: str, exit_status: int | None = None) -> Self:
        return cls(failure=kind, message=message, exit_status=exit_status)


class StepRunner(Protocol):
    """Executes one attempt of one step, blocking; never raises for what the job does."""

    def run(self, job: Job, context: JobContext, timeout_ms: int | None, cancel: CancelToken) -> JobOutcome:
        """Run the job to its end, or until the timeout or the token ends it.

        The timeout starts with the job, not while it waits for a free place. After a failure nothing of the job is
        left running.
        """
