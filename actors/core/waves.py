"""What one change may re-make: the opted-in assets below it, each with the upstreams that will be re-made before it.

The idea of holding a node back until everything above it has settled is that of glitch freedom in functional reactive
programming (Cooper & Krishnamurthi, "Embedding Dynamic Dataflow in a Call-by-Value Language", 2006).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from actors.core.graph import Graph
from actors.core.loading import concerned_keys
from actors.core.mappings import DEFAULT_MAPPING, AllKnown, Keys

__all__ = ["Marks", "Reached", "WaveNumbers", "wave_at", "wave_below"]

WAVE_SHIFT: Final = 20
"""Between the waves of two events so many (in powers of two) can begin here by themselves."""

Marks = tuple[tuple[str, str | None], ...]
"""Upstream partitions that are about to be re-made."""


def wave_at(pos: int) -> int:
    """The number of an event's wave, by its place among all events: the same wherever it is heard."""
    return pos << WAVE_SHIFT


class WaveNumbers:
    """Numbers waves as they begin: each is higher than the one before, and none is lower than its event's."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def next(self, pos: int = 0) -> int:
        """The number of a wave that begins now, with the event at this place if it was one."""
        self.last = max(self.last + 1, wave_at(pos))
        return self.last

    def reach(self, pos: int) -> None:
        """Everything up to this place among all events is known, by other ways than as waves."""
        self.last = max(self.last, wave_at(pos))


@dataclass(frozen=True, slots=True)
class Reached:
    """An asset below the change. `keys` are set when the change concerns it directly; `pending` says, for each of its
    partitions, which upstream partitions are about to be re-made."""

    asset_id: str
    keys: Keys | None
    pending: Mapping[str | None, Marks]


def wave_below(
    graph: Graph, asset_id: str, partition_key: str | None, produced_at_ms: int, *, is_made: bool = True
) -> list[Reached]:
    """The assets below a changed partition, upstream ones first.

    With `is_made` False the partition itself is still to be made: those right below it wait for it too.
    Edges on which "every known partition" is concerned carry no pending marks for those: the graph does not know them.
    """
    order = _below(graph, asset_id)
    reach: dict[str, dict[str | None, None]] = {asset_id: {partition_key: None}}
    pending: dict[str, dict[str | None, list[tuple[str, str | None]]]] = {}
    direct: dict[str, Keys] = {}
    for upstream_id in (asset_id, *order):
        node = graph.assets[upstream_id]
        for consumer_id in sorted(node.consumers):
            consumer = graph.assets[consumer_id]
            keys_here = reach.setdefault(consumer_id, {})
            for upstream_key in reach.get(upstream_id, ()):
                mapping = consumer.spec.mapping_of(upstream_id) if consumer.spec else DEFAULT_MAPPING
                keys = concerned_keys(node.partitioning, upstream_key, produced_at_ms, consumer.partitioning, mapping)
                if upstream_id == asset_id:
                    direct[consumer_id] = keys
                for key in keys.also if isinstance(keys, AllKnown) else keys:
                    keys_here[key] = None
                    if upstream_id != asset_id or not is_made:
                        marks = pending.setdefault(consumer_id, {}).setdefault(key, [])
                        marks.append((upstream_id, upstream_key))
    return [
        Reached(
            reached_id,
            direct.get(reached_id),
            {key: tuple(marks) for key, marks in pending.get(reached_id, {}).items()},
        )
        for reached_id in order
    ]


def _below(graph: Graph, asset_id: str) -> list[str]:
    """Everything reachable over consumers, each after all that lies above it: reverse postorder of a walk."""
    postorder: list[str] = []
    seen = {asset_id}
    stack = [(asset_id, iter(sorted(graph.assets[asset_id].consumers)))]
    while stack:
        current, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            postorder.append(current)
        elif child not in seen:
            seen.add(child)
            stack.append((child, iter(sorted(graph.assets[child].consumers))))
    return postorder[-2::-1]
