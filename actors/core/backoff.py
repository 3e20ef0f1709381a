"""How long to wait after failures, and when to stop trying.

Source of the formula: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full
jitter").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b

__all__ = [
    "BackoffPolicy",
    "FailureBudget",
    "Suspension",
    "delay_ms",
    "next_eligible_ms",
    "suspended_until",
    "unit_interval",
]

_FRACTION_BITS = 53


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Exponential backoff: after n failures wait up to `base_ms * multiplier ** (n - 1)`, never more than
    `max_ms`.

    Raises:
        ValueError: a number makes no sense; the text names the field.
    """

    base_ms: int = 1_000
    max_ms: int = 300_000
    multiplier: float = 2.0
    jitter: bool = True

    def __post_init__(self) -> None:
        if self.base_ms <= 0:
            raise ValueError(f"base_ms must be a positive number of milliseconds, got {self.base_ms}")
        if self.max_ms < self.base_ms:
            raise ValueError(f"max_ms must be at least base_ms ({self.base_ms}), got {self.max_ms}")
        if not (math.isfinite(self.multiplier) and self.multiplier >= 1):
            raise ValueError(f"multiplier must be a finite number of at least 1, got {self.multiplier}")


@dataclass(frozen=True, slots=True)
class FailureBudget:
    """How many failures in a row suspend the asset, and how long; a `cool_off_ms` of None means until it is
    resumed.

    Raises:
        ValueError: a number is not positive; the text names the field.
    """

    failures: int = 5
    cool_off_ms: int | None = None

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ValueError(f"failures must be at least 1, got {self.failures}")
        if self.cool_off_ms is not None and self.cool_off_ms <= 0:
            raise ValueError(f"cool_off_ms must be a positive number of milliseconds, got {self.cool_off_ms}")


@dataclass(frozen=True, slots=True)
class Suspension:
    """The budget is spent. `until_ms` ends the cool-off (epoch milliseconds); None means until resumed."""

    until_ms: int | None


def unit_interval(seed: str) -> float:
    """A number in [0, 1) that looks uniform and is always the same for the same text.

    Jitter must differ between assets, so that they do not retry in step, but an RNG would deal a new number
    after a restart and so move a wait that has already begun. A hash of what is stored anyway does both: it
    spreads, and it can be derived again. blake2b, because Python's own `hash` of a string changes with the
    process.
    """
    digest = blake2b(seed.encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> (64 - _FRACTION_BITS)) / (1 << _FRACTION_BITS)


def delay_ms(policy: BackoffPolicy, failures: int, u: float) -> int:
    """Milliseconds to wait after `failures` failures in a row: `u` in [0, 1) of the cap with jitter, else the
    cap.

    Raises:
        ValueError: `failures` is negative or `u` lies outside [0, 1).
    """
    if failures < 0:
        raise ValueError(f"failures must not be negative, got {failures}")
    if not 0 <= u < 1:
        raise ValueError(f"u must lie in [0, 1), got {u}")
    if failures == 0:
        return 0
    cap = _cap_ms(policy, failures)
    return int(u * cap) if policy.jitter else cap


def next_eligible_ms(policy: BackoffPolicy, failures: int, last_failure_at_ms: int, seed: str) -> int:
    """The instant from which a retry may start; what is stored and the seed always give the same one."""
    u = unit_interval(f"{seed}\n{failures}\n{last_failure_at_ms}")
    return last_failure_at_ms + delay_ms(policy, failures, u)


def suspended_until(budget: FailureBudget, failures: int, last_failure_at_ms: int) -> Suspension | None:
    """The suspension that this many failures in a row earn, or None while the budget lasts.

    An `until_ms` may lie in the past: then the cool-off is over, which the caller, who has a clock, sees.
    """
    if failures < budget.failures:
        return None
    if budget.cool_off_ms is None:
        return Suspension(None)
    return Suspension(last_failure_at_ms + budget.cool_off_ms)


def _cap_ms(policy: BackoffPolicy, failures: int) -> int:
    try:
        grown = policy.base_ms * policy.multiplier ** (failures - 1)
    except OverflowError:
        return policy.max_ms
    return policy.max_ms if grown >= policy.max_ms else int(grown)
