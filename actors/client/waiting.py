"""How long to wait between two looks at a run, and when to give up. Looks and sleeps nowhere itself."""

from __future__ import annotations

from typing import Final

from actors.client.errors import DeadlineError
from actors.client.run_records import Run

__all__ = ["Patience"]

_FIRST_SECONDS: Final = 0.05
_GROWTH: Final = 1.5
_LONGEST_SECONDS: Final = 2.0


class Patience:
    """Looks often at first, then every two seconds. Times are those of one monotonic clock, in seconds."""

    def __init__(self, run_id: str, now: float, timeout_seconds: float | None) -> None:
        self._run_id = run_id
        self._timeout_seconds = timeout_seconds
        self._ends_at = None if timeout_seconds is None else now + timeout_seconds
        self._next_seconds = _FIRST_SECONDS

    def wait_seconds(self, seen: Run, now: float) -> float:
        """How long to wait before the next look; the last look is at the deadline.

        Raises:
            DeadlineError: it is past.
        """
        wait = self._next_seconds
        self._next_seconds = min(wait * _GROWTH, _LONGEST_SECONDS)
        if self._ends_at is None:
            return wait
        if now >= self._ends_at:
            after = f"after {self._timeout_seconds:g} s"
            raise DeadlineError(f"run {self._run_id} is {seen.status} {after}; it goes on: wait again, or cancel it")
        return min(wait, self._ends_at - now)
