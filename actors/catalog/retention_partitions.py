"""Which partitions can be forgotten by age: those on which nothing decides any more.

A partition is old when it was not produced for the `retentionDays` of its dynamic asset, or when its time window ended
so long ago as the settings say. An old one may be forgotten if forgetting starts nothing and holds nothing up:

- An asset that loads its state without it must not want to make it (again). That is asked of the code that loads and
  decides. So a partition stays as long as an upstream partition that concerns it does.
- For its consumers there is less to be made from, never more; only those that wait for all of their upstream partitions
  would wait for ever. So a partition stays while one of those, which needs it, is not old itself.
- The newest time window of an asset stays: an edge that maps `latest` asks for it.
- One that a run is at work on stays; the script sees to that.

What a running service still knows of it does no harm: if it wants it made again, the claim script lets it, and the
partition begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from actors.catalog.definitions import AssetDeclaration, WorkflowDefinition
from actors.catalog.store import AssetRecord
from actors.core.decide import staleness
from actors.core.graph import AssetNode, AssetSpec, Graph
from actors.core.loading import concerned_keys, load_partitions
from actors.core.mappings import AllKnown
from actors.core.partitions import (
    DynamicPartitioning,
    Partitioning,
    PartitionKeyError,
    TimeWindowPartitioning,
    Window,
    window_of,
)
from actors.core.state import UpstreamSnapshot
from actors.core.wallclock import DAY_MS

__all__ = ["Ages", "ages_of", "forgettable", "newest_window", "old_at_ms"]

Changes = tuple[tuple[str | None, int, int], ...]


@dataclass(frozen=True, slots=True)
class Ages:
    """How old partitions of one asset may get."""

    partitioning: Partitioning
    limit_ms: int


def ages_of(definitions: Iterable[WorkflowDefinition], graph: Graph, windows_days: int) -> dict[str, Ages]:
    """Of each asset whose partitions are forgotten some time; of several declarations of one the longest counts."""
    found: dict[str, Ages] = {}
    for made in _declared(definitions):
        node = graph.node(made.asset_id)
        days = getattr(made.partitioning, "retention_days", None)
        if days is None or node is None or not isinstance(node.partitioning, DynamicPartitioning):
            continue
        limit_ms = days * DAY_MS
        if made.asset_id in found:
            limit_ms = max(limit_ms, found[made.asset_id].limit_ms)
        found[made.asset_id] = Ages(node.partitioning, limit_ms)
    for asset_id, node in graph.assets.items() if windows_days else ():
        if isinstance(node.partitioning, TimeWindowPartitioning):
            found[asset_id] = Ages(node.partitioning, windows_days * DAY_MS)
    return found


def old_at_ms(ages: Ages, key: str, at_ms: int) -> int | None:
    """When a partition that was last produced (or has last failed) at this time gets old; None for a key that is no
    window of the asset: that is the doctor's business."""
    if isinstance(ages.partitioning, TimeWindowPartitioning):
        window = _window(ages.partitioning, key)
        return None if window is None else max(at_ms, window.end_ms) + ages.limit_ms
    return at_ms + ages.limit_ms


def newest_window(ages: Ages, keys: Iterable[str | None]) -> str | None:
    """The latest of these time windows; None if there is none."""
    windows = ages.partitioning
    if not isinstance(windows, TimeWindowPartitioning):
        return None
    starts = {key: window.start_ms for key in keys if key is not None and (window := _window(windows, key))}
    return max(starts, key=starts.__getitem__, default=None)


def forgettable(
    old: set[str],
    asset_id: str,
    graph: Graph,
    records: Mapping[str, AssetRecord],
    histories: Mapping[str, Changes],
    *,
    ages: Ages,
    now_ms: int,
) -> set[str]:
    """Of the old partitions of an asset those on which nothing decides. `records` are those of the asset and of its
    considered upstreams, `histories` those of upstreams whose time of production says what they concern."""
    node = graph.assets[asset_id]
    record = records[asset_id]
    found = {key for key in old if not _is_waited_for(node, key, record, graph, ages, now_ms)}
    while found and (wanted := found & _wanted_without(found, node, graph, records, histories, now_ms)):
        found -= wanted
    return found


def _wanted_without(
    forgotten: set[str],
    node: AssetNode,
    graph: Graph,
    records: Mapping[str, AssetRecord],
    histories: Mapping[str, Changes],
    now_ms: int,
) -> set[str | None]:
    """The partitions that the asset would have made by itself if it were loaded without these."""
    spec = node.spec
    if spec is None or spec.auto is None:
        return set()
    record = records[spec.asset_id]
    upstreams = {u: _snapshot(graph, u, records[u], histories.get(u, ())) for u in spec.considered}
    states = load_partitions(
        spec,
        latest={key: made for key, made in record.latest.items() if key not in forgotten},
        failures={key: failure for key, failure in record.failures.items() if key not in forgotten},
        dismissals={key: dismissal for key, dismissal in record.dismissals.items() if key not in forgotten},
        upstreams=upstreams,
        active={},
        now_ms=now_ms,
    )
    return {key for key, state in states.items() if staleness(spec, state, now_ms).needed is not None}


def _is_waited_for(node: AssetNode, key: str, record: AssetRecord, graph: Graph, ages: Ages, now_ms: int) -> bool:
    """Whether an asset that waits for all of its upstream partitions may still need this one."""
    made = record.latest.get(key)
    for consumer in _waiting(node, graph):
        keys = concerned_keys(
            ages.partitioning,
            key,
            made.produced_at_ms if made else now_ms,
            consumer.partitioning,
            consumer.mapping_of(node.asset_id),
        )
        if isinstance(keys, AllKnown):
            return True
        for below in keys:
            windows = consumer.partitioning
            window = _window(windows, below) if isinstance(windows, TimeWindowPartitioning) and below else None
            if window is None or now_ms < window.end_ms + ages.limit_ms:
                return True
    return False


def _waiting(node: AssetNode, graph: Graph) -> Iterator[AssetSpec]:
    for consumer_id in node.consumers:
        consumer = graph.node(consumer_id)
        if consumer is not None and consumer.spec is not None and node.asset_id in consumer.spec.waits_for_all_of:
            yield consumer.spec


def _snapshot(graph: Graph, asset_id: str, record: AssetRecord, history: Changes) -> UpstreamSnapshot:
    node = graph.node(asset_id)
    changed = {key: (made.changed_version, made.produced_at_ms) for key, made in record.latest.items()}
    return UpstreamSnapshot(node.partitioning if node else None, changed, history)


def _declared(definitions: Iterable[WorkflowDefinition]) -> Iterator[AssetDeclaration]:
    for definition in definitions:
        for step in definition.steps:
            yield from step.produces


def _window(windows: TimeWindowPartitioning, key: str) -> Window | None:
    try:
        return window_of(windows, key)
    except PartitionKeyError:
        return None
