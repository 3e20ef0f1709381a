"""The world of the state machine: a catalog kept in the plainest way, and the events it tells of every change.

It says again, without any code of what decides, which partition goes into which, what is stale, suspended and paused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from actors.core.freshness import ExpiryReason
from actors.core.graph import AssetSpec, When
from actors.core.partitions import Granularity, Partitioning, StaticPartitioning, TimeWindowPartitioning
from actors.core.pauses import EVERYTHING, Pause, asset_scope
from actors.core.state import Dismissal, FailureRecord, Materialization, UpstreamSnapshot

__all__ = [
    "BACKOFF_MS",
    "BUDGET",
    "QUIET_FROM",
    "QUIET_TO",
    "START_MS",
    "Catalog",
    "Event",
    "Expired",
    "Partition",
    "Produced",
    "Resumed",
    "Run",
    "RunBegan",
    "RunOver",
    "Snapshot",
]

START_MS = 1_772_367_000_000
"""2026-03-01T12:10:00Z"""
BUDGET = 3
BACKOFF_MS = 60_000
"""After n failures in a row the wait is this times 2 ** (n - 1)."""

QUIET_FROM, QUIET_TO = "12:30", "13:15"
"""By the clock of UTC, for assets that have quiet hours."""

Partition = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Produced:
    pos: int
    asset_id: str
    key: str | None
    made: Materialization


@dataclass(frozen=True, slots=True)
class Expired:
    pos: int
    asset_id: str
    key: str | None
    version: int
    reason: ExpiryReason


@dataclass(frozen=True, slots=True)
class Resumed:
    """Of every partition when `key` is None."""

    pos: int
    asset_id: str
    key: str | None


@dataclass(frozen=True, slots=True)
class RunBegan:
    """Told when the claim is taken, and again when the run has captured its inputs."""

    pos: int
    asset_id: str
    key: str | None
    run_id: str


@dataclass(frozen=True, slots=True)
class RunOver:
    pos: int
    asset_id: str
    key: str | None
    run_id: str
    failure: FailureRecord | None
    dismissed: Dismissal | None


Event = Produced | Expired | Resumed | RunBegan | RunOver


@dataclass(slots=True)
class Run:
    """`inputs` are what it captured, None before it has started."""

    run_id: str
    asset_id: str
    key: str | None
    inputs: Mapping[str, int] | None = None
    has_made: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is read of one asset and its upstreams."""

    latest: Mapping[str | None, Materialization]
    failures: Mapping[str | None, FailureRecord]
    dismissals: Mapping[str | None, Dismissal]
    upstreams: Mapping[str, UpstreamSnapshot]
    active: Mapping[str | None, str]


@dataclass(slots=True)
class Catalog:
    """`specs` are the assets that somebody here makes, each by a workflow of its own; `sources` come from outside."""

    sources: Mapping[str, Partitioning | None]
    specs: Mapping[str, AssetSpec]
    now_ms: int = START_MS
    made: dict[Partition, Materialization] = field(default_factory=dict)
    failures: dict[Partition, FailureRecord] = field(default_factory=dict)
    dismissals: dict[Partition, Dismissal] = field(default_factory=dict)
    active: dict[Partition, Run] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    runs: int = 0

    @property
    def pos(self) -> int:
        """The position of the last event."""
        return len(self.events)

    def kind(self, asset_id: str) -> Partitioning | None:
        return self.specs[asset_id].partitioning if asset_id in self.specs else self.sources[asset_id]

    # -- what happens ------------------------------------------------------------------------------------------------

    def produce(self, asset_id: str, key: str | None, data: str, late_ms: int = 0, run: Run | None = None) -> None:
        """A run, or somebody outside, makes a partition; the same `data` as before is no change."""
        before = self.made.get((asset_id, key))
        version = self.counters[asset_id] = self.counters.get(asset_id, 0) + 1
        inputs = run.inputs if run is not None and run.inputs is not None else self.versions_above(asset_id)
        at_ms = self.now_ms - late_ms
        made = Materialization(
            version,
            before.changed_version if before is not None and before.data_version == data else version,
            max(at_ms, before.produced_at_ms) if before is not None else at_ms,
            data_version=data,
            run_id=run.run_id if run is not None else None,
            inputs=inputs,
        )
        self.made[asset_id, key] = made
        self.failures.pop((asset_id, key), None)
        self.dismissals.pop((asset_id, key), None)
        # The event tells when this version was produced, also if a later one is known.
        self.events.append(Produced(self.pos + 1, asset_id, key, replace(made, produced_at_ms=at_ms)))

    def begin_run(self, asset_id: str, key: str | None) -> Run:
        self.runs += 1
        run = self.active[asset_id, key] = Run(f"run-{self.runs}", asset_id, key)
        self.events.append(RunBegan(self.pos + 1, asset_id, key, run.run_id))
        return run

    def start_run(self, run: Run) -> None:
        run.inputs = self.versions_above(run.asset_id)
        self.events.append(RunBegan(self.pos + 1, run.asset_id, run.key, run.run_id))

    def end_run(self, run: Run, *, is_canceled: bool = False) -> None:
        """Whoever made nothing has failed, unless a user canceled it."""
        partition = run.asset_id, run.key
        del self.active[partition]
        failure, dismissed = None, None
        if is_canceled and not run.has_made:
            version = self.made[partition].version if partition in self.made else 0
            inputs = run.inputs if run.inputs is not None else self.versions_above(run.asset_id)
            dismissed = self.dismissals[partition] = Dismissal(version, inputs)
        elif not run.has_made:
            before = self.failures.get(partition)
            count = before.failures + 1 if before is not None else 1
            failure = self.failures[partition] = FailureRecord(count, self.now_ms, run.run_id)
        self.events.append(RunOver(self.pos + 1, *partition, run.run_id, failure, dismissed))

    def make_by_run(self, run: Run, data: str) -> None:
        if run.inputs is None:
            self.start_run(run)
        run.has_made = True
        self.produce(run.asset_id, run.key, data, run=run)

    def expire(self, asset_id: str, key: str | None, version: int | None, at_ms: int, reason: ExpiryReason) -> None:
        """Once for each version, and not when something newer than `at_ms` is there; None is whatever is latest."""
        made = self.made.get((asset_id, key))
        if made is None or version not in (None, made.version) or made.produced_at_ms > at_ms or made.expired_version:
            return
        self.made[asset_id, key] = replace(made, expired_version=made.version, expired_reason=reason)
        self.events.append(Expired(self.pos + 1, asset_id, key, made.version, reason))

    def resume(self, asset_id: str, key: str | None = None) -> None:
        for partition in [*self.failures, *self.dismissals]:
            if partition[0] == asset_id and key in (None, partition[1]):
                self.failures.pop(partition, None)
                self.dismissals.pop(partition, None)
        self.events.append(Resumed(self.pos + 1, asset_id, key))

    # -- what is read ------------------------------------------------------------------------------------------------

    def versions_above(self, asset_id: str) -> Mapping[str, int]:
        """What a run that starts now reads: of each upstream everything up to its counter."""
        upstreams = self.specs[asset_id].upstreams if asset_id in self.specs else ()
        return {u: self.counters.get(u, 0) for u in upstreams}

    def read(self, asset_id: str) -> Snapshot:
        def of(asset: str) -> dict[str | None, Materialization]:
            return {k: made for (a, k), made in self.made.items() if a == asset}

        return Snapshot(
            of(asset_id),
            {k: failure for (a, k), failure in self.failures.items() if a == asset_id},
            {k: dismissed for (a, k), dismissed in self.dismissals.items() if a == asset_id},
            {
                u: UpstreamSnapshot(
                    self.kind(u), {k: (made.changed_version, made.produced_at_ms) for k, made in of(u).items()}
                )
                for u in self.specs[asset_id].considered
            },
            {k: run.run_id for (a, k), run in self.active.items() if a == asset_id},
        )

    # -- what is true ------------------------------------------------------------------------------------------------

    def newer(self, asset_id: str, key: str | None) -> list[str]:
        """The upstreams that count and changed above what the partition was made from."""
        made = self.made.get((asset_id, key))
        inputs = made.inputs if made is not None else {}
        return [
            u
            for u in self.specs[asset_id].considered
            if any(
                above.changed_version > inputs.get(u, 0)
                for (a, k), above in self.made.items()
                if a == u and _goes_into(self.kind(u), k, self.kind(asset_id), key)
            )
        ]

    def is_stale(self, asset_id: str, key: str | None) -> bool:
        """Whether an asset that opted in must be made again, or first, by its policy."""
        spec = self.specs[asset_id]
        if spec.auto is None:
            return False
        newer = self.newer(asset_id, key)
        if newer and (spec.auto.when is When.ANY or len(newer) == len(spec.considered)):
            return True
        made = self.made.get((asset_id, key))
        if made is None:
            return spec.auto.on_missing
        windows = spec.partitioning
        if isinstance(windows, TimeWindowPartitioning) and key != self.window(0, windows.granularity):
            return False
        ttl_ms = spec.freshness.ttl_ms
        return made.expired_version == made.version or (
            ttl_ms is not None and made.produced_at_ms + ttl_ms <= self.now_ms
        )

    def is_incomplete(self, asset_id: str, key: str | None) -> bool:
        """Whether something of which every partition is waited for was never made."""
        spec = self.specs[asset_id]
        return any(
            (u, above) not in self.made
            for u in spec.waits_for_all_of
            for above in _all_above(self.kind(u), spec.partitioning, key)
        )

    def is_held_back(self, asset_id: str, key: str | None) -> bool:
        """Paused, in quiet hours, suspended or waiting after a failure."""
        auto = self.specs[asset_id].auto
        if auto is not None and auto.quiet_hours and QUIET_FROM <= self.window(0, Granularity.MINUTE)[11:] < QUIET_TO:
            return True
        pauses = (self.pauses.get(EVERYTHING), self.pauses.get(asset_scope(asset_id)))
        if any(p is not None and (p.until_ms is None or p.until_ms > self.now_ms) for p in pauses):
            return True
        failure = self.failures.get((asset_id, key))
        if failure is None:
            return False
        wait_ms = BACKOFF_MS * 2 ** (failure.failures - 1)
        return failure.failures >= BUDGET or failure.last_failure_at_ms + wait_ms > self.now_ms

    def partitions(self) -> list[Partition]:
        """Every partition that was made, or could be from what is there."""
        found: dict[Partition, None] = {}
        for asset_id, spec in self.specs.items():
            match spec.partitioning:
                case None:
                    keys: list[str | None] = [None]
                case StaticPartitioning(keys=names):
                    keys = list(names)
                case TimeWindowPartitioning(granularity=granularity):
                    length = len(self.window(0, granularity))
                    keys = [k[:length] for a, k in self.made if k and a in (asset_id, *spec.upstreams)]
                case _:
                    keys = []
            found |= dict.fromkeys((asset_id, key) for key in keys)
        return list(found)

    def window(self, ago_ms: int, granularity: Granularity) -> str:
        """The key of the minute or hour that it was so long ago."""
        at = datetime.fromtimestamp((self.now_ms - ago_ms) / 1000, UTC)
        return at.strftime("%Y-%m-%dT%H:%M" if granularity is Granularity.MINUTE else "%Y-%m-%dT%H")


def _goes_into(up: Partitioning | None, up_key: str | None, down: Partitioning | None, down_key: str | None) -> bool:
    """Equal names, and minutes into their hour; what has no partitions, or no common ones, goes into all."""
    if down is None:
        return True
    if isinstance(down, StaticPartitioning):
        return up_key == down_key if isinstance(up, StaticPartitioning) else True
    assert up_key is not None
    assert down_key is not None
    return up_key.startswith(down_key)


def _all_above(up: Partitioning | None, down: Partitioning | None, down_key: str | None) -> list[str | None]:
    """The partitions upstream that go into one here; none of time windows into what has no time."""
    if up is None:
        return [None]
    if isinstance(up, StaticPartitioning):
        return [down_key] if isinstance(down, StaticPartitioning) else list(up.keys)
    if not isinstance(down, TimeWindowPartitioning) or down_key is None:
        return []
    return [down_key] if up == down else [f"{down_key}:{minute:02}" for minute in range(60)]
