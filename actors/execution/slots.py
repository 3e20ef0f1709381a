"""A bounded number of places, for which a canceled run stops waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from actors.execution.cancel import CancelToken

__all__ = ["Slots"]


class Slots:
    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._free = count

    @contextmanager
    def taken(self, cancel: CancelToken) -> Iterator[bool]:
        """Wait for a place and hold it within the block; False, and no place, if the token was set before."""
        taken = self._take(cancel)
        try:
            yield taken
        finally:
            if taken:
                with self._changed:
                    self._free += 1
                    self._changed.notify()

    def _take(self, cancel: CancelToken) -> bool:
        with cancel.calling(self._wake_all), self._changed:
            self._changed.wait_for(lambda: cancel.is_set or self._free > 0)
            if cancel.is_set:
                # The wake-up that came for a free place is another's.
                self._changed.notify()
                return False
            self._free -= 1
            return True

    def _wake_all(self) -> None:
        with self._changed:
            self._changed.notify_all()
