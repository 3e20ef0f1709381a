"""How long a step waits before its next attempt. The policy returns a number; the caller waits."""

from __future__ import annotations

from typing import assert_never

from actors.catalog.definitions import RetryPolicy

__all__ = ["retry_delay_ms"]


def retry_delay_ms(policy: RetryPolicy, failed_attempts: int, u: float) -> int | None:
    """Milliseconds to wait after so many failed attempts (at least one); None when there is no attempt left.

    `u` in [0, 1) deals the jitter: `full` waits u of the delay, `equal` between half of it and the whole.
    Without a strategy the next attempt is at once.
    """
    if failed_attempts >= policy.max_attempts:
        return None
    match policy.strategy:
        case "none":
            return 0
        case "fixed":
            delay = policy.initial_delay_ms
        case "exponential":
            delay = policy.initial_delay_ms << (failed_attempts - 1)
        case _:
            assert_never(policy.strategy)
    delay = min(delay, policy.max_delay_ms)
    match policy.jitter:
        case "none":
            return delay
        case "full":
            return int(delay * u)
        case "equal":
            return int(delay * (1 + u) / 2)
        case _:
            assert_never(policy.jitter)
