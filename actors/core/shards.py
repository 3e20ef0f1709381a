"""Which of several services keeps an asset: a graph that is too much for one process is divided into shards.

An asset lives with the workflow that makes it, so that all that one workflow and partition is wanted for meets in one
enqueuer and becomes one run. The workflow's slug is hashed; the hash is the same in every process and version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from actors.core.graph import Graph

__all__ = ["MAX_SHARDS", "WHOLE", "Interests", "Shard", "lies_across", "shards_below"]

MAX_SHARDS: Final = 64
"""Each event is looked at once for each shard, in the script that appends it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The `index`-th part (from 0) of `count` in all.

    Raises:
        ValueError: there is no such part.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_SHARDS:
            raise ValueError(f"there can be 1 to {MAX_SHARDS} shards, not {self.count}")
        if not 0 <= self.index < self.count:
            raise ValueError(f"the index of a shard of {self.count} is 0 to {self.count - 1}, not {self.index}")

    def __str__(self) -> str:
        return f"{self.index} of {self.count}"

    @property
    def is_whole(self) -> bool:
        """Whether it is everything."""
        return self.count == 1

    @property
    def is_first(self) -> bool:
        """The first one also does what is to be done once for all of them."""
        return self.index == 0

    def owns(self, slug: str) -> bool:
        """Whether a workflow, and what it makes, is kept here."""
        return self.index_of(slug) == self.index

    def index_of(self, slug: str) -> int:
        """The index of the shard that keeps a workflow."""
        return crc32(slug.encode()) % self.count if self.count > 1 else 0

    def keeper_of(self, graph: Graph, asset_id: str) -> int | None:
        """The index of the shard that keeps an asset; None for one that nobody here makes."""
        node = graph.node(asset_id)
        return self.index_of(node.spec.workflow_slug) if node is not None and node.spec is not None else None

    def keeps(self, graph: Graph, asset_id: str) -> bool:
        return self.keeper_of(graph, asset_id) == self.index


WHOLE: Final = Shard()


class Interests:
    """What a shard has to hear of: its own assets, and all that they follow, however far above. What changes far above
    may re-make an asset of the shard, which has to wait for it (law L4)."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._asset_ids: set[str] = set()
        self._slugs: set[str] = set()

    def grow(self, graph: Graph, touched: Iterable[str], slugs: Iterable[str]) -> tuple[list[str], list[str]]:
        """The assets, and the workflows with their runs, to be heard of from now on, as these may be declared anew."""
        own = {slug for slug in slugs if self._shard.owns(slug)} - self._slugs
        self._slugs |= own
        # What was followed already may follow more now; what lies above that is known only if it is walked again.
        seeds = {a for a in touched if a in self._asset_ids or self._shard.keeps(graph, a)}
        found = [asset_id for asset_id in _above(graph, seeds, self._asset_ids) if asset_id not in self._asset_ids]
        self._asset_ids.update(found)
        return sorted(found), sorted(own)


def shards_below(graph: Graph, asset_id: str, shard: Shard) -> set[int]:
    """The other shards that keep what follows an asset directly."""
    node = graph.node(asset_id)
    keepers = {shard.keeper_of(graph, consumer_id) for consumer_id in node.consumers} if node is not None else set()
    return {index for index in keepers if index is not None and index != shard.index}


def lies_across(graph: Graph, asset_id: str, shard: Shard) -> bool:
    """Whether anything that follows an asset, however far below, is kept by another shard."""
    seen = {asset_id}
    stack = [asset_id]
    while stack:
        node = graph.node(stack.pop())
        for consumer_id in node.consumers if node is not None else ():
            if consumer_id not in seen:
                if not shard.keeps(graph, consumer_id):
                    return True
                seen.add(consumer_id)
                stack.append(consumer_id)
    return False


def _above(graph: Graph, asset_ids: Iterable[str], known: set[str]) -> Iterator[str]:
    """These assets and all that they follow, each once; not what lies above the known ones."""
    seen = set(asset_ids)
    stack = list(seen)
    while stack:
        asset_id = stack.pop()
        yield asset_id
        node = graph.node(asset_id)
        for upstream_id in node.spec.considered if node is not None and node.spec is not None else ():
            if upstream_id not in seen and upstream_id not in known:
                seen.add(upstream_id)
                stack.append(upstream_id)
