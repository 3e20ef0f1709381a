"""The service of the state machine: registry, assets and enqueuer in the plainest way, around the functions of `core`.

It routes the catalog's events and numbers the waves as `actors.registry` does, and acts on decisions as
`actors.acting` does; but it has no threads: whoever plays it says who handles the next message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from actors.core.freshness import ExpiryReason
from actors.core.graph import Graph, WorkflowSpec
from actors.core.pauses import EVERYTHING, Pauses, asset_scope
from actors.core.state import Cause
from actors.core.waves import wave_below
from tests.unit.core.machine_asset import News, PlainAsset
from tests.unit.core.machine_catalog import (
    Catalog,
    Event,
    Partition,
    Produced,
    RunBegan,
    RunOver,
    Snapshot,
)

__all__ = ["PlainService"]


class PlainService:
    """As `GraphRegistryActor` with its directory of assets, and as the enqueuer. Begins with nothing loaded.

    `wanted` says of each wanted run which version and how many failures its asset knew of when it asked.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.graph = Graph(
            WorkflowSpec(s.workflow_slug, assets=(s,), consumed={u: catalog.kind(u) for u in s.upstreams})
            for s in catalog.specs.values()
        )
        self.unrouted: deque[Event] = deque()
        self.told = 0
        self.restart(again=0)

    def restart(self, again: int) -> None:
        """Everything in memory is gone; of what was routed the last `again` events come again."""
        first = self.told - min(again, self.told)
        self.unrouted = deque([*self.catalog.events[first : self.told], *self.unrouted])
        self.inbox: deque[Callable[[], None]] = deque()
        self.reads: deque[tuple[str, int]] = deque()
        self.wanted: dict[Partition, tuple[int, int]] = {}
        self.pauses = Pauses(dict(self.catalog.pauses))
        self.wave = 0
        self._over: set[str] = set()
        self._loaded_pos = self.catalog.pos
        self.assets = {a: PlainAsset(spec, self) for a, spec in self.catalog.specs.items()}
        self._unreported = set(self.assets)
        for asset_id in self.assets:
            self.reload(asset_id)

    def crash(self, asset_id: str) -> None:
        """One asset loses what it knows and what it was about to hear."""
        self.assets[asset_id] = PlainAsset(self.catalog.specs[asset_id], self)
        self._unreported.add(asset_id)
        self.reload(asset_id)

    def reload(self, asset_id: str) -> None:
        """Ask for a snapshot: its position is noted now, and it is read later."""
        self.reads.append((asset_id, self.catalog.pos))

    @property
    def is_quiet(self) -> bool:
        """Whether everything that was told has been heard, and no snapshot is under way."""
        self._take_news()
        under_way = self.unrouted or self.inbox or self.reads
        return not under_way and all(not a.mail and a.is_ready for a in self.assets.values())

    # -- one step of somebody ----------------------------------------------------------------------------------------

    def moves(self) -> list[Callable[[], object]]:
        """What could happen next: an event is routed, a message handled, a snapshot read, an asset hears its mail."""
        self._take_news()
        found: list[Callable[[], object]] = []
        if self.unrouted:
            found.append(lambda: self.route(self.unrouted.popleft()))
        if self.inbox:
            found.append(self._handle)
        if self.reads:
            found.append(self._read)
        found += [asset.handle for asset in self.assets.values() if asset.mail]
        return found

    def swap(self, at: int) -> None:
        """Two events that follow each other come in the wrong order; `at` says which of those that are waiting."""
        self._take_news()
        if len(self.unrouted) > 1:
            at %= len(self.unrouted) - 1
            self.unrouted[at], self.unrouted[at + 1] = self.unrouted[at + 1], self.unrouted[at]

    def _take_news(self) -> None:
        self.unrouted.extend(self.catalog.events[self.told :])
        self.told = self.catalog.pos

    def _handle(self) -> None:
        self.inbox.popleft()()

    def read_all(self) -> None:
        """What was asked for is read now; that it was is handled later."""
        while self.reads:
            self._read()

    def _read(self) -> None:
        asset_id, pos = self.reads.popleft()
        self.inbox.append(partial(self._loaded, asset_id, self.catalog.read(asset_id), pos))

    def _tell(self, asset_id: str, news: News) -> None:
        if asset_id in self.assets:
            self.assets[asset_id].mail.append(news)

    # -- routing -----------------------------------------------------------------------------------------------------

    def route(self, event: Event) -> None:
        match event:
            case RunBegan():
                if event.run_id in self._over or event.pos <= self._loaded_pos:
                    return
                self.wanted.pop((event.asset_id, event.key), None)
            case RunOver():
                self._over.add(event.run_id)
            case _:
                pass
        self._tell(event.asset_id, News(str(event), lambda asset: asset.hear(event), event))
        if isinstance(event, Produced) and event.made.changed_version == event.made.version:
            self._spread(event)

    def _spread(self, event: Produced) -> None:
        node = self.graph.node(event.asset_id)
        if node is None or not node.consumers:
            return
        self.wave += 1
        reached = wave_below(self.graph, event.asset_id, event.key, event.made.produced_at_ms)
        for below in reached:
            if below.pending:
                self._tell_pending(below.asset_id, dict(below.pending))
        cause = Cause(event.asset_id, event.key, event.made.changed_version)
        for below in reached:
            if below.keys is not None:
                assert isinstance(below.keys, tuple), "an edge of these graphs concerns partitions it cannot name"
                self._tell_changed(below.asset_id, cause, below.keys)

    def _tell_changed(self, asset_id: str, cause: Cause, keys: tuple[str | None, ...]) -> None:
        wave = self.wave
        self._tell(asset_id, News(f"changed {cause} {wave}", lambda asset: asset.hear_changed(cause, keys, wave)))

    def _tell_pending(self, asset_id: str, pending: dict[str | None, tuple[Partition, ...]]) -> None:
        wave = self.wave
        self._tell(asset_id, News(f"pending {pending} {wave}", lambda asset: asset.hear_pending(pending, wave)))

    def settled(self, asset_id: str, key: str | None, wave: int, until_ms: int | None) -> None:
        news = News(f"settled {asset_id}@{key} {wave}", lambda asset: asset.hear_settled(asset_id, key, wave, until_ms))
        for consumer_id in self._consumers(asset_id):
            self._tell(consumer_id, news)

    def will_be_made(self, asset_id: str, key: str | None) -> None:
        if not self._consumers(asset_id):
            return
        self.wave += 1
        wave = self.wave
        for below in wave_below(self.graph, asset_id, key, self.catalog.now_ms, is_made=False):
            if below.pending:
                self._tell_pending(below.asset_id, dict(below.pending))
        self._tell(asset_id, News(f"wave {wave} began", lambda asset: asset.hear_wave_began(key, wave)))

    def reported(self, asset_id: str, wave: int, keys: frozenset[str | None]) -> None:
        news = News(f"reported {asset_id}", lambda asset: asset.hear_reported(asset_id, wave, keys))
        for consumer_id in self._consumers(asset_id):
            self._tell(consumer_id, news)

    def _consumers(self, asset_id: str) -> list[str]:
        node = self.graph.node(asset_id)
        return list(node.consumers) if node is not None else []

    def _loaded(self, asset_id: str, read: Snapshot, pos: int) -> None:
        known = Snapshot(
            read.latest,
            read.failures,
            read.dismissals,
            read.upstreams,
            {key: run_id for key, run_id in read.active.items() if run_id not in self._over},
        )
        awaits: frozenset[str] = frozenset()
        if asset_id in self._unreported:
            awaits = self._reporting(asset_id)
        asked_again, wave = awaits - self._unreported, self.wave
        news = News("loaded", lambda a: a.hear_loaded(known, pos, wave, awaits), is_repeatable=False)
        self._tell(asset_id, news)
        self._unreported.discard(asset_id)
        for upstream_id in sorted(asked_again):
            self._ask_again(upstream_id)

    def _ask_again(self, asset_id: str) -> None:
        self._tell(asset_id, News("report again", lambda asset: asset.report(), is_repeatable=False))

    def _reporting(self, asset_id: str) -> frozenset[str]:
        """The upstreams that can say what they are about to re-make."""
        specs = self.catalog.specs
        return frozenset(u for u in specs[asset_id].considered if u in specs and specs[u].auto is not None)

    # -- time and pauses ---------------------------------------------------------------------------------------------

    def pass_time(self, ms: int) -> None:
        """Whatever is armed meanwhile is heard of afterwards."""
        self.catalog.now_ms += ms
        self.catalog.pauses = dict(Pauses(self.catalog.pauses).without_ended(self.catalog.now_ms).by_scope)
        self.pauses_changed()
        for asset_id in self.assets:
            self._tell(asset_id, News("timer", lambda asset: asset.look_at_all(), is_repeatable=False))

    def pauses_changed(self, also: frozenset[str] = frozenset()) -> None:
        self.inbox.append(partial(self._take_pauses, Pauses(dict(self.catalog.pauses)), also))

    def _take_pauses(self, pauses: Pauses, also: frozenset[str]) -> None:
        scopes = self.pauses.scopes_changed(pauses)
        self.pauses = pauses
        concerned = {a for a in self.assets if a in also or {EVERYTHING, asset_scope(a)} & scopes}
        asked_again: frozenset[str] = frozenset()
        for asset_id in sorted(concerned):
            awaits: frozenset[str] = frozenset()
            slug = self.catalog.specs[asset_id].workflow_slug
            if pauses.paused_until(asset_id, slug, self.catalog.now_ms) is None:
                awaits = self._reporting(asset_id)
                asked_again |= awaits - concerned
            self._tell_to_look_again(asset_id, awaits)
        for upstream_id in sorted(asked_again):
            self._ask_again(upstream_id)

    def _tell_to_look_again(self, asset_id: str, awaits: frozenset[str]) -> None:
        self._tell(asset_id, News("look again", lambda asset: asset.look_again(awaits), is_repeatable=False))

    # -- runs --------------------------------------------------------------------------------------------------------

    def submit(self, partition: Partition) -> bool:
        """Claim a wanted run. The catalog refuses what was asked on outdated knowledge; says whether it did not."""
        version, failures = self.wanted.pop(partition)
        catalog = self.catalog
        made, failure = catalog.made.get(partition), catalog.failures.get(partition)
        known = (made.version if made is not None else 0, failure.failures if failure is not None else 0)
        if known != (version, failures):
            self.inbox.append(partial(self.reload, partition[0]))
        elif {EVERYTHING, asset_scope(partition[0])} & catalog.pauses.keys():
            self.pauses_changed(frozenset({partition[0]}))
        elif partition in catalog.active:
            self.inbox.append(partial(self._refused, partition, catalog.active[partition].run_id))
        else:
            catalog.begin_run(*partition)
            return True
        return False

    def _refused(self, partition: Partition, run_id: str) -> None:
        asset_id, key = partition
        if run_id in self._over:
            self._tell(asset_id, News("look", lambda asset: asset.look(asset.state(key)), is_repeatable=False))
        else:
            self._tell(asset_id, News(f"{run_id} has the claim", lambda a: a.hear_refused(key, run_id)))

    def expire_by_hand(self, asset_id: str, key: str | None) -> None:
        self.catalog.expire(asset_id, key, None, self.catalog.now_ms, ExpiryReason.MANUAL)
