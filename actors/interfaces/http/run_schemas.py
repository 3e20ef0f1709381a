"""What the API answers about workflows, runs and the rest; see `schemas`."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from actors.catalog.store import RunStatus, StepStatus
from actors.interfaces.http.schemas import AT, Fault, OfAsset, Out, PauseOut, State, shows

__all__ = [
    "Audited",
    "AutoMaterialize",
    "CallbackTaken",
    "Canceled",
    "Checked",
    "EventTaken",
    "GraphOut",
    "Log",
    "PlanOut",
    "PutOut",
    "Removed",
    "RunDetail",
    "RunOut",
    "StepOut",
    "Unpaused",
    "WorkflowDetail",
    "WorkflowOut",
]


class WorkflowOut(Out):
    """As `workflows --json`."""

    model_config = shows(
        slug="orders-daily", name="Daily orders", version=1, steps=2, assets=["orders.daily"], optedIn=["orders.daily"],
        reads=["orders.raw"], source="file",
    )  # fmt: skip
    slug: str
    name: str
    version: int
    steps: int
    assets: list[str]
    opted_in: list[str]
    reads: list[str]
    source: Literal["file", "command"] | None


class WorkflowDetail(WorkflowOut):
    """The summary, the definition as it was written, and what is likely not what was meant."""

    definition: dict[str, JsonValue]
    warnings: list[Fault]


class PutOut(Out):
    model_config = shows(slug="orders-daily", version=2, result="updated", warnings=[])
    slug: str
    version: int
    result: Literal["created", "updated", "unchanged"]
    warnings: list[Fault]


class Removed(Out):
    """`note` says when a file of the workflows folder brings it back."""

    slug: str
    removed: bool
    note: str | None


class Checked(Out):
    """As `validate --json`."""

    status: Literal["ok", "warnings", "invalid"]
    slug: str | None
    version: int | None
    problems: list[Fault]
    warnings: list[Fault]


class RunOut(Out):
    """As `runs --json`."""

    model_config = shows(
        runId="run-1", workflowSlug="orders-daily", status="succeeded",
        trigger={"type": "auto-materialize", "reason": "upstream-updated", "assetId": "orders.daily"}, parameters={},
        partitionKey=None, createdAt=AT, startedAt=AT, endedAt=AT, error=None,
    )  # fmt: skip
    run_id: str
    workflow_slug: str
    status: RunStatus
    trigger: dict[str, JsonValue]
    parameters: dict[str, JsonValue]
    partition_key: str | None
    created_at: str | None
    started_at: str | None
    ended_at: str | None
    error: str | None


class Log(Out):
    """The last lines that a step wrote."""

    step_id: str
    attempt: int
    stdout_tail: str
    stderr_tail: str


class StepOut(Log):
    status: StepStatus
    started_at: str | None
    ended_at: str | None
    error: str | None
    result: JsonValue


class RunDetail(RunOut):
    """As `run RUN --json`."""

    inputs: dict[str, int]
    steps: list[StepOut]


class Canceled(Out):
    """`canceling`: it is being stopped; look at the run to see when it has."""

    model_config = shows(runId="run-1", status="canceling")
    run_id: str
    status: Literal["canceled", "canceling"]


class CallbackTaken(Out):
    """How the run is now. `asked` says that it is to end: `cancel` is a user's wish, `stop` the service's."""

    model_config = shows(runId="run-1", status="running", asked=None)
    run_id: str
    status: RunStatus
    asked: Literal["cancel", "stop"] | None


class Claim(Out):
    run_id: str
    partition_key: str | None
    status: RunStatus


class Held(OfAsset):
    """What waits after failures."""

    state: State
    failures: int
    budget_left: int
    next_eligible_at: str | None


class Refreshing(OfAsset):
    at: str | None
    rule: str | None


class AutoMaterialize(Out):
    """What a workflow does by itself: claims, waits after failures, what expires next, its latest automatic runs."""

    workflow_slug: str
    opted_in: list[str]
    pause: PauseOut | None
    in_flight: list[Claim]
    backoff: list[Held]
    next_refresh_at: str | None
    next_refreshes: list[Refreshing]
    last_run: RunOut | None
    recent_runs: list[RunOut]


class Unpaused(Out):
    scope: str
    unpaused: bool
    left: list[str]


class GraphNode(Out):
    asset_id: str
    workflow_slug: str | None
    opted_in: bool
    freshness: str | None
    partitioning: str | None


class GraphEdge(Out):
    upstream: str
    asset_id: str
    kind: Literal["triggers", "reads", "inside"]


class GraphOut(Out):
    """As `graph --format json`."""

    assets: list[GraphNode]
    edges: list[GraphEdge]


class PlanOut(Out):
    """As `plan --json`."""

    begins_at: str | None
    ends_at: str | None
    is_complete: bool
    is_service_running: bool
    events: list[dict[str, JsonValue]]
    runs: list[dict[str, JsonValue]]
    active: list[dict[str, JsonValue]]
    waiting: list[dict[str, JsonValue]]
    lost_runs: int
    notes: list[str]


class Audited(Out):
    """As `audit --json`."""

    at: str | None
    run_id: str
    workflow_slug: str
    partition_key: str | None
    trigger: dict[str, JsonValue]


class EventTaken(OfAsset):
    """What became of an event; of `asset.expired`, `changed` says whether it was declared expired by it."""

    model_config = shows(
        id="1", source="/loads/nightly", type="asset.produced", assetId="orders.raw", partitionKey=None, version=6,
        changed=True, duplicate=False,
    )  # fmt: skip
    id: str
    source: str
    type: Literal["asset.produced", "asset.expired"]
    version: int | None
    changed: bool
    duplicate: bool
