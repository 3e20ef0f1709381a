"""What the registry of one shard has to do with the others.

Every shard knows the whole graph, and hears of everything that its own assets follow, however far above. So each walks
the same waves by the same numbers, made of the event's place among all events, and holds its own assets back for assets
that others keep. What such an asset has dealt with is told from shard to shard.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from pykka import ActorRef

from actors.core.graph import AssetSpec, Graph
from actors.core.shards import Interests, Shard, lies_across, shards_below
from actors.core.waves import Marks
from actors.messages import Reported, ReportWanted, Settled, ShardsSilent, WillBeMade
from actors.surroundings import Surroundings

__all__ = ["Neighbours"]

SILENT_MS: Final = 60_000
"""After so long nobody waits for the report of another shard any more: it is down, and re-makes nothing."""


class _Question(NamedTuple):
    """Asked for the `asked`-th time; an answer is from this wave or a later one."""

    asked: int
    wave: int


class Neighbours:
    """Belongs to the registry, and is used in its handlers only; `owner` gives the registry's ref. Where the catalog is
    not divided, nothing is told and nobody is waited for."""

    def __init__(self, graph: Graph, around: Surroundings, owner: Callable[[], ActorRef[Any]]) -> None:
        self._graph = graph
        self._around = around
        self._owner = owner
        self._interests = Interests(around.shards.shard)
        self._unanswered: dict[str, _Question] = {}
        self._times_asked = 0

    @property
    def shard(self) -> Shard:
        return self._around.shards.shard

    def keeps(self, asset_id: str) -> bool:
        return self.shard.is_whole or self.shard.keeps(self._graph, asset_id)

    def hear_of(self, touched: Iterable[str], slugs: Iterable[str], *, anew: bool = False) -> None:
        """Hear of what concerns this shard since these assets and workflows are as they are."""
        if not self.shard.is_whole:
            asset_ids, own_slugs = self._interests.grow(self._graph, touched, slugs)
            if asset_ids or own_slugs or anew:
                self._around.shards.hear_of(asset_ids, own_slugs, anew=anew)

    def will_be_made(self, found: WillBeMade) -> None:
        if not self.shard.is_whole and lies_across(self._graph, found.asset_id, self.shard):
            self._around.shards.announce(found.asset_id, found.partition_key)

    def pass_on(self, message: Settled | Reported) -> None:
        """Tell the shards that keep what follows the asset."""
        if not self.shard.is_whole:
            for index in sorted(shards_below(self._graph, message.asset_id, self.shard)):
                self._around.shards.tell(index, message)

    def has_to_tell(self, asset_id: str) -> bool:
        """Whether what the asset reports is of concern to another shard."""
        return not self.shard.is_whole and bool(shards_below(self._graph, asset_id, self.shard))

    def reporting(self, spec: AssetSpec) -> frozenset[str]:
        """The upstreams kept by others that can say what they are about to re-make."""
        if self.shard.is_whole:
            return frozenset()
        return frozenset(u for u in spec.considered if not self.keeps(u) and self._opted_in(u))

    def ask(self, asset_ids: Iterable[str], wave: int) -> None:
        """Have the shards that keep these assets report what they are about to re-make, by all that is read here, up
        to `wave`."""
        by_shard: defaultdict[int, list[str]] = defaultdict(list)
        for asset_id in sorted(asset_ids):
            index = self.shard.keeper_of(self._graph, asset_id)
            if index is not None:
                by_shard[index].append(asset_id)
        if not by_shard:
            return
        self._times_asked += 1
        for index, asked in by_shard.items():
            for asset_id in asked:
                before = self._unanswered.get(asset_id)
                newest = max(wave, before.wave) if before is not None else wave
                self._unanswered[asset_id] = _Question(self._times_asked, newest)
            self._around.shards.tell(index, ReportWanted(tuple(asked), self.shard.index, wave))
        at_ms = self._around.clock.now_ms() + SILENT_MS
        self._around.timers.tell_at(at_ms, self._owner(), ShardsSilent(self._times_asked))

    def takes(self, report: Reported) -> bool:
        """Whether a report counts; not one from before a question that is open, whose answer is still to come."""
        question = self._unanswered.get(report.asset_id)
        if question is not None and report.wave < question.wave:
            return False
        self._unanswered.pop(report.asset_id, None)
        return True

    def silent_since(self, asked: int) -> list[str]:
        """The assets of which nothing was reported since they were asked for this time or before."""
        silent = [asset_id for asset_id, question in self._unanswered.items() if question.asked <= asked]
        for asset_id in silent:
            del self._unanswered[asset_id]
        return silent

    def split(
        self, pending: Mapping[str | None, Marks]
    ) -> tuple[Mapping[str | None, Marks], Mapping[str | None, Marks]]:
        """Marks of upstreams kept here, and of those that others keep."""
        if self.shard.is_whole:
            return pending, {}
        own: dict[str | None, Marks] = {}
        others: dict[str | None, Marks] = {}
        for key, marks in pending.items():
            for is_own, found in ((True, own), (False, others)):
                if some := tuple(mark for mark in marks if self.keeps(mark[0]) == is_own):
                    found[key] = some
        return own, others

    def _opted_in(self, asset_id: str) -> bool:
        node = self._graph.node(asset_id)
        return node is not None and node.spec is not None and node.spec.auto is not None
