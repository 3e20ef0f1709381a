"""How often something happens: a count for each second of the last minute, in constant memory."""

from __future__ import annotations

from typing import Final

__all__ = ["Rate"]

_SECONDS: Final = 64


class Rate:
    """Not thread-safe: whoever shares one has a lock around it."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._counts = [0] * _SECONDS
        self._seconds = [0] * _SECONDS

    def add(self, count: int, now_ms: int) -> None:
        """So many more happened."""
        second = now_ms // 1_000
        place = second % _SECONDS
        if self._seconds[place] != second:
            self._seconds[place], self._counts[place] = second, 0
        self._counts[place] += count

    def per_second(self, window_seconds: int, now_ms: int) -> float:
        """The mean over the last whole seconds, at most 60; the one that goes on is left out."""
        last = now_ms // 1_000
        first = last - min(window_seconds, 60)
        counted = sum(
            count for second, count in zip(self._seconds, self._counts, strict=True) if first <= second < last
        )
        return counted / (last - first)
