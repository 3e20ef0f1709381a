"""How things stand in a running service, kept up to date by what its actors report, so that asking costs little.

What is kept grows with what waits, fails or has a timer, and not with the number of assets; an answer is bounded by its
limit. Nothing here is decided or stored: after a start the actors report everything anew.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final, NamedTuple

from actors.catalog.store import JsonObject
from actors.core.decide import Decision, Materialize, Reason, Skip, Wait
from actors.interfaces.dump import iso_or_none
from actors.interfaces.rates import Rate
from actors.observer import Unheard

__all__ = ["Standing"]

_RATE_SECONDS: Final = 10
_FAILED_KEPT: Final = 50
_LONGEST_ERROR: Final = 300
_COMPACT_AT_LEAST: Final = 64
_FAILING: Final = (Reason.SUSPENDED, Reason.BACKOFF)

Place = tuple[str, str | None]
"""An asset and a partition key."""


class _Waiting(NamedTuple):
    """A partition that needs a run and has none, since when; `failures` in a row."""

    reason: Reason
    since_ms: int
    until_ms: int | None
    failures: int


class Standing(Unheard):
    """An `Observer`. Thread-safe; reports cost O(log n) of the partitions with a timer, an answer O(limit)."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()  # guards all below
        self._begin()

    def _begin(self) -> None:
        self._stale = 0
        self._dead_letters = 0
        self._waiting: dict[Place, _Waiting] = {}
        self._failing: dict[Reason, dict[Place, _Waiting]] = {reason: {} for reason in _FAILING}
        self._reasons = Counter[Reason]()
        self._next_at: dict[Place, int] = {}
        self._heap: list[tuple[int, str, str]] = []
        self._failed: deque[JsonObject] = deque(maxlen=_FAILED_KEPT)
        self._decisions, self._events, self._ended = Rate(), Rate(), Rate()

    def begin_anew(self) -> None:
        """The actors are replaced: what the former ones reported counts no more."""
        with self._lock:
            self._begin()

    # -- what is reported --------------------------------------------------------------------------------------------

    def heard(self, events: int) -> None:
        """So many entries of the stream were handed over."""
        with self._lock:
            self._events.add(events, self._now_ms())

    def decided(
        self,
        *,
        asset_id: str,
        workflow_slug: str | None,
        partition_key: str | None,
        decision: Decision,
        cause: str,
        run_id: str | None,
        failures: int,
        next_look_ms: int | None,
        is_news: bool,
    ) -> None:
        place, now_ms = (asset_id, partition_key), self._now_ms()
        with self._lock:
            self._decisions.add(1, now_ms)
            match decision:
                case Wait(until_ms=until_ms, reason=reason):
                    self._wait(place, _Waiting(reason, now_ms, until_ms, failures))
                case Materialize(reason=reason):
                    self._wait(place, _Waiting(reason, now_ms, None, failures))
                case Skip():
                    self._wait(place, None)
            self._look_at(place, next_look_ms)

    def stale_changed(self, delta: int) -> None:
        with self._lock:
            self._stale += delta

    def run_ended(
        self,
        *,
        run_id: str,
        workflow_slug: str,
        partition_key: str | None,
        trigger: str,
        reason: str,
        outcome: str,
        error: str | None,
        duration_ms: int | None,
    ) -> None:
        now_ms = self._now_ms()
        with self._lock:
            self._ended.add(1, now_ms)
            if outcome not in ("succeeded", "canceled"):
                self._failed.appendleft(
                    {
                        "at": iso_or_none(now_ms),
                        "runId": run_id,
                        "workflowSlug": workflow_slug,
                        "partitionKey": partition_key,
                        "outcome": outcome,
                        "error": error[:_LONGEST_ERROR] if error else None,
                    }
                )

    def dead_letter(self, *, reason: str) -> None:
        with self._lock:
            self._dead_letters += 1

    # -- what is asked -----------------------------------------------------------------------------------------------

    def overview(self, limit: int) -> JsonObject:
        """`{stale, waiting: {REASON: count}, failing: [{assetId, partitionKey, state, failures, since, until}], next:
        [{at, assetId, partitionKey, what}], failedRuns: [{at, runId, workflowSlug, partitionKey, outcome, error}],
        deadLetters, rates: {seconds, decisionsPerSecond, eventsPerSecond, runsPerMinute}}`.

        `stale` counts the partitions that need a run, each of which waits for a REASON, or is about to be submitted
        for one. `failing` are those in backoff or suspended, suspended ones first; `next` what comes soonest: `what` is
        `expires` or the reason of a wait that ends then. Lists have at most `limit` entries. What failed, and the
        dead letters, are those since the actors of this service started.
        """
        now_ms = self._now_ms()
        with self._lock:
            return {
                "stale": self._stale,
                "waiting": {reason.value: count for reason, count in sorted(self._reasons.items()) if count},
                "failing": [self._failing_json(*each) for each in self._most_failing(limit)],
                "next": [self._next_json(at_ms, place) for at_ms, place in self._soonest(limit)],
                "failedRuns": list(self._failed)[:limit],
                "deadLetters": self._dead_letters,
                "rates": {
                    "seconds": _RATE_SECONDS,
                    "decisionsPerSecond": self._decisions.per_second(_RATE_SECONDS, now_ms),
                    "eventsPerSecond": self._events.per_second(_RATE_SECONDS, now_ms),
                    "runsPerMinute": 60 * self._ended.per_second(60, now_ms),
                },
            }

    # -- under the lock ----------------------------------------------------------------------------------------------

    def _wait(self, place: Place, waiting: _Waiting | None) -> None:
        before = self._waiting.get(place)
        if before is not None:
            self._reasons[before.reason] -= 1
            self._failing.get(before.reason, {}).pop(place, None)
        if waiting is None:
            if before is not None:
                del self._waiting[place]
            return
        if before is not None and before.reason is waiting.reason:
            waiting = waiting._replace(since_ms=before.since_ms)
        self._reasons[waiting.reason] += 1
        self._waiting[place] = waiting
        if waiting.reason in _FAILING:
            self._failing[waiting.reason][place] = waiting

    def _look_at(self, place: Place, at_ms: int | None) -> None:
        if at_ms is None:
            self._next_at.pop(place, None)
        elif self._next_at.get(place) != at_ms:
            self._next_at[place] = at_ms
            heapq.heappush(self._heap, _entry(at_ms, place))
        if len(self._heap) > max(_COMPACT_AT_LEAST, 2 * len(self._next_at)):
            self._heap = [_entry(at, each) for each, at in self._next_at.items()]
            heapq.heapify(self._heap)

    def _soonest(self, limit: int) -> list[tuple[int, Place]]:
        """Takes what is outdated out of the heap for good, and puts back what it finds."""
        found: list[tuple[int, str, str]] = []
        while self._heap and len(found) < limit:
            entry = heapq.heappop(self._heap)
            is_twice = bool(found) and found[-1] == entry
            if not is_twice and self._next_at.get(_place_of(entry)) == entry[0]:
                found.append(entry)
        for entry in found:
            heapq.heappush(self._heap, entry)
        return [(entry[0], _place_of(entry)) for entry in found]

    def _most_failing(self, limit: int) -> Iterator[tuple[Place, _Waiting]]:
        return islice(chain.from_iterable(self._failing[reason].items() for reason in _FAILING), limit)

    def _failing_json(self, place: Place, waiting: _Waiting) -> JsonObject:
        return {
            "assetId": place[0],
            "partitionKey": place[1],
            "state": waiting.reason.value,
            "failures": waiting.failures,
            "since": iso_or_none(waiting.since_ms),
            "until": iso_or_none(waiting.until_ms),
        }

    def _next_json(self, at_ms: int, place: Place) -> JsonObject:
        waiting = self._waiting.get(place)
        ends = waiting is not None and waiting.until_ms == at_ms
        return {
            "at": iso_or_none(at_ms),
            "assetId": place[0],
            "partitionKey": place[1],
            "what": waiting.reason.value if waiting is not None and ends else "expires",
        }


def _entry(at_ms: int, place: Place) -> tuple[int, str, str]:
    """Comparable, which a place without a partition is not."""
    return at_ms, place[0], "" if place[1] is None else place[1]


def _place_of(entry: tuple[int, str, str]) -> Place:
    return entry[1], entry[2] or None
