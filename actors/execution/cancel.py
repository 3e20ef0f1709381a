"""How a run is told to stop: by a user, because the service stops, or because the catalog has ended it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

__all__ = ["CancelReason", "CancelToken"]


class CancelReason(StrEnum):
    """canceled: a user asked for it. lost: the service stops. fenced: the catalog has ended the run."""

    CANCELED = "canceled"
    LOST = "lost"
    FENCED = "fenced"


class CancelToken:
    """Set once and never cleared; the first reason stays. Thread-safe.

    A user's cancel ends the work but not the duty to write the result down; only `LOST` ends that too. So
    there are two waits: `wait` is cut short by any reason, `wait_for_stop` only by `LOST`. A test that must
    not sleep overrides them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._canceled = threading.Event()
        self._stopping = threading.Event()
        self._reason: CancelReason | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        return self._canceled.is_set()

    @property
    def reason(self) -> CancelReason | None:
        return self._reason

    def cancel(self, reason: CancelReason = CancelReason.CANCELED) -> None:
        """Set the token, and call whoever subscribed, in this thread."""
        if reason is CancelReason.LOST:
            self._stopping.set()
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            self._canceled.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def wait(self, seconds: float) -> bool:
        """Wait until the token is set or the time is up; whether it is set."""
        return self._canceled.wait(seconds)

    def wait_for_stop(self, seconds: float) -> bool:
        """Wait until the service stops or the time is up; whether it stops."""
        return self._stopping.wait(seconds)

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within the block `callback` is called when the token is set, at once if it is set already."""
        with self._lock:
            late = self._reason is not None
            if not late:
                self._callbacks.append(callback)
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
