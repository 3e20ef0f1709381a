"""What the API answers, for the OpenAPI document. The answers themselves are made by what prints `--json`."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

from actors.catalog.store import RunStatus, StepStatus

__all__ = [
    "AssetDetail",
    "AssetSummary",
    "Audited",
    "AutoMaterialize",
    "Canceled",
    "Checked",
    "EventTaken",
    "Explanation",
    "Fault",
    "GraphOut",
    "HistoryItem",
    "Log",
    "Page",
    "PartitionOut",
    "PauseOut",
    "PlanOut",
    "ProblemOut",
    "PutOut",
    "Removed",
    "Resumed",
    "RoleOut",
    "RunDetail",
    "RunOut",
    "Staled",
    "State",
    "StepOut",
    "Unpaused",
    "WorkflowDetail",
    "WorkflowOut",
]

T = TypeVar("T")
AT = "2026-11-23T10:00:00.000Z"
State = Literal["fresh", "stale", "expired", "missing", "inFlight", "backoff", "suspended", "paused"]


def shows(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class Out(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Fault(Out):
    path: str
    reason: str


class ServiceOut(Out):
    id: str
    host: JsonValue
    pid: JsonValue
    started_at: str | None


class ProblemOut(Out):
    """Problem details (RFC 9457)."""

    model_config = shows(
        type="urn:headwater:problem:not-found",
        title="There is no such thing",
        status=404,
        detail="there is no asset 'orders.dayly'; did you mean 'orders.daily'?",
        instance="/api/v1/assets/orders.dayly",
    )
    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[Fault] = []
    leader: ServiceOut | None = None


class RoleOut(Out):
    model_config = shows(role="leader")
    role: Literal["starting", "leader", "standby"]


class Page(Out, Generic[T]):
    items: list[T]
    next_cursor: str | None


class PauseOut(Out):
    model_config = shows(scope="workflow:orders-daily", since=AT, until=None, reason="the warehouse is being moved")
    scope: str
    since: str | None
    until: str | None
    reason: str | None


class AssetSummary(Out):
    """An asset and how many of its partitions are in which state."""

    model_config = shows(
        assetId="orders.daily", workflowSlug="orders-daily", optedIn=True, pause=None, states={"fresh": 3},
        producedAt=AT,
    )  # fmt: skip
    asset_id: str
    workflow_slug: str | None
    opted_in: bool
    pause: PauseOut | None
    states: dict[State, int]
    produced_at: str | None


class OfAsset(Out):
    asset_id: str
    partition_key: str | None


class Input(Out):
    read: int | None
    latest: int | None
    stale: bool


class CauseOut(OfAsset):
    version: int | None


class DecisionOut(Out):
    """`until` of a wait that ends at a time, else `nextLook`, where there is one."""

    at: str | None
    decision: Literal["materialize", "wait", "skip"]
    reason: str
    cause: str


class PartitionOut(Out):
    model_config = shows(
        partitionKey=None, state="fresh", reason="fresh", version=7, dataVersion=None, producedAt=AT, expiresAt=None,
        expiryRule=None, runId="run-1", inputs={"orders.raw": {"read": 12, "latest": 12, "stale": False}},
        inFlightRunId=None, isWanted=False, pendingCauses=[], pendingUpstreams=[], missingUpstreams=[], missingCount=0,
        failures=0, budgetLeft=5, nextEligibleAt=None,
        decisions=[{"at": AT, "decision": "skip", "reason": "fresh", "cause": "asset.produced v7"}],
    )  # fmt: skip
    partition_key: str | None
    state: State
    reason: str
    version: int | None
    data_version: str | None
    produced_at: str | None
    expires_at: str | None
    expiry_rule: str | None
    run_id: str | None
    inputs: dict[str, Input]
    in_flight_run_id: str | None
    is_wanted: bool
    pending_causes: list[CauseOut]
    pending_upstreams: list[OfAsset]
    missing_upstreams: list[OfAsset]
    missing_count: int
    failures: int
    budget_left: int
    next_eligible_at: str | None
    decisions: list[DecisionOut]


class AssetDetail(Out):
    """As `debug ASSET --json`. `live`: told by the actors, not by the catalog alone."""

    asset_id: str
    workflow_slug: str | None
    opted_in: bool
    is_loaded: bool
    mailbox_depth: int
    pause: PauseOut | None
    partitions: list[PartitionOut]
    live: bool


class HistoryItem(OfAsset):
    """As `history --json`."""

    version: int
    changed_version: int
    data_version: str | None
    produced_at: str | None
    workflow_slug: str | None
    run_id: str | None
    step_id: str | None
    inputs: dict[str, int]
    payload: JsonValue


class Explanation(Out):
    """As `explain ASSET --json`."""

    asset_id: str
    workflow_slug: str | None
    live: bool
    partitions: list[dict[str, JsonValue]]


class Resumed(OfAsset):
    cleared: int


class Staled(OfAsset):
    version: int
    expired: bool


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
