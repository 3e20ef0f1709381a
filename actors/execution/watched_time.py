"""How much of the time that has passed was watched: a clock that stands still while nobody looks."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["WatchedTime"]

_PARTS: Final = 64
"""How finely a period is remembered: it may be taken to be longer by so small a part of it, never shorter."""


class WatchedTime:
    """Says since when a whole period was watched, by the clock of what is watched.

    Whoever waits for a sign of life must not count the time in which it could not have been seen: an outage of the
    server, or a pause of this process. Of the time between two looks at most `most_ms` counts, so an outage between
    them, however long or short, takes at most that from the patience.
    """

    def __init__(self, period_ms: int, *, most_ms: int) -> None:
        self._period_ms = period_ms
        self._most_ms = most_ms
        self._watched_ms = 0
        self._last_ms: int | None = None
        self._looks: deque[tuple[int, int]] = deque()

    def look(self, now_ms: int) -> int | None:
        """Note a look; what gave its last sign of life at the instant that is returned, or earlier, has been silent for
        a whole period of watched time. None as long as no period has been watched."""
        last_ms, self._last_ms = self._last_ms, now_ms
        if last_ms is not None and now_ms < last_ms:
            # The clock was set back: its former instants are of no use.
            self._looks.clear()
        elif last_ms is not None:
            self._watched_ms += min(now_ms - last_ms, self._most_ms)
        if not self._looks or self._watched_ms - self._looks[-1][1] >= self._period_ms / _PARTS:
            self._looks.append((now_ms, self._watched_ms))
        silent_since_ms = self._watched_ms - self._period_ms
        while len(self._looks) > 1 and self._looks[1][1] <= silent_since_ms:
            self._looks.popleft()
        at_ms, watched_ms = self._looks[0]
        return at_ms if watched_ms <= silent_since_ms else None
