"""What actors say to each other: frozen, slotted dataclasses; events in the past tense, commands imperative.

`pos` is a position in the event stream: it only grows, and it orders news against a snapshot of the catalog. A `wave`
numbers one change of an asset and everything below it that the change may re-make (law L4). Keys are partition keys;
times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Self

from actors.catalog.store import ActiveRun, AssetRecord, Basis, JsonObject, Limits, RunRecord, SubmitOutcome
from actors.core.decide import Decision, Reason
from actors.core.describe import PartitionView
from actors.core.freshness import Expiry, ExpiryReason
from actors.core.graph import AssetSpec, WorkflowSpec
from actors.core.mappings import Keys
from actors.core.pauses import Pause, Pauses
from actors.core.run_queue import Capacity
from actors.core.state import Cause, Dismissal, FailureRecord, Materialization, PartitionState, UpstreamSnapshot

POS_SHIFT = 64
"""A stream entry's id is milliseconds and a 64-bit sequence number; a position is both as one number."""

# -- news from the event stream, told to the registry ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssetProduced:
    asset_id: str
    partition_key: str | None
    made: Materialization
    pos: int


@dataclass(frozen=True, slots=True)
class AssetExpired:
    asset_id: str
    partition_key: str | None
    version: int
    reason: ExpiryReason
    pos: int


@dataclass(frozen=True, slots=True)
class AssetResumed:
    """Failures and dismissals were forgotten; of every partition when `partition_key` is None."""

    asset_id: str
    partition_key: str | None
    pos: int


@dataclass(frozen=True, slots=True)
class AssetPassedOver:
    """A stale time window is left as it is, after a long pause or outage."""

    asset_id: str
    partition_key: str
    dismissal: Dismissal
    pos: int


@dataclass(frozen=True, slots=True)
class AssetAnnounced:
    """A partition is about to be made again though nothing above it changed; assets of several shards lie below it."""

    asset_id: str
    partition_key: str | None
    pos: int


@dataclass(frozen=True, slots=True)
class WorkflowUpdated:
    slug: str
    pos: int


@dataclass(frozen=True, slots=True)
class PauseChanged:
    """A pause began, was changed or was ended by hand: the catalog knows which hold now."""

    scope: str
    pos: int


@dataclass(frozen=True, slots=True)
class RunRequested:
    """Somebody asked for a run by hand; it is `queued` in the catalog."""

    run_id: str
    pos: int


@dataclass(frozen=True, slots=True)
class RunEnqueued:
    """A run holds the claim of (workflow, partition); `is_started` once it has captured its input versions."""

    run_id: str
    workflow_slug: str
    partition_key: str | None
    pos: int
    is_started: bool = False


@dataclass(frozen=True, slots=True)
class Unmade:
    """An asset partition that an ended run should have made and did not."""

    asset_id: str
    partition_key: str | None
    failure: FailureRecord | None
    dismissed: Dismissal | None = None


@dataclass(frozen=True, slots=True)
class RunEnded:
    run_id: str
    workflow_slug: str
    partition_key: str | None
    outcome: str
    unmade: tuple[Unmade, ...]
    pos: int
    error: str | None = None


def at_ms_of(pos: int) -> int:
    """When the stream entry at a position was appended, by the server's clock."""
    return pos >> POS_SHIFT


StreamNews = (
    AssetProduced
    | AssetExpired
    | AssetResumed
    | AssetPassedOver
    | AssetAnnounced
    | WorkflowUpdated
    | PauseChanged
    | RunRequested
    | RunEnqueued
    | RunEnded
)

# -- registry to asset ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Configure:
    """The asset's declaration now; None when nobody here makes it any more."""

    spec: AssetSpec | None


@dataclass(frozen=True, slots=True)
class Load:
    """The catalog's state of an asset as of `pos`; what came after it is told as news.

    The receiver decides nothing before each of `awaits`, upstreams that may be about to be re-made, has reported. An
    outage has held it back for `held_ms`.
    """

    record: AssetRecord
    upstreams: Mapping[str, UpstreamSnapshot]
    active: Mapping[str | None, str]
    pos: int
    wave: int
    awaits: frozenset[str] = frozenset()
    held_ms: int = 0


@dataclass(frozen=True, slots=True)
class UpstreamChanged:
    """`cause.asset_id` has a newer version; it concerns these partitions of the receiver."""

    cause: Cause
    keys: Keys
    pos: int
    wave: int


@dataclass(frozen=True, slots=True)
class UpstreamPending:
    """In this wave, for each of the receiver's partitions: the upstream partitions that are about to be re-made."""

    wave: int
    pending: Mapping[str | None, tuple[tuple[str, str | None], ...]]


@dataclass(frozen=True, slots=True)
class UpstreamSettled:
    """An upstream partition has dealt with every wave up to `wave`, with `until_ms` until then: its quiet hours end.
    Every partition of it when `every_key`."""

    asset_id: str
    partition_key: str | None
    wave: int
    until_ms: int | None = None
    every_key: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamReported:
    """An upstream has announced which of its partitions are about to be re-made: `keys`. Nothing that was announced of
    others up to `wave` will be."""

    asset_id: str
    wave: int = 0
    keys: frozenset[str | None] = frozenset()


@dataclass(frozen=True, slots=True)
class WaveBegan:
    """The receiver's partition was announced to those below it in this wave, and is to be reported as settled."""

    partition_key: str | None
    wave: int


@dataclass(frozen=True, slots=True)
class ReportAgain:
    """Somebody below does not know what the receiver is about to re-make: announce it again. The receiver has been told
    of every wave up to `wave`."""

    wave: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """Look again at one partition: a timer said so."""

    partition_key: str | None


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Look again at every partition, for `cause`, once each of `awaits`, upstreams that may be about to be re-made, has
    reported. A pause has held the receiver back for `held_ms`."""

    cause: str
    awaits: frozenset[str] = frozenset()
    held_ms: int = 0


@dataclass(frozen=True, slots=True)
class LookAtWindow:
    """A new time window has begun."""


@dataclass(frozen=True, slots=True)
class RunRefused:
    """A wanted run was not started: another one, `active_run_id`, has the claim."""

    asset_id: str
    partition_key: str | None
    active_run_id: str


# -- asset to enqueuer and registry ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WantRun:
    """An asset partition needs its workflow to run. `version` and `failures` are what the asset knew when it asked;
    `event_at_ms` is when the event came that called for it, None if it was a timer or a start."""

    workflow_slug: str
    partition_key: str | None
    asset_id: str
    priority: int
    reason: Reason
    causes: tuple[Cause, ...]
    version: int
    failures: int
    expiry: Expiry | None = None
    event_at_ms: int | None = None

    @property
    def basis(self) -> Basis:
        return Basis(self.asset_id, self.partition_key, self.version, self.failures)


@dataclass(frozen=True, slots=True)
class WithdrawRun:
    workflow_slug: str
    partition_key: str | None
    asset_id: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Every wave up to `wave` is dealt with, for good or until `until_ms`."""

    asset_id: str
    partition_key: str | None
    wave: int
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class WillBeMade:
    """Found after a start: this partition is about to be re-made, and nobody below has been told."""

    asset_id: str
    partition_key: str | None


@dataclass(frozen=True, slots=True)
class Reported:
    """Everything that the asset is about to re-make has been announced: see `UpstreamReported`."""

    asset_id: str
    wave: int = 0
    keys: frozenset[str | None] = frozenset()


# -- shard to shard -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReportWanted:
    """Assets of the receiver are followed in the shard `by`, which does not know what they are about to re-make. It has
    read all up to `wave`, as the receiver has when this comes: only a report from then on is an answer."""

    asset_ids: tuple[str, ...]
    by: int
    wave: int = 0


Signal = Settled | Reported | ReportWanted


@dataclass(frozen=True, slots=True)
class FromShard:
    """What another shard tells, about assets that it keeps, or of its wish."""

    signal: Signal


@dataclass(frozen=True, slots=True)
class TellShards:
    """This service leads its shard now: whoever led before may not have told the others everything."""


@dataclass(frozen=True, slots=True)
class ShardsSilent:
    """Told by the registry to itself, long after it asked other shards for the `asked`-th time."""

    asked: int


# -- enqueuer and catalog -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run to be claimed and launched, wanted since `since_ms`; with `queued` one that was asked for by hand."""

    run_id: str
    workflow: WorkflowSpec
    partition_key: str | None
    trigger: JsonObject
    limits: Limits
    wants: tuple[WantRun, ...] = ()
    queued: RunRecord | None = None
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class SubmitRuns:
    """Time to hand over what is wanted: told by the enqueuer to itself, so that a burst is ordered before it goes."""


@dataclass(frozen=True, slots=True)
class OpenQueue:
    """The service leads now: what was wanted while it stood by is submitted."""


@dataclass(frozen=True, slots=True)
class RetryRuns:
    """Time to ask again for what the catalog's limits held back."""


@dataclass(frozen=True, slots=True)
class RunsAnswered:
    answers: tuple[tuple[RunRequest, SubmitOutcome], ...]


@dataclass(frozen=True, slots=True)
class RunsLoaded:
    """Runs that are active, and those asked for by hand and not claimed yet."""

    active: tuple[ActiveRun, ...]
    queued: tuple[RunRecord, ...]


@dataclass(frozen=True, slots=True)
class QueuedRunLoaded:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class WorkflowsKnown:
    """The workflows the enqueuer may run, by slug: what it needs to know of their pools."""

    workflows: Mapping[str, WorkflowSpec | None]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class SetCapacity:
    """The limits on concurrency are these now."""

    capacity: Capacity


# -- registry, catalog and supervisor -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkflowsLoaded:
    workflows: tuple[WorkflowSpec, ...]
    active: tuple[ActiveRun, ...]
    pos: int
    pauses: Pauses = field(default_factory=Pauses)


@dataclass(frozen=True, slots=True)
class PausesLoaded:
    pauses: Pauses


@dataclass(frozen=True, slots=True)
class PauseEnded:
    """Told by the registry to itself, at the time at which a pause ends by itself."""


@dataclass(frozen=True, slots=True)
class RunHeldBack:
    """The catalog refused a wanted run because these assets, which want it, are paused: read again what is paused."""

    asset_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkflowLoaded:
    slug: str
    workflow: WorkflowSpec | None


@dataclass(frozen=True, slots=True)
class AssetsLoaded:
    """Records of assets and of their upstreams, as of `pos`; `asset_ids` are those that asked.

    `histories` are the latest changes of some upstreams, as in `UpstreamSnapshot`.
    """

    asset_ids: tuple[str, ...]
    records: Mapping[str, AssetRecord]
    active: tuple[ActiveRun, ...]
    pos: int
    histories: Mapping[str, tuple[tuple[str | None, int, int], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refresh:
    """Compare the graph and the active runs with the catalog: the fallback for news that never came."""


@dataclass(frozen=True, slots=True)
class ReloadAsset:
    """The asset's own knowledge is outdated: read it from the catalog again."""

    asset_id: str


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """A child stopped because of an exception."""

    name: str
    error: str
    asset_id: str | None = None

    @classmethod
    def by(cls, error: BaseException | None, name: str, asset_id: str | None = None) -> Self:
        return cls(name, f"{type(error).__name__}: {error}", asset_id)


@dataclass(frozen=True, slots=True)
class RestartAsset:
    asset_id: str


@dataclass(frozen=True, slots=True)
class StartChildren:
    """Start the children in order; the answer is when all run."""


@dataclass(frozen=True, slots=True)
class StopChildren:
    """Stop the children in reverse order; the answer is when none runs."""


# -- questions (asked from the edges, always with a timeout) --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DumpAsset:
    """Asked of the registry: the ref of the asset's actor and its node; asked of an asset: `AssetDump`."""

    asset_id: str


@dataclass(frozen=True, slots=True)
class FindSpec:
    """Asked of the registry: the `AssetSpec` of an asset, whoever keeps it; None if no workflow here makes it."""

    asset_id: str


@dataclass(frozen=True, slots=True)
class ListAssets:
    """Asked of the registry: the ids of all assets in the graph that have an actor."""


@dataclass(frozen=True, slots=True)
class CountQueue:
    """Asked of the enqueuer: `QueueDump`."""


@dataclass(frozen=True, slots=True)
class CountLoaded:
    """Asked of the registry: how many assets have been read from the catalog since its start, and of how many."""


@dataclass(frozen=True, slots=True)
class IsLoaded:
    """Asked of the registry: whether graph and assets have been read from the catalog."""


@dataclass(frozen=True, slots=True)
class QueueDump:
    active: tuple[ActiveRun, ...]
    wanted: tuple[tuple[str, str | None, int], ...]
    queued: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """One decision as it was taken; `cause` is the news that led to the look, `next_look_ms` when the next is due."""

    at_ms: int
    decision: Decision
    cause: str
    next_look_ms: int | None


MISSING_SHOWN = 20


def _missing(state: PartitionState) -> Iterator[tuple[str, str | None]]:
    for upstream_id, keys in state.missing.items():
        for key in sorted(keys, key=lambda key: key or ""):
            yield upstream_id, key


@dataclass(frozen=True, slots=True)
class PartitionDump:
    partition_key: str | None
    state: str
    reason: str
    made: Materialization | None
    expires: Expiry | None
    latest: Mapping[str, int]
    causes: tuple[Cause, ...]
    pending: tuple[tuple[str, str | None], ...]
    missing: tuple[tuple[str, str | None], ...]
    missing_count: int
    in_flight_run_id: str | None
    failures: int
    budget_left: int
    next_eligible_ms: int | None
    is_wanted: bool
    decisions: tuple[DecisionEntry, ...]

    @classmethod
    def of(
        cls,
        state: PartitionState,
        view: PartitionView,
        *,
        is_wanted: bool = False,
        decisions: tuple[DecisionEntry, ...] = (),
    ) -> Self:
        """What is known of a partition, and what follows from it; only its actor knows of wants and decisions."""
        return cls(
            partition_key=state.partition_key,
            state=view.state,
            reason=view.reason,
            made=state.made,
            expires=view.expires,
            latest=dict(state.latest),
            causes=state.causes,
            pending=tuple(state.pending),
            missing=tuple(islice(_missing(state), MISSING_SHOWN)),
            missing_count=sum(len(keys) for keys in state.missing.values()),
            in_flight_run_id=state.run_id,
            failures=state.failures,
            budget_left=view.budget_left,
            next_eligible_ms=view.next_eligible_ms,
            is_wanted=is_wanted,
            decisions=decisions,
        )


@dataclass(frozen=True, slots=True)
class AssetDump:
    asset_id: str
    spec: AssetSpec | None
    mailbox_depth: int
    is_loaded: bool
    partitions: tuple[PartitionDump, ...] = field(default_factory=tuple)
    pause: Pause | None = None
