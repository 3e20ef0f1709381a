"""The events of a run's life: requested, enqueued, started, and one of succeeded, failed and canceled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, StrictBool

from actors.catalog.sections import AssetId, Label
from actors.catalog.wire import (
    PartitionKey,
    ScriptTimeMs,
    TimeMs,
    Versions,
    Wire,
    WireEvent,
    example_config,
)

__all__ = [
    "Dismissed",
    "RunCanceled",
    "RunEnqueued",
    "RunFailed",
    "RunRequested",
    "RunStarted",
    "RunSucceeded",
    "Unmade",
]


def _run_example(type_: str, **more: JsonValue) -> ConfigDict:
    return example_config(
        type=type_,
        runId="run-1",
        workflowSlug="orders-daily",
        partitionKey="2026-11-23",
        trigger={"type": "auto-materialize", "reason": "upstream-updated", "upstream": []},
        at="2026-11-23T10:00:00.000Z",
        **more,
    )


class Dismissed(Wire):
    """The versions that a run read or would have read, and that are left alone; only something newer starts another."""

    version: Annotated[int, Field(strict=True, ge=0)]
    inputs: Versions = Field(default_factory=dict)


class Unmade(Wire):
    """An asset that an ended run should have made and did not, and its failures in a row so far."""

    asset_id: AssetId
    partition_key: PartitionKey | None = None
    failures: Annotated[int, Field(strict=True, ge=0)] = 0
    last_failure_at_ms: ScriptTimeMs | None = None
    dismissed: Dismissed | None = None


class _RunEvent(WireEvent):
    run_id: Label
    workflow_slug: Label
    partition_key: PartitionKey | None = None
    trigger: dict[str, JsonValue] = Field(default_factory=dict)
    at_ms: TimeMs


class _RunEnded(_RunEvent):
    unmade: tuple[Unmade, ...] = ()


class RunRequested(_RunEvent):
    """A run was asked for by hand and waits to be claimed."""

    model_config = _run_example("workflow.run.requested")
    type: Literal["workflow.run.requested"] = "workflow.run.requested"


class RunEnqueued(_RunEvent):
    """A run was claimed and handed to the launcher."""

    model_config = _run_example("workflow.run.enqueued")
    type: Literal["workflow.run.enqueued"] = "workflow.run.enqueued"


class RunStarted(_RunEvent):
    """A run began; `inputs` are the versions of the upstreams that it reads."""

    model_config = _run_example("workflow.run.started", inputs={"orders.raw": 12})
    type: Literal["workflow.run.started"] = "workflow.run.started"
    inputs: Versions = Field(default_factory=dict)


class RunSucceeded(_RunEnded):
    """A run ended well; `unmade` names what it should have made and did not report."""

    model_config = _run_example("workflow.run.succeeded", unmade=[])
    type: Literal["workflow.run.succeeded"] = "workflow.run.succeeded"


class RunFailed(_RunEnded):
    """A run failed, or (`lost`) was given up because nobody executes it any more."""

    model_config = _run_example(
        "workflow.run.failed",
        error="step 'load': exit code 3",
        lost=False,
        unmade=[
            {
                "assetId": "orders.daily",
                "partitionKey": "2026-11-23",
                "failures": 2,
                "lastFailureAt": "2026-11-23T10:00:00.000Z",
            }
        ],
    )
    type: Literal["workflow.run.failed"] = "workflow.run.failed"
    error: Annotated[str, Field(max_length=65_536)] | None = None
    lost: StrictBool = False


class RunCanceled(_RunEnded):
    """A run was canceled, which is no failure; `unmade` says what is dismissed by it."""

    model_config = _run_example(
        "workflow.run.canceled",
        unmade=[
            {
                "assetId": "orders.daily",
                "partitionKey": "2026-11-23",
                "failures": 0,
                "dismissed": {"version": 7, "inputs": {"orders.raw": 12}},
            }
        ],
    )
    type: Literal["workflow.run.canceled"] = "workflow.run.canceled"
