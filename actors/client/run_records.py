"""What the service tells of workflows, runs, the graph, plans and events; see `records`."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from actors.client.errors import Fault, RunFailedError
from actors.client.records import PartitionOf, Pause, Record

__all__ = [
    "Audited",
    "AutoMaterialize",
    "Canceled",
    "Checked",
    "Claim",
    "EventTaken",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "Held",
    "Log",
    "Plan",
    "Put",
    "Refresh",
    "Removed",
    "Run",
    "RunDetail",
    "Step",
    "Unpaused",
    "Workflow",
    "WorkflowDetail",
]

ENDED = frozenset({"succeeded", "failed", "canceled", "lost"})


class Workflow(Record):
    """`source` is `file` for one of the workflows folder, `command` for one that was put."""

    slug: str
    name: str
    version: int
    steps: int
    assets: tuple[str, ...]
    opted_in: tuple[str, ...]
    reads: tuple[str, ...]
    source: str | None


class WorkflowDetail(Workflow):
    """With the definition as it was written, and what is likely not what was meant."""

    definition: dict[str, JsonValue]
    warnings: tuple[Fault, ...]


class Put(Record):
    """`result` is `created`, `updated` or `unchanged`."""

    slug: str
    version: int
    result: str
    warnings: tuple[Fault, ...]


class Removed(Record):
    """`note` says when a file of the workflows folder brings it back."""

    slug: str
    removed: bool
    note: str | None


class Checked(Record):
    """What was found in a definition: `status` is `ok`, `warnings` or `invalid`."""

    status: str
    slug: str | None
    version: int | None
    problems: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


class Run(Record):
    """A run. `trigger` says why it exists: `{"type": "auto-materialize", "reason": ..., "assetId": ...}`."""

    run_id: str
    workflow_slug: str
    status: str
    trigger: dict[str, JsonValue]
    parameters: dict[str, JsonValue]
    partition_key: str | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None

    @property
    def is_over(self) -> bool:
        return self.status in ENDED

    @property
    def succeeded(self) -> bool:
        return self.status == "succeeded"

    def require_success(self) -> None:
        """Go on only if the run succeeded.

        Raises:
            RunFailedError: it did not, or it is not over.
        """
        if not self.succeeded:
            reason = f": {self.error}" if self.error else ""
            text = f"run {self.run_id} of {self.workflow_slug} is {self.status}{reason}"
            raise RunFailedError(text, self.run_id, self.status)


class Log(Record):
    """The last lines that a step wrote."""

    step_id: str
    attempt: int
    stdout_tail: str
    stderr_tail: str


class Step(Log):
    status: str
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    result: JsonValue = None


class RunDetail(Run):
    """With the versions that it read, and its steps."""

    inputs: dict[str, int]
    steps: tuple[Step, ...]


class Canceled(Record):
    """`status` is `canceled`, or `canceling` while it is being stopped."""

    run_id: str
    status: str


class Claim(Record):
    """A run that is active."""

    run_id: str
    partition_key: str | None
    status: str


class Held(PartitionOf):
    """What waits after failures."""

    state: str
    failures: int
    budget_left: int
    next_eligible_at: datetime | None


class Refresh(PartitionOf):
    """What expires, when, and by which rule."""

    at: datetime | None
    rule: str | None


class AutoMaterialize(Record):
    """What a workflow does by itself."""

    workflow_slug: str
    opted_in: tuple[str, ...]
    pause: Pause | None
    in_flight: tuple[Claim, ...]
    backoff: tuple[Held, ...]
    next_refresh_at: datetime | None
    next_refreshes: tuple[Refresh, ...]
    last_run: Run | None
    recent_runs: tuple[Run, ...]


class Unpaused(Record):
    """`left` are the scopes that are paused still."""

    scope: str
    unpaused: bool
    left: tuple[str, ...]


class GraphNode(Record):
    asset_id: str
    workflow_slug: str | None
    opted_in: bool
    freshness: str | None
    partitioning: str | None


class GraphEdge(Record):
    """`kind` is `triggers`, `reads` or `inside`."""

    upstream: str
    asset_id: str
    kind: str


class Graph(Record):
    assets: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


class Plan(Record):
    """Which runs would start; each as `plan --json` has it."""

    begins_at: datetime | None
    ends_at: datetime | None
    is_complete: bool
    is_service_running: bool
    events: tuple[dict[str, JsonValue], ...]
    runs: tuple[dict[str, JsonValue], ...]
    active: tuple[dict[str, JsonValue], ...]
    waiting: tuple[dict[str, JsonValue], ...]
    lost_runs: int
    notes: tuple[str, ...]


class Audited(Record):
    """When which run started by itself, and why."""

    at: datetime | None
    run_id: str
    workflow_slug: str
    partition_key: str | None
    trigger: dict[str, JsonValue]


class EventTaken(PartitionOf):
    """What became of an event. `duplicate`: its source and id had come before, and nothing was recorded."""

    id: str
    source: str
    type: str
    version: int | None
    changed: bool
    duplicate: bool
