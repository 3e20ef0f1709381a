"""What assets decide, as it happens, for whoever listens. Knows nothing of HTTP.

Actors report from the dispatcher's threads and must not wait: each listener has a bounded queue, and one that does not
keep up is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from actors.catalog.store import JsonObject
from actors.core.decide import Decision
from actors.interfaces.dump import decision_json
from actors.messages import DecisionEntry
from actors.observer import Unheard

__all__ = ["DecisionFeed", "Listener"]

QUEUE_LENGTH: Final = 1_000
MAX_LISTENERS: Final = 32


class Listener:
    """One who listens. `take` is for its event loop; everything else may be called from any thread."""

    def __init__(self, length: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._length = length
        self._waiting: deque[JsonObject] = deque()
        self._news = asyncio.Event()
        self.end: str | None = None
        """Why nothing more comes; None while it goes on."""

    def put(self, told: JsonObject) -> bool:
        """False if it does not keep up; it gets no more."""
        if len(self._waiting) >= self._length:
            self._waiting.clear()
            self.close(f"dropped: {self._length} decisions were waiting to be read; read faster, and look at the state")
            return False
        self._waiting.append(told)
        if len(self._waiting) == 1:
            self._wake()
        return True

    def close(self, reason: str) -> None:
        self.end = reason
        self._wake()

    async def take(self, timeout_seconds: float) -> list[JsonObject]:
        """What waits, as soon as something does; empty after the timeout, or at the end."""
        with contextlib.suppress(TimeoutError):
            if not self._waiting and self.end is None:
                await asyncio.wait_for(self._news.wait(), timeout_seconds)
        self._news.clear()
        taken: list[JsonObject] = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._waiting.popleft())
        return taken

    def _wake(self) -> None:
        # The loop may have ended meanwhile; then nobody reads.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)


class DecisionFeed(Unheard):
    """An observer that tells listeners of the decisions that are news. A standby decides too, but nothing follows: it
    tells nobody."""

    def __init__(self, *, leads: Callable[[], bool], now_ms: Callable[[], int], length: int = QUEUE_LENGTH) -> None:
        self._leads = leads
        self._now_ms = now_ms
        self._length = length
        self._lock = threading.Lock()
        # Replaced as a whole, so that a report need not take the lock.
        self._listeners: tuple[Listener, ...] = ()
        self._is_closed = False

    def listen(self) -> Listener | None:
        """A new listener, on the running event loop; None if there are too many, or the service stops."""
        with self._lock:
            if len(self._listeners) >= MAX_LISTENERS or self._is_closed:
                return None
            listener = Listener(self._length)
            self._listeners = (*self._listeners, listener)
            return listener

    def forget(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

    def close(self) -> None:
        """End all listening, for good."""
        with self._lock:
            self._is_closed = True
        for listener in self._listeners:
            listener.close("the service stops")

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
        listeners = self._listeners
        if not listeners or not is_news or not self._leads():
            return
        told: JsonObject = {
            "assetId": asset_id,
            "workflowSlug": workflow_slug,
            "partitionKey": partition_key,
            "runId": run_id,
            "failures": failures,
            **decision_json(DecisionEntry(self._now_ms(), decision, cause, next_look_ms)),
        }
        for listener in listeners:
            if not listener.put(told):
                self.forget(listener)
