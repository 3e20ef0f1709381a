"""The names of everything that one catalog keeps on the server. The Lua prelude builds the same names.

=====================  =======  ==========================================================================
`P:workflows`          hash     slug → definition (JSON)
`P:workflow-sources`   hash     slug → `{source, hash}`
`P:counters`           hash     asset id → the highest version given out
`P:parameters:SLUG`    hash     partition → parameters that a user gave for it (JSON)
`P:asset:ID`           hash     `made:K`, `failed:K`, `dismissed:K`, `expired:K` → JSON; K is the partition or ''
`P:history:ID`         list     the latest materializations, newest first
`P:seen:SHA1`          string   what an outsider's dedupe key was recorded as; that a resumption or dead letter came;
                                expires
`P:run:ID`             hash     one run
`P:steps:ID`           hash     `step:S` → JSON, `rank:S` → its place
`P:produced:ID`        hash     step, asset, partition → what the run recorded
`P:pauses`             hash     scope (`all`, `workflow:SLUG`, `asset:ID`) → what is paused (JSON)
`P:runs`               zset     every run by creation
`P:queued`             zset     runs that were asked for by hand and are not claimed yet
`P:ended`              zset     runs that are over, by their end; the oldest are dropped
`P:claims`             hash     workflow, partition → the run that holds the claim
`P:unstarted`          zset     enqueued runs, by when their start began to be waited for (the server's clock)
`P:leases`             zset     running runs, by the end of their worker's lease (the server's clock)
`P:active`             set      active runs; `P:active:workflow:SLUG` and `P:active:pool:NAME` are subsets
`P:lineage`            zset     runs that something else executes (SHA1 of their ids), by when they are forgotten
`P:lineage:SHA1`       hash     what OpenLineage events told of one: `state`, `out:DATASET`, `window`, `atMs`; expires
`P:events`             stream   what happened
`P:dead-letters`       stream   entries of `P:events` that could not be read
`P:audit`              stream   one entry for each auto-triggered run
`P:schema-version`     string   the version of this layout; without it the catalog is empty, or of version 1
`P:schema-lock`        string   held by who migrates the catalog; expires
`P:restoring`          string   a restore has begun and has not ended: what is here is not whole
`P:leader`             hash     the lease of the service that leads, and its term; `P:leader:IofN` that of shard I of N
`P:led`                hash     `IofN` → when the lease of that shard's leader ends
`P:layout`             hash     into how many shards the catalog is divided (`count`), how often anew (`epoch`)
`P:shard:I:events`     stream   what shard I has to hear of what happened, and what other shards tell it
`P:shard:I:interests`  set      what it wants to hear of: `asset:ID`, `workflow:SLUG`
`P:held-back`          set      shards that were refused a run because of a limit
`P:last-led`           string   when a service led last, by the server's clock, in milliseconds; `P:last-led:IofN`: when
                                one of shard I did
`P:services`           set      ids of services that live or lived; `P:service:ID` is the heartbeat of one; expires
`P:control`            list     what commands ask of the service, or of a shard's (`P:control:IofN`);
                                `P:control:reply:ID` are the answers
=====================  =======  ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from actors.core.shards import WHOLE, Shard

__all__ = ["UNIT", "Keys", "partition_field", "partition_of"]

UNIT: Final = "\x1f"
"""Between the parts of a composed field. No id holds it: it is not printable."""

_TAKEN: Final = frozenset(
    [
        *("workflows", "workflow-sources", "parameters", "counters", "asset", "history", "seen", "pauses"),
        *("run", "steps", "produced", "runs", "queued", "ended", "claims", "active"),
        *("unstarted", "leases", "lineage"),
        *("schema-version", "schema-lock", "restoring"),
        *("leader", "led", "last-led", "services", "service", "control"),
        *("layout", "shard", "held-back"),
    ]
)

_FLEETING: Final = frozenset(
    [
        *("schema-version", "schema-lock", "restoring", "leader", "led", "last-led", "services", "service", "control"),
        *("layout", "shard", "held-back"),
    ]
)
"""What says something of the catalog's place and of who works on it now, not of what it knows."""


def partition_field(partition_key: str | None) -> str:
    """How a partition key is written in a field's name; the one partition of an unpartitioned asset is ''."""
    return partition_key or ""


def partition_of(field: str) -> str | None:
    return field or None


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix. The three streams can be named otherwise.

    Raises:
        ValueError: the prefix is empty, or a stream is named as another key is.
    """

    prefix: str
    events_name: str = "events"
    dead_letters_name: str = "dead-letters"
    audit_name: str = "audit"

    def __post_init__(self) -> None:
        if not self.prefix:
            raise ValueError("the prefix of the catalog's keys is empty; give it a name such as 'headwater'")
        for name in (self.events_name, self.dead_letters_name, self.audit_name):
            if name.partition(":")[0] in _TAKEN:
                raise ValueError(f"a stream cannot be named {name!r}: the catalog keeps something else there")

    @property
    def workflows(self) -> str:
        return f"{self.prefix}:workflows"

    @property
    def workflow_sources(self) -> str:
        return f"{self.prefix}:workflow-sources"

    def parameters(self, slug: str) -> str:
        return f"{self.prefix}:parameters:{slug}"

    @property
    def counters(self) -> str:
        return f"{self.prefix}:counters"

    @property
    def pauses(self) -> str:
        return f"{self.prefix}:pauses"

    @property
    def runs(self) -> str:
        return f"{self.prefix}:runs"

    @property
    def queued(self) -> str:
        return f"{self.prefix}:queued"

    @property
    def ended(self) -> str:
        return f"{self.prefix}:ended"

    @property
    def claims(self) -> str:
        return f"{self.prefix}:claims"

    @property
    def active(self) -> str:
        return f"{self.prefix}:active"

    @property
    def events(self) -> str:
        return f"{self.prefix}:{self.events_name}"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}:{self.dead_letters_name}"

    @property
    def audit(self) -> str:
        return f"{self.prefix}:{self.audit_name}"

    @property
    def schema_version(self) -> str:
        return f"{self.prefix}:schema-version"

    @property
    def schema_lock(self) -> str:
        return f"{self.prefix}:schema-lock"

    @property
    def restoring(self) -> str:
        return f"{self.prefix}:restoring"

    @property
    def leader(self) -> str:
        return self.lease_of(WHOLE)

    def lease_of(self, shard: Shard) -> str:
        return self._of_shard("leader", shard)

    @property
    def layout(self) -> str:
        return f"{self.prefix}:layout"

    def shard_events(self, shard: Shard) -> str:
        """The stream that a service of this shard reads."""
        return self.events if shard.is_whole else f"{self.prefix}:shard:{shard.index}:events"

    def last_led(self, shard: Shard = WHOLE) -> str:
        """When a service led last, by the server's clock, in milliseconds; that of all is kept too."""
        return self._of_shard("last-led", shard)

    @property
    def services(self) -> str:
        return f"{self.prefix}:services"

    def control(self, shard: Shard = WHOLE) -> str:
        return self._of_shard("control", shard)

    @property
    def for_scripts(self) -> tuple[str, str, str, str]:
        """What prelude.lua expects as KEYS."""
        return self.prefix, self.events, self.dead_letters, self.audit

    def asset(self, asset_id: str) -> str:
        return f"{self.prefix}:asset:{asset_id}"

    def history(self, asset_id: str) -> str:
        return f"{self.prefix}:history:{asset_id}"

    def run(self, run_id: str) -> str:
        return f"{self.prefix}:run:{run_id}"

    def steps(self, run_id: str) -> str:
        return f"{self.prefix}:steps:{run_id}"

    def produced(self, run_id: str) -> str:
        return f"{self.prefix}:produced:{run_id}"

    def service(self, service_id: str) -> str:
        return f"{self.prefix}:service:{service_id}"

    def control_reply(self, request_id: str) -> str:
        return f"{self.prefix}:control:reply:{request_id}"

    def _of_shard(self, name: str, shard: Shard) -> str:
        return f"{self.prefix}:{name}" if shard.is_whole else f"{self.prefix}:{name}:{shard.index}of{shard.count}"

    def name_of(self, key: str) -> str | None:
        """What stands behind the prefix in a key of this catalog; None for a key that is none.

        Another catalog may have a prefix that begins with this one's: what it keeps does not count.
        """
        name = key.removeprefix(f"{self.prefix}:")
        if name == key:
            return None
        is_stream = name in (self.events_name, self.dead_letters_name, self.audit_name)
        return name if is_stream or name.partition(":")[0] in _TAKEN else None

    @staticmethod
    def is_fleeting(name: str) -> bool:
        """Whether a key of this name (see `name_of`) holds nothing that the catalog knows."""
        return name.partition(":")[0] in _FLEETING
