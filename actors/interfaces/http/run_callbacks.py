"""What orchestrators send about runs: the body, and what it says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from actors.catalog.sections import Label
from actors.catalog.store import RunStatus, StepRecord, StepStatus
from actors.catalog.timestamps import parse_iso_ms
from actors.execution.remote.runs import Word
from actors.execution.step_execution import kept_result
from actors.execution.step_output import TAIL_BYTES
from actors.interfaces.http.bodies import Body

__all__ = ["RunCallback"]

_MAX_ERROR = 20_000
_MAX_STEPS = 500


def _time(text: str) -> str:
    parse_iso_ms(text)
    return text


Time = Annotated[str, Field(max_length=40), AfterValidator(_time)]


class StepCallback(Body):
    """The state of one step of the definition. Of output, the ends are kept."""

    step_id: Label
    status: StepStatus
    attempt: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    started_at: Time | None = None
    ended_at: Time | None = None
    error: Annotated[str, Field(max_length=_MAX_ERROR)] | None = None
    result: dict[str, JsonValue] | None = None
    stdout_tail: str = ""
    stderr_tail: str = ""

    def to_record(self) -> StepRecord:
        return StepRecord(
            self.step_id,
            self.status,
            self.attempt,
            started_at_ms=parse_iso_ms(self.started_at) if self.started_at is not None else None,
            ended_at_ms=parse_iso_ms(self.ended_at) if self.ended_at is not None else None,
            error=self.error,
            result=kept_result(self.result),
            stdout_tail=_tail(self.stdout_tail),
            stderr_tail=_tail(self.stderr_tail),
        )


class RunCallback(Body):
    """How a run is, by whoever executes it. `result.assets` are what it made since it last said so, in the form that
    jobs return; they are recorded whatever the status is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"status": "running"},
                {
                    "status": "succeeded",
                    "result": {"assets": [{"assetId": "orders.daily", "dataVersion": "8f2c"}]},
                },
                {"status": "failed", "error": "the warehouse does not answer"},
            ]
        }
    )
    status: Literal["running", "succeeded", "failed", "canceled"]
    error: Annotated[str, Field(max_length=_MAX_ERROR)] | None = None
    result: dict[str, JsonValue] | None = None
    steps: Annotated[tuple[StepCallback, ...], Field(max_length=_MAX_STEPS)] = ()

    def to_word(self) -> Word:
        return Word(RunStatus(self.status), self.error, self.result, [step.to_record() for step in self.steps])


def _tail(text: str) -> str:
    return text.encode(errors="replace")[-TAIL_BYTES:].decode(errors="replace")
