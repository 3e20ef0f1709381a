"""What the service tells of assets, and what all records have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

__all__ = [
    "Asset",
    "AssetSummary",
    "Cause",
    "Decision",
    "Explanation",
    "Health",
    "Input",
    "Materialization",
    "Page",
    "Partition",
    "PartitionOf",
    "Pause",
    "Record",
    "Resumed",
    "Staled",
]

T = TypeVar("T")


class Record(BaseModel):
    """Something that was told. It does not change; a key that this version does not know is kept in `model_extra`.

    Words such as states and reasons are plain texts, since a newer service may have more of them.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow")


class Page(Record, Generic[T]):
    """A part of a list; `next_cursor` asks for the next one, if there is one."""

    items: tuple[T, ...]
    next_cursor: str | None


class Health(Record):
    """The role of a service: `starting`, `leader` or `standby`; and why it is not ready, if it is in trouble."""

    role: str
    reason: str | None = None

    @property
    def is_ready(self) -> bool:
        return self.role != "starting" and self.reason is None


class Pause(Record):
    scope: str
    since: datetime | None
    until: datetime | None
    reason: str | None


class PartitionOf(Record):
    """A partition of an asset; of an unpartitioned one the key is None."""

    asset_id: str
    partition_key: str | None


class AssetSummary(Record):
    """An asset, and how many of its partitions are in which state."""

    asset_id: str
    workflow_slug: str | None
    opted_in: bool
    pause: Pause | None
    states: dict[str, int]
    produced_at: datetime | None


class Input(Record):
    """An upstream: the version that was read, and the latest one."""

    read: int | None
    latest: int | None
    stale: bool


class Cause(PartitionOf):
    """An upstream partition that changed."""

    version: int | None


class Decision(Record):
    """What was decided (`materialize`, `wait`, `skip`), why, and when the next look is. The first five are there in
    the stream of decisions only."""

    asset_id: str = ""
    workflow_slug: str | None = None
    partition_key: str | None = None
    run_id: str | None = None
    failures: int = 0
    at: datetime | None
    decision: str
    reason: str
    cause: str
    until: datetime | None = None
    next_look: datetime | None = None


class Partition(Record):
    """How a partition stands: its state, what it was made from, what it waits for."""

    partition_key: str | None
    state: str
    reason: str
    version: int | None
    data_version: str | None
    produced_at: datetime | None
    expires_at: datetime | None
    expiry_rule: str | None
    run_id: str | None
    inputs: dict[str, Input]
    in_flight_run_id: str | None
    is_wanted: bool
    pending_causes: tuple[Cause, ...]
    pending_upstreams: tuple[PartitionOf, ...]
    missing_upstreams: tuple[PartitionOf, ...]
    missing_count: int
    failures: int
    budget_left: int
    next_eligible_at: datetime | None
    decisions: tuple[Decision, ...]


class Asset(Record):
    """An asset and its partitions. `live`: told by its actor, not by the catalog alone."""

    asset_id: str
    workflow_slug: str | None
    opted_in: bool
    is_loaded: bool
    mailbox_depth: int
    pause: Pause | None
    partitions: tuple[Partition, ...]
    live: bool

    def partition(self, key: str | None = None) -> Partition:
        """The partition with this key; without one, that of an unpartitioned asset.

        Raises:
            KeyError: it is not known.
        """
        for one in self.partitions:
            if one.partition_key == key:
                return one
        raise KeyError(key)


class Materialization(PartitionOf):
    """One production: when, by which run, from which versions of the upstreams (`inputs`)."""

    version: int
    changed_version: int
    data_version: str | None
    produced_at: datetime | None
    workflow_slug: str | None
    run_id: str | None
    step_id: str | None
    inputs: dict[str, int]
    payload: JsonValue = None


class Explanation(Record):
    """Why an asset is, or is not, being made: for each partition what `explain --json` says."""

    asset_id: str
    workflow_slug: str | None
    live: bool
    partitions: tuple[dict[str, JsonValue], ...]


class Resumed(PartitionOf):
    cleared: int = Field(description="How many failures and dismissals were forgotten.")


class Staled(PartitionOf):
    """`expired` is false if it had been declared expired already."""

    version: int
    expired: bool
