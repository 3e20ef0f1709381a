"""Timers: tell an actor something at a wall-clock time. One heap serves every actor.

A timer is cancelled in O(1) by emptying it where it is (lazy deletion). When more than half of the heap is
empty timers, they are swept out at once, so the heap never holds more than twice the armed ones and the
sweep costs O(1) per cancellation on average.
"""

from __future__ import annotations

import heapq
import logging
import threading
from typing import Any, Protocol

from pykka import ActorDeadError, ActorRef

from actors.runtime.bounded_mailbox import never_wait_for_room
from actors.runtime.clock import Clock, VirtualClock

logger = logging.getLogger(__name__)

# Below this many cancelled timers a sweep saves too little to be worth it.
_SWEEP_AT_LEAST = 64


class TimerHandle:
    """An armed timer. `at_ms` is when it fires, epoch milliseconds on the wall clock."""

    __slots__ = ("_heap", "_message", "_ref", "at_ms")

    def __init__(self, heap: TimerHeap, at_ms: int, ref: ActorRef[Any], message: object) -> None:
        self.at_ms = at_ms
        self._heap = heap
        self._ref: ActorRef[Any] | None = ref
        self._message: object = message

    def __repr__(self) -> str:
        return f"<TimerHandle at_ms={self.at_ms} {'armed' if self.armed else 'done'}>"

    @property
    def armed(self) -> bool:
        """Whether it may still fire."""
        return self._ref is not None

    def cancel(self) -> bool:
        """See to it that the timer does not fire. Safe from any thread, and to repeat.

        Returns:
            False if it was too late: it has fired, or had been cancelled
        """
        return self._heap.cancel(self)

    def take(self) -> tuple[ActorRef[Any], object] | None:
        """Disarm it; what it was to tell, and whom, the first time, then None. Under the heap's lock only."""
        ref, message = self._ref, self._message
        if ref is None:
            return None
        self._ref = self._message = None
        return ref, message


class Timers(Protocol):
    """Arms timers."""

    def tell_at(self, at_ms: int, ref: ActorRef[Any], message: object) -> TimerHandle:
        """Tell `ref` the message when the wall clock reaches `at_ms` (epoch milliseconds).

        A time in the past fires at once. Timers of the same time fire in the order they were armed. If the
        actor is dead by then, the message is dropped and counted.
        """
        ...

    def __len__(self) -> int:
        """How many timers are armed."""
        ...


class TimerHeap:
    """The armed timers by time. Safe to use from several threads; `changed` is its lock."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.Lock())
        self._heap: list[tuple[int, int, TimerHandle]] = []
        self._armed_ever = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    @property
    def size(self) -> int:
        """How many timers the heap holds, cancelled ones included."""
        return len(self._heap)

    def add(self, at_ms: int, ref: ActorRef[Any], message: object) -> TimerHandle:
        """Arm a timer. Whoever waits for `changed` is woken if it is the first one due."""
        handle = TimerHandle(self, at_ms, ref, message)
        with self.changed:
            self._armed_ever += 1
            heapq.heappush(self._heap, (at_ms, self._armed_ever, handle))
            if self._heap[0][2] is handle:
                self.changed.notify_all()
        return handle

    def cancel(self, handle: TimerHandle) -> bool:
        """Disarm `handle`, if it still is armed."""
        with self.changed:
            taken = handle.take()  # kept until the lock is free: letting go of a message may run its finalizer
            if taken is None:
                return False
            self._cancelled += 1
            if self._cancelled >= _SWEEP_AT_LEAST and self._cancelled * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry[2].armed]
                heapq.heapify(self._heap)
                self._cancelled = 0
            return True

    def next_at(self) -> int | None:
        """When the first armed timer is due, epoch milliseconds; None if there is none. Hold `changed`."""
        heap = self._heap
        while heap:
            if heap[0][2].armed:
                return heap[0][0]
            heapq.heappop(heap)
            self._cancelled -= 1
        return None

    def pop_due(self, now_ms: int, limit: int) -> list[tuple[ActorRef[Any], object]]:
        """Disarm up to `limit` timers that are due, first ones first. Hold `changed`."""
        due: list[tuple[ActorRef[Any], object]] = []
        while len(due) < limit:
            at_ms = self.next_at()
            if at_ms is None or at_ms > now_ms:
                break
            telling = heapq.heappop(self._heap)[2].take()
            if telling is not None:
                due.append(telling)
        return due


class _Delivery:
    """Tells what is due, and counts what could not be told."""

    def __init__(self) -> None:
        self.fired = 0
        self.undeliverable = 0

    def tell(self, ref: ActorRef[Any], message: object) -> None:
        self.fired += 1
        try:
            ref.tell(message)
        except ActorDeadError:
            self.undeliverable += 1
        except Exception:
            # Whatever is wrong with one mailbox must not end the timers of everybody else.
            self.undeliverable += 1
            logger.exception("timer could not tell %s %r", ref, message)


class TimerThread:
    """Fires timers from one daemon thread.

    With no timer armed the thread sleeps without limit and an idle service costs nothing. With one armed it
    sleeps until that one is due, but no longer than `recheck_seconds`, and then reads the wall clock again:
    sleeping is measured on the monotonic clock, which knows nothing of an NTP step and stands still while a
    laptop is suspended, so a jump forward is noticed at most that much later. After a jump back timers wait
    for the wall clock, as they should.

    Args:
        clock: tells the wall-clock time
        recheck_seconds: the longest sleep while a timer is armed
    """

    _FIRE_AT_MOST = 1_000  # at a time, so that arming and cancelling do not wait long for the lock

    def __init__(self, clock: Clock, recheck_seconds: float = 1.0) -> None:
        self._clock = clock
        self._recheck_seconds = recheck_seconds
        self._timers = TimerHeap()
        self._delivery = _Delivery()
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def fired(self) -> int:
        """How many timers have fired."""
        return self._delivery.fired

    @property
    def undeliverable(self) -> int:
        """How many of those found their actor dead."""
        return self._delivery.undeliverable

    def __len__(self) -> int:
        return len(self._timers)

    def tell_at(self, at_ms: int, ref: ActorRef[Any], message: object) -> TimerHandle:
        """See `Timers.tell_at`. May be called before `start`; nothing fires until then."""
        return self._timers.add(at_ms, ref, message)

    def start(self) -> None:
        """Start the thread; does nothing if it runs."""
        with self._timers.changed:
            if self._thread is not None:
                return
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="headwater-timers", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop the thread; does nothing if it does not run.

        Armed timers stay armed and fire after another `start`.
        """
        with self._timers.changed:
            thread, self._thread = self._thread, None
            self._stopping = True
            self._timers.changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)

    def _run(self) -> None:
        never_wait_for_room()
        while (due := self._wait_for_due()) is not None:
            for ref, message in due:
                self._delivery.tell(ref, message)

    def _wait_for_due(self) -> list[tuple[ActorRef[Any], object]] | None:
        timers = self._timers
        with timers.changed:
            while not self._stopping:
                now_ms = self._clock.now_ms()
                due = timers.pop_due(now_ms, self._FIRE_AT_MOST)
                if due:
                    return due
                next_at = timers.next_at()
                if next_at is None:
                    timers.changed.wait()
                else:
                    timers.changed.wait(min((next_at - now_ms) / 1_000, self._recheck_seconds))
            return None


class VirtualTimers:
    """Timers on a virtual clock: nothing fires but in `fire_due`, on the caller's thread."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._timers = TimerHeap()
        self._delivery = _Delivery()

    @property
    def fired(self) -> int:
        """How many timers have fired."""
        return self._delivery.fired

    @property
    def undeliverable(self) -> int:
        """How many of those found their actor dead."""
        return self._delivery.undeliverable

    def __len__(self) -> int:
        return len(self._timers)

    def tell_at(self, at_ms: int, ref: ActorRef[Any], message: object) -> TimerHandle:
        """See `Timers.tell_at`. A time in the past fires at the next `fire_due`."""
        return self._timers.add(at_ms, ref, message)

    def next_at(self) -> int | None:
        """When the first armed timer is due, epoch milliseconds; None if there is none."""
        with self._timers.changed:
            return self._timers.next_at()

    def fire_due(self) -> int:
        """Fire what is due now, first ones first; how many that were."""
        before = self._delivery.fired
        while True:
            with self._timers.changed:
                due = self._timers.pop_due(self._clock.now_ms(), 1)
            if not due:
                return self._delivery.fired - before
            self._delivery.tell(*due[0])
