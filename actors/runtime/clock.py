"""Clocks: the wall clock, in which deadlines are written, and the monotonic one, which measures durations."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from. Everything that asks for the time asks one of these."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since the Unix epoch. May jump in either direction."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary point; never goes back and ignores wall-clock jumps."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class VirtualClock:
    """A clock that moves only when it is told to, for simulations and tests.

    Args:
        start_ms: the wall clock at the beginning, epoch milliseconds. The monotonic clock begins at 0.
    """

    __slots__ = ("_monotonic_ms", "_now_ms")

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._monotonic_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass on both clocks.

        Raises:
            ValueError: if `ms` is negative; only `set_wall` moves the wall clock back
        """
        if ms < 0:
            msg = f"cannot advance a clock by {ms} ms: time does not run backwards; use set_wall for a jump"
            raise ValueError(msg)
        self._now_ms += ms
        self._monotonic_ms += ms

    def set_wall(self, ms: int) -> None:
        """Let the wall clock jump to `ms` (epoch milliseconds) while the monotonic clock stands still."""
        self._now_ms = ms
