"""Work that blocks, on a few threads, now or after a while."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

__all__ = ["DelayedWork"]

_log: Final = structlog.get_logger(__name__)


class DelayedWork:
    """A bounded number of threads that do what is due, first what is due first. Thread-safe. Work that waits costs no
    thread."""

    def __init__(self, threads: int, *, name: str) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._put_ever = 0
        self._is_stopping = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def put(self, work: Callable[[], None], *, after_seconds: float = 0.0) -> None:
        """Have it done. What it raises is logged, and is lost."""
        with self._changed:
            self._put_ever += 1
            heapq.heappush(self._heap, (time.monotonic() + after_seconds, self._put_ever, work))
            self._changed.notify()

    def stop(self, timeout_seconds: float) -> None:
        """Begin nothing more; wait for so long for what was begun."""
        with self._changed:
            self._is_stopping = True
            self._heap.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:
                _log.exception("work.failed")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._is_stopping:
                if self._heap:
                    wait = self._heap[0][0] - time.monotonic()
                    if wait <= 0:
                        return heapq.heappop(self._heap)[2]
                    self._changed.wait(wait)
                else:
                    self._changed.wait()
            return None
