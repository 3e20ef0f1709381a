"""How assets stand by what the catalog keeps, when no service is there to be asked."""

from __future__ import annotations

from collections.abc import Sequence

from actors.catalog.store import ActiveRun, AssetRecord, Store
from actors.core.decide import Defaults
from actors.core.describe import describe
from actors.core.graph import AssetSpec, Graph
from actors.core.loading import load_partitions
from actors.core.pauses import Pause, Pauses
from actors.core.state import PartitionState, UpstreamSnapshot
from actors.messages import AssetDump, PartitionDump

__all__ = ["dump_assets"]


def dump_assets(
    store: Store, graph: Graph, asset_ids: Sequence[str], defaults: Defaults, now_ms: int
) -> list[AssetDump]:
    """The state of each asset, derived as its actor would at its start; nothing has been decided, so nothing is told of
    decisions.

    Raises:
        CatalogUnavailable: the catalog cannot be reached.
    """
    specs = {asset_id: node.spec if (node := graph.node(asset_id)) else None for asset_id in asset_ids}
    upstreams = {upstream for spec in specs.values() if spec is not None for upstream in spec.considered}
    records = store.read_assets(sorted({*asset_ids, *upstreams}))
    active: dict[str, list[ActiveRun]] = {}
    for run in store.active_runs():
        active.setdefault(run.workflow_slug, []).append(run)
    pauses = Pauses(store.pauses(now_ms))
    held = {
        asset_id: pauses.paused_until(asset_id, spec.workflow_slug if spec is not None else None, now_ms)
        for asset_id, spec in specs.items()
    }
    return [
        AssetDump(
            asset_id=asset_id,
            spec=spec,
            mailbox_depth=0,
            is_loaded=False,
            partitions=tuple(
                _partition(spec, state, defaults, now_ms, held[asset_id])
                for state in _states(
                    asset_id, spec, graph, records, active.get(spec.workflow_slug, ()) if spec else (), now_ms
                )
            ),
            pause=held[asset_id],
        )
        for asset_id, spec in specs.items()
    ]


def _states(
    asset_id: str,
    spec: AssetSpec | None,
    graph: Graph,
    records: dict[str, AssetRecord],
    active: Sequence[ActiveRun],
    now_ms: int,
) -> list[PartitionState]:
    """`active` are the runs of its workflow."""
    record = records[asset_id]
    if spec is None:
        return [PartitionState(key, made=made) for key, made in record.latest.items()]
    loaded = load_partitions(
        spec,
        latest=record.latest,
        failures=record.failures,
        dismissals=record.dismissals,
        upstreams={upstream: _snapshot(upstream, graph, records) for upstream in spec.considered},
        active={
            # A run of the whole workflow makes the one partition of an asset that has none.
            run.partition_key if spec.partitioning is not None else None: run.run_id
            for run in active
        },
        now_ms=now_ms,
    )
    return list(loaded.values())


def _snapshot(upstream: str, graph: Graph, records: dict[str, AssetRecord]) -> UpstreamSnapshot:
    node = graph.node(upstream)
    return UpstreamSnapshot(
        node.partitioning if node is not None else None,
        {key: (made.changed_version, made.produced_at_ms) for key, made in records[upstream].latest.items()},
    )


def _partition(
    spec: AssetSpec | None, state: PartitionState, defaults: Defaults, now_ms: int, pause: Pause | None
) -> PartitionDump:
    view = describe(spec, state, defaults, now_ms, pause)
    return PartitionDump.of(state, view)
