"""The order in which wanted runs get their slots: best rank first, first come first served among equals, within limits.

A rank is `priority * aging_ms + since_ms`: a run that waits `aging_ms` longer overtakes one that is a priority step
better. All wait equally fast, so ranks never have to be computed again, and nothing starves (law L8). The idea is that
of deadline scheduling (Liu & Layland, "Scheduling Algorithms for Multiprogramming in a Hard-Real-Time Environment").

What is held back by a limit is put aside under that limit's name, and looked at again only when the limit has room:
a freed slot costs the runs it frees and not the length of the queue.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Capacity", "RunKey", "RunQueue", "Slot"]

RunKey = tuple[str, str | None]
"""Identity of a piece of work: (workflow slug, partition key)."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Most active runs at once: in all, of a workflow, in a pool. A workflow or pool not named has no limit."""

    max_runs: int
    workflows: Mapping[str, int] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slot:
    """What a run takes up: the claim of its key, one of its workflow's places, one in each of its pools."""

    key: RunKey
    pools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    rank: int
    number: int
    slot: Slot


class RunQueue:
    """Wanted runs by item id, and the slots of those that are active."""

    def __init__(self, capacity: Capacity, *, aging_ms: int) -> None:
        self.capacity = capacity
        self._aging_ms = aging_ms
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._held: dict[str, list[tuple[int, int, str]]] = {}
        self._number = 0
        self._active: dict[str, Slot] = {}
        self._busy: Counter[RunKey] = Counter()
        self._used: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, item: str) -> bool:
        return item in self._entries

    @property
    def active(self) -> Mapping[str, Slot]:
        return self._active

    def waiting(self) -> list[tuple[str, Slot]]:
        """Item ids and slots, best rank first."""
        ordered = sorted(self._entries.items(), key=lambda e: (e[1].rank, e[1].number))
        return [(item, entry.slot) for item, entry in ordered]

    def put(self, item: str, slot: Slot, *, priority: int, since_ms: int) -> None:
        """Add an item; one that is there keeps its place unless the new rank is better."""
        rank = priority * self._aging_ms + since_ms
        known = self._entries.get(item)
        if known is not None and known.rank <= rank:
            return
        self._number += 1
        self._entries[item] = _Entry(rank, known.number if known else self._number, slot)
        heapq.heappush(self._heap, (rank, self._entries[item].number, item))

    def remove(self, item: str) -> bool:
        return self._entries.pop(item, None) is not None

    def is_busy(self, key: RunKey) -> bool:
        return self._busy[key] > 0

    def occupy(self, run_id: str, slot: Slot) -> None:
        """Count a run as active; again does nothing."""
        if run_id in self._active:
            return
        self._active[run_id] = slot
        self._busy[slot.key] += 1
        for name in _limit_names(slot):
            self._used[name] += 1

    def release(self, run_id: str) -> bool:
        """Give a run's slot back and let those that wait for it be looked at again; False if it had none."""
        slot = self._active.pop(run_id, None)
        if slot is None:
            return False
        self._busy[slot.key] -= 1
        if not self._busy[slot.key]:
            del self._busy[slot.key]
        for name in (_key_name(slot.key), *_limit_names(slot)):
            if name in self._used:
                self._used[name] -= 1
                if not self._used[name]:
                    del self._used[name]
            self._unhold(name)
        return True

    def resize(self, capacity: Capacity) -> None:
        """Change the limits; what they held back is looked at again."""
        self.capacity = capacity
        for name in list(self._held):
            self._unhold(name)

    def take(self) -> tuple[str, Slot] | None:
        """The best item that every limit lets go, removed from the queue; None if there is none.

        The caller occupies the slot before it takes the next one.
        """
        while self._heap and len(self._active) < self.capacity.max_runs:
            place = heapq.heappop(self._heap)
            item = place[2]
            entry = self._entries.get(item)
            if entry is None or (entry.rank, entry.number) != place[:2]:
                continue
            full = self.full_limit(entry.slot)
            if full is not None:
                self._held.setdefault(full, []).append(place)
                continue
            del self._entries[item]
            return item, entry.slot
        return None

    def full_limit(self, slot: Slot) -> str | None:
        """The name of the first limit, other than the global one, that has no room for it."""
        if self.is_busy(slot.key):
            return _key_name(slot.key)
        slug = slot.key[0]
        most = self.capacity.workflows.get(slug)
        if most is not None and self._used[f"workflow:{slug}"] >= most:
            return f"workflow:{slug}"
        for pool in slot.pools:
            most = self.capacity.pools.get(pool)
            if most is not None and self._used[f"pool:{pool}"] >= most:
                return f"pool:{pool}"
        return None

    def _unhold(self, name: str) -> None:
        for place in self._held.pop(name, ()):
            heapq.heappush(self._heap, place)


def _key_name(key: RunKey) -> str:
    return f"key:{key[0]}\x1f{key[1] or ''}"


def _limit_names(slot: Slot) -> tuple[str, ...]:
    return (f"workflow:{slot.key[0]}", *(f"pool:{pool}" for pool in slot.pools))
