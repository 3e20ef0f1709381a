"""The actors of assets by id, for the registry: started on first use, given their state from the catalog, told news."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pykka import ActorRef

from actors.active_runs import ActiveRuns
from actors.catalog.store import AssetRecord
from actors.core.graph import AssetNode, AssetSpec, Graph
from actors.core.mappings import is_by_production
from actors.core.state import UpstreamSnapshot
from actors.core.waves import wave_at
from actors.messages import AssetsLoaded, Configure, Load, ReportAgain
from actors.neighbours import Neighbours
from actors.runtime import tell_to_stop
from actors.surroundings import Surroundings

__all__ = ["AssetDirectory", "SpawnAsset"]

SpawnAsset = Callable[[str, AssetSpec | None], ActorRef[Any]]

LOAD_CHUNK = 1_000


class AssetDirectory:
    """Belongs to the registry, and is used in its handlers only; `owner` gives the registry's ref for answers."""

    def __init__(
        self,
        graph: Graph,
        around: Surroundings,
        neighbours: Neighbours,
        spawn_asset: SpawnAsset,
        owner: Callable[[], ActorRef[Any]],
    ) -> None:
        self._graph = graph
        self._around = around
        self._neighbours = neighbours
        self._spawn_asset = spawn_asset
        self._owner = owner
        self._refs: dict[str, ActorRef[Any]] = {}
        self._unreported: set[str] = set()
        self._loading = 0
        self.read = 0
        self.to_read = 0

    def __contains__(self, asset_id: str) -> bool:
        return asset_id in self._refs

    def ids(self) -> tuple[str, ...]:
        return tuple(self._refs)

    @property
    def is_loading(self) -> bool:
        return self._loading > 0

    def tell(self, asset_id: str, message: object, *, needs_actor: bool = False) -> None:
        """Tell the asset's actor, if it has one; start it for this if `needs_actor`."""
        ref = self.ref(asset_id) if needs_actor else self._refs.get(asset_id)
        if ref is not None:
            self._around.tell(ref, asset_id, message)

    def ref(self, asset_id: str) -> ActorRef[Any] | None:
        """The asset's actor, started if it has none; None for an asset that no workflow here makes."""
        ref = self._refs.get(asset_id)
        node = self._graph.node(asset_id)
        if ref is None and node is not None and node.spec is not None and self._neighbours.keeps(asset_id):
            ref = self._start(asset_id, node.spec)
            self.load([asset_id])
        return ref

    def restart(self, asset_id: str) -> None:
        """Put a new actor in the place of one that failed."""
        node = self._graph.node(asset_id)
        if node is None or node.spec is None or not self._neighbours.keeps(asset_id):
            self._refs.pop(asset_id, None)
            return
        self._start(asset_id, node.spec)
        self.load([asset_id])

    def follow(self, asset_ids: Iterable[str]) -> None:
        """Start, reconfigure or retire the actors of assets whose declaration may differ now."""
        to_load: list[str] = []
        for asset_id in asset_ids:
            node = self._graph.node(asset_id)
            ref = self._refs.get(asset_id)
            if node is None or node.spec is None or not self._neighbours.keeps(asset_id):
                if ref is not None:
                    del self._refs[asset_id]
                    tell_to_stop(ref)
            elif ref is not None:
                self._around.tell(ref, asset_id, Configure(node.spec))
                to_load.append(asset_id)
            elif _has_work(node):
                self._start(asset_id, node.spec)
                to_load.append(asset_id)
        self.load(to_load)

    def stop(self) -> None:
        for ref in self._refs.values():
            tell_to_stop(ref)

    def load(self, asset_ids: Sequence[str]) -> None:
        """Ask the catalog for the state of these assets and of their upstreams; `AssetsLoaded` brings it."""
        for start in range(0, len(asset_ids), LOAD_CHUNK):
            chunk = asset_ids[start : start + LOAD_CHUNK]
            upstream_ids = {u for a in chunk for u in self._upstreams(a)}
            self._loading += 1
            self.to_read += len(chunk)
            by_time = {u for a in chunk for u in self._upstreams(a) if self._is_by_time(u, a)}
            upstream_ids -= set(chunk)
            self._around.catalog.load_assets(chunk, sorted(upstream_ids), sorted(by_time), self._owner())

    def _is_by_time(self, upstream_id: str, asset_id: str) -> bool:
        """Whether it is the time of its production that says which windows of the asset an upstream concerns."""
        upstream, asset = self._graph.node(upstream_id), self._graph.node(asset_id)
        if upstream is None or asset is None or asset.spec is None:
            return False
        return is_by_production(upstream.partitioning, asset.partitioning, asset.spec.mapping_of(upstream_id))

    def on_loaded(self, loaded: AssetsLoaded, runs: ActiveRuns, wave: int) -> None:
        """Hand to each asset what was read. One that begins waits for upstreams to say what they will re-make."""
        self._loading -= 1
        self.read += len(loaded.asset_ids)
        active: defaultdict[str, dict[str | None, str]] = defaultdict(dict)
        for run in runs.take_over(loaded.active, loaded.pos):
            active[run.workflow_slug][run.partition_key] = run.run_id
        asked_again: frozenset[str] = frozenset()
        for asset_id in loaded.asset_ids:
            node = self._graph.node(asset_id)
            if node is None or node.spec is None:
                continue
            mine = active.get(node.spec.workflow_slug, {})
            awaits: frozenset[str] = frozenset()
            if asset_id in self._unreported:
                awaits = self.reporting(node.spec)
                asked_again |= awaits - self._unreported
            self.tell(
                asset_id,
                Load(
                    record=loaded.records.get(asset_id, AssetRecord()),
                    upstreams={u: self._snapshot(u, loaded) for u in self._upstreams(asset_id)},
                    active={k: r for k, r in mine.items() if (k is None) == (node.spec.partitioning is None)},
                    pos=loaded.pos,
                    wave=wave,
                    awaits=awaits,
                    held_ms=self._around.outage_ms,
                ),
            )
        if not self._loading:
            # Whatever is read from here on, no outage came before it.
            self._around.outage_ms = 0
        # Those that are still to begin, or were told to just now, report by themselves.
        self._unreported.difference_update(loaded.asset_ids)
        self.ask_again(asked_again, wave, read_up_to=wave_at(loaded.pos))

    def reporting(self, spec: AssetSpec) -> frozenset[str]:
        """The upstreams that can say what they are about to re-make."""
        here = frozenset(u for u in spec.considered if u in self._refs and self._may_be_made(u))
        return here | self._neighbours.reporting(spec)

    def ask_again(self, asset_ids: Iterable[str], wave: int, *, read_up_to: int = 0) -> None:
        """Have these report again what they are about to re-make; `wave` is the newest that those here were told of.
        Who asks has read all up to that, and to the wave `read_up_to`."""
        others: list[str] = []
        for asset_id in sorted(asset_ids):
            if asset_id in self._refs:
                self.tell(asset_id, ReportAgain(wave))
            else:
                others.append(asset_id)
        self._neighbours.ask(others, max(wave, read_up_to))

    def _may_be_made(self, asset_id: str) -> bool:
        node = self._graph.node(asset_id)
        return node is not None and node.spec is not None and node.spec.auto is not None

    def _snapshot(self, asset_id: str, loaded: AssetsLoaded) -> UpstreamSnapshot:
        node = self._graph.node(asset_id)
        record = loaded.records.get(asset_id, AssetRecord())
        return UpstreamSnapshot(
            node.partitioning if node else None,
            {key: (made.changed_version, made.produced_at_ms) for key, made in record.latest.items()},
            loaded.histories.get(asset_id, ()),
        )

    def _upstreams(self, asset_id: str) -> tuple[str, ...]:
        node = self._graph.node(asset_id)
        return node.spec.considered if node is not None and node.spec is not None else ()

    def _start(self, asset_id: str, spec: AssetSpec) -> ActorRef[Any]:
        ref = self._refs[asset_id] = self._spawn_asset(asset_id, spec)
        self._unreported.add(asset_id)
        return ref


def _has_work(node: AssetNode) -> bool:
    """Whether the asset needs an actor before anybody asks: it opted in, or it can expire."""
    return node.spec is not None and (node.spec.auto is not None or not node.spec.freshness.is_empty)
