"""What a plan begins with: the catalog as it stands, read once and never written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.gateway import HISTORY_READ
from actors.catalog.store import AssetRecord, HistoryEntry, RunRecord, RunStatus, Store
from actors.core.graph import WorkflowSpec
from actors.core.mappings import is_by_production
from actors.core.partitions import Partitioning
from actors.core.pauses import Pause

__all__ = ["ASSUMED_MS", "RunTime", "Snapshot", "read_snapshot", "run_times"]

ASSUMED_MS = 1_000
"""How long a run is taken to last when its workflow has never succeeded."""

RUNS_READ = 2_000
SAMPLES = 20
_TRIES = 3
_LATER_MS = 366 * 86_400_000
"""Runs that nobody has started yet are of no interest."""


@dataclass(frozen=True, slots=True)
class RunTime:
    """How long runs of a workflow take: the median of the last `samples` that succeeded; 0 samples is a guess."""

    ms: int = ASSUMED_MS
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`runs` are those that are active or queued; `histories` are of upstreams whose times of production say
    which windows below they concern. `is_moving`: events came while it was read, each time. `silent` are the active
    runs whose worker has not renewed its lease."""

    workflows: tuple[WorkflowDefinition, ...]
    assets: Mapping[str, AssetRecord]
    runs: tuple[RunRecord, ...]
    run_times: Mapping[str, RunTime]
    pos: int
    is_moving: bool
    histories: Mapping[str, Sequence[HistoryEntry]] = field(default_factory=dict)
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()

    def run_time(self, slug: str) -> RunTime:
        return self.run_times.get(slug, RunTime())


def read_snapshot(store: Store, now_ms: int) -> Snapshot:
    """Read the catalog; again, up to three times, if an event came meanwhile.

    Raises:
        CatalogUnavailable: the catalog cannot be reached.
    """
    for attempt in range(1, _TRIES + 1):
        snapshot = _read(store, now_ms, is_last=attempt == _TRIES)
        if snapshot is not None:
            return snapshot
    raise AssertionError("the last try always has an answer")


def _by_production(specs: Sequence[WorkflowSpec]) -> set[str]:
    """The upstreams of which it is the time of production that says which windows below they concern."""
    kinds: dict[str, Partitioning | None] = {}
    for workflow in specs:
        for asset_id, partitioning in workflow.consumed.items():
            kinds[asset_id] = kinds.get(asset_id) or partitioning
    kinds |= {asset.asset_id: asset.partitioning for workflow in specs for asset in workflow.assets}
    return {
        upstream_id
        for workflow in specs
        for asset in workflow.assets
        for upstream_id in asset.considered
        if is_by_production(kinds.get(upstream_id), asset.partitioning, asset.mapping_of(upstream_id))
    }


def run_times(runs: Iterable[RunRecord]) -> dict[str, RunTime]:
    """The median duration of the first `SAMPLES` runs of each workflow, which come newest first."""
    taken: defaultdict[str, list[int]] = defaultdict(list)
    for run in runs:
        if run.started_at_ms is not None and run.ended_at_ms is not None and len(taken[run.workflow_slug]) < SAMPLES:
            # A run of no time at all would let a plan stand still.
            taken[run.workflow_slug].append(max(1, run.ended_at_ms - run.started_at_ms))
    return {slug: RunTime(median_low(found), len(found)) for slug, found in taken.items() if found}


def _read(store: Store, now_ms: int, *, is_last: bool) -> Snapshot | None:
    pos = store.position()
    workflows = tuple(store.workflows())
    run_ids = [run.run_id for run in store.active_runs()]
    records = (*(store.run(run_id) for run_id in run_ids), *store.queued_runs())
    specs = [definition.to_spec() for definition in workflows]
    consumed = {asset_id for w in specs for asset_id in w.consumed}
    named = {asset.asset_id for w in specs for asset in w.assets}
    assets = store.read_assets(sorted({*store.asset_ids(), *named, *consumed}))
    histories = {a: store.history(a, limit=HISTORY_READ) for a in sorted(_by_production(specs))}
    pauses = store.pauses(now_ms)
    overdue = store.overdue_runs(start_timeout_ms=_LATER_MS)
    times = run_times(store.runs(status=RunStatus.SUCCEEDED, limit=RUNS_READ))
    is_moving = store.position() != pos
    if is_moving and not is_last:
        return None
    return Snapshot(
        workflows=workflows,
        assets=assets,
        runs=tuple(r for r in records if r is not None and not r.status.is_over),
        run_times=times,
        pos=pos,
        is_moving=is_moving,
        histories=histories,
        pauses=pauses,
        silent=frozenset(run.run_id for run in overdue.runs if run.kind == "lease"),
    )
