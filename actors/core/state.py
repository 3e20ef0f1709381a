"""What is known of one asset partition, as plain records. `decide` reads them; the catalog can rebuild all of them.

Versions come from one increasing counter per asset, shared by its partitions. So one number per upstream says all that
a materialization was made from: "everything of that upstream up to version n". A partition is stale when an upstream
partition that concerns it changed in a version above that number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.partitions import Partitioning

__all__ = [
    "NO_VERSIONS",
    "Cause",
    "Dismissal",
    "FailureRecord",
    "Mark",
    "Materialization",
    "PartitionState",
    "UpstreamSnapshot",
    "cause_text",
    "partition_name",
]

NO_VERSIONS: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Materialization:
    """The latest production of one partition, as the catalog keeps it.

    `changed_version` is the version at which the data last differed (equal `dataVersion`s do not move it);
    `produced_at_ms` never goes back when a late event is recorded; `expired_version` is the version that was declared
    expired, 0 if none was.
    """

    version: int
    changed_version: int
    produced_at_ms: int
    data_version: str | None = None
    run_id: str | None = None
    inputs: Mapping[str, int] = field(default_factory=dict)
    freshness: FreshnessPolicy | None = None
    expired_version: int = 0
    expired_reason: ExpiryReason | None = None


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """Failed runs in a row for one partition; the run id seeds the jitter, so the wait is the same after a restart."""

    failures: int
    last_failure_at_ms: int
    last_failed_run_id: str


@dataclass(frozen=True, slots=True)
class Dismissal:
    """A user canceled the run that would have read these versions: only something newer starts another.

    `is_passed_over`: it was no user, but the policy that after a long pause or outage only the latest window is made.
    """

    version: int
    inputs: Mapping[str, int]
    is_passed_over: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """One upstream partition whose change this partition has not been made from yet."""

    asset_id: str
    partition_key: str | None
    version: int


@dataclass(frozen=True, slots=True)
class UpstreamSnapshot:
    """Of one upstream: for each of its partitions the version in which it last changed and when it was produced.

    `history` are its latest changes as (partition key, version, produced at), where the time of production says which
    partitions below are concerned: a version that was superseded may be the last that is about its time window.
    """

    partitioning: Partitioning | None
    changed: Mapping[str | None, tuple[int, int]]
    history: tuple[tuple[str | None, int, int], ...] = ()


class Mark(NamedTuple):
    """An upstream partition is about to be re-made: announced first in wave `first` and last in wave `last`, and not
    before `from_ms`: its quiet hours end then. Until that time it holds nobody back."""

    first: int
    last: int
    from_ms: int = 0


@dataclass(slots=True)
class PartitionState:
    """Everything an asset actor holds for one partition.

    `latest` maps each upstream to the highest changed version that concerns this partition. `missing` are the upstream
    partitions that must be there before this one is made by itself, and are not. `pending` are the marks of upstream
    partitions that are about to be re-made. Of the waves, `since_wave` is the oldest that this partition has not dealt
    with, `owed_wave` the newest it was told of, `asked_wave` the newest when it asked for its last run, `settled_wave`
    the newest it has reported as dealt with, and `settled_until_ms` until when, as it said then (None: for good).
    `expired_early` is an expiry that was told before the version that it is about; `changed_since_run_ms` is when the
    first update came that the last run did not read.
    `pos` is the position of the news that last told of its run, `failure_pos` and `dismissed_pos` of that which last
    told of failures and of a dismissal, so that older news and older snapshots do not undo it.
    """

    partition_key: str | None
    made: Materialization | None = None
    expired_early: tuple[int, ExpiryReason] | None = None
    latest: dict[str, int] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    run_id: str | None = None
    failure: FailureRecord | None = None
    dismissed: Dismissal | None = None
    stale_since_ms: int | None = None
    changed_at_ms: int | None = None
    changed_since_run_ms: int | None = None
    missing: dict[str, set[str | None]] = field(default_factory=dict)
    pending: dict[tuple[str, str | None], Mark] = field(default_factory=dict)
    pending_since_ms: int | None = None
    since_wave: int | None = None
    owed_wave: int = 0
    asked_wave: int = 0
    settled_wave: int = 0
    settled_until_ms: int | None = None
    pos: int = 0
    failure_pos: int = 0
    dismissed_pos: int = 0

    @property
    def version(self) -> int:
        return self.made.version if self.made else 0

    @property
    def failures(self) -> int:
        return self.failure.failures if self.failure else 0

    @property
    def inputs(self) -> Mapping[str, int]:
        return self.made.inputs if self.made else NO_VERSIONS


def partition_name(asset_id: str, partition_key: str | None) -> str:
    """`orders.daily@2026-11-23`; the bare id when there is no partition."""
    return asset_id if partition_key is None else f"{asset_id}@{partition_key}"


def cause_text(cause: Cause) -> str:
    """`orders.raw@2026-11-23 v7`."""
    return f"{partition_name(cause.asset_id, cause.partition_key)} v{cause.version}"
