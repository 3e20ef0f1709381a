"""The catalog's contract: the system of record for definitions, runs, materializations and what keeps runs in bounds.

Every method that changes something does so in one atomic step on the server, and appends the event that tells of it to
the stream in the same step. All times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from actors.catalog.definitions import WorkflowDefinition
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.pauses import Pause
from actors.core.state import Dismissal, FailureRecord, Materialization

__all__ = [
    "ActiveRun",
    "AssetRecord",
    "Basis",
    "BasisOutdated",
    "Busy",
    "CatalogUnavailable",
    "Deposed",
    "Gone",
    "HistoryEntry",
    "Json",
    "JsonObject",
    "LimitReached",
    "Limits",
    "NewMaterialization",
    "NewRun",
    "Overdue",
    "OverdueRun",
    "Paused",
    "Produced",
    "PutResult",
    "Recorded",
    "Renewal",
    "RunFenced",
    "RunRecord",
    "RunStatus",
    "Source",
    "StepRecord",
    "StepStatus",
    "Store",
    "SubmitOutcome",
    "Submitted",
]

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
JsonObject = Mapping[str, Json]


class CatalogUnavailable(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """The server cannot be reached or cannot serve; the message says which server and what to check."""


class RunFenced(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """A write for a run that is not active any more (ended, canceled or lost), or that another worker started; it was
    refused and changed nothing."""


class Deposed(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """A write of a service that does not lead (any more); it was refused and changed nothing. Whoever leads now sees to
    what was to be written."""


class RunStatus(StrEnum):
    """queued: asked for by hand, not claimed yet. enqueued: claimed and handed to the launcher."""

    QUEUED = "queued"
    ENQUEUED = "enqueued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"

    @property
    def is_active(self) -> bool:
        return self in (RunStatus.ENQUEUED, RunStatus.RUNNING)

    @property
    def is_over(self) -> bool:
        return self in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.LOST)


class StepStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class NewMaterialization:
    """A production to be recorded.

    With a `run_id` of ours the input versions are those that the run captured when it started; without one they are the
    latest at the moment of recording. `start_token` is that of the worker that started the run. `freshness` is a policy
    of this production's own, if it has one; the event tells of it, else of the declared one. `upstreams` names the
    assets whose versions count. The same (run, step, asset, partition), or the same `dedupe_key`, is recorded once.
    """

    asset_id: str
    partition_key: str | None
    produced_at_ms: int
    upstreams: tuple[str, ...] = ()
    workflow_slug: str | None = None
    run_id: str | None = None
    step_id: str | None = None
    data_version: str | None = None
    payload: Json = None
    schema: Json = None
    freshness: FreshnessPolicy | None = None
    declared_freshness: FreshnessPolicy | None = None
    dedupe_key: str | None = None
    start_token: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """`changed` is False when the data version equals the one before; `duplicate` when it had been recorded already."""

    version: int
    changed: bool
    duplicate: bool


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    asset_id: str
    partition_key: str | None
    materialization: Materialization
    workflow_slug: str | None
    step_id: str | None
    payload: Json
    schema: Json = None


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """What the catalog knows of an asset, by partition key."""

    latest: Mapping[str | None, Materialization] = field(default_factory=dict)
    failures: Mapping[str | None, FailureRecord] = field(default_factory=dict)
    dismissals: Mapping[str | None, Dismissal] = field(default_factory=dict)
    counter: int = 0


@dataclass(frozen=True, slots=True)
class Basis:
    """What an asset knew when it asked for a run. If the catalog has moved on, the request is outdated and refused."""

    asset_id: str
    partition_key: str | None
    version: int
    failures: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Most active runs at once: in all, of this workflow, and in each pool the run counts in. None: no limit."""

    max_runs: int
    max_workflow_runs: int | None = None
    max_pool_runs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be claimed and created. `trigger` is `{"type", "reason", "assetId", "upstream", ...}`.

    `upstreams` are the assets it will read: should it be canceled before it starts, their versions of then are what was
    dismissed. `queued` says that it was asked for by hand (`queue_run`) and must still be known as such.
    """

    run_id: str
    workflow_slug: str
    partition_key: str | None
    parameters: JsonObject
    trigger: JsonObject
    created_at_ms: int
    limits: Limits
    pools: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    basis: tuple[Basis, ...] = ()
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Submitted:
    run_id: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Another run holds the claim of (workflow, partition)."""

    active_run_id: str


@dataclass(frozen=True, slots=True)
class LimitReached:
    """`limit` is `global`, `workflow` or `pool:NAME`."""

    limit: str


@dataclass(frozen=True, slots=True)
class BasisOutdated:
    """These assets were made, or failed, since they asked."""

    asset_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paused:
    """These assets, which ask for the run, are paused, or it is quiet hours for them."""

    asset_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """A queued run that was canceled, or whose workflow was removed, before it could be claimed."""

    reason: str


SubmitOutcome = Submitted | Busy | LimitReached | BasisOutdated | Paused | Gone


@dataclass(frozen=True, slots=True)
class StepRecord:
    step_id: str
    status: StepStatus
    attempt: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    error: str | None = None
    result: Json = None
    stdout_tail: str = ""
    stderr_tail: str = ""


@dataclass(frozen=True, slots=True)
class Produced:
    """One materialization that a run recorded."""

    asset_id: str
    partition_key: str | None
    version: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `inputs` are the upstream versions captured when it started; `produced` what it recorded so far."""

    run_id: str
    workflow_slug: str
    partition_key: str | None
    status: RunStatus
    parameters: JsonObject
    trigger: JsonObject
    created_at_ms: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    error: str | None = None
    inputs: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[StepRecord, ...] = ()
    produced: tuple[Produced, ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveRun:
    run_id: str
    workflow_slug: str
    partition_key: str | None
    status: RunStatus


class Renewal(StrEnum):
    """What a worker learns when it renews its lease of a run.

    held: go on. cancel: a user asked for its end. stop: end it as lost. fenced: it is not the worker's (any more).
    """

    HELD = "held"
    CANCEL = "cancel"
    STOP = "stop"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class OverdueRun:
    """A run that nobody seems to work on. `lease`: its worker's lease has ended; `start`: nobody has started it.

    `since_ms` is the end of the lease, or the instant from which the start is waited for; `seen_at_ms` is when `worker`
    was last heard of. All by the server's clock. `launches` counts how often it was handed over.
    """

    kind: Literal["lease", "start"]
    run_id: str
    workflow_slug: str
    partition_key: str | None
    since_ms: int
    worker: str = ""
    seen_at_ms: int = 0
    is_cancel_asked: bool = False
    launches: int = 1


@dataclass(frozen=True, slots=True)
class Overdue:
    """What is overdue at `server_ms`, by the server's clock."""

    server_ms: int
    runs: tuple[OverdueRun, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One auto-triggered run: when, which, why."""

    at_ms: int
    run_id: str
    workflow_slug: str
    partition_key: str | None
    trigger: JsonObject


PutResult = Literal["created", "updated", "unchanged"]
Source = Literal["file", "command"]


class Store(Protocol):
    """The system of record. Thread-safe. Every method may raise `CatalogUnavailable`."""

    # definitions
    def put_workflow(self, definition: WorkflowDefinition, *, source: Source, content_hash: str) -> PutResult:
        """Keep a definition and publish `workflow.updated` if it differs from the one kept."""

    def remove_workflow(self, slug: str) -> bool:
        """Drop a definition, publish `workflow.updated {removed: true}`; False if there was none."""

    def workflow(self, slug: str) -> WorkflowDefinition | None: ...

    def workflows(self) -> list[WorkflowDefinition]: ...

    def workflow_sources(self) -> dict[str, tuple[Source, str]]:
        """Of each workflow by slug: where it came from, and the content hash of the file it was last loaded from."""

    def put_partition_parameters(self, slug: str, partition_key: str, parameters: JsonObject) -> None:
        """Keep parameters for a partition of a workflow; automatic runs of it get them as well."""

    def partition_parameters(self, slug: str, partition_key: str) -> JsonObject: ...

    def parameters_of(self, partitions: Sequence[tuple[str, str]]) -> list[JsonObject]:
        """`partition_parameters` of many (slug, partition key), in few round trips."""

    # materializations
    def record(self, new: NewMaterialization) -> Recorded:
        """Record a materialization, note its inputs, clear its failures and append `asset.produced`.

        Raises:
            RunFenced: `run_id` names a run of ours that is not running.
        """

    def expire(
        self,
        asset_id: str,
        partition_key: str | None,
        *,
        version: int | None,
        expires_at_ms: int,
        reason: ExpiryReason,
        now_ms: int,
    ) -> bool:
        """Declare `version` (None: the latest) expired and append `asset.expired`; False if it was already, or is not
        the latest any more, or something produced after `expires_at_ms` exists."""

    def pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> int:
        """Keep that these partitions are left as they are until something newer than `inputs` comes, and append
        `asset.passedOver` for each; not for those that were made since. Of how many."""

    def read_assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRecord]:
        """Latest materializations, failures and dismissals of many assets in few round trips; unknown ids are empty."""

    def history(self, asset_id: str, *, partition_key: str | None = None, limit: int = 100) -> list[HistoryEntry]:
        """Newest first; of every partition when `partition_key` is None."""

    def asset_ids(self) -> list[str]:
        """Every asset that was ever recorded."""

    def resume(self, asset_id: str, partition_key: str | None = None) -> int:
        """Forget failures and dismissals (of every partition if None), append `asset.resumed`; of how many."""

    def position(self) -> int:
        """The place of the last event in the stream: what is read afterwards holds all that was told up to it."""

    # pauses
    def pause(self, scope: str, until_ms: int | None, reason: str | None, now_ms: int) -> Pause:
        """Hold back what starts by itself in `scope` (`all`, `workflow:SLUG`, `asset:ID`), in place of a pause of that
        scope, and append `pause.changed`.

        Raises:
            ValueError: the scope or the reason cannot be used, or `until_ms` is not to come.
        """

    def unpause(self, scope: str, now_ms: int) -> bool:
        """End a pause and append `pause.changed`; False if there was none, or it had ended by itself.

        Raises:
            ValueError: the scope is none.
        """

    def pauses(self, now_ms: int) -> dict[str, Pause]:
        """Those that hold, by scope."""

    # runs
    def submit(self, runs: Sequence[NewRun]) -> list[SubmitOutcome]:
        """Claim and create each run that claim, limits, pauses and basis allow; one atomic step each, one round trip.

        A submitted run is audited and `workflow.run.enqueued` is appended. A `run_id` that is already `queued` (asked
        for by hand) is turned into `enqueued` with the same checks, keeping its parameters and trigger.
        """

    def queue_run(self, run: NewRun) -> None:
        """Create a run as `queued` and append `workflow.run.requested`; the service claims it when it may."""

    def queued_runs(self) -> list[RunRecord]: ...

    def active_runs(self) -> list[ActiveRun]: ...

    def start_run(
        self,
        run_id: str,
        *,
        upstreams: Sequence[str],
        now_ms: int,
        token: str | None = None,
        worker: str = "",
        lease_ms: int | None = None,
    ) -> Mapping[str, int]:
        """Mark an enqueued run `running`, capture the latest versions of `upstreams`, append `workflow.run.started`.

        `token` is the worker's own, made anew for each execution; a start that is repeated with it answers as the first
        one did. With `lease_ms` the run is overdue when it is not renewed for so long.

        Raises:
            RunFenced: the run is not `enqueued`.
        """

    def renew_runs(self, tokens: Mapping[str, str], *, lease_ms: int) -> dict[str, Renewal]:
        """Renew the leases of runs, each by the token with which it was started; one round trip."""

    def ask_run(self, run_id: str, what: Literal["cancel", "stop"]) -> bool:
        """Ask the worker of a running run to end it as canceled, or as lost; it learns it at its next renewal. False if
        the run is not running."""

    def overdue_runs(self, *, start_timeout_ms: int) -> Overdue:
        """Runs whose lease has ended, and those that nobody has started for so long."""

    def await_start(self, run_id: str, *, is_launched: bool) -> bool:
        """Let the wait for the start of an enqueued run begin anew, and count a launch; False if it is not enqueued."""

    def end_overdue(
        self,
        run: OverdueRun,
        status: RunStatus,
        *,
        now_ms: int,
        error: str | None = None,
        expected: Iterable[tuple[str, str | None]] = (),
    ) -> bool:
        """`finish_run`, unless the run was started, renewed or launched since it was read as overdue; then False."""

    def put_step(self, run_id: str, step: StepRecord, *, token: str | None = None) -> None:
        """Keep the latest record of a step.

        Raises:
            RunFenced: the run is not running, or was not started with `token`.
        """

    def finish_run(
        self,
        run_id: str,
        status: RunStatus,
        *,
        now_ms: int,
        error: str | None = None,
        expected: Iterable[tuple[str, str | None]] = (),
        token: str | None = None,
    ) -> bool:
        """End a run: release its claim and slots, append `workflow.run.<status>` (`lost` is published as failed with
        `lost: true`), and of each expected (asset, partition) that the run did not record: count a failure when it did
        not succeed, was lost, or succeeded without making it; note a dismissal when it was canceled. False if the run
        was over already, or, given a `token`, was started with another one.
        """

    def cancel_queued(self, run_id: str, *, now_ms: int) -> bool:
        """End a `queued` run as canceled; False if it is not queued any more."""

    def run(self, run_id: str) -> RunRecord | None: ...

    def runs(
        self,
        *,
        trigger: str | None = None,
        workflow: str | None = None,
        status: RunStatus | None = None,
        limit: int = 50,
    ) -> list[RunRecord]:
        """Newest first, without steps and without what they produced."""

    def audit(self, *, limit: int = 50) -> list[AuditEntry]:
        """Newest first."""
