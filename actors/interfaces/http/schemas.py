"""What the API answers about assets, and what all answers have in common. For the OpenAPI document: the answers
themselves are made by what prints `--json`."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

__all__ = [
    "AssetDetail",
    "AssetSummary",
    "Explanation",
    "Fault",
    "HistoryItem",
    "Page",
    "PartitionOut",
    "PauseOut",
    "ProblemOut",
    "Resumed",
    "RoleOut",
    "Staled",
    "State",
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
    reason: str | None = None


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
